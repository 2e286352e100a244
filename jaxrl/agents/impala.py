"""IMPALA: an actor-critic that learns from rollouts of older parameters, corrected by V-trace.

Asynchronous actors act with parameters that are some updates old. In one program that lag is a number: the
rollout of iteration t is made by the parameters of iteration t - `lag`, of which the state keeps as many. The
metric `behaviour_kl` says how far the policies have moved apart by then.

Source: Espeholt et al. (2018), https://arxiv.org/abs/1802.01561, with the hyperparameters of its Atari
experiments (appendix G, table G.1); the loss is a sum over the rollout as there, which its RMSProp's epsilon
and its gradient norm depend on. Rewards are not clipped, and a time limit is bootstrapped.
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
    """Hyperparameters of IMPALA; the defaults are those of the paper's Atari experiments."""

    learning_rate: float = traced(6e-4, ge=0)
    """Step size of RMSProp."""
    vtrace_lambda: float = traced(1.0, ge=0, le=1)
    """Trace decay of V-trace."""
    clip_rho: float = traced(1.0, gt=0)
    """Bound of the importance weights that decide which policy's values are learned."""
    clip_c: float = traced(1.0, gt=0)
    """Bound of the importance weights that decide how far corrections reach."""
    max_grad_norm: float = traced(40.0, gt=0)
    """Global norm at which the gradient is clipped."""
    rms_decay: float = traced(0.99, ge=0, lt=1)
    """Decay of RMSProp's mean of squared gradients."""
    rms_epsilon: float = traced(0.01, gt=0)
    """RMSProp's epsilon, added under the root."""
    num_envs: int = static(32, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(20, ge=1)
    """Steps of each environment in a rollout."""
    lag: int = static(1, ge=0)
    """How many updates the parameters that act are older than those that learn."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return IMPALA on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the spaces cannot be served.
    """
    inputs.check(env, params, config, Config)
    learner = on_policy.make(env, params, config)
    model = learner.model
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_rms(config.rms_decay, config.rms_epsilon),
    )

    def init(key):
        state = learner.init(key, optimizer.init)
        if not config.lag:
            return state
        old = jax.tree.map(lambda x: jnp.broadcast_to(x, (config.lag, *x.shape)), state.params)
        return replace(state, own=old)

    def step(state, t):
        key_rollout, key = jax.random.split(state.key)
        begun, acting, old = state.params, state.params, state.own
        if config.lag:
            slot = t % config.lag
            acting = jax.tree.map(lambda x: x[slot], old)
            old = jax.tree.map(lambda x, new: x.at[slot].set(new), old, begun)
        state, rollout = learner.collect(key_rollout, replace(state, key=key, params=acting))
        value, next_value = learner.values(begun, rollout)
        log_prob = model.actor(begun, rollout.x).log_prob(learner.rows(rollout.action))
        log_ratio = log_prob - learner.rows(rollout.log_prob)
        advantage, target = jax.vmap(ops.vtrace, in_axes=(*(1,) * 6, *(None,) * 4), out_axes=1)(
            rollout.reward,
            value,
            next_value,
            rollout.terminated,
            rollout.truncated,
            learner.unrows(log_ratio),
            config.gamma,
            config.vtrace_lambda,
            config.clip_rho,
            config.clip_c,
        )
        batch = learner.batch(rollout, value, advantage, target)
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        gradient, metrics = jax.grad(loss, has_aux=True)(begun, model, batch, now)
        if config.axis_name is not None:
            gradient = jax.lax.pmean(gradient, config.axis_name)
        rate = learner.learning_rate(t, config.learning_rate)
        model_params, opt_state = on_policy.descend(optimizer, gradient, state.opt_state, begun, rate)
        metrics |= {
            "grad_norm": optax.tree.norm(gradient),
            "explained_variance": ops.explained_variance(value, target),
            "learning_rate": rate,
            "behaviour_kl": jnp.mean(ops.approximate_kl(log_prob, learner.rows(rollout.log_prob))),
            "clipped_weights": jnp.mean(jnp.exp(log_ratio) > config.clip_rho, dtype=jnp.float32),
        }
        state = replace(state, params=model_params, opt_state=opt_state, own=old)
        return state, metrics | episode_metrics(rollout.episode)

    return learner.finish(init, step)


def loss(params: Any, model: Model, batch: Batch, config: Config) -> tuple[jax.Array, Metrics]:
    """Return IMPALA's loss, summed over a rollout, and the means of its parts.

        sum(-log pi(a|s) A + value_coefficient * (V - target)^2 / 2 - entropy_coefficient * entropy)

    Args:
      params: of the model.
      model: as `actor_critic.make_model` returns it.
      batch: leaves `[B, ...]`, with V-trace's advantages and targets.
      config: coefficients.
    """
    distribution, value = model.actor(params, batch.x), model.critic(params, batch.x)
    policy_loss = jnp.mean(ops.policy_gradient_loss(distribution.log_prob(batch.action), batch.advantage))
    value_loss = jnp.mean(ops.value_loss(value, batch.target))
    entropy = jnp.mean(distribution.entropy())
    total = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
    parts = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
    return total * batch.advantage.size, parts
