"""The loop that DQN and its relatives share: act, remember, learn from replay, move the target network.

A method says what its network predicts and what the loss of a batch is; exploration, replay, importance
weights, the optimiser, the target network and the health metrics are the same for all.

Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; Hessel et al. (2018),
https://arxiv.org/abs/1710.02298, for the parts of Rainbow. The defaults are those of CleanRL's dqn_jax.py;
its one gradient step every ten environment steps is here one an iteration of ten environments.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from envs.core import Environment, Params, time_limit
from envs.vector import ResetMode, VecEnv, VecState
from jaxrl.algorithm import Algorithm, Policy, num_actions
from jaxrl.config import static, traced, validate
from jaxrl.explore import schedules, selection
from jaxrl.nets import QNetwork, encode, encoded_shape
from jaxrl.nets.mlp import ACTIVATIONS
from jaxrl.replay import Ring, RingState, Step, Transition, check_memory, prioritized, uniform
from jaxrl.rollout import episode_metrics, unroll


@struct.dataclass
class QConfig:
    """What every learner of action values with a network has; the defaults are CleanRL's dqn_jax.py."""

    learning_rate: float = traced(2.5e-4, ge=0)
    """Step size of the optimiser."""
    total_steps: float = traced(500_000.0, gt=0)
    """Environment steps that exploration and other schedules run over; the length of the training."""
    gamma: float = traced(0.99, ge=0, le=1)
    """Discount factor."""
    epsilon_start: float = traced(1.0, ge=0, le=1)
    """Chance of a random action at the start."""
    epsilon_end: float = traced(0.05, ge=0, le=1)
    """Chance of a random action once exploration has ended."""
    exploration_fraction: float = traced(0.5, gt=0, le=1)
    """Share of the training over which that chance falls, linearly."""
    dueling: bool = static(False)
    """Whether the network splits into a value and advantages."""
    noisy: bool = static(False)
    """Whether the dense layers have learned noise to explore with; set epsilon_start and epsilon_end to 0."""
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
class Config(QConfig):
    """Hyperparameters of DQN and its relatives; the defaults are CleanRL's."""

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
    target_update_period: int = static(500, ge=1)
    """Environment steps between updates of the target network."""
    n_step: int = static(1, ge=1)
    """Rewards that a target sums before it bootstraps."""
    prioritized: bool = static(False)
    """Whether transitions are replayed in proportion to their errors."""

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


@struct.dataclass
class State:
    """Everything the learner carries from one iteration to the next; `priorities` is None if uniform."""

    params: Any
    target_params: Any
    opt_state: optax.OptState
    ring: RingState
    priorities: prioritized.Priorities | None
    vec_state: VecState
    obs: Any
    key: jax.Array


@struct.dataclass
class Batch:
    """Transitions as a method's loss sees them; leaves `[B, ...]`; see `jaxrl.replay.Transition`."""

    x: jax.Array
    action: jax.Array
    reward: jax.Array
    discount: jax.Array
    next_x: jax.Array


class Method(NamedTuple):
    """What distinguishes one relative of DQN from another.

    Attributes:
      init: `key -> params`.
      values: `(params, x, key or None) -> [..., A]`, the action values that are acted on; the key is for
        networks with noise, which is left out without it.
      loss: `(params, target_params, batch, key) -> (losses [B], errors [B])`; errors are what priorities
        are made of and what is reported: the TD error in units of the return, or the loss.
      hidden: `(params, x) -> ` the activations of each hidden layer, `[B, H]` each.
    """

    init: Callable[[jax.Array], Any]
    values: Callable[[Any, jax.Array, jax.Array | None], jax.Array]
    loss: Callable[[Any, Any, Batch, jax.Array], tuple[jax.Array, jax.Array]]
    hidden: Callable[[Any, jax.Array], list[jax.Array]]


class Network(NamedTuple):
    """The network as functions; K numbers for each of A actions.

    Attributes:
      init: `key -> params`.
      outputs: `(params, x [B, ...], key or None) -> [B, A, K]`.
      hidden: as of `Method`.
    """

    init: Callable[[jax.Array], Any]
    outputs: Callable[..., jax.Array]
    hidden: Callable[[Any, jax.Array], list[jax.Array]]


