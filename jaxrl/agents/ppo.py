"""Proximal policy optimisation, for discrete and continuous actions, with or without a memory.

Source: Schulman et al. (2017), https://arxiv.org/abs/1707.06347, with the implementation details of
Huang et al. (2022), "The 37 Implementation Details of Proximal Policy Optimization", and the defaults of
CleanRL's ppo.py. It departs from CleanRL in that what follows a time limit is valued by the true next
observation, and never taken for a terminal state; that advantages are divided by the standard deviation of
the population; and that observations, if normalised, are so by the statistics of earlier iterations, which
makes the first ratio exactly one. Rewards are not normalised by default.

With a memory, minibatches are made of whole stretches of `num_steps` (or `segment_length`) steps, over which
gradients flow from the memory that the rollout began with. So they are where advantages are computed anew in
each minibatch, as Brax does: 128 times a batch there, so that a value reaches further steps in one update.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from jaxrl import ops
from jaxrl.agents import inputs, on_policy
from jaxrl.agents.actor_critic import Model, make_model
from jaxrl.agents.on_policy import Batch, State
from jaxrl.algorithm import Algorithm, Metrics
from jaxrl.config import static, traced
from jaxrl.rollout import episode_metrics

__all__ = ["Batch", "Config", "Model", "State", "loss", "make", "make_model"]

# How far, and by which factor a minibatch, an adaptive learning rate moves; as RSL-RL.
RATE_BOUNDS = (1e-5, 1e-2)
RATE_FACTOR = 1.5
# So far and no farther moves the weight of the penalty: from 0 no doubling would bring it back.
PENALTY_BOUNDS = (1e-4, 1e4)


@struct.dataclass
class Config(on_policy.Config):
    """Hyperparameters of PPO; the defaults are those of CleanRL's ppo.py."""

    gae_lambda: float = traced(0.95, ge=0, le=1)
    """Trace decay of the generalised advantage estimate."""
    clip_epsilon: float = traced(0.2, gt=0)
    """How far the probability ratio, and with clip_value the value, may move from the rollout's."""
    adam_epsilon: float = traced(1e-5, gt=0)
    """Adam's epsilon."""
    kl_coefficient: float = traced(1.0, gt=0)
    """First weight of the divergence from the rollout's policy (penalize_kl)."""
    target_kl: float = traced(0.01, gt=0)
    """Divergence of an update that the weight of the penalty, or the learning rate, is adapted to."""
    num_epochs: int = static(4, ge=1)
    """Passes over each rollout."""
    num_minibatches: int = static(4, ge=1)
    """Minibatches of each pass; must divide num_envs * num_steps, or the number of stretches."""
    clip_ratio: bool = static(True)
    """Whether the probability ratio is clipped."""
    penalize_kl: bool = static(False)
    """Whether divergence from the rollout's policy is penalised, by a weight that adapts to target_kl."""
    adapt_learning_rate: bool = static(False)
    """Whether the learning rate falls where a minibatch diverges by twice target_kl, and rises below half."""
    clip_value: bool = static(True)
    """Whether the value loss is clipped too."""
    normalize_advantages: bool = static(True)
    """Whether the advantages of each minibatch are standardised."""
    recompute_advantages: str = static("never", choices=("never", "epoch", "minibatch"))
    """Before what advantages and targets are computed anew, by the critic as it then is.

    Minibatches are then made of whole stretches of steps, as with a memory.
    """


