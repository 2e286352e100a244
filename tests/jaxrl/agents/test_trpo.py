"""TRPO: its direction by an explicit Fisher matrix, the bound on the divergence, no step if none fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from envs.spaces import Box, Discrete
from jaxrl.agents import on_policy, trpo
from jaxrl.agents.actor_critic import join, make_model, split


def problem(actions, **fields):
    """A policy of few parameters on two numbers, and samples of it with random advantages."""
    config = trpo.Config(hidden_sizes=(3,), cg_steps=40, cg_damping=1e-2, **fields)
    model = make_model(Box(-1.0, 1.0, (2,)), actions, config)
    keys = jax.random.split(jax.random.key(3), 5)
    params = jax.jit(model.init)(keys[0])
    leaves, structure = jax.tree.flatten(params)
    noise = jax.random.split(keys[4], len(leaves))
    pairs = zip(leaves, noise, strict=True)
    params = jax.tree.unflatten(structure, [x + 0.3 * jax.random.normal(k, x.shape) for x, k in pairs])
    x = jax.random.normal(keys[1], (64, 2))
    action, log_prob = model.actor(params, x).sample_and_log_prob(seed=keys[2])
    advantage = jax.random.normal(keys[3], (64,))
    zeros = jnp.zeros(64)
    return params, model, on_policy.Batch(x, action, log_prob, zeros, advantage, zeros), config


def assess(before, after, model, batch):
    """Return the divergence of two policies and the surrogate's gain, by NumPy from log-probabilities."""
    old, new = model.actor(before, batch.x), model.actor(after, batch.x)
    kl = np.mean(old.kl_divergence(new))
    ratio = np.exp(np.asarray(new.log_prob(batch.action) - batch.log_prob, np.float64))
    return kl, np.mean(ratio * batch.advantage) - np.mean(batch.advantage)


ACTIONS = [Discrete(3), Box(-1.0, 1.0, (2,))]


@pytest.mark.parametrize("actions", ACTIONS, ids=["categorical", "gaussian"])
def test_the_step_solves_the_fisher_system_and_stays_within_the_bound(actions):
    params, model, batch, config = problem(actions)
    after, metrics = jax.jit(lambda p, b: trpo.improve(p, model, b, config))(params, batch)
    actor, critic = split(params)
    flat, unravel = ravel_pytree(actor)

    def divergence(theta):
        new = model.actor(join(unravel(theta), critic), batch.x)
        return jnp.mean(model.actor(params, batch.x).kl_divergence(new))

    def surrogate(theta):
        new = model.actor(join(unravel(theta), critic), batch.x)
        return jnp.mean(jnp.exp(new.log_prob(batch.action) - batch.log_prob) * batch.advantage)

    fisher = np.asarray(jax.jit(jax.hessian(divergence))(flat), np.float64) + 1e-2 * np.eye(len(flat))
    gradient = np.asarray(jax.grad(surrogate)(flat), np.float64)
    direction = np.linalg.solve(fisher, gradient)
    longest = np.sqrt(2 * 0.01 / (direction @ fisher @ direction)) * direction
    moved = np.asarray(ravel_pytree(split(after)[0])[0] - flat, np.float64)
    np.testing.assert_allclose(moved, float(metrics["step_size"]) * longest, rtol=5e-3, atol=2e-4)
    kl, gain = assess(params, after, model, batch)
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(metrics["surrogate_gain"], gain, rtol=1e-3, atol=1e-5)
    assert 0.004 < kl <= 0.01 and gain > 0 and float(metrics["accepted"]) == 1.0
    jax.tree.map(np.testing.assert_array_equal, split(after)[1], critic)


def test_the_line_search_shortens_what_the_quadratic_model_makes_too_long():
    """Within a bound so wide that the divergence is far from quadratic, the bound still holds, exactly."""
    params, model, batch, config = problem(Discrete(3), target_kl=0.5, line_search_decay=0.7)
    after, metrics = jax.jit(lambda p, b: trpo.improve(p, model, b, config))(params, batch)
    kl, gain = assess(params, after, model, batch)
    assert kl <= 0.5 and gain > 0
    tried = 0.7 ** np.arange(10)
    assert np.isclose(tried, float(metrics["step_size"])).any()
    longer = float(metrics["step_size"]) / 0.7
    if longer <= 1.0:  # the step before it did not fit
        flat, unravel = ravel_pytree(split(params)[0])
        moved = ravel_pytree(split(after)[0])[0] - flat
        further = join(unravel(flat + moved / 0.7), split(params)[1])
        kl, gain = assess(params, further, model, batch)
        assert kl > 0.5 or gain <= 0


def test_no_step_is_taken_where_none_helps():
    """Without advantages there is no direction: parameters stay as they are, bit for bit, and finite."""
    params, model, batch, config = problem(Discrete(3))
    nothing = batch.replace(advantage=jnp.zeros(64))
    after, metrics = jax.jit(lambda p, b: trpo.improve(p, model, b, config))(params, nothing)
    jax.tree.map(np.testing.assert_array_equal, after, params)
    assert float(metrics["accepted"]) == 0.0 and all(np.isfinite(x) for x in metrics.values())


def test_a_step_that_is_refused_leaves_the_parameters_even_where_its_direction_is_infinite():
    params, model, batch, config = problem(Discrete(3))
    endless = batch.replace(advantage=jnp.full(64, 1e30).at[0].set(jnp.inf))
    after, metrics = jax.jit(lambda p, b: trpo.improve(p, model, b, config))(params, endless)
    assert float(metrics["accepted"]) == 0.0
    jax.tree.map(np.testing.assert_array_equal, after, params)
