"""What learners from their own rollouts share: configuration, state, rollout, normalisers, policy.

    rollout -> values -> advantages -> update

An algorithm is the last two; the first are here. A rollout is `[T, B, ...]`; its samples as a batch are
rows `[T * B, ...]`, or, with a memory or where the algorithm asks for it, stretches `[B, T, ...]`, which is
what minibatches are made of. Values of true next observations are computed with the memory before any reset,
so a time limit is bootstrapped and never taken for a terminal state. Observations, if normalised, are so by
the statistics of earlier iterations, which makes the first ratio of new and old probabilities one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from flax import struct

from envs.core import Environment, Params
from envs.vector import EpisodeStats, ResetMode, VecEnv, VecState
from jaxrl import normalize, ops
from jaxrl.agents.actor_critic import Input, Model, join, make_encoder, make_model, split
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.config import static, traced
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.nets.mlp import ACTIVATIONS
from jaxrl.rollout import unroll


@struct.dataclass
class Config:
    """Hyperparameters of every learner from its own rollouts; the defaults are those of CleanRL's ppo.py."""

    learning_rate: float = traced(2.5e-4, ge=0)
    """Step size of Adam."""
    total_steps: float = traced(500_000.0, gt=0)
    """Environment steps over which the learning rate is annealed to zero; give the length of the training."""
    warmup_steps: float = traced(0.0, ge=0)
    """Environment steps over which the learning rate rises linearly from zero before that."""
    gamma: float = traced(0.99, ge=0, le=1)
    """Discount factor."""
    entropy_coefficient: float = traced(0.01)
    """Weight of the entropy bonus."""
    entropy_coefficient_end: float | None = traced(None)
    """Weight at total_steps, towards which it changes linearly; by default it stays."""
    value_coefficient: float = traced(0.5, ge=0)
    """Weight of the value loss."""
    max_grad_norm: float = traced(0.5, gt=0)
    """Global norm at which the gradient is clipped."""
    reward_scale: float = traced(1.0, gt=0)
    """Factor of every reward that is learned from."""
    num_envs: int = static(4, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(128, ge=1)
    """Steps of each environment in a rollout."""
    segment_length: int | None = static(None, ge=1)
    """Steps after which a rollout is cut and bootstrapped, and a memory's gradient ends; by default none."""
    anneal_learning_rate: bool = static(True)
    """Whether the learning rate falls linearly to zero over total_steps."""
    normalize_observations: bool = static(False)
    """Whether observations are standardised by their running mean and variance, which the state holds."""
    normalize_own_rollout: bool = static(False)
    """Whether an update normalises by statistics that count its own rollout; ratios then begin off one.

    So Brax does; its first update, of a policy that acted without any, begins with ratios far from one.
    """
    normalize_rewards: bool = static(False)
    """Whether rewards are divided by the running standard deviation of discounted returns."""
    hidden_sizes: tuple[int, ...] = static((64, 64))
    """Widths of the dense layers of the actor and of the critic."""
    critic_hidden_sizes: tuple[int, ...] = static(())
    """Widths of the critic's dense layers, if they differ."""
    activation: str = static("tanh", choices=tuple(ACTIVATIONS))
    """Activation of the hidden layers."""
    initializer: str = static("orthogonal", choices=tuple(INITIALIZERS))
    """What kernels start from; orthogonal ones are scaled by sqrt(2), the policy's last by 0.01."""
    channels: tuple[int, ...] = static(())
    """Filters of 3 x 3 convolutions before the dense layers, for image observations; none flattens them."""
    squash_actions: bool = static(False)
    """Whether continuous actions are squashed into their bounds by tanh; else they are clipped."""
    state_dependent_scale: bool = static(False)
    """Whether the standard deviation of continuous actions is an output of the network, not a parameter."""
    memory: str = static("none", choices=("none", "gru", "lstm"))
    """What actor and critic remember with."""
    memory_size: int = static(64, ge=1)
    """Size of each memory."""
    reset: ResetMode = static("auto", choices=get_args(ResetMode))
    """Where new episodes start from; see envs.VecEnv."""
    axis_name: str | None = static(None)
    """Mapped axis over which gradients and statistics are averaged (see jaxrl.parallel.over_data)."""

    def check(self):
        """Check that segments fit into a rollout."""
        if self.normalize_own_rollout and not self.normalize_observations:
            raise ValueError("`normalize_own_rollout` must be False without normalize_observations, got True")
        length = self.segment_length
        if length is None:
            return
        if isinstance(length, bool):
            raise ValueError(f"`segment_length` must be an integer, got {length!r}")
        if self.num_steps % length:
            raise ValueError(
                f"`segment_length` must divide num_steps = {self.num_steps}, got {length}; "
                f"try {max(n for n in range(1, length) if self.num_steps % n == 0)}"
            )


@struct.dataclass
class State:
    """Everything that is carried from one iteration to the next.

    Attributes:
      params: of the model.
      opt_state: the optimiser's.
      normalizer: statistics of encoded observations, or None.
      rewards: what rewards are divided by, or None.
      vec_state: the environments.
      obs: what the policy acts on next, `[B, ...]`.
      memory: what it remembers then, leaves `[B, H]`; `()` without a memory.
      key: for the next iteration.
      own: what only this algorithm keeps, or None.
    """

    params: Any
    opt_state: Any
    normalizer: normalize.RunningStatistics | None
    rewards: normalize.RewardScale | None
    vec_state: VecState
    obs: Any
    memory: Any
    key: jax.Array
    own: Any = None


@struct.dataclass
class Rollout:
    """T steps of B environments, or S steps of (T / S) * B segments; leaves `[T, B, ...]` but `x`.

    Attributes:
      x: what policy and value are functions of, as a batch.
      action: draws of the distribution; `model.to_action` made of them what the environment took.
      log_prob: of those draws.
      reward: scaled.
      next_x: the encoded true next observation.
      memory_after: the memory when that is seen, before any reset.
      terminated, truncated: bool.
      episode: statistics, as the environments reported them.
    """

    x: Any
    action: jax.Array
    log_prob: jax.Array
    reward: jax.Array
    next_x: Any
    memory_after: Any
    terminated: jax.Array
    truncated: jax.Array
    episode: EpisodeStats


@struct.dataclass
class Batch:
    """Samples of a rollout, with what was computed of them before the update; leaves `[B, ...]`."""

    x: Any
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


class Learner(NamedTuple):
    """The shared parts, made for an environment and a configuration.

    Attributes:
      batch_size: environment steps of an iteration, `num_envs * num_steps`.
      num_rows: rows of a batch: as many, or the number of stretches.
      model: the policy and the value.
      init: `(key, init_optimizer) -> State`, the latter from parameters to an optimiser's state.
      restart: `(key, state) -> state` with new episodes.
      collect: `(key, state) -> (state, rollout)`; the normalisers have learned from it.
      values: `(params, rollout, differentiable=False) -> (value, next_value)`, `[T, B]` each; next values are
        of no account where the process ended. Gradients flow through them if asked to, at the cost of a pass.
      values_within: `(params, rollout) -> next_value [T, B]` where the clock ended an episode before the last
        step, and 0 elsewhere.
      batch: `(rollout, value, advantage, target) -> Batch`.
      rows: `[T, B, ...] -> rows`, of every leaf.
      unrows: the way back, of one number a step.
      learning_rate: `(t, start) -> [] float32`, annealed and warmed up.
      entropy_coefficient: `t -> [] float32`.
      finish: `(init, step) -> Algorithm`.
    """

    batch_size: int
    num_rows: int
    model: Model
    init: Callable[[jax.Array, Callable[[Any], Any]], State]
    restart: Callable[[jax.Array, State], State]
    collect: Callable[[jax.Array, State], tuple[State, Rollout]]
    values: Callable[..., tuple[jax.Array, jax.Array]]
    values_within: Callable[[Any, Rollout], jax.Array]
    batch: Callable[..., Batch]
    rows: Callable[[Any], Any]
    unrows: Callable[[jax.Array], jax.Array]
    learning_rate: Callable[[jax.Array, Any], jax.Array]
    entropy_coefficient: Callable[[jax.Array], Any]
    finish: Callable[..., Algorithm]


def make(env: Environment, params: Params, config: Config, in_stretches: bool = False) -> Learner:
    """Return the shared parts of a learner on `env`.

    Args:
      env: the environment.
      params: its parameters.
      config: hyperparameters.
      in_stretches: whether a batch's rows are stretches even where there is no memory.

    Raises:
      ValueError: if the spaces of `env` cannot be served.
    """
    vec = VecEnv(env, config.num_envs, reset=config.reset)
    obs_space = env.observation_space(params)
    encoder = make_encoder(obs_space, config.channels)
    model = make_model(obs_space, env.action_space(params), config)
    batch_size, start = config.num_envs * config.num_steps, model.initial_memory((config.num_envs,))
    has_memory = config.memory != "none"
    in_stretches = in_stretches or has_memory
    length = config.segment_length or config.num_steps

    def init(key, init_optimizer):
        key_params, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        model_params = model.init(key_params)
        return State(
            params=model_params,
            opt_state=init_optimizer(model_params),
            normalizer=normalize.init(encoder.shape) if config.normalize_observations else None,
            rewards=normalize.init_rewards(config.num_envs) if config.normalize_rewards else None,
            vec_state=vec_state,
            obs=obs,
            memory=start,
            key=key,
        )

    def restart(key, state):
        vec_state, obs = vec.reset(key, params)
        rewards = state.rewards
        if rewards is not None:
            rewards = replace(rewards, running=jnp.zeros_like(rewards.running))
        return replace(state, vec_state=vec_state, obs=obs, memory=start, rewards=rewards)

    def see(state, obs):
        x, mask = encoder.encode(obs)
        x = x if state.normalizer is None else normalize.normalize(state.normalizer, x)
        return x if mask is None else Input(x, mask)

    def segments(x):
        """Return `[T, B, ...]` as `[S, (T / S) * B, ...]`."""
        if length == config.num_steps:
            return x
        cut = jnp.swapaxes(x.reshape(-1, length, *x.shape[1:]), 0, 1)
        return cut.reshape(length, -1, *x.shape[2:])

    def rows(tree):
        if in_stretches:
            return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), tree)
        return jax.tree.map(lambda x: x.reshape(batch_size, *x.shape[2:]), tree)

    def unrows(x):
        return x.T if in_stretches else x.reshape(length, -1)

    def collect(key, state):
        def act(key, obs, memory):
            after, distribution = model.act(state.params, memory, see(state, obs))
            sample, log_prob = distribution.sample_and_log_prob(seed=key)
            return model.to_action(sample), (sample, log_prob, memory, after), after

        vec_state, obs, memory, out = unroll(
            vec, params, act, key, state.vec_state, state.obs, state.memory, config.num_steps, start
        )
        done, reward, rewards = out.terminated | out.truncated, out.reward, state.rewards
        if rewards is not None:
            rewards, reward = normalize.scale_rewards(rewards, reward, done, config.gamma, config.axis_name)
        normalizer = state.normalizer
        if normalizer is not None:
            raw = encoder.encode(out.obs)[0]
            normalizer = normalize.update(
                normalizer, raw.reshape(batch_size, *encoder.shape), config.axis_name
            )
        learning = replace(state, normalizer=normalizer) if config.normalize_own_rollout else state
        seen = (see(learning, out.obs), see(learning, out.next_obs), reward * config.reward_scale, out.extras)
        cut = jax.tree.map(segments, (*seen, out.terminated, out.truncated))
        x, next_x, reward, (action, log_prob, before, after), terminated, truncated = cut
        x = rows(x)
        if has_memory:
            first = jnp.roll(terminated | truncated, 1, axis=0).at[0].set(False)
            x = x if isinstance(x, Input) else Input(x)
            x = replace(x, memory=jax.tree.map(lambda m: m[0], before), first=rows(first))
        rollout = Rollout(
            x=x,
            action=action,
            log_prob=log_prob,
            reward=reward,
            next_x=next_x,
            memory_after=after,
            terminated=terminated,
            truncated=truncated,
            episode=out.episode,
        )
        state = replace(
            state, vec_state=vec_state, obs=obs, memory=memory, normalizer=normalizer, rewards=rewards
        )
        return state, rollout

    def values_within(model_params, rollout):
        within = rollout.truncated.at[-1].set(False)
        seen = (rollout.memory_after, rollout.next_x)
        value = ops.map_where(
            lambda seen: model.value_after(model_params, *seen),
            within.ravel(),
            jax.tree.map(lambda x: x.reshape(batch_size, *x.shape[2:]), seen),
            block_size=max(config.num_envs, 64),
        )
        return value.reshape(within.shape)

    def values(model_params, rollout, differentiable=False):
        value = unrows(model.critic(model_params, rollout.x))
        seen = (rollout.memory_after, rollout.next_x)
        if differentiable:
            followed = model.value_after(model_params, *seen)
        else:
            last = model.value_after(model_params, *jax.tree.map(lambda x: x[-1], seen))
            followed = values_within(model_params, rollout).at[-1].set(last)
        # Elsewhere s' is the next state of the stretch, and with a memory so is what is remembered of it:
        # `memory_after` is what the rollout's own parameters remembered, not `model_params`.
        is_cut = rollout.truncated.at[-1].set(True)
        return value, jnp.where(is_cut, followed, jnp.roll(value, -1, axis=0))

    def batch(rollout, value, advantage, target):
        parts = (rollout.action, rollout.log_prob, value, advantage, target)
        return Batch(rollout.x, *map(rows, parts))

    def learning_rate(t, start):
        rate = jnp.asarray(start, jnp.float32)
        if config.anneal_learning_rate:
            rate = start * jnp.maximum(1.0 - t * (batch_size / config.total_steps), 0.0)
        warm = (t + 1) * batch_size / jnp.maximum(config.warmup_steps, 1.0)
        return rate * jnp.where(config.warmup_steps > 0, jnp.minimum(warm, 1.0), 1.0)

    def entropy_coefficient(t):
        begin, end = config.entropy_coefficient, config.entropy_coefficient_end
        if end is None:
            return begin
        return begin + (end - begin) * jnp.minimum(t * (batch_size / config.total_steps), 1.0)

    def policy(state):
        def act(obs, memory, key):
            memory, distribution = model.act(state.params, memory, see(state, obs))
            return model.to_action(distribution.mode()), memory

        def value(obs, memory):
            worth = model.value_after(state.params, memory, see(state, obs)) / config.reward_scale
            return worth if state.rewards is None else worth * normalize.reward_deviation(state.rewards)

        return Policy(init=lambda: model.initial_memory(()), act=act, value=value)

    def finish(init, step):
        horizon = config.total_steps if config.anneal_learning_rate else None
        return Algorithm(init, step, policy, batch_size, env, params, horizon)

    return Learner(
        batch_size=batch_size,
        num_rows=batch_size // length if in_stretches else batch_size,
        model=model,
        init=init,
        restart=restart,
        collect=collect,
        values=values,
        values_within=values_within,
        batch=batch,
        rows=rows,
        unrows=unrows,
        learning_rate=learning_rate,
        entropy_coefficient=entropy_coefficient,
        finish=finish,
    )


