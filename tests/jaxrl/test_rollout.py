"""The memory of a policy in the environment loop."""

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.vector import VecEnv
from jaxrl.rollout import unroll


def test_memory_starts_anew_with_each_episode():
    """A carry that counts steps equals the environment's own count, across resets."""
    env, params = envs.make("CartPole-v1")
    vec = VecEnv(env, 8, time_limit=11)
    vec_state, obs = vec.reset(jax.random.key(0), params)

    def act(key, obs, carry):
        return jax.random.bernoulli(key, 0.5, (8,)).astype(jnp.int32), carry, carry + 1

    run = jax.jit(unroll, static_argnames=("vec", "act", "num_steps"))
    zeros = jnp.zeros(8, jnp.int32)
    *_, carry, out = run(vec, params, act, jax.random.key(1), vec_state, obs, zeros, 60, zeros)
    assert out.episode.done.sum() > 20
    np.testing.assert_array_equal(out.extras + 1, out.episode.length)
    np.testing.assert_array_equal(carry, np.where(out.episode.done[-1], 0, out.episode.length[-1]))
    *_, carry, _ = run(vec, params, act, jax.random.key(1), vec_state, obs, zeros, 60)
    np.testing.assert_array_equal(carry, 60)
