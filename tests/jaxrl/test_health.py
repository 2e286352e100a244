"""What a policy expects beside what it gets: returns by hand, and which of them count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl import health
from jaxrl.algorithm import Policy

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


def test_a_policy_without_an_opinion_is_refused(corridor):
    policy = walker(LEFT)._replace(value=None)
    with pytest.raises(ValueError, match="`policy` must have a value"):
        health.beliefs(policy, *corridor, jax.random.key(0), 3, 0.5)
    with pytest.raises(ValueError, match="`num_episodes` must be at least 1, got 0"):
        health.beliefs(walker(LEFT), *corridor, jax.random.key(0), 0, 0.5)
