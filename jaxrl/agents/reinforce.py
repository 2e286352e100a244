"""REINFORCE: the policy gradient of whole episodes, with or without a baseline.

Every iteration plays new episodes for `num_steps` steps in each environment and takes one step along the
mean of `grad log pi(a|s) (G - b(s))`, where G is the discounted return that followed. The factor gamma^t of
the textbook is left out, as everywhere.

With a baseline, b is a value fitted to the returns, and returns that the clock or the end of the rollout
cuts off are completed by the value of what was seen last. Without one nothing is known beyond a cut: an
episode that the clock ends counts as it is, so the objective is that of the time limit, and steps of episodes
whose end the rollout does not see are left out; `num_steps` must be at least the time limit.

Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist reinforcement
learning"; Sutton and Barto (2018), sections 13.3 and 13.4; the defaults are those of Spinning Up's vpg.py.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params, time_limit
from jaxrl import ops
from jaxrl.agents import inputs, on_policy
from jaxrl.agents.actor_critic import Model, join, split
from jaxrl.agents.on_policy import Batch
from jaxrl.algorithm import Algorithm, Metrics
from jaxrl.config import static, traced
from jaxrl.rollout import episode_metrics


@struct.dataclass
class Config(on_policy.Config):
    """Hyperparameters of REINFORCE; the defaults are those of Spinning Up's vpg.py."""

    learning_rate: float = traced(3e-4, ge=0)
    """Step size of Adam for the policy."""
    baseline_learning_rate: float = traced(1e-3, ge=0)
    """Step size of Adam for the baseline."""
    entropy_coefficient: float = traced(0.0)
    """Weight of the entropy bonus."""
    max_grad_norm: float = traced(1e9, gt=0)
    """Global norm at which each gradient is clipped."""
    adam_epsilon: float = traced(1e-8, gt=0)
    """Adam's epsilon."""
    num_envs: int = static(8, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(500, ge=1)
    """Steps of each environment in a rollout."""
    num_epochs: int = static(20, ge=1)
    """Passes of the baseline over each rollout."""
    num_minibatches: int = static(4, ge=1)
    """Minibatches of each pass; must divide num_envs * num_steps, with a memory the number of stretches."""
    anneal_learning_rate: bool = static(False)
    """Whether the learning rate falls linearly to zero over total_steps."""
    baseline: bool = static(True)
    """Whether a value is learned and taken off the returns."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return REINFORCE on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, the sizes do not divide, the spaces cannot be
        served, or, without a baseline, an episode need not end within a rollout.
    """
    inputs.check(env, params, config, Config)
    learner = on_policy.make(env, params, config)
    on_policy.check_rows(learner, config.num_minibatches)
    limit = time_limit(env, params)
    if not config.baseline and min(config.num_steps, config.segment_length or limit) < limit:
        raise ValueError(
            f"`num_steps` must be at least the time limit, {limit}, without a baseline, and not cut by "
            f"`segment_length`, got {config.num_steps} and {config.segment_length}; with baseline=True any "
            "length serves"
        )
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.scale_by_adam(eps=config.adam_epsilon)
    )

    def init(key):
        return learner.init(key, lambda model_params: tuple(map(optimizer.init, split(model_params))))

    def step(state, t):
        key_start, key_rollout, key_update, key = jax.random.split(state.key, 4)
        begun, (actor_opt, critic_opt) = state.params, state.opt_state
        state, rollout = learner.collect(key_rollout, learner.restart(key_start, replace(state, key=key)))
        value, next_value = learner.values(begun, rollout)
        if not config.baseline:
            value, next_value = jnp.zeros_like(value), jnp.zeros_like(next_value)
        target = jax.vmap(ops.discounted_returns, in_axes=(1, 1, 1, 1, None), out_axes=1)(
            rollout.reward, next_value, rollout.terminated, rollout.truncated, config.gamma
        )
        ended = rollout.terminated | rollout.truncated
        is_known = jnp.ones_like(ended) if config.baseline else jnp.cumsum(ended[::-1], axis=0)[::-1] > 0
        batch = learner.batch(rollout, value, target - value, target)
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        actor, critic = split(begun)

        def actor_loss(actor):
            return loss(join(actor, critic), learner.model, batch, learner.rows(is_known), now)

        gradient, metrics = jax.grad(actor_loss, has_aux=True)(actor)
        if config.axis_name is not None:
            gradient = jax.lax.pmean(gradient, config.axis_name)
        rate = learner.learning_rate(t, config.learning_rate)
        actor, actor_opt = on_policy.descend(optimizer, gradient, actor_opt, actor, rate)
        model_params = join(actor, critic)
        metrics |= {"grad_norm": optax.tree.norm(gradient), "learning_rate": rate}
        if config.baseline:
            model_params, critic_opt, value_loss = on_policy.fit_critic(
                learner,
                optimizer,
                model_params,
                critic_opt,
                batch,
                key_update,
                learner.learning_rate(t, config.baseline_learning_rate),
                config.num_epochs,
                config.num_minibatches,
                config.axis_name,
            )
            metrics |= {
                "value_loss": value_loss,
                "explained_variance": ops.explained_variance(value, target),
            }
        state = replace(state, params=model_params, opt_state=(actor_opt, critic_opt))
        return state, metrics | episode_metrics(rollout.episode)

    return learner.finish(init, step)


def loss(
    params: Any, model: Model, batch: Batch, is_known: jax.Array, config: Config
) -> tuple[jax.Array, Metrics]:
    """Return REINFORCE's loss on a rollout, and its parts.

        mean(-log pi(a|s) (G - b)) - entropy_coefficient * mean(entropy),  over the steps whose G is known

    Args:
      params: of the model.
      model: as `actor_critic.make_model` returns it.
      batch: leaves `[B, ...]`.
      is_known: `[B, ...]` bool.
      config: coefficients.
    """
    distribution = model.actor(params, batch.x)
    losses = ops.policy_gradient_loss(distribution.log_prob(batch.action), batch.advantage)
    count = jnp.maximum(jnp.sum(is_known), 1)
    policy_loss = jnp.sum(jnp.where(is_known, losses, 0.0)) / count
    entropy = jnp.sum(jnp.where(is_known, distribution.entropy(), 0.0)) / count
    return policy_loss - config.entropy_coefficient * entropy, {
        "policy_loss": policy_loss,
        "entropy": entropy,
        "share_known": jnp.mean(is_known, dtype=jnp.float32),
    }
