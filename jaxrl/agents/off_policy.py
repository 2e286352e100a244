"""The loop that all learners from replay share: act, remember, learn from what is remembered.

    collect -> ring, priorities -> num_updates times: draw, update -> metrics

A learner says how it acts and what an update is: DQN and its relatives do (`jaxrl.agents.deep_q`), and
actors with critics. Warm-up and periods depend on the counter that all seeds share, so they remain branches
under `vmap`. The s' of a transition is the true last observation where the clock ended an episode, so a time
limit is never taken for a terminal state. Observations, if normalised, are stored as they are, and seen with
the statistics of earlier iterations.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax
from jax.core import Tracer

from envs.core import Environment, Params, time_limit
from envs.vector import ResetMode, VecEnv, VecState
from jaxrl import normalize
from jaxrl.agents.inputs import refuse_special
from jaxrl.algorithm import Algorithm, Metrics, Policy
from jaxrl.config import static, traced
from jaxrl.explore import schedules
from jaxrl.memory import check_replay
from jaxrl.nets import encode, encoded_shape
from jaxrl.nets.mlp import ACTIVATIONS
from jaxrl.ops.diagnostics import diversity
from jaxrl.replay import Ring, RingState, Step, prioritized, uniform
from jaxrl.rollout import episode_metrics, unroll

# Observations of a batch, at most, that a learner's health is measured on: on all of them it took a quarter
# of the time of DQN on CartPole.
HEALTH_SIZE = 32


@struct.dataclass
class NetworkConfig:
    """What every learner of action values has, with or without replay: its world and its networks."""

    total_steps: float = traced(500_000.0, gt=0)
    """Environment steps that exploration and other schedules run over; the length of the training."""
    gamma: float = traced(0.99, ge=0, le=1)
    """Discount factor."""
    layer_norm: bool = static(False)
    """Whether hidden layers are normalised."""
    hidden_sizes: tuple[int, ...] = static((120, 84))
    """Widths of the dense layers."""
    activation: str = static("relu", choices=tuple(ACTIVATIONS))
    """Activation of the hidden layers."""
    channels: tuple[int, ...] = static(())
    """Filters of 3 x 3 convolutions before the dense layers, for image observations; none flattens them."""
    reset: ResetMode = static("auto", choices=get_args(ResetMode))
    """Where new episodes start from; see envs.VecEnv."""


@struct.dataclass
class Config(NetworkConfig):
    """What every learner from replay has beside; the defaults are those of CleanRL's dqn_jax.py."""

    polyak_tau: float = traced(1.0, gt=0, le=1)
    """How far the target network moves towards the online one at each of its updates; 1 copies it."""
    max_grad_norm: float | None = traced(None, gt=0)
    """Global norm at which the gradient is clipped; by default it is not."""
    adam_epsilon: float = traced(1e-8, gt=0)
    """Adam's epsilon."""
    priority_exponent: float = traced(0.6, ge=0, le=1)
    """How much errors decide what is replayed (prioritized); 0 is uniform."""
    importance_exponent: float = traced(0.4, ge=0, le=1)
    """How much of that preference the weights undo at the start (prioritized); it rises linearly to 1."""
    num_envs: int = static(10, ge=1)
    """Environments stepped side by side."""
    num_steps: int = static(1, ge=1)
    """Steps of each environment an iteration."""
    num_updates: int = static(1, ge=1)
    """Gradient steps an iteration, after num_envs * num_steps environment steps."""
    batch_size: int = static(128, ge=1)
    """Transitions of a gradient step."""
    buffer_size: int = static(10_000, ge=1)
    """Transitions that are remembered; a multiple of num_envs * num_steps."""
    learning_starts: int = static(10_000, ge=1)
    """Environment steps before the first gradient step."""
    n_step: int = static(1, ge=1)
    """Rewards that a target sums before it bootstraps."""
    anneal_learning_rate: bool = static(False)
    """Whether learning rates fall linearly to zero over total_steps."""
    prioritized: bool = static(False)
    """Whether transitions are replayed in proportion to their errors."""
    normalize_observations: bool = static(False)
    """Whether observations are standardised by their running mean and variance, which the state holds."""

    def check(self) -> None:
        """Check the fields together; `Ring` checks that the sizes divide. See `jaxrl.config.validate`."""
        if self.batch_size > self.learning_starts:
            raise ValueError(
                f"`batch_size` must be at most learning_starts = {self.learning_starts}, the steps "
                f"remembered when learning begins, got {self.batch_size}"
            )
        if self.learning_starts > self.buffer_size:
            raise ValueError(
                f"`learning_starts` must be at most buffer_size = {self.buffer_size}, "
                f"got {self.learning_starts}"
            )
        if self.learning_starts < (self.n_step + 1) * self.num_envs:
            raise ValueError(
                f"`learning_starts` must be at least (n_step + 1) * num_envs = "
                f"{(self.n_step + 1) * self.num_envs}, got {self.learning_starts}: a transition needs "
                "the steps that follow it"
            )
        total = self.total_steps
        if not isinstance(total, Tracer) and np.any(np.less(total, self.learning_starts)):
            raise ValueError(
                f"`learning_starts` must be at most total_steps = {np.min(total):,.0f}, "
                f"got {self.learning_starts}: nothing would be learned"
            )


