"""Analytic policy gradients: the derivative of a short rollout through the simulator, completed by a critic.

The actor climbs the gradient of the discounted return of `num_steps` steps, differentiated through every
`env.step`, with the value of the last observation in place of what follows; the critic learns lambda-returns
of the same steps. So the world must be differentiable where it matters: one whose rewards do not depend
smoothly on actions gives a gradient of zero, which the metric `grad_norm` shows.

Source: Xu et al. (2022), "Accelerated Policy Learning with Parallel Differentiable Simulation",
https://arxiv.org/abs/2204.07137, algorithm 1 (SHAC) with the hyperparameters of its CartPole; Freeman et al.
(2021), https://arxiv.org/abs/2106.13281, section 5 (APG). Actions are squashed by tanh, since a clipped one
has no gradient, and the spread of the actions depends on nothing.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from envs.spaces import Box
from jaxrl import ops
from jaxrl.agents import inputs, on_policy
from jaxrl.agents.actor_critic import join, split
from jaxrl.agents.on_policy import Learner, State
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.nets.mlp import ACTIVATIONS
from jaxrl.rollout import episode_metrics

# What jax says of a step through which no gradient flows, and what that means.
_NO_GRADIENT = {
    "Reverse-mode differentiation": "holds a loop of unknown length, as those of Brax's mjx do; its spring, "
    "positional and generalized can be differentiated",
    "callbacks do not support": "leaves the program for the host, through which no gradient flows",
}


@struct.dataclass
class Config(on_policy.Config):
    """Hyperparameters of APG; the defaults are those of SHAC's CartPole."""

    learning_rate: float = traced(1e-2, ge=0)
    """Step size of Adam for the policy."""
    critic_learning_rate: float = traced(1e-3, ge=0)
    """Step size of Adam for the critic."""
    critic_lambda: float = traced(0.95, ge=0, le=1)
    """Trace decay of the critic's targets."""
    polyak_tau: float = traced(0.8, gt=0, le=1)
    """How far the target critic moves towards the critic in each iteration."""
    entropy_coefficient: float = traced(0.0)
    """Weight of the entropy bonus."""
    max_grad_norm: float = traced(1.0, gt=0)
    """Global norm at which each gradient is clipped."""
    adam_b1: float = traced(0.7, ge=0, lt=1)
    """Adam's decay of the mean of gradients."""
    adam_b2: float = traced(0.95, ge=0, lt=1)
    """Adam's decay of the mean of their squares."""
    adam_epsilon: float = traced(1e-8, gt=0)
    """Adam's epsilon."""
    num_envs: int = static(64, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(32, ge=1)
    """Steps of each environment in a rollout, over which gradients flow."""
    num_epochs: int = static(16, ge=1)
    """Passes of the critic over each rollout."""
    num_minibatches: int = static(4, ge=1)
    """Minibatches of each pass; must divide num_envs * num_steps, with a memory the number of stretches."""
    activation: str = static("elu", choices=tuple(ACTIVATIONS))
    """Activation of the hidden layers; a smooth one."""
    squash_actions: bool = static(True)
    """Whether actions are squashed into their bounds by tanh; else they are clipped."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return APG on `env`, whose actions must be continuous.

    Raises:
      ValueError: if a field of `config` is out of its range, the sizes do not divide, or the actions are not
        continuous; when `step` is traced, if no gradient flows back through a step of `env`.
    """
    inputs.check(env, params, config, Config)
    actions = env.action_space(params)
    if not isinstance(actions, Box):
        raise ValueError(
            f"`env` must have continuous actions, through which gradients flow, but {env.id!r} takes "
            f"{type(actions).__name__}; jaxrl.agents.ppo serves such spaces"
        )
    if config.segment_length not in (None, config.num_steps):
        raise ValueError(
            f"`segment_length` must be None or num_steps = {config.num_steps}, over which gradients flow, "
            f"got {config.segment_length}: shorten num_steps instead"
        )
    learner = on_policy.make(env, params, config)
    on_policy.check_rows(learner, config.num_minibatches)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.scale_by_adam(config.adam_b1, config.adam_b2, config.adam_epsilon),
    )

    def init(key):
        state = learner.init(key, lambda model_params: tuple(map(optimizer.init, split(model_params))))
        return replace(state, own=split(state.params)[1])

    def step(state, t):
        key_rollout, key_update, key = jax.random.split(state.key, 3)
        (actor, critic), (actor_opt, critic_opt) = split(state.params), state.opt_state
        now = replace(config, entropy_coefficient=learner.entropy_coefficient(t))
        try:
            gradient, (state, rollout, next_value, metrics) = jax.grad(loss, has_aux=True)(
                actor, learner, key_rollout, replace(state, key=key), now
            )
        except ValueError as error:
            reasons = [reason for text, reason in _NO_GRADIENT.items() if text in str(error)]
            if not reasons:
                raise
            raise ValueError(f"`env` must be differentiable, but a step of {env.id!r} {reasons[0]}") from None
        if config.axis_name is not None:
            gradient = jax.lax.pmean(gradient, config.axis_name)
        rate = learner.learning_rate(t, config.learning_rate)
        actor, actor_opt = on_policy.descend(optimizer, gradient, actor_opt, actor, rate)
        target = jax.vmap(ops.lambda_returns, in_axes=(*(1,) * 4, None, None), out_axes=1)(
            rollout.reward,
            next_value,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.critic_lambda,
        )
        value, _ = learner.values(state.params, rollout)
        batch = learner.batch(rollout, value, target - value, target)
        model_params, critic_opt, value_loss = on_policy.fit_critic(
            learner,
            optimizer,
            join(actor, critic),
            critic_opt,
            batch,
            key_update,
            learner.learning_rate(t, config.critic_learning_rate),
            config.num_epochs,
            config.num_minibatches,
            config.axis_name,
        )
        metrics |= {
            "grad_norm": optax.tree.norm(gradient),
            "value_loss": value_loss,
            "explained_variance": ops.explained_variance(value, target),
            "learning_rate": rate,
        }
        slow = optax.incremental_update(split(model_params)[1], state.own, config.polyak_tau)
        state = replace(state, params=model_params, opt_state=(actor_opt, critic_opt), own=slow)
        return state, metrics | episode_metrics(rollout.episode)

    return learner.finish(init, step)


