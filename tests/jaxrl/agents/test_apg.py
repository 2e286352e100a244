"""APG: its gradient against finite differences, its loss against a loop, and what it refuses."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax.flatten_util import ravel_pytree

import envs
import jaxrl
from envs.core import Step
from envs.spaces import Box
from jaxrl.agents import apg, on_policy
from jaxrl.agents.actor_critic import join, split

SMALL = apg.Config(
    num_envs=4, num_steps=12, hidden_sizes=(8,), num_epochs=1, num_minibatches=1, gamma=0.9, polyak_tau=0.3
)


@struct.dataclass
class Place:
    x: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Line:
    """A point that is pushed towards the origin; it terminates beyond 0.3 and is truncated after 5 steps."""

    id: str = "Line"

    def default_params(self):
        return jnp.float32(0.3)

    def observation_space(self, params):
        return Box(-2.0, 2.0, (1,))

    def action_space(self, params):
        return Box(-1.0, 1.0, (1,))

    def reset(self, key, params):
        x = jax.random.uniform(key, (), minval=-0.3, maxval=0.3)
        return Place(x, jnp.int32(0)), x[None]

    def step(self, key, state, action, params):
        state = Place(state.x + 0.2 * action[0], state.t + 1)
        terminated = jnp.abs(state.x) > params
        return state, Step(state.x[None], -jnp.square(state.x), terminated, (state.t >= 5) & ~terminated)

    def time_limit(self, params):
        return jnp.int32(5)


def test_the_gradient_is_that_of_finite_differences():
    """Through twelve steps of Pendulum, sampled actions and the critic's value of where they lead."""
    world = envs.make("Pendulum-v1")
    algorithm, learner = apg.make(*world, SMALL), on_policy.make(*world, SMALL)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    actor, unravel = ravel_pytree(split(state.params)[0])
    # Away from the symmetry of the initial policy, where the means are near zero.
    actor = actor + 0.2 * jax.random.normal(jax.random.key(1), actor.shape)

    @jax.jit
    def loss(flat):
        return apg.loss(unravel(flat), learner, jax.random.key(2), state, SMALL)[0]

    gradient = np.asarray(jax.jit(jax.grad(loss))(actor), np.float64)
    assert np.linalg.norm(gradient) > 0.1
    for i in range(4):
        direction = jax.random.normal(jax.random.key(10 + i), actor.shape)
        direction = direction / jnp.linalg.norm(direction)
        if i == 0:
            direction = jnp.float32(gradient / np.linalg.norm(gradient))
        step = 3e-3
        difference = (float(loss(actor + step * direction)) - float(loss(actor - step * direction))) / (
            2 * step
        )
        np.testing.assert_allclose(gradient @ direction, difference, rtol=0.02, atol=0.02)


def test_stretches_end_as_episodes_do():
    """Terminated ones without a value, others with the target critic's of the true next observation."""
    env = Line()
    learner = on_policy.make(env, env.default_params(), SMALL)
    algorithm = apg.make(env, env.default_params(), SMALL)

    @jax.jit
    def run(key):
        state = algorithm.init(key)
        state = state.replace(own=jax.tree.map(lambda x: x + 0.3, state.own))
        actor = split(state.params)[0]
        total, (_, rollout, next_value, _) = apg.loss(actor, learner, key, state, SMALL)
        target = learner.model.critic(join(actor, state.own), rollout.next_x)
        return total, rollout, next_value, target

    total, rollout, next_value, target = run(jax.random.key(4))
    terminated, truncated = np.asarray(rollout.terminated), np.asarray(rollout.truncated)
    np.testing.assert_allclose(next_value[~terminated], target[~terminated], rtol=1e-5)
    reward, target = np.asarray(rollout.reward), np.asarray(target)
    assert terminated.any() and truncated.any()
    expected = 0.0
    for b in range(4):
        discount = 1.0
        for t in range(12):
            expected += discount * reward[t, b]
            discount *= 0.9
            if truncated[t, b] or (t == 11 and not terminated[t, b]):
                expected += discount * target[t, b]
            if terminated[t, b] or truncated[t, b]:
                discount = 1.0
    np.testing.assert_allclose(total, -expected / 48, rtol=1e-4)


def test_the_target_critic_follows_slowly():
    env = Line()
    algorithm = apg.make(env, env.default_params(), SMALL.replace(critic_learning_rate=0.1))
    state = jax.jit(algorithm.init)(jax.random.key(0))
    after, metrics = jax.jit(algorithm.step)(state, jnp.int32(0))

    def check(slow, old, new):
        np.testing.assert_allclose(slow, 0.7 * old + 0.3 * new, atol=1e-6)

    jax.tree.map(check, after.own, state.own, split(after.params)[1])
    assert float(metrics["grad_norm"]) > 0


def test_discrete_actions_are_refused():
    message = "`env` must have continuous actions.*'CartPole-v1' takes Discrete; jaxrl.agents.ppo serves"
    with pytest.raises(ValueError, match=message):
        apg.make(*envs.make("CartPole-v1"), apg.Config())


def test_what_cannot_be_differentiated_is_refused_by_name():
    with pytest.raises(ValueError, match=r"`segment_length` must be None or num_steps = 12, .*, got 4"):
        apg.make(Line(), Line().default_params(), SMALL.replace(segment_length=4))
    env, params = envs.make("gymnasium/Pendulum-v1")
    algorithm = apg.make(env, params, SMALL)
    with pytest.raises(ValueError, match=r"`env` must be differentiable, .* leaves the program for the host"):
        jax.eval_shape(lambda key: algorithm.step(algorithm.init(key), 0), jax.random.key(0))


def test_it_holds_a_point_at_the_origin():
    """From anywhere within 0.3 it is at 0 after two steps; what is lost before is under 0.02."""
    env = Line()
    config = SMALL.replace(num_envs=16, num_steps=5, num_epochs=2, total_steps=16_000.0)
    algorithm = apg.make(env, env.default_params(), config)
    run = jax.jit(jax.vmap(lambda key: jaxrl.train(algorithm, key, 16_000, evaluations=1, log_points=1)))
    _, history = run(jax.random.split(jax.random.key(0), 8))
    assert history.episode_length.min() == 5
    assert history.episode_return.mean() > -0.03