@struct.dataclass
class Weights:
    """What gradient steps change.

    Attributes:
      params: of all online networks, and whatever else is acted with.
      target_params: of the networks that targets are computed with.
      opt_state: of the optimisers.
    """

    params: Any
    target_params: Any
    opt_state: Any


@struct.dataclass
class State(Weights):
    """Everything a learner carries from one iteration to the next.

    Attributes:
      ring: what it remembers.
      priorities: None if it draws uniformly.
      statistics: of the encoded observations, None if they are not normalised.
      vec_state: of the environments.
      obs: `[N, ...]`, what it acts on next.
      memory: leaves `[N, ...]`, of the policy; `()` if it has none.
      key: one key.
    """

    ring: RingState
    priorities: prioritized.Priorities | None
    statistics: normalize.RunningStatistics | None
    vec_state: VecState
    obs: Any
    memory: Any
    key: jax.Array


@struct.dataclass
class Batch:
    """Transitions as an update sees them; leaves `[B, ...]`; see `jaxrl.replay.Transition`.

    Attributes:
      x: encoded observations.
      action: the first one.
      reward: float32.
      discount: float32.
      next_x: encoded.
      weight: float32, of the transition in the loss: 0 where s' is no longer known, else 1 or the
        importance weight.
    """

    x: jax.Array
    action: Any
    reward: jax.Array
    discount: jax.Array
    next_x: jax.Array
    weight: jax.Array


class Drawing(NamedTuple):
    """How places of the ring become batches.

    Attributes:
      lookahead: the steps that one draw spans after its first.
      draw: `(ring, ring state, row [B], env [B], see) -> batch`, whose fields `x`, the encoded observations,
        and `weight` the loop reads, and whose `weight` it multiplies by importance; `see` encodes.
    """

    lookahead: int
    draw: Callable[..., Any]


class Learner(NamedTuple):
    """What distinguishes one learner from replay from another. x is an encoded observation.

    Attributes:
      init: `key -> weights`.
      act: `(params, x [N, ...], memory, key, t) -> (action [N, ...], extras, memory)`, while it learns, in
        the iteration t; `extras` are stored with the step.
      update: `(weights, batch, key, count) -> (weights, errors [B], metrics)`, a gradient step; `count` is
        `[]` int32, how many came before, shared by all seeds. Errors are what priorities are made of and
        what is reported: the TD error in units of the return, or the loss.
      health: `(weights, x [K, ...]) -> metrics`, after the last update of an iteration, on K of the
        observations of its batch, at most HEALTH_SIZE.
      greedy: `(params, x, memory) -> (action, memory)`, how it is evaluated, for any batch.
      value: `(params, x, memory) -> value`, the return it expects of that; None if it has no opinion.
      sync: `(weights, t) -> weights`, at the end of the iteration t, also before there are updates.
      initial_memory: `batch_shape -> memory` at the start of an episode.
      metrics: `t -> metrics` that follow from the counter alone.
    """

    init: Callable[[jax.Array], Weights]
    act: Callable[..., tuple[Any, Any, Any]]
    update: Callable[..., tuple[Weights, jax.Array, Metrics]]
    health: Callable[[Weights, jax.Array], Metrics]
    greedy: Callable[[Any, jax.Array, Any], tuple[Any, Any]]
    value: Callable[[Any, jax.Array, Any], jax.Array] | None = None
    sync: Callable[[Weights, jax.Array], Weights] = lambda weights, t: weights
    initial_memory: Callable[[tuple[int, ...]], Any] = lambda batch_shape: ()
    metrics: Callable[[jax.Array], Metrics] = lambda t: {}


def transitions(config: Config) -> Drawing:
    """Return the drawing of transitions over `config.n_step` steps, as `Batch`."""

    def draw(ring, memory, row, env, see):
        drawn = ring.transitions(memory, row, env, config.gamma, config.n_step)
        return Batch(
            x=see(drawn.obs),
            action=drawn.action,
            reward=drawn.reward,
            discount=drawn.discount,
            next_x=see(drawn.next_obs),
            weight=drawn.valid,
        )

    return Drawing(config.n_step, draw)


