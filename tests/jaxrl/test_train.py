"""Train and evaluate: one program, whole or in chunks; evaluation that cannot change learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs import probes
from jaxrl.agents import ppo
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.train import evaluate, evaluation_key, plan, run_interval, split_key, train

CONFIG = ppo.Config(num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, hidden_sizes=(8,))


@pytest.fixture(scope="module")
def algorithm():
    return ppo.make(*envs.make("CartPole-v1"), CONFIG)


def assert_equal(a, b):
    def data(x):
        return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x

    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(data(x), data(y)), a, b)


def counter(metric):
    """A learner that counts, reports `metric(t)`, and always acts 0."""
    env = probes.ACTION_MATTERS
    return Algorithm(
        init=lambda key: jnp.int32(0),
        step=lambda state, t: (state + 1, metric(t)),
        policy=lambda state: Policy(lambda: (), lambda obs, carry, key: (jnp.int32(0), carry)),
        steps_per_iteration=4,
        env=env,
        params=env.default_params(),
    )


def test_plan_is_even_complete_and_rounds_up():
    when = plan(512, 500_000, evaluations=10)
    assert when.start.shape == when.stop.shape == (10, 10)
    assert when.start.ravel()[0] == 0 and when.stop.ravel()[-1] == 977
    np.testing.assert_array_equal(when.start.ravel()[1:], when.stop.ravel()[:-1])
    lengths = (when.stop - when.start).ravel()
    assert set(lengths) == {9, 10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((512, 512, 2), "`evaluations` must be at most the number of iterations, 1"),
        ((512, 5120, 0), "`evaluations` must be at least 1"),
        ((512, 0, 1), "`num_steps` must be from 1"),
        ((512, 5120, 4, 6), "`log_points` must be a multiple of evaluations = 4"),
        ((512, 5120, 5, 15), "at most the number of iterations, 10, got 15"),
    ],
)
def test_impossible_plans_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(*arguments)


def test_metrics_are_means_since_the_last_log_point():
    algorithm = counter(lambda t: {"t": t.astype(jnp.float32)})
    state, history = train(algorithm, jax.random.key(0), 48, evaluations=2, log_points=4)
    assert state == 12
    np.testing.assert_array_equal(history.metric_steps, [12, 24, 36, 48])
    np.testing.assert_array_equal(history.metrics["t"], [1.0, 4.0, 7.0, 10.0])
    np.testing.assert_array_equal(history.steps, [24, 48])


def test_episode_metrics_are_weighted_by_episodes():
    """Iteration 0 ends one episode of return 1, iteration 1 none, iteration 2 three of return 5."""

    def metric(t):
        episodes = jnp.array([1.0, 0.0, 3.0, 0.0])[t]
        returns = jnp.array([1.0, jnp.nan, 5.0, jnp.nan])[t]
        return {"episodes": episodes, "episode_return": returns}

    _, history = train(counter(metric), jax.random.key(0), 16, evaluations=1, log_points=1)
    np.testing.assert_array_equal(history.metrics["episodes"], [4.0])
    np.testing.assert_array_equal(history.metrics["episode_return"], [4.0])
    _, history = train(counter(metric), jax.random.key(0), 16, evaluations=1, log_points=4)
    np.testing.assert_array_equal(history.metrics["episode_return"], [1.0, np.nan, 5.0, np.nan])


def test_evaluations_leave_the_trained_state_unchanged(algorithm):
    def run(**options):
        return jax.jit(lambda key: train(algorithm, key, 160, **options)[0])(jax.random.key(3))

    once = run(evaluations=1, eval_episodes=2)
    assert_equal(once, run(evaluations=5, eval_episodes=2))
    assert_equal(once, run(evaluations=2, eval_episodes=7, log_points=2))
    other = envs.make("CartPole-v1")
    assert_equal(once, run(evaluations=1, eval_env=(other[0], other[1].replace(max_steps=jnp.int32(3)))))


def test_chunks_equal_the_whole(algorithm):
    whole = jax.jit(lambda key: train(algorithm, key, 160, evaluations=1)[0])(jax.random.key(5))
    chunk = jax.jit(lambda state, start, stop: run_interval(algorithm, state, start, stop)[0])
    state = jax.jit(algorithm.init)(split_key(jax.random.key(5))[0])
    for start, stop in [(0, 3), (3, 4), (4, 10)]:
        state = chunk(state, start, stop)
    assert chunk._cache_size() == 1
    assert_equal(whole, state)


def test_train_is_one_program_over_seeds(algorithm):
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    run = jax.jit(jax.vmap(lambda key: jaxrl.train(algorithm, key, 64, evaluations=2)))
    state, history = run(keys)
    assert history.episode_return.shape == (3, 2, 16)
    alone, _ = jax.jit(lambda key: jaxrl.train(algorithm, key, 64, evaluations=2))(keys[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=1e-5), state.params, alone.params
    )
    flat = [np.asarray(x).reshape(3, -1) for x in jax.tree.leaves(state.params)]
    assert all(np.abs(x[0] - x[1]).max() > 0 for x in flat)


def test_evaluate_reports_the_first_episode_of_each_environment():
    env, params = envs.make("CartPole-v1")
    right = Policy(lambda: (), lambda obs, carry, key: (jnp.int32(1), carry))
    episodes = jax.jit(lambda key: evaluate(right, env, params, key, 32))(jax.random.key(0))
    assert episodes.done.all()
    np.testing.assert_array_equal(episodes.return_, episodes.length)
    assert episodes.length.min() >= 8 and episodes.length.max() <= 11
    assert len(np.unique(episodes.length)) > 1


def test_evaluate_stops_at_its_horizon_and_says_so():
    env, params = envs.make("CartPole-v1")
    right = Policy(lambda: (), lambda obs, carry, key: (jnp.int32(1), carry))
    episodes = evaluate(right, env, params, jax.random.key(0), 4, max_steps=5)
    assert not episodes.done.any()
    np.testing.assert_array_equal(episodes.return_, 5.0)


def test_evaluate_carries_the_policys_memory():
    """A policy that counts its own steps and turns right from the third on."""
    env, params = envs.make("CartPole-v1")
    policy = Policy(
        lambda: jnp.int32(0),
        lambda obs, carry, key: ((carry >= 3).astype(jnp.int32), carry + 1),
    )
    always_left = Policy(lambda: (), lambda obs, carry, key: (jnp.int32(0), carry))
    key = jax.random.key(0)
    turning = evaluate(policy, env, params, key, 8, max_steps=40)
    assert turning.length.mean() > evaluate(always_left, env, params, key, 8, max_steps=40).length.mean()


def test_bad_arguments_are_named(algorithm):
    with pytest.raises(ValueError, match="`num_episodes` must be at least 1"):
        evaluate(algorithm.policy(None), *envs.make("CartPole-v1"), jax.random.key(0), 0)
    with pytest.raises(ValueError, match="`eval_env` must be given"):
        train(algorithm._replace(env=None), jax.random.key(0), 160)


def test_the_horizon_follows_concrete_parameters():
    env, params = envs.make("CartPole-v1")
    short = params.replace(max_steps=jnp.int32(3))
    algorithm = ppo.make(env, short, CONFIG)
    _, history = jax.jit(lambda key: train(algorithm, key, 64, evaluations=1))(jax.random.key(0))
    np.testing.assert_array_equal(history.episode_length, 3)
    right = Policy(lambda: (), lambda obs, carry, key: (jnp.int32(1), carry))
    lengths = jax.vmap(lambda p: evaluate(right, env, p, jax.random.key(0), 4).length)(
        jax.tree.map(lambda a, b: jnp.stack([a, b]), params, short)
    )
    assert (lengths[0] > 3).all() and (lengths[1] == 3).all()


@pytest.mark.parametrize("max_steps", [1, 63, 64, 65, 127, 200, 500])
def test_blocks_of_an_evaluation_end_exactly_at_the_horizon(max_steps):
    """Pushing towards the pole's side balances some episodes past each block, and none for ever."""
    env, params = envs.make("CartPole-v1")
    policy = Policy(
        lambda: (), lambda obs, carry, key: ((obs[2] + 0.2 * obs[3] > 0).astype(jnp.int32), carry)
    )
    key = jax.random.key(0)
    whole = evaluate(policy, env, params, key, 16, max_steps=500)
    cut = evaluate(policy, env, params, key, 16, max_steps=max_steps)
    np.testing.assert_array_equal(cut.length, np.minimum(whole.length, max_steps))
    np.testing.assert_array_equal(cut.return_, cut.length)
    np.testing.assert_array_equal(cut.done, whole.length <= max_steps)


def test_a_run_that_outlasts_its_learning_rate_is_refused():
    env, params = envs.make("CartPole-v1")
    with pytest.raises(ValueError, match=r"config\.total_steps = 100, .* got 160; set total_steps=160"):
        train(ppo.make(env, params, CONFIG.replace(total_steps=100.0)), jax.random.key(0), 160)
    constant = CONFIG.replace(total_steps=100.0, anneal_learning_rate=False)
    jax.eval_shape(lambda key: train(ppo.make(env, params, constant), key, 160), jax.random.key(0))


def test_evaluation_draws_from_a_stream_of_its_own():
    key_init, key_eval = split_key(jax.random.key(0))
    data = [jax.random.key_data(k) for k in (key_init, key_eval, evaluation_key(key_eval, 0))]
    assert len({tuple(np.asarray(d).tolist()) for d in data}) == 3
