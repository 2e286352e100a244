"""What a policy expects beside what it gets: returns by hand, and which of them count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl import health
from jaxrl.agents import dqn
from jaxrl.algorithm import Policy
from jaxrl.train import evaluate, train

LEFT, RIGHT = 0, 2


@pytest.fixture(scope="module")
def corridor():
    """Return a corridor of four cells: a step costs 1, the goal at its right end pays 5."""
    env, params = envs.make("GridWorld-v1", map=("S..G",))
    return env, params.replace(
        slip=jnp.float32(0),
        step_reward=jnp.float32(-1),
        goal_reward=jnp.float32(5),
        max_steps=jnp.int32(10),
    )


def walker(action):
    """Return the policy that always does the same and expects the number of its step, which it remembers."""
    return Policy(
        init=lambda: jnp.int32(0),
        act=lambda obs, count, key: (jnp.int32(action), count + 1),
        value=lambda obs, count: count.astype(jnp.float32),
    )


def measure(world, action, **options):
    def run(key):
        return health.beliefs(walker(action), *world, key, num_episodes=3, gamma=0.5, **options)

    return jax.jit(run)(jax.random.key(0))


def test_returns_run_to_the_end_of_the_first_episode(corridor):
    found = measure(corridor, RIGHT)
    assert found.realised.shape == (10, 3)
    np.testing.assert_array_equal(found.known.sum(axis=0), 3)
    for t, expected in enumerate((-1 - 0.5 + 0.25 * 5, -1 + 0.5 * 5, 5)):
        np.testing.assert_allclose(found.realised[t], expected)
        np.testing.assert_array_equal(found.predicted[t], t)
    error = health.overestimation(walker(RIGHT), *corridor, jax.random.key(0), 3, 0.5)
    np.testing.assert_allclose(error, (0 + 1 + 2) / 3 - (-0.25 + 1.5 + 5) / 3, rtol=1e-6)


@pytest.mark.parametrize("horizon", [None, 8])
def test_steps_count_where_next_to_nothing_is_cut_off(corridor, horizon):
    """Bumping into the wall for ever is worth -2; 0.5^7 is the first power below 1 %."""
    found = measure(corridor, LEFT, max_steps=horizon)
    length = horizon or 10
    np.testing.assert_array_equal(found.known[:, 0], np.arange(length) <= length - 7)
    np.testing.assert_allclose(found.realised[found.known == 1], -2, atol=0.02)


def test_nothing_known_is_nan(corridor):
    error = health.overestimation(walker(LEFT), *corridor, jax.random.key(0), 3, 0.5, max_steps=5)
    assert np.isnan(error)


@pytest.mark.parametrize(("world", "horizon"), [("CartPole-v1", 500), ("MountainCar-v1", 130)])
def test_an_evaluation_measures_the_same(world, horizon):
    """Over episodes that terminate, each after its own number of steps, and over some cut by the horizon."""
    world, policy, key = envs.make(world), walker(1)._replace(discount=0.9), jax.random.key(3)
    found = jax.jit(lambda key: health.beliefs(policy, *world, key, 6, 0.9, horizon))(key)
    expected = ((found.predicted - found.realised) * found.known).sum(axis=0) / found.known.sum(axis=0)
    assert len(set(expected.tolist())) > 1 or horizon == 130
    episodes = jax.jit(lambda key: evaluate(policy, *world, key, 6, horizon))(key)
    np.testing.assert_allclose(episodes.overestimation, expected, rtol=1e-5)
    # Over seeds too, whose evaluations end at different times.
    over_keys = jax.jit(jax.vmap(lambda key: evaluate(policy, *world, key, 6, horizon)))
    both = over_keys(jnp.stack([jax.random.key(4), key]))
    np.testing.assert_allclose(both.overestimation[1], expected, rtol=1e-5)
    assert evaluate(walker(1), *world, key, 2, 3).overestimation is None


def test_training_reports_it_where_it_was_evaluated():
    config = dqn.Config(hidden_sizes=(4,), num_envs=4, batch_size=4, learning_starts=8, buffer_size=40)
    algorithm = dqn.make(*envs.make("CartPole-v1"), config)
    run = jax.jit(lambda key: train(algorithm, key, 80, evaluations=2, eval_episodes=3, log_points=6))
    excess = run(jax.random.key(0))[1].metrics["episode_overestimation"]
    np.testing.assert_array_equal(np.isfinite(excess), [False, False, True] * 2)


def test_a_policy_without_an_opinion_is_refused(corridor):
    policy = walker(LEFT)._replace(value=None)
    with pytest.raises(ValueError, match="`policy` must have a value"):
        health.beliefs(policy, *corridor, jax.random.key(0), 3, 0.5)
    with pytest.raises(ValueError, match="`num_episodes` must be at least 1, got 0"):
        health.beliefs(walker(LEFT), *corridor, jax.random.key(0), 0, 0.5)
