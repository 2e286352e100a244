"""Soft actor-critic: a squashed Gaussian policy that maximises value and entropy.

Source: Haarnoja et al. (2018), https://arxiv.org/abs/1812.05905, with a temperature that is learned. REDQ,
Chen et al. (2021), https://arxiv.org/abs/2101.05982, is `num_critics=10, num_updates=20,
pessimistic_actor=False`; DroQ, Hiraoka et al. (2022), https://arxiv.org/abs/2110.02034, is `num_updates=20,
layer_norm=True`, here without its dropout. The defaults are those of CleanRL's sac_continuous_action.py. It
departs from it in that entropies are those of actions in [-1, 1], as in the paper, and that a learned
temperature follows the draws of the actor's own update.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from envs.core import Environment, Params
from jaxrl.agents import inputs, off_policy
from jaxrl.agents import replay_actor_critic as shared
from jaxrl.agents.off_policy import Batch, Weights
from jaxrl.agents.replay_actor_critic import Critics, Networks
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.distributions import TanhGaussian
from jaxrl.nets import encoded_shape
from jaxrl.nets.estimator import Estimator
from jaxrl.ops import soft_values as ops
from jaxrl.ops.noise import bulk

# Between which the Gaussian's log standard deviation is squashed; as CleanRL.
LOG_STD_RANGE = (-5.0, 2.0)


@struct.dataclass
class Config(shared.Config):
    """Hyperparameters of SAC."""

    critic_learning_rate: float | None = traced(1e-3, ge=0)
    """Step size of the optimisers of the critics and of the temperature."""
    temperature: float = traced(1.0, gt=0)
    """Weight of the entropy, at the start if it is learned."""
    target_entropy: float | None = traced(None)
    """Entropy in nats, of actions in [-1, 1], that it is learned for; by default -1 a component."""
    learn_temperature: bool = static(True)
    """Whether the temperature is learned."""
    pessimistic_actor: bool = static(True)
    """Whether the policy climbs the critics' least value, or their mean as in REDQ."""


class Model(NamedTuple):
    """The policy and the critics.

    Attributes:
      actor: `(params, x) -> distribution` over [-1, 1]^D.
      critics: N of them.
    """

    actor: Callable[[Any, jax.Array], TanhGaussian]
    critics: Critics


class Losses(NamedTuple):
    """What distinguishes one soft actor-critic from another.

    Attributes:
      target: `(networks, target_critic, batch, key) -> (targets [B], entropies of the policy at s' [B])`.
      critic: `(critic, batch, target [B]) -> (loss, errors [B])`.
      actor: `(actor, networks, x, key) -> (loss, entropies [B])`.
    """

    target: Callable[..., tuple[jax.Array, jax.Array]]
    critic: Callable[..., tuple[jax.Array, jax.Array]]
    actor: Callable[..., tuple[jax.Array, jax.Array]]


