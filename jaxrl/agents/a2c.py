"""Advantage actor-critic: one step of RMSProp on short rollouts of many environments.

Source: Mnih et al. (2016), https://arxiv.org/abs/1602.01783, made synchronous; the defaults are those of
stable-baselines3's a2c.py with 16 environments. It departs from that in that the values of true next
observations are computed, so a time limit is bootstrapped.
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
from jaxrl.agents.actor_critic import Model
from jaxrl.agents.on_policy import Batch
from jaxrl.algorithm import Algorithm, Metrics
from jaxrl.config import static, traced
from jaxrl.rollout import episode_metrics


@struct.dataclass
class Config(on_policy.Config):
    """Hyperparameters of A2C; the defaults are those of stable-baselines3's a2c.py."""

    learning_rate: float = traced(7e-4, ge=0)
    """Step size of RMSProp."""
    gae_lambda: float = traced(1.0, ge=0, le=1)
    """Trace decay of the generalised advantage estimate; 1 gives n-step returns to the end of the rollout."""
    entropy_coefficient: float = traced(0.0)
    """Weight of the entropy bonus."""
    rms_decay: float = traced(0.99, ge=0, lt=1)
    """Decay of RMSProp's mean of squared gradients."""
    rms_epsilon: float = traced(1e-5, gt=0)
    """RMSProp's epsilon, added to the root."""
    num_envs: int = static(16, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(5, ge=1)
    """Steps of each environment in a rollout."""
    anneal_learning_rate: bool = static(False)
    """Whether the learning rate falls linearly to zero over total_steps."""
    normalize_advantages: bool = static(False)
    """Whether the advantages of each rollout are standardised."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return A2C on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the spaces cannot be served.
    """
    inputs.check(env, params, config, Config)
    learner = on_policy.make(env, params, config)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_rms(config.rms_decay, config.rms_epsilon, eps_in_sqrt=False),
    )

    def init(key):
        return learner.init(key, optimizer.init)

    def step(state, t):
        key_rollout, key = jax.random.split(state.key)
        begun = state.params
        state, rollout = learner.collect(key_rollout, replace(state, key=key))
        value, next_value = learner.values(begun, rollout)
        advantage, target = on_policy.advantages(rollout, value, next_value, config.gamma, config.gae_lambda)
        batch = learner.batch(rollout, value, advantage, target)
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        gradient, metrics = jax.grad(loss, has_aux=True)(begun, learner.model, batch, now)
        if config.axis_name is not None:
            gradient = jax.lax.pmean(gradient, config.axis_name)
        rate = learner.learning_rate(t, config.learning_rate)
        model_params, opt_state = on_policy.descend(optimizer, gradient, state.opt_state, begun, rate)
        metrics |= {
            "grad_norm": optax.tree.norm(gradient),
            "explained_variance": ops.explained_variance(value, target),
            "learning_rate": rate,
        }
        return replace(state, params=model_params, opt_state=opt_state), metrics | episode_metrics(
            rollout.episode
        )

    return learner.finish(init, step)


def loss(params: Any, model: Model, batch: Batch, config: Config) -> tuple[jax.Array, Metrics]:
    """Return A2C's loss on a rollout, and its parts.

        mean(-log pi(a|s) A) + value_coefficient * mean((V - target)^2 / 2)
            - entropy_coefficient * mean(entropy)

    Args:
      params: of the model.
      model: as `actor_critic.make_model` returns it.
      batch: leaves `[B, ...]`.
      config: coefficients.
    """
    distribution, value = model.actor(params, batch.x), model.critic(params, batch.x)
    advantage = batch.advantage
    if config.normalize_advantages:
        advantage = ops.standardize(advantage, axis_name=config.axis_name)
    policy_loss = jnp.mean(ops.policy_gradient_loss(distribution.log_prob(batch.action), advantage))
    value_loss = jnp.mean(ops.value_loss(value, batch.target))
    entropy = jnp.mean(distribution.entropy())
    total = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    return total, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
