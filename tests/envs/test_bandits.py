"""The Bernoulli bandit: pays as often as its arms say, and knows its regret."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.bandits import BernoulliBandit
from envs.tabular import extract


def pull(env, params, arm, pulls, seed=0):
    state, _ = env.reset(jax.random.key(seed), params)
    keys = jax.random.split(jax.random.key(seed), pulls)
    return jax.jit(jax.vmap(lambda key: env.step(key, state, arm, params)[1]))(keys)


def test_arms_pay_with_their_probabilities():
    env = BernoulliBandit(num_arms=3)
    params = env.default_params().replace(probabilities=jnp.array([0.05, 0.08, 0.12]))
    for arm, chance in enumerate([0.05, 0.08, 0.12]):
        out = pull(env, params, jnp.int32(arm), 20_000)
        np.testing.assert_allclose(
            np.mean(out.reward), chance, atol=5 * np.sqrt(chance * (1 - chance) / 20_000)
        )
        assert set(np.unique(out.reward)) == {0.0, 1.0}
        np.testing.assert_allclose(out.metrics["regret"], 0.12 - chance, atol=1e-7)
        assert np.all(np.asarray(out.metrics["optimal"]) == (arm == 2))


def test_certain_arms_are_certain():
    env = BernoulliBandit(num_arms=2)
    params = env.default_params().replace(probabilities=jnp.array([0.0, 1.0]))
    assert np.all(np.asarray(pull(env, params, 0, 1000).reward) == 0)
    assert np.all(np.asarray(pull(env, params, 1, 1000).reward) == 1)


def test_episode_is_truncated_after_max_steps_and_never_terminated():
    env, params = envs.make("BernoulliBandit-v1")
    params = params.replace(max_steps=jnp.int32(3))
    state, obs = env.reset(jax.random.key(0), params)
    ends = []
    for t in range(3):
        state, out = env.step(jax.random.key(t), state, jnp.int32(t), params)
        ends.append((bool(out.terminated), bool(out.truncated)))
        assert int(out.obs) == int(obs) == 0
    assert ends == [(False, False), (False, False), (False, True)]
    assert envs.time_limit(env, params) == 3


def test_arms_persist_across_episodes_unless_drawn():
    env, params = envs.make("BernoulliBandit-v1", num_arms=4)
    params = params.replace(probabilities=jnp.array([1.0, 0.0, 0.0, 0.0]), max_steps=jnp.int32(2))
    vec = envs.VecEnv(env, 8)
    state, _ = vec.reset(jax.random.key(0), params)
    step = jax.jit(vec.step)
    for t in range(6):
        state, out = step(jax.random.key(t), state, jnp.zeros(8, jnp.int32), params)
        assert np.all(np.asarray(out.reward) == 1)
    assert np.all(np.asarray(out.episode.metrics["optimal"]) == 2) and np.all(np.asarray(out.episode.done))
    drawn = [env.draw(jax.random.key(seed), params).probabilities for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert drawn[0].shape == (4,) and drawn[0].dtype == jnp.float32


def test_dtypes_survive_a_step():
    env, params = envs.make("BernoulliBandit-v1")
    state, obs = jax.jit(env.reset)(jax.random.key(0), params)
    after, out = jax.jit(env.step)(jax.random.key(1), state, jnp.int32(0), params)

    def types(tree):
        return jax.tree.map(lambda x: (x.dtype, x.weak_type, x.shape), tree)

    assert types(state) == types(after) and types(obs) == types(out.obs)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, out, params)))


def test_model_is_one_state():
    env, params = envs.make("BernoulliBandit-v1", num_arms=3)
    mdp = extract(env, params)
    np.testing.assert_allclose(mdp.R[0], params.probabilities, atol=1e-7)
    np.testing.assert_allclose(mdp.P, np.ones((1, 3, 1)), atol=1e-6)
    assert not np.any(mdp.terminal)


def test_ascii_marks_the_last_pull():
    env, params = envs.make("BernoulliBandit-v1", num_arms=2)
    params = params.replace(probabilities=jnp.array([0.25, 1.0]))
    state, _ = env.step(jax.random.key(0), env.reset(jax.random.key(0), params)[0], jnp.int32(1), params)
    assert env.ascii(state, params).split() == ["0.25", "[1.00:1]"]
    assert env.frame(state, params).shape == (240, 160, 3)


def test_no_arm_is_refused():
    with pytest.raises(ValueError, match="`num_arms` must be at least 1, got 0"):
        BernoulliBandit(num_arms=0)