@struct.dataclass
class Adaptive:
    """What is adapted to target_kl: the learning rate before any schedule, and the penalty's weight."""

    learning_rate: jax.Array
    kl_coefficient: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return PPO on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, the sizes do not divide, or the spaces cannot
        be served.
    """
    inputs.check(env, params, config, Config)
    anew_in_minibatches = config.recompute_advantages == "minibatch"
    learner = on_policy.make(env, params, config, in_stretches=anew_in_minibatches)
    model = learner.model
    on_policy.check_rows(learner, config.num_minibatches)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=config.adam_epsilon)
    )
    is_adaptive = config.penalize_kl or config.adapt_learning_rate

    def init(key):
        own = None
        if is_adaptive:
            own = Adaptive(
                *(jnp.asarray(x, jnp.float32) for x in (config.learning_rate, config.kl_coefficient))
            )
        return replace(learner.init(key, optimizer.init), own=own)

    def step(state, t):
        key_rollout, key_update, key = jax.random.split(state.key, 3)
        begun = state.params
        state, rollout = learner.collect(key_rollout, replace(state, key=key))
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        if config.penalize_kl:
            now = replace(now, kl_coefficient=state.own.kl_coefficient)

        def assess(model_params):
            value, next_value = learner.values(model_params, rollout)
            advantage, target = on_policy.advantages(
                rollout, value, next_value, config.gamma, config.gae_lambda
            )
            return learner.batch(rollout, value, advantage, target)

        def reassess(model_params, minibatch, steps, end, within):
            """Return stretches with the advantages that the critic with `model_params` gives their steps.

            A state within a stretch is valued once, and so is what follows its `end`. Where the clock ended
            an episode before, what would have followed keeps the value that the rollout's critic gave it.
            """
            value = model.critic(model_params, minibatch.x)
            last = model.value_after(model_params, *end)
            next_value = jnp.where(steps.truncated, within, jnp.roll(value, -1, axis=1))
            next_value = next_value.at[:, -1].set(last)
            advantage, target = on_policy.advantages(
                steps, value, next_value, config.gamma, config.gae_lambda, axis=0
            )
            explained = ops.explained_variance(value, target)
            return replace(minibatch, advantage=advantage, target=target), explained

        if anew_in_minibatches:
            # Of the rollout's own critic only what `reassess` and a clipped value need: to value all states
            # again, without their gradients, would be a pass where an epoch has about three.
            value = learner.unrows(model.critic(begun, rollout.x)) if config.clip_value else None
            batch = learner.batch(rollout, value, None, None)
            steps = learner.rows(replace(rollout, x=(), next_x=(), memory_after=(), episode=()))
            end = jax.tree.map(lambda x: x[-1], (rollout.memory_after, rollout.next_x))
            steps = (steps, end, learner.rows(learner.values_within(begun, rollout)))
        else:
            batch, steps = assess(begun), ()

        def minibatch_step(carry, data):
            model_params, opt_state, base_rate = carry
            minibatch, steps = data
            explained = {}
            if anew_in_minibatches:
                minibatch, explained["explained_variance"] = reassess(model_params, minibatch, *steps)
            gradient, metrics = jax.grad(loss, has_aux=True)(model_params, model, minibatch, now)
            metrics |= explained
            if config.axis_name is not None:
                gradient = jax.lax.pmean(gradient, config.axis_name)
            if config.adapt_learning_rate:
                base_rate = _adapt_rate(base_rate, metrics["approximate_kl"], config)
            rate = learner.learning_rate(t, base_rate)
            model_params, opt_state = on_policy.descend(optimizer, gradient, opt_state, model_params, rate)
            return (model_params, opt_state, base_rate), metrics | {"grad_norm": optax.tree.norm(gradient)}

        def epoch(carry, key):
            data = batch
            if config.recompute_advantages == "epoch":
                data = replace(assess(carry[0]), value=batch.value)
            minibatches = ops.shuffled_minibatches(key, (data, steps), config.num_minibatches)
            return jax.lax.scan(minibatch_step, carry, minibatches)

        base_rate = state.own.learning_rate if is_adaptive else config.learning_rate
        (model_params, opt_state, base_rate), metrics = jax.lax.scan(
            epoch,
            (begun, state.opt_state, jnp.asarray(base_rate, jnp.float32)),
            jax.random.split(key_update, config.num_epochs),
        )
        metrics = jax.tree.map(jnp.mean, metrics) | {"learning_rate": learner.learning_rate(t, base_rate)}
        if not anew_in_minibatches:
            metrics["explained_variance"] = ops.explained_variance(batch.value, batch.target)
        own = state.own
        if is_adaptive:
            log_prob = model.actor(model_params, batch.x).log_prob(batch.action)
            kl = _mean(ops.approximate_kl(log_prob, batch.log_prob), config)
            metrics |= {"kl": kl, "kl_coefficient": own.kl_coefficient}
            own = Adaptive(base_rate, _adapt_penalty(own.kl_coefficient, kl, config))
        state = replace(state, params=model_params, opt_state=opt_state, own=own)
        return state, metrics | episode_metrics(rollout.episode)

    return learner.finish(init, step)


def loss(params: Any, model: Model, batch: Batch, config: Config) -> tuple[jax.Array, Metrics]:
    """Return PPO's loss on a minibatch, and its parts.

        mean(surrogate) + value_coefficient * mean(value loss) - entropy_coefficient * mean(entropy)

    and, with `penalize_kl`, `kl_coefficient` times an estimate of the divergence from the rollout's policy.

    Args:
      params: of the model.
      model: as `make_model` returns it.
      batch: leaves `[B, ...]`.
      config: coefficients and clipping range.
    """
    distribution, value = model.actor(params, batch.x), model.critic(params, batch.x)
    log_prob = distribution.log_prob(batch.action)
    advantage = batch.advantage
    if config.normalize_advantages:
        advantage = ops.standardize(advantage, axis_name=config.axis_name)
    clip_epsilon = config.clip_epsilon if config.clip_ratio else jnp.inf
    policy_loss = jnp.mean(ops.clipped_surrogate(log_prob, batch.log_prob, advantage, clip_epsilon))
    if config.clip_value:
        value_losses = ops.clipped_value_loss(value, batch.value, batch.target, config.clip_epsilon)
    else:
        value_losses = ops.value_loss(value, batch.target)
    value_loss, entropy = jnp.mean(value_losses), jnp.mean(distribution.entropy())
    kl = jnp.mean(ops.approximate_kl(log_prob, batch.log_prob))
    total = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    if config.penalize_kl:
        total = total + config.kl_coefficient * kl
    return total, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approximate_kl": kl,
        "clip_fraction": jnp.mean(ops.clip_fraction(log_prob, batch.log_prob, config.clip_epsilon)),
    }


def _adapt_rate(rate: jax.Array, kl: jax.Array, config: Config) -> jax.Array:
    """Return the learning rate after a minibatch with divergence `kl` from the rollout's policy."""
    kl = _mean(kl, config)
    low, high = RATE_BOUNDS
    # A rate that began beyond a bound is not brought back by a step in the wrong direction.
    slower = jnp.minimum(jnp.maximum(rate / RATE_FACTOR, low), rate)
    faster = jnp.maximum(jnp.minimum(rate * RATE_FACTOR, high), rate)
    rate = jnp.where(kl > 2.0 * config.target_kl, slower, rate)
    return jnp.where((kl > 0.0) & (kl < 0.5 * config.target_kl), faster, rate)


def _adapt_penalty(coefficient: jax.Array, kl: jax.Array, config: Config) -> jax.Array:
    """Return the weight of the penalty after an update with divergence `kl`; section 4 of the paper."""
    # A weight that began beyond a bound is not brought back by a step in the wrong direction.
    low, high = PENALTY_BOUNDS
    more = jnp.maximum(jnp.minimum(2.0 * coefficient, high), coefficient)
    less = jnp.minimum(jnp.maximum(0.5 * coefficient, low), coefficient)
    adapted = jnp.where(kl > 1.5 * config.target_kl, more, coefficient)
    return jnp.where(kl < config.target_kl / 1.5, less, adapted)


def _mean(x: jax.Array, config: Config) -> jax.Array:
    mean = jnp.mean(x)
    return mean if config.axis_name is None else jax.lax.pmean(mean, config.axis_name)