def make(env: Environment, params: Params, config: Config, method: Method) -> Algorithm:
    """Return the algorithm that runs `method` on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes do not fit each other, or the replay
        does not fit in memory.
    """
    validate(config)
    vec = VecEnv(env, config.num_envs, reset=config.reset)
    obs_space = env.observation_space(params)
    steps_per_iteration = config.num_envs * config.num_steps
    rows = config.buffer_size // config.num_envs
    ring = Ring(
        capacity=config.buffer_size,
        num_envs=config.num_envs,
        block=config.num_steps,
        lookahead=config.n_step,
        num_finals=min(rows // max(time_limit(env, params), 1) + 2, rows),
    )
    example = jax.eval_shape(lambda key: _example(vec, params, key), jax.random.key(0))
    check_memory("buffer_size", config.buffer_size, jax.eval_shape(ring.init, example))
    first_update = math.ceil(config.learning_starts / steps_per_iteration)
    optimizer = optax.scale_by_adam(eps=config.adam_epsilon)
    if config.max_grad_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optimizer)
    epsilon = schedules.linear(
        config.epsilon_start, config.epsilon_end, config.exploration_fraction * config.total_steps
    )
    importance = schedules.linear(config.importance_exponent, 1.0, config.total_steps)

    def see(obs):
        return encode(obs, obs_space, flatten=not config.channels)

    def init(key):
        key_params, key_env, key = jax.random.split(key, 3)
        vec_state, obs = vec.reset(key_env, params)
        online = method.init(key_params)
        return State(
            params=online,
            target_params=online,
            opt_state=optimizer.init(online),
            ring=ring.init(example),
            priorities=prioritized.init(ring) if config.prioritized else None,
            vec_state=vec_state,
            obs=obs,
            key=key,
        )

    def collect(state, key, t):
        """Return the state after the iteration's environment steps, remembered, and their statistics."""

        def act(key, obs, carry):
            key_noise, key = jax.random.split(key)
            q = method.values(state.params, see(obs), key_noise if config.noisy else None)
            keys = jax.random.split(key, config.num_envs)
            chance = epsilon(t * steps_per_iteration)
            action = jax.vmap(selection.epsilon_greedy, in_axes=(0, 0, None))(keys, q, chance)
            return action, (), carry

        vec_state, obs, _, rollout = unroll(
            vec, params, act, key, state.vec_state, state.obs, (), config.num_steps
        )
        steps = Step(rollout.obs, rollout.action, rollout.reward, rollout.terminated, rollout.truncated)
        written, priorities = t * config.num_steps, state.priorities
        if priorities is not None:
            priorities = prioritized.add(priorities, ring, written)
        memory = ring.add(state.ring, steps, rollout.next_obs, written)
        return replace(
            state, ring=memory, priorities=priorities, vec_state=vec_state, obs=obs
        ), rollout.episode

    def learn(state, key, t):
        """Return the state after the iteration's gradient steps, and its health."""
        written = (t + 1) * config.num_steps
        beta = importance(t * steps_per_iteration)

        def update(loop, key):
            online, opt_state, priorities = loop
            key_sample, key_loss = jax.random.split(key)
            if priorities is None:
                row, at = uniform.sample(key_sample, ring, written, config.batch_size)
                weight = jnp.ones(config.batch_size)
            else:
                row, at, weight = prioritized.sample(
                    key_sample, priorities, ring, written, config.batch_size, beta
                )
            drawn = ring.transitions(state.ring, row, at, config.gamma, config.n_step)
            batch = _batch(drawn, see)

            def loss(online):
                losses, errors = method.loss(online, state.target_params, batch, key_loss)
                return jnp.mean(losses * weight * drawn.valid), errors

            (total, errors), gradient = jax.value_and_grad(loss, has_aux=True)(online)
            direction, opt_state = optimizer.update(gradient, opt_state)
            online = jax.tree.map(lambda p, d: p - config.learning_rate * d, online, direction)
            if priorities is not None:
                priorities = prioritized.update(priorities, ring, row, at, errors, config.priority_exponent)
            metrics = {
                "loss": total,
                "td_error": jnp.mean(jnp.abs(errors)),
                "grad_norm": optax.tree.norm(gradient),
                "replay_age": jnp.mean((written - 1 - row) % ring.rows) * config.num_envs,
                "replay_lost": 1.0 - jnp.mean(drawn.valid),
            }
            return (online, opt_state, priorities), (metrics, batch.x)

        start = (state.params, state.opt_state, state.priorities)
        keys = jax.random.split(key, config.num_updates)
        (online, opt_state, priorities), (metrics, x) = lax.scan(update, start, keys)
        x = x[-1]
        q, target_q = (method.values(p, x, None) for p in (online, state.target_params))
        metrics = jax.tree.map(jnp.mean, metrics) | {
            "q_mean": jnp.mean(jnp.max(q, axis=-1)),
            "q_max": jnp.max(q),
            "q_spread": jnp.std(jnp.max(q, axis=-1)),
            "target_gap": jnp.mean(jnp.abs(q - target_q)),
            "dead_units": dead_units(method.hidden(online, x)),
            "replay_diversity": diversity(x),
        }
        return replace(state, params=online, opt_state=opt_state, priorities=priorities), metrics

    def step(state, t):
        key_rollout, key_learn, key = jax.random.split(state.key, 3)
        state, episode = collect(replace(state, key=key), key_rollout, t)
        shapes = jax.eval_shape(learn, state, key_learn, t)[1]

        def wait(state, key, t):
            return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        # The counter is shared by all seeds, so these remain branches under vmap.
        state, metrics = lax.cond(t + 1 >= first_update, learn, wait, state, key_learn, t)
        period = config.target_update_period
        before, after = t * steps_per_iteration // period, (t + 1) * steps_per_iteration // period
        target_params = lax.cond(
            after > before,
            lambda: optax.incremental_update(state.params, state.target_params, config.polyak_tau),
            lambda: state.target_params,
        )
        metrics = metrics | {"epsilon": epsilon(t * steps_per_iteration)}
        return replace(state, target_params=target_params), metrics | episode_metrics(episode)

    def policy(state):
        def act(obs, carry, key):
            return jnp.argmax(method.values(state.params, see(obs), None), axis=-1).astype(jnp.int32), carry

        return Policy(init=lambda: (), act=act)

    return Algorithm(init, step, policy, steps_per_iteration, env, params)


