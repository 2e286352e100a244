"""A2C: a whole iteration against NumPy, and PPO's first step as its special case."""

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.spaces import Box, Discrete
from jaxrl.agents import a2c, on_policy, ppo
from jaxrl.agents.actor_critic import make_model


def random_batch(model, params, size=12):
    """Samples of a policy on two numbers, with random advantages and targets."""
    keys = jax.random.split(jax.random.key(5), 4)
    x = jax.random.normal(keys[0], (size, 2))
    action, log_prob = model.actor(params, x).sample_and_log_prob(seed=keys[1])
    advantage, target = jax.random.normal(keys[2], (2, size))
    value = model.critic(params, x)
    return on_policy.Batch(x, action, log_prob, value, advantage, target)


def test_its_gradient_is_that_of_ppos_first_step():
    """Huang et al. (2022), "A2C is a special case of PPO"."""
    config = a2c.Config(hidden_sizes=(8,), entropy_coefficient=0.02, value_coefficient=0.7)
    model = make_model(Box(-1.0, 1.0, (2,)), Discrete(3), config)
    params = jax.jit(model.init)(jax.random.key(0))
    batch = random_batch(model, params)
    same = ppo.Config(
        hidden_sizes=(8,),
        entropy_coefficient=0.02,
        value_coefficient=0.7,
        normalize_advantages=False,
    )
    ours, theirs = (
        jax.grad(loss, has_aux=True)(params, model, batch, c)[0]
        for loss, c in ((a2c.loss, config), (ppo.loss, same))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)
    assert max(np.abs(g).max() for g in jax.tree.leaves(ours)) > 1e-2


def test_an_iteration_is_one_clipped_step_of_rmsprop():
    config = a2c.Config(num_envs=3, num_steps=12, hidden_sizes=(8,), max_grad_norm=0.1, learning_rate=0.01)
    env, params = envs.make("CartPole-v1")
    params = params.replace(max_steps=jnp.int32(7))
    algorithm, learner = a2c.make(env, params, config), on_policy.make(env, params, config)

    @jax.jit
    def run(key):
        before = algorithm.init(key)
        after, _ = algorithm.step(before, jnp.int32(0))
        _, rollout = learner.collect(jax.random.split(before.key)[0], before)
        value, next_value = learner.values(before.params, rollout)
        advantage, target = on_policy.advantages(rollout, value, next_value, 0.99, 1.0)
        batch = learner.batch(rollout, value, advantage, target)
        gradient, _ = jax.grad(a2c.loss, has_aux=True)(before.params, learner.model, batch, config)
        return before.params, after.params, gradient, rollout

    before, after, gradient, rollout = run(jax.random.key(0))
    assert rollout.truncated.any()
    norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(gradient)))
    assert norm > 0.1

    def check(p, q, g):
        clipped = np.asarray(g, np.float64) * 0.1 / norm
        expected = p - 0.01 * clipped / (np.sqrt(0.01 * clipped**2) + 1e-5)
        np.testing.assert_allclose(q, expected, atol=1e-5)

    jax.tree.map(check, before, after, gradient)
