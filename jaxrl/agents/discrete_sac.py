"""Soft actor-critic for discrete actions: every expectation over actions is a sum.

Source: Christodoulou (2019), https://arxiv.org/abs/1910.07207; the defaults are those of CleanRL's
sac_atari.py. It departs from it in that losses are sums over actions, as in the paper, where CleanRL takes
means.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jax.core import Tracer

from envs.core import Environment, Params
from jaxrl import ops
from jaxrl.agents import inputs, off_policy, sac
from jaxrl.agents import replay_actor_critic as shared
from jaxrl.agents.off_policy import Batch
from jaxrl.agents.replay_actor_critic import Critics, Networks
from jaxrl.algorithm import Algorithm, num_actions
from jaxrl.config import static, traced
from jaxrl.distributions import Categorical
from jaxrl.nets import encoded_shape
from jaxrl.ops import soft_values
from jaxrl.ops.values import select

# Share of the largest entropy, log A, that the temperature is learned for by default; as CleanRL.
TARGET_ENTROPY_SCALE = 0.89


@struct.dataclass
class Config(sac.Config):
    """Hyperparameters of discrete SAC."""

    critic_learning_rate: float | None = traced(3e-4, ge=0)
    """Step size of the optimisers of the critics and of the temperature."""
    target_entropy: float | None = traced(None)
    """Entropy in nats that the temperature is learned for; by default 0.89 of the largest, log A."""
    adam_epsilon: float = traced(1e-4, gt=0)
    """Adam's epsilon."""
    polyak_tau: float = traced(1.0, gt=0, le=1)
    """How far the target critics move towards the online ones at each of their updates; 1 copies them."""
    total_steps: float = traced(5_000_000.0, gt=0)
    """Environment steps that schedules run over; the length of the training."""
    num_steps: int = static(4, ge=1)
    """Steps of each environment an iteration."""
    batch_size: int = static(64, ge=1)
    """Transitions of a gradient step."""
    learning_starts: int = static(20_000, ge=1)
    """Environment steps, with random actions, before the first gradient step."""
    policy_delay: int = static(1, ge=1)
    """Gradient steps of the critics for one update of the policy."""
    target_update_period: int = static(8_000, ge=1)
    """Environment steps between updates of the target critics."""


class Model(NamedTuple):
    """The policy and the critics.

    Attributes:
      actor: `(params, x) -> logits [B, A]`.
      critics: N of them, with a value for each action.
    """

    actor: Callable[[Any, jax.Array], jax.Array]
    critics: Critics


def critic_target(
    networks: Networks, target_critic: Any, model: Model, batch: Batch, key: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """Return the targets of a batch, and the entropies of the policy at s', `[B]` each.

        r + discount * sum_a pi(a | s') (min_n Q_n(s', a) - temperature * log pi(a | s'))

    The minimum is over `num_target_critics` of them, Q_n of the target network.
    """
    q = model.critics.values(target_critic, batch.next_x)
    q = soft_values.subset_minimum(q, config.num_target_critics, key)
    logits = model.actor(networks.actor, batch.next_x)
    value = soft_values.expected_soft_value(logits, q, jnp.exp(networks.log_temperature))
    target = lax.stop_gradient(batch.reward + batch.discount * value)
    return target, ops.categorical_entropy(logits)


def critic_loss(
    params: Any, critics: Critics, batch: Batch, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the sum over critics of the mean squared error, and the errors' means over critics, `[B]`."""
    q = critics.values(params, batch.x)
    return shared.squared_error(jax.vmap(select, in_axes=(0, None))(q, batch.action), batch, target)


def actor_loss(
    actor: Any, networks: Networks, model: Model, x: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """Return `mean(sum_a pi(a | s) (temperature * log pi(a | s) - Q(s, a)))`, and the entropies `[B]`."""
    logits = model.actor(actor, x)
    q = model.critics.values(networks.critic, x)
    q = jnp.min(q, axis=0) if config.pessimistic_actor else jnp.mean(q, axis=0)
    value = soft_values.expected_soft_value(logits, q, jnp.exp(networks.log_temperature))
    return -jnp.mean(value), ops.categorical_entropy(logits)


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return discrete SAC on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, the actions are
        not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    count = num_actions(env, params)
    x_shape = encoded_shape(env.observation_space(params), flatten=not config.channels)
    network = shared.make_actor(config, count)
    critics = shared.make_critics(config, x_shape, count, per_action=True)
    optimizer = off_policy.adam(config)
    target_entropy, largest = config.target_entropy, math.log(count)
    if target_entropy is None:
        target_entropy = TARGET_ENTROPY_SCALE * largest
    elif not isinstance(target_entropy, Tracer) and np.any(np.greater(target_entropy, largest)):
        raise ValueError(
            f"`target_entropy` must be at most log {count} = {largest:.4g}, that of {count} equal actions, "
            f"got {np.max(target_entropy):.4g}: the temperature would grow without bound"
        )

    def actor(model_params, x) -> Any:
        return network.apply(model_params, x)

    model = Model(actor, critics)

    def act(networks, x, memory, key, t):
        def random(key):
            return jax.random.randint(key, (config.num_envs,), 0, count)

        def draw(key):
            return Categorical(actor(networks.actor, x)).sample(seed=key)

        return shared.random_first(config, t, random, draw, key), (), memory

    losses = sac.Losses(
        target=lambda networks, target_critic, batch, key: critic_target(
            networks, target_critic, model, batch, key, config
        ),
        critic=lambda critic, batch, target: critic_loss(critic, critics, batch, target),
        actor=lambda actor, networks, x, key: actor_loss(actor, networks, model, x, config),
    )

    def sync(weights, t):
        return replace(
            weights,
            target_params=off_policy.update_target(
                weights.params.critic, weights.target_params, t, config.target_update_period, config
            ),
        )

    def health(weights, x):
        action = jnp.argmax(actor(weights.params.actor, x), axis=-1)

        def values(critic):
            return jax.vmap(select, in_axes=(0, None))(critics.values(critic, x), action)

        return shared.health(
            values(weights.params.critic),
            values(weights.target_params),
            critics.dead_units(weights.params.critic, x),
        )

    def greedy(networks, x, memory):
        return jnp.argmax(actor(networks.actor, x), axis=-1).astype(jnp.int32), memory

    learner = off_policy.Learner(
        init=partial(sac.init_weights, network, critics, optimizer, x_shape, config),
        act=act,
        update=sac.make_update(losses, optimizer, target_entropy, config),
        health=health,
        greedy=greedy,
        sync=sync,
    )
    return off_policy.make(env, params, config, learner)