def first_update(config: Config) -> int:
    """Return the first iteration, counted from 0, that ends with gradient steps."""
    return math.ceil(config.learning_starts / (config.num_envs * config.num_steps)) - 1


def make(
    env: Environment, params: Params, config: Config, learner: Learner, drawing: Drawing | None = None
) -> Algorithm:
    """Return the algorithm that runs `learner` on `env`.

    Args:
      env: the environment.
      params: its parameters.
      config: validated.
      learner: what it does with a batch.
      drawing: of batches; transitions by default.

    Raises:
      ValueError: if sizes do not fit each other, or the replay does not fit in memory.
    """
    drawing = drawing or transitions(config)
    vec = VecEnv(env, config.num_envs, reset=config.reset)
    obs_space, flatten = env.observation_space(params), not config.channels
    refuse_special(obs_space)
    steps_per_iteration = config.num_envs * config.num_steps
    rows = config.buffer_size // config.num_envs
    ring = Ring(
        capacity=config.buffer_size,
        num_envs=config.num_envs,
        block=config.num_steps,
        lookahead=drawing.lookahead,
        num_finals=min(rows // max(time_limit(env, params), 1) + 2, rows),
    )
    importance = schedules.linear(config.importance_exponent, 1.0, config.total_steps)

    def see(obs, statistics):
        x = encode(obs, obs_space, flatten)
        return x if statistics is None else normalize.normalize(statistics, x)

    def act(state, key, t):
        """Return what `state` does, as `unroll` asks for it."""

        def act(key, obs, memory):
            return learner.act(state.params, see(obs, state.statistics), memory, key, t)

        return act

    def example(key):
        """Return a step of the environments; only its shapes are used."""
        key_init, key_act, key_step = jax.random.split(key, 3)
        state = fresh(key_init)
        action, extras, _ = act(state, key_act, jnp.int32(0))(key_act, state.obs, state.memory)
        _, out = vec.step(key_step, state.vec_state, action, params)
        return Step(state.obs, action, out.reward, out.terminated, out.truncated, extras)

    def fresh(key, remembered=None):
        """Return the state at the start, with an empty ring for steps like `remembered`."""
        key_params, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        weights = learner.init(key_params)
        return State(
            params=weights.params,
            target_params=weights.target_params,
            opt_state=weights.opt_state,
            ring=None if remembered is None else ring.init(remembered),  # type: ignore[arg-type]
            priorities=prioritized.init(ring) if config.prioritized else None,
            statistics=(
                normalize.init(encoded_shape(obs_space, flatten)) if config.normalize_observations else None
            ),
            vec_state=vec_state,
            obs=obs,
            memory=learner.initial_memory((config.num_envs,)),
            key=key,
        )

    step_shapes = jax.eval_shape(example, jax.random.key(0))
    check_replay("buffer_size", config.buffer_size, jax.eval_shape(ring.init, step_shapes))

    def init(key):
        return fresh(key, step_shapes)

    def collect(state, key, t):
        """Return the state after the iteration's environment steps, remembered, and what happened."""
        vec_state, obs, memory, rollout = unroll(
            vec,
            params,
            act(state, key, t),
            key,
            state.vec_state,
            state.obs,
            state.memory,
            config.num_steps,
            learner.initial_memory((config.num_envs,)),
        )
        steps = Step(
            rollout.obs,
            rollout.action,
            rollout.reward,
            rollout.terminated,
            rollout.truncated,
            rollout.extras,
        )
        written, priorities = t * config.num_steps, state.priorities
        if priorities is not None:
            priorities = prioritized.add(priorities, ring, written)
        remembered = ring.add(state.ring, steps, rollout.next_obs, written)
        state = replace(state, ring=remembered, priorities=priorities, vec_state=vec_state, obs=obs)
        return replace(state, memory=memory), rollout

    def learn(state, key, t):
        """Return weights and priorities after the iteration's gradient steps, and the learner's health."""
        written = (t + 1) * config.num_steps
        beta = importance(t * steps_per_iteration)
        count = (t - first_update(config)) * config.num_updates

        keys_sample, keys_update = jax.random.split(key, (2, config.num_updates))
        if state.priorities is None:
            # Nothing that is learned decides what is drawn, so the draws of all updates are one: on a CPU the
            # number of calls counts.
            draws = jax.vmap(lambda key: uniform.sample(key, ring, written, config.batch_size))(keys_sample)
        else:
            draws = keys_sample

        def update(loop, inputs):
            weights, priorities = loop
            draw, key_update, i = inputs
            if priorities is None:
                (row, at), weight = draw, None
            else:
                row, at, weight = prioritized.sample(draw, priorities, ring, written, config.batch_size, beta)
            batch = drawing.draw(ring, state.ring, row, at, lambda obs: see(obs, state.statistics))
            valid = batch.weight
            if weight is not None:
                batch = replace(batch, weight=weight * valid)
            weights, errors, metrics = learner.update(weights, batch, key_update, count + i)
            if priorities is not None:
                # Where s' is lost the error is none, and nothing is learned: not to be drawn again.
                priorities = prioritized.update(
                    priorities, ring, row, at, errors * valid, config.priority_exponent
                )
            metrics = metrics | {
                "td_error": jnp.mean(jnp.abs(errors)),
                "replay_age": jnp.mean((written - 1 - row) % ring.rows) * config.num_envs,
                "replay_lost": 1.0 - jnp.mean(valid),
            }
            return (weights, priorities), (metrics, batch.x)

        (weights, priorities), (metrics, x) = lax.scan(
            update, (_weights(state), state.priorities), (draws, keys_update, jnp.arange(config.num_updates))
        )
        x = x[-1]
        # Every n-th, for the first ones of a prioritised draw are the oldest.
        metrics = jax.tree.map(jnp.mean, metrics) | learner.health(weights, x[:: -(-len(x) // HEALTH_SIZE)])
        return weights, priorities, metrics | {"replay_diversity": diversity(x)}

    def step(state, t):
        key_rollout, key_learn, key = jax.random.split(state.key, 3)
        state, rollout = collect(replace(state, key=key), key_rollout, t)
        shapes = jax.eval_shape(learn, state, key_learn, t)[-1]

        def wait(state, key, t):
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return _weights(state), state.priorities, zeros

        # The counter is shared by all seeds, so this remains a branch under vmap. The ring is not among what
        # it returns, or it would be copied.
        weights, priorities, metrics = lax.cond(t >= first_update(config), learn, wait, state, key_learn, t)
        weights = learner.sync(weights, t)
        state = replace(
            state,
            params=weights.params,
            target_params=weights.target_params,
            opt_state=weights.opt_state,
            priorities=priorities,
        )
        if state.statistics is not None:
            statistics = normalize.update(state.statistics, encode(rollout.obs, obs_space, flatten))
            state = replace(state, statistics=statistics)
        return state, metrics | learner.metrics(t) | episode_metrics(rollout.episode)

    def policy(state):
        def act(obs, memory, key):
            return learner.greedy(state.params, see(obs, state.statistics), memory)

        def value(obs, memory):
            return learner.value(state.params, see(obs, state.statistics), memory)  # type: ignore[misc]

        return Policy(
            init=lambda: learner.initial_memory(()),
            act=act,
            value=value if learner.value else None,
            discount=config.gamma if learner.value else None,
        )

    horizon = config.total_steps if config.anneal_learning_rate else None
    return Algorithm(init, step, policy, steps_per_iteration, env, params, horizon)


def annealed(rate: Any, count: jax.Array, config: Config) -> Any:
    """Return a learning rate after `count` gradient steps: as it is, or less by the share of steps done."""
    if not config.anneal_learning_rate:
        return rate
    done = (first_update(config) + count // config.num_updates) * (config.num_envs * config.num_steps)
    return rate * jnp.maximum(1.0 - done / config.total_steps, 0.0)


def adam(config: Config) -> optax.GradientTransformation:
    """Return the directions of Adam, of a gradient whose norm is clipped if `config` says so."""
    optimizer = optax.scale_by_adam(eps=config.adam_epsilon)
    if config.max_grad_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optimizer)


def update_target(online: Any, target: Any, t: jax.Array, period: int, config: Config) -> Any:
    """Return the target network, moved towards the online one if a period ended in the iteration t.

    Args:
      online: parameters.
      target: parameters.
      t: `[]` int32, iterations done before, shared by all seeds.
      period: in environment steps.
      config: polyak_tau, and the steps of an iteration.
    """
    steps_per_iteration = config.num_envs * config.num_steps
    before, after = t * steps_per_iteration // period, (t + 1) * steps_per_iteration // period
    return lax.cond(
        after > before,
        lambda: optax.incremental_update(online, target, config.polyak_tau),
        lambda: target,
    )


def _weights(state: State) -> Weights:
    return Weights(state.params, state.target_params, state.opt_state)