def advantages(
    rollout: Rollout, value: jax.Array, next_value: jax.Array, gamma: Any, lambda_: Any, axis: int = 1
) -> tuple[jax.Array, jax.Array]:
    """Return generalised advantage estimates and value targets, of the values' shape; see `ops.gae`.

    `axis` is that of the environments: 1 of `[T, B]`, 0 of stretches `[B, T]`.
    """
    return jax.vmap(ops.gae, in_axes=(axis,) * 5 + (None, None), out_axes=axis)(
        rollout.reward, value, next_value, rollout.terminated, rollout.truncated, gamma, lambda_
    )


def descend(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any, rate: Any
) -> tuple[Any, Any]:
    """Return parameters and optimiser state after a step of size `rate` against the optimiser's direction."""
    direction, opt_state = optimizer.update(gradient, opt_state)
    return jax.tree.map(lambda p, d: p - rate * d, params, direction), opt_state


def fit_critic(
    learner: Learner,
    optimizer: optax.GradientTransformation,
    params: Any,
    opt_state: Any,
    batch: Batch,
    key: jax.Array,
    rate: Any,
    num_epochs: int,
    num_minibatches: int,
    axis_name: str | None = None,
) -> tuple[Any, Any, jax.Array]:
    """Return the parameters with a critic fitted to the targets, the optimiser's state, and the mean loss.

    Args:
      learner: whose model it is.
      optimizer: of the critic's parameters (`actor_critic.split`).
      params: of the model; the actor's stay as they are.
      opt_state: of `optimizer`.
      batch: rows with their targets.
      key: one key.
      rate: step size.
      num_epochs: passes over the batch.
      num_minibatches: steps of a pass.
      axis_name: mapped axis over which gradients are averaged.
    """
    actor, critic = split(params)

    def loss(critic, minibatch):
        value = learner.model.critic(join(actor, critic), minibatch.x)
        return jnp.mean(ops.value_loss(value, minibatch.target))

    def minibatch_step(carry, minibatch):
        critic, opt_state = carry
        total, gradient = jax.value_and_grad(loss)(critic, minibatch)
        if axis_name is not None:
            gradient = jax.lax.pmean(gradient, axis_name)
        return descend(optimizer, gradient, opt_state, critic, rate), total

    def epoch(carry, key):
        minibatches = ops.shuffled_minibatches(key, batch, num_minibatches)
        return jax.lax.scan(minibatch_step, carry, minibatches)

    keys = jax.random.split(key, num_epochs)
    (critic, opt_state), losses = jax.lax.scan(epoch, (critic, opt_state), keys)
    return join(actor, critic), opt_state, jnp.mean(losses)


def check_rows(learner: Learner, num_minibatches: int) -> None:
    """Check that minibatches are of equal size.

    Raises:
      ValueError: naming what must divide what.
    """
    rows, size = learner.num_rows, learner.batch_size
    if rows % num_minibatches:
        near = max(n for n in range(1, num_minibatches) if rows % n == 0)
        what = "num_envs * num_steps" if rows == size else f"the number of stretches of {size // rows} steps"
        raise ValueError(f"`num_minibatches` must divide {what} = {rows}, got {num_minibatches}; try {near}")