def network(env: Environment, params: Params, config: QConfig, num_outputs: int = 1) -> Network:
    """Return the network of K = `num_outputs` numbers an action, as functions of its parameters.

    Args:
      env: the environment.
      params: its parameters.
      config: sizes and options of the network.
      num_outputs: K.

    Raises:
      ValueError: if the actions are not discrete.
    """
    obs_space = env.observation_space(params)
    module = QNetwork(
        num_actions=num_actions(env, params),
        num_outputs=num_outputs,
        hidden_sizes=config.hidden_sizes,
        activation=config.activation,
        channels=config.channels,
        layer_norm=config.layer_norm,
        dueling=config.dueling,
        noisy=config.noisy,
    )

    def init(key):
        x = jnp.zeros(encoded_shape(obs_space, flatten=not config.channels))
        return {"params": module.init(key, x)["params"]}

    def outputs(params, x, key=None) -> Any:
        return module.apply(params, x, rngs={"noise": key} if config.noisy and key is not None else None)

    def hidden(params, x) -> list[jax.Array]:
        sown: Any = module.apply(params, x, mutable=["intermediates"])[1]
        return list(sown.get("intermediates", {}).get("hidden", ()))

    return Network(init, outputs, hidden)


def dead_units(hidden: list[jax.Array], threshold: float = 0.025) -> jax.Array:
    """Return the share of hidden units that hardly ever respond, `[]` float32.

    A unit is dead if the mean of its absolute activation over the batch is at most `threshold` times the
    mean over its layer.

    Args:
      hidden: activations of each layer, `[B, H]`.
      threshold: 0.025 as in the paper.

    >>> float(dead_units([jnp.array([[1.0, 0.0], [3.0, 0.0]])]))
    0.5

    Source: Sokar et al. (2023), https://arxiv.org/abs/2302.12902, definition 3.1.
    """
    dead = []
    for layer in hidden:
        response = jnp.mean(jnp.abs(layer.reshape(-1, layer.shape[-1])), axis=0)
        dead.append(response <= threshold * jnp.mean(response))
    return jnp.mean(jnp.concatenate(dead), dtype=jnp.float32) if dead else jnp.float32(0)


def diversity(x: jax.Array) -> jax.Array:
    """Return the share of the observations `[B, ...]` of a batch that are distinct, `[]` float32.

    A replay that has become homogeneous draws the same few over and over; of observations with continuous
    parts all are distinct.

    >>> float(diversity(jnp.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])))
    0.75
    """
    flat = x.reshape(len(x), -1)
    # Equal rows have equal projections, and others hardly ever.
    projected = jnp.sort(flat @ jnp.sin(1.0 + jnp.arange(flat.shape[1], dtype=jnp.float32) ** 2))
    return (1.0 + jnp.sum(projected[1:] != projected[:-1])) / len(x)


def _batch(drawn: Transition, see: Callable[[Any], jax.Array]) -> Batch:
    return Batch(
        x=see(drawn.obs),
        action=drawn.action,
        reward=drawn.reward,
        discount=drawn.discount,
        next_x=see(drawn.next_obs),
    )


def _example(vec: VecEnv, params: Params, key: jax.Array) -> Step:
    """Return a step of the environments; only its shapes are used."""
    key_reset, key_action, key_step = jax.random.split(key, 3)
    vec_state, obs = vec.reset(key_reset, params)
    action = jax.vmap(vec.action_space(params).sample)(jax.random.split(key_action, vec.num_envs))
    _, out = vec.step(key_step, vec_state, action, params)
    return Step(obs, action, out.reward, out.terminated, out.truncated)
