"""TD3: a deterministic policy, with twin critics, delayed policy updates and smoothed target actions.

Source: Fujimoto et al. (2018), "Addressing Function Approximation Error in Actor-Critic Methods",
https://arxiv.org/abs/1802.09477, algorithm 1; the defaults are CleanRL's td3_continuous_action_jax.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import inputs, off_policy
from jaxrl.agents import replay_actor_critic as shared
from jaxrl.agents.off_policy import Batch, Weights
from jaxrl.agents.replay_actor_critic import Critics, Networks
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.nets import encoded_shape
from jaxrl.ops import soft_values as ops
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config(shared.Config):
    """Hyperparameters of TD3; noise is in units of actions in [-1, 1]."""

    exploration_noise: float = traced(0.1, ge=0)
    """Standard deviation of the noise added to actions while learning."""
    target_noise: float = traced(0.2, ge=0)
    """Standard deviation of the noise added to the actions in targets."""
    target_noise_clip: float = traced(0.5, ge=0)
    """Bound of that noise."""
    learning_starts: int = static(25_000, ge=1)
    """Environment steps, with random actions, before the first gradient step."""


class Model(NamedTuple):
    """The policy and the critics.

    Attributes:
      actor: `(params, x) -> action` in [-1, 1]^D.
      critics: N of them.
    """

    actor: Callable[[Any, jax.Array], jax.Array]
    critics: Critics


def critic_target(targets: Networks, model: Model, batch: Batch, key: jax.Array, config: Config) -> jax.Array:
    """Return the targets of a batch, `[B]`.

        r + discount * min_n Q'_n(s', clip(pi'(s') + clip(noise, -c, c), -1, 1))

    Both Q' and pi' are of the target networks, c is `target_noise_clip`.
    """
    key_noise, key_subset = jax.random.split(key)
    action = model.actor(targets.actor, batch.next_x)
    noise = config.target_noise * bulk(jax.random.normal, key_noise, len(action), action.shape[1:])
    action = ops.smoothed_action(action, noise, config.target_noise_clip)
    q = model.critics.values(targets.critic, batch.next_x, action)
    q = ops.subset_minimum(q, config.num_target_critics, key_subset)
    return jax.lax.stop_gradient(batch.reward + batch.discount * q)


def actor_loss(actor: Any, critic: Any, model: Model, x: jax.Array) -> tuple[jax.Array, None]:
    """Return `-mean(Q_1(s, pi(s)))`, of the first critic."""
    first = jax.tree.map(lambda leaf: leaf[:1], critic)
    return -jnp.mean(model.critics.values(first, x, model.actor(actor, x))), None


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return TD3 on `env`, whose actions must be a bounded `Box`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, the actions
        cannot be served, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    scale = shared.action_scale(env, params)
    x_shape = encoded_shape(env.observation_space(params), flatten=not config.channels)
    network = shared.make_actor(config, scale.size)
    critics = shared.make_critics(config, x_shape, scale.size, per_action=False)
    optimizer = off_policy.adam(config)

    def actor(model_params, x):
        return jnp.tanh(network.apply(model_params, x))  # type: ignore[arg-type]

    model = Model(actor, critics)

    def init(key):
        key_actor, key_critic = jax.random.split(key)
        networks = Networks(
            actor={"params": network.init(key_actor, jnp.zeros(x_shape))["params"]},
            critic=critics.init(key_critic),
        )
        opt_state = Networks(optimizer.init(networks.actor), optimizer.init(networks.critic))
        return Weights(networks, networks, opt_state)

    def act(networks, x, memory, key, t):
        shape = (config.num_envs, scale.size)

        def random(key):
            return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

        def draw(key):
            noise = config.exploration_noise * jax.random.normal(key, shape)
            return jnp.clip(actor(networks.actor, x) + noise, -1.0, 1.0)

        return scale.to_env(shared.random_first(config, t, random, draw, key)), (), memory

    def update(weights, batch, key, count):
        networks, opt = weights.params, weights.opt_state
        actor_rate, critic_rate = shared.learning_rates(config, count)
        target = critic_target(weights.target_params, model, batch, key, config)
        action = scale.from_env(batch.action)
        critic, opt_critic, loss, errors, grad_norm = shared.descend(
            optimizer,
            lambda critic: shared.critic_loss(critic, critics, batch, action, target),
            networks.critic,
            opt.critic,
            critic_rate,
        )

        def improve(weights):
            """Return the weights after a step of the actor and of all target networks."""
            actor_params, opt_actor, *_ = shared.descend(
                optimizer,
                lambda actor: actor_loss(actor, critic, model, batch.x),
                weights.params.actor,
                weights.opt_state.actor,
                actor_rate,
            )
            networks: Any = Networks(actor_params, critic)
            targets = optax.incremental_update(networks, weights.target_params, config.polyak_tau)
            return (Weights(networks, targets, Networks(opt_actor, opt_critic)),)

        weights = Weights(
            Networks(networks.actor, critic), weights.target_params, Networks(opt.actor, opt_critic)
        )
        (weights,) = shared.every(config.policy_delay, count, improve, weights)
        return weights, errors, {"loss": loss, "grad_norm": grad_norm}

    def health(weights, x):
        action = actor(weights.params.actor, x)
        return shared.health(
            critics.values(weights.params.critic, x, action),
            critics.values(weights.target_params.critic, x, action),
            critics.dead_units(weights.params.critic, x, action),
        )

    def greedy(networks, x, memory):
        return scale.to_env(actor(networks.actor, x)), memory

    def value(networks, x, memory):
        return jnp.min(critics.values(networks.critic, x, actor(networks.actor, x)), axis=0)

    learner = off_policy.Learner(init=init, act=act, update=update, health=health, greedy=greedy, value=value)
    return off_policy.make(env, params, config, learner)