def draw(policy: TanhGaussian, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return an action for each of B observations, `[B, D]`, and its log-density, `[B]`.

    Both are functions of the policy's parameters: noise is drawn first, in bulk.
    """
    mean = policy.gaussian.mean()
    noise = bulk(jax.random.normal, key, mean.shape[0], mean.shape[1:])
    latent = mean + policy.gaussian.stddev() * noise
    return policy.squash(latent), policy.log_prob_of_latent(latent)


def critic_target(
    networks: Networks, target_critic: Any, model: Model, batch: Batch, key: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """Return the targets of a batch, and the entropies drawn at s', `[B]` each.

        r + discount * (min_n Q_n(s', a') - temperature * log pi(a' | s')),    a' ~ pi(. | s')

    The minimum is over `num_target_critics` of them, Q_n of the target network.
    """
    key_action, key_subset = jax.random.split(key)
    action, log_prob = draw(model.actor(networks.actor, batch.next_x), key_action)
    q = model.critics.values(target_critic, batch.next_x, action)
    q = ops.subset_minimum(q, config.num_target_critics, key_subset)
    temperature = jnp.exp(networks.log_temperature)
    return ops.soft_target(batch.reward, batch.discount, q, log_prob, temperature), -log_prob


def actor_loss(
    actor: Any, networks: Networks, model: Model, x: jax.Array, key: jax.Array, config: Config
) -> tuple[jax.Array, jax.Array]:
    """Return `mean(temperature * log pi(a | s) - Q(s, a))`, a ~ pi(. | s), and the entropies drawn `[B]`."""
    action, log_prob = draw(model.actor(actor, x), key)
    q = model.critics.values(networks.critic, x, action)
    q = jnp.min(q, axis=0) if config.pessimistic_actor else jnp.mean(q, axis=0)
    return jnp.mean(jnp.exp(networks.log_temperature) * log_prob - q), -log_prob


def init_weights(
    network: Estimator,
    critics: Critics,
    optimizer: optax.GradientTransformation,
    x_shape: tuple[int, ...],
    config: Config,
    key: jax.Array,
) -> Weights:
    """Return networks at the start, with targets equal to them, and their optimisers."""
    key_actor, key_critic = jax.random.split(key)
    actor = {"params": network.init(key_actor, jnp.zeros(x_shape))["params"]}
    log_temperature = jnp.log(jnp.asarray(config.temperature, jnp.float32))
    networks = (actor, critics.init(key_critic), log_temperature)
    return Weights(Networks(*networks), networks[1], Networks(*map(optimizer.init, networks)))


def make_update(
    losses: Losses, optimizer: optax.GradientTransformation, target_entropy: Any, config: Config
) -> Callable:
    """Return SAC's gradient step without that of the target network; see `off_policy.Learner.update`.

    First the critics, then, where `policy_delay` divides the count, the actor and the temperature, which then
    make up for the updates that were left out.
    """

    def improve(networks, opt, x, key, rates):
        actor, opt_actor, _, entropy, _ = shared.descend(
            optimizer,
            lambda actor: losses.actor(actor, networks, x, key),
            networks.actor,
            opt.actor,
            rates[0],
        )
        networks, opt = replace(networks, actor=actor), replace(opt, actor=opt_actor)
        if not config.learn_temperature:
            return networks, opt
        log_temperature, opt_temperature, *_ = shared.descend(
            optimizer,
            lambda log: (jnp.mean(ops.temperature_loss(log, entropy, target_entropy)), None),
            networks.log_temperature,
            opt.log_temperature,
            rates[1],
        )
        return replace(networks, log_temperature=log_temperature), replace(
            opt, log_temperature=opt_temperature
        )

    def update(weights, batch, key, count):
        key_target, key_actor = jax.random.split(key)
        networks, opt = weights.params, weights.opt_state
        rates = shared.learning_rates(config, count)
        target, entropy = losses.target(networks, weights.target_params, batch, key_target)
        critic, opt_critic, loss, errors, grad_norm = shared.descend(
            optimizer,
            lambda critic: losses.critic(critic, batch, target),
            networks.critic,
            opt.critic,
            rates[1],
        )
        metrics = {
            "loss": loss,
            "grad_norm": grad_norm,
            "entropy": jnp.mean(entropy),
            "temperature": jnp.exp(networks.log_temperature),
        }

        def improve_all(networks, opt):
            keys = jax.random.split(key_actor, config.policy_delay)

            def again(loop, key):
                networks, opt = loop
                return improve(networks, opt, batch.x, key, rates), None

            return lax.scan(again, (networks, opt), keys)[0]

        networks, opt = shared.every(
            config.policy_delay,
            count,
            improve_all,
            replace(networks, critic=critic),
            replace(opt, critic=opt_critic),
        )
        return Weights(networks, weights.target_params, opt), errors, metrics

    return update


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return SAC on `env`, whose actions must be a bounded `Box`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, the actions
        cannot be served, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    scale = shared.action_scale(env, params)
    x_shape = encoded_shape(env.observation_space(params), flatten=not config.channels)
    network = shared.make_actor(config, 2 * scale.size)
    critics = shared.make_critics(config, x_shape, scale.size, per_action=False)
    optimizer = off_policy.adam(config)
    target_entropy = -float(scale.size) if config.target_entropy is None else config.target_entropy

    def actor(model_params, x):
        mean, raw = jnp.split(network.apply(model_params, x), 2, axis=-1)  # type: ignore[arg-type]
        low, high = LOG_STD_RANGE
        return TanhGaussian(mean, low + 0.5 * (high - low) * (jnp.tanh(raw) + 1.0))

    model = Model(actor, critics)

    def act(networks, x, memory, key, t):
        def random(key):
            return jax.random.uniform(key, (config.num_envs, scale.size), minval=-1.0, maxval=1.0)

        def drawn(key):
            return draw(actor(networks.actor, x), key)[0]

        return scale.to_env(shared.random_first(config, t, random, drawn, key)), (), memory

    losses = Losses(
        target=lambda networks, target_critic, batch, key: critic_target(
            networks, target_critic, model, batch, key, config
        ),
        critic=lambda critic, batch, target: shared.critic_loss(
            critic, critics, batch, scale.from_env(batch.action), target
        ),
        actor=lambda actor, networks, x, key: actor_loss(actor, networks, model, x, key, config),
    )
    soft_update = make_update(losses, optimizer, target_entropy, config)

    def update(weights, batch, key, count):
        weights, errors, metrics = soft_update(weights, batch, key, count)
        target_critic = optax.incremental_update(
            weights.params.critic, weights.target_params, config.polyak_tau
        )
        return replace(weights, target_params=target_critic), errors, metrics

    def health(weights, x):
        action = actor(weights.params.actor, x).mode()
        return shared.health(
            critics.values(weights.params.critic, x, action),
            critics.values(weights.target_params, x, action),
            critics.dead_units(weights.params.critic, x, action),
        )

    def greedy(networks, x, memory):
        return scale.to_env(actor(networks.actor, x).mode()), memory

    learner = off_policy.Learner(
        init=partial(init_weights, network, critics, optimizer, x_shape, config),
        act=act,
        update=update,
        health=health,
        greedy=greedy,
    )
    return off_policy.make(env, params, config, learner)
