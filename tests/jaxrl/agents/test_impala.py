"""IMPALA: which parameters act, and what V-trace makes of their data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.spaces import Box, Discrete
from jaxrl.agents import a2c, impala, on_policy
from jaxrl.agents.actor_critic import make_model


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_the_parameters_that_act_are_lag_updates_old(lag):
    """The state keeps them, and the divergence between the two policies is measured."""
    config = impala.Config(num_envs=4, num_steps=8, hidden_sizes=(8,), learning_rate=0.02, lag=lag)
    world = envs.make("CartPole-v1")
    algorithm, learner = impala.make(*world, config), on_policy.make(*world, config)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    step, collect = jax.jit(algorithm.step), jax.jit(learner.collect)
    log_prob = jax.jit(
        lambda params, rollout: learner.model.actor(params, rollout.x).log_prob(rollout.action.ravel())
    )
    history = []
    for t in range(5):
        history.append(state.params)
        acting = history[max(t - lag, 0)]
        collected, rollout = collect(jax.random.split(state.key)[0], state.replace(params=acting))
        after, metrics = step(state, jnp.int32(t))
        for name in ("vec_state", "obs"):
            ours, expected = (jax.tree.leaves(getattr(s, name)) for s in (after, collected))
            for x, y in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(x, y)
        log_ratio = log_prob(state.params, rollout) - rollout.log_prob.ravel()
        expected = np.mean(np.expm1(log_ratio) - log_ratio)
        np.testing.assert_allclose(metrics["behaviour_kl"], expected, rtol=1e-3, atol=1e-7)
        assert (float(metrics["behaviour_kl"]) > 1e-6) == (lag > 0 and t > 0)
        state = after


def test_its_loss_is_a_sum():
    config = impala.Config(hidden_sizes=(8,))
    model = make_model(Box(-1.0, 1.0, (2,)), Discrete(3), config)
    params = jax.jit(model.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 3)
    x, numbers = jax.random.normal(keys[0], (12, 2)), jax.random.normal(keys[1], (4, 12))
    action = jax.random.randint(keys[2], (12,), 0, 3)
    batch = on_policy.Batch(x, action, *numbers)
    total, parts = impala.loss(params, model, batch, config)
    mean, same = a2c.loss(params, model, batch, a2c.Config(entropy_coefficient=0.01))
    np.testing.assert_allclose(total, 12 * mean, rtol=1e-5)
    np.testing.assert_allclose(parts["value_loss"], same["value_loss"], rtol=1e-6)