def loss(actor: Any, learner: Learner, key: jax.Array, state: State, config: Config) -> tuple[jax.Array, Any]:
    """Return the negative mean reward of a rollout with what follows it, and what came of it.

        -1 / (T B) sum over stretches of (sum_k gamma^k r_k + gamma^K (1 - terminated) V'(s'_K))
            - entropy_coefficient * mean(entropy)

    A stretch is what a rollout holds of an episode; V' is the target critic. Gradients flow through every
    step of the environments, and through s'.

    Args:
      actor: the actor's parameters.
      learner: the shared parts.
      key: one key.
      state: before the rollout.
      config: coefficients.

    Returns:
      `(loss, (state, rollout, next_value, metrics))`.
    """
    critic = split(state.params)[1]
    after, rollout = learner.collect(key, replace(state, params=join(actor, critic)))
    _, next_value = learner.values(join(actor, state.own), rollout, differentiable=True)
    returns = jax.vmap(ops.discounted_returns, in_axes=(1, 1, 1, 1, None), out_axes=1)(
        rollout.reward, next_value, rollout.terminated, rollout.truncated, config.gamma
    )
    is_first = jnp.roll(rollout.terminated | rollout.truncated, 1, axis=0).at[0].set(True)
    total = jnp.mean(jnp.where(is_first, returns, 0.0))
    entropy = jnp.mean(learner.model.actor(join(actor, critic), rollout.x).entropy())
    metrics = {"return_rate": total, "entropy": entropy}
    after = replace(after, params=state.params)
    return -total - config.entropy_coefficient * entropy, (after, rollout, next_value, metrics)
