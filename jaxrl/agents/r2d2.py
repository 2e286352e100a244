"""Recurrent replay: DQN with a memory, which learns from stretches of trajectories.

The memory before each step is stored with it. A stretch begins with the stored memory, spends `burn_in` steps
on making up for its age, and learns from the `sequence_length` that follow.

Source: Kapturowski et al. (2019), "Recurrent experience replay in distributed reinforcement learning" (R2D2):
stored state, burn-in, double and n-step targets, values on the scale of `jaxrl.ops.rescaling`, and priorities
that mix the largest and the mean error of a stretch. It departs from it in that a stretch may begin at any
step instead of every 40th; that the memory is not told the last action and reward; that a stretch may go on
into the next episode, before which the memory is cleared; and that a time limit is bootstrapped from the true
last observation, seen with the memory that led there. The sizes are for small worlds and one machine; the
paper's are 80 steps after 40 of burn-in, 512 units, and a copy of the target every 2,500 updates.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from envs.core import Environment, Params
from jaxrl import ops
from jaxrl.agents import deep_q, inputs, off_policy
from jaxrl.agents.off_policy import Weights
from jaxrl.algorithm import Algorithm, num_actions
from jaxrl.config import static, traced
from jaxrl.explore import schedules, selection
from jaxrl.nets import RecurrentQNetwork, encoded_shape
from jaxrl.nets.recurrent import Cell
from jaxrl.ops.diagnostics import dead_units
from jaxrl.ops.rescaling import rescale, unscale
from jaxrl.ops.values import select

Scalar = float | jax.Array


@struct.dataclass
class Config(deep_q.Config):
    """Hyperparameters of R2D2; the exponents, eta, n_step and Adam's epsilon are the paper's."""

    adam_epsilon: float = traced(1e-3, gt=0)
    """Adam's epsilon."""
    priority_exponent: float = traced(0.9, ge=0, le=1)
    """How much errors decide what is replayed (prioritized); 0 is uniform."""
    importance_exponent: float = traced(0.6, ge=0, le=1)
    """How much of that preference the weights undo at the start (prioritized); it rises linearly to 1."""
    largest_error_weight: float = traced(0.9, ge=0, le=1)
    """Weight eta of a stretch's largest error in its priority; the rest is that of the mean."""
    rescaling_epsilon: float = traced(1e-3, ge=0)
    """Slope of the linear part of the scale of values (rescaling)."""
    hidden_sizes: tuple[int, ...] = static((64,))
    """Widths of the dense layers before the memory."""
    memory_size: int = static(64, ge=1)
    """Units of the memory."""
    head_sizes: tuple[int, ...] = static((64,))
    """Widths of the dense layers after the memory."""
    cell: Cell = static("lstm", choices=get_args(Cell))
    """Kind of the memory."""
    burn_in: int = static(4, ge=0)
    """Steps from which only the memory of a stretch is computed."""
    sequence_length: int = static(16, ge=1)
    """Steps of a stretch that are learned from."""
    batch_size: int = static(32, ge=1)
    """Stretches of a gradient step."""
    learning_starts: int = static(1_000, ge=1)
    """Environment steps before the first gradient step."""
    n_step: int = static(5, ge=1)
    """Rewards that a target sums before it bootstraps, fewer near the end of a stretch."""
    double: bool = static(True)
    """Whether the online network chooses the action that the target network evaluates."""
    dueling: bool = static(True)
    """Whether the network splits into a value and advantages."""
    prioritized: bool = static(True)
    """Whether stretches are replayed in proportion to their errors."""
    rescaling: bool = static(True)
    """Whether values are learned on the scale h, which makes large returns as easy as small ones."""

    def check(self) -> None:
        """Check the fields together. See `jaxrl.config.validate`."""
        super().check()
        if self.noisy:
            raise ValueError("`noisy` must be False for R2D2, got True")
        needed = (self.burn_in + self.sequence_length + 1) * self.num_envs
        if self.learning_starts < needed:
            raise ValueError(
                f"`learning_starts` must be at least (burn_in + sequence_length + 1) * num_envs = {needed}, "
                f"got {self.learning_starts}: a stretch needs the steps that follow it"
            )


class Model(NamedTuple):
    """The network as functions of its parameters; M is a memory, each of whose leaves has these axes.

    Attributes:
      init: `key -> params`.
      initial_memory: `batch_shape -> M`, at the start of an episode.
      unroll: `(params, M [..., H], x [T, ..., *obs], first [T, ...]) -> (M [T, ..., H], q [T, ..., A])`, the
        memory after each step, and the action values there; it is cleared before the steps that are `first`.
      step: `(params, M [..., H], x [..., *obs]) -> (M [..., H], q [..., A])`, one step within an episode.
      hidden: `(params, x [B, T, *obs]) -> ` the activations of each layer but the memory, `[T, B, H]` each.
    """

    init: Callable[[jax.Array], Any]
    initial_memory: Callable[..., Any]
    unroll: Callable[..., tuple[Any, jax.Array]]
    step: Callable[..., tuple[Any, jax.Array]]
    hidden: Callable[[Any, jax.Array], list[jax.Array]]


@struct.dataclass
class Stretch:
    """Stretches of trajectories; leaves `[B, burn_in + T, ...]`, but `memory` `[B, H]` and `weight` `[B]`.

    Attributes:
      memory: before the first step, as it was stored.
      x: encoded observations.
      action: int32.
      reward: float32.
      next_x: encoded true next observations.
      terminated: bool.
      truncated: bool.
      weight: float32, in the loss: 0 if a `next_x` is not known any more, else 1 or the importance weight.
    """

    memory: Any
    x: jax.Array
    action: jax.Array
    reward: jax.Array
    next_x: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    weight: jax.Array


def stretches(config: Config) -> off_policy.Drawing:
    """Return the drawing of `burn_in + sequence_length` steps in a row, as `Stretch`."""
    length = config.burn_in + config.sequence_length

    def draw(ring, state, row, env, see):
        drawn = ring.sequences(state, row, env, length)
        steps = drawn.steps
        return Stretch(
            memory=jax.tree.map(lambda m: m[:, 0], steps.extras),
            x=see(steps.obs),
            action=steps.action,
            reward=steps.reward,
            next_x=see(drawn.next_obs),
            terminated=steps.terminated,
            truncated=steps.truncated,
            weight=jnp.min(drawn.valid, axis=1),
        )

    return off_policy.Drawing(length, draw)


def td_errors(
    params: Any, target_params: Any, model: Model, stretch: Stretch, config: Config
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return `target - Q(s, a)` of the steps after the burn-in, `[T, B]`, and the values that they come from.

        target_t = h(r_{t+1} + ... + gamma^{m-1} r_{t+m} + gamma^m h^-1(Q'(s_{t+m}, argmax_a Q(s_{t+m}, a))))

    where m is n_step, or less if the episode or the stretch ends before, and h is the identity without
    rescaling. Both networks warm up on the burn-in from the stored memory. `s_{t+m}` is the true next
    observation, seen with the memory after the step that led there, also where a reset follows.

    Args:
      params: of the online network, Q.
      target_params: of the target network, Q'.
      model: the network.
      stretch: leaves `[B, burn_in + T, ...]`.
      config: gamma, n_step, burn_in, double, rescaling.

    Returns:
      `(errors [T, B], Q [T, B, A], Q' [T, B, A])`, on the scale that is learned.

    Source: Kapturowski et al. (2019), equations 1 and 2.
    """
    burn_in = config.burn_in
    steps = replace(stretch, memory=(), weight=())
    steps = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), steps)
    ended = steps.terminated | steps.truncated
    first = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])

    def follow(params):
        memory = stretch.memory
        if burn_in:
            memories, _ = model.unroll(params, memory, steps.x[:burn_in], first[:burn_in])
            memory = lax.stop_gradient(jax.tree.map(lambda m: m[-1], memories))
        return model.unroll(params, memory, steps.x[burn_in:], first[burn_in:])

    (memories, q), (target_memories, target_q) = follow(params), follow(target_params)
    steps = jax.tree.map(lambda leaf: leaf[burn_in:], steps)
    next_q = model.step(target_params, target_memories, steps.next_x)[1]
    chooser = model.step(params, memories, steps.next_x)[1] if config.double else next_q
    value = select(next_q, jnp.argmax(chooser, axis=-1))
    if config.rescaling:
        value = unscale(value, config.rescaling_epsilon)
    target = jax.vmap(ops.n_step_returns, in_axes=(1, 1, 1, 1, None, None), out_axes=1)(
        steps.reward, value, steps.terminated, steps.truncated, config.gamma, config.n_step
    )
    if config.rescaling:
        target = rescale(target, config.rescaling_epsilon)
    return lax.stop_gradient(target) - select(q, steps.action), q, target_q


def priority(errors: jax.Array, largest_error_weight: Scalar) -> jax.Array:
    """Return what stretches are replayed in proportion to (before the exponent), `[B]`.

        eta * max_t |error_t| + (1 - eta) * mean_t |error_t|

    Args:
      errors: `[T, B]` float.
      largest_error_weight: `[]` float, eta.

    >>> priority(jnp.array([[1.0], [-3.0]]), 0.5).tolist()
    [2.5]

    Source: Kapturowski et al. (2019), section 2.3.
    """
    largest, mean = jnp.max(jnp.abs(errors), axis=0), jnp.mean(jnp.abs(errors), axis=0)
    return largest_error_weight * largest + (1.0 - largest_error_weight) * mean


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return R2D2 on `env`, whose actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, sizes or options do not fit each other, the
        actions are not discrete, or the replay does not fit in memory.
    """
    inputs.check(env, params, config, Config)
    model = network(env, params, config)
    steps_per_iteration = config.num_envs * config.num_steps
    optimizer = off_policy.adam(config)
    epsilon = schedules.linear(
        config.epsilon_start, config.epsilon_end, config.exploration_fraction * config.total_steps
    )

    def unscaled(q):
        return unscale(q, config.rescaling_epsilon) if config.rescaling else q

    def init(key):
        online = model.init(key)
        return Weights(online, online, optimizer.init(online))

    def act(model_params, x, memory, key, t):
        after, q = model.step(model_params, memory, x)
        keys, chance = jax.random.split(key, config.num_envs), epsilon(t * steps_per_iteration)
        return jax.vmap(selection.epsilon_greedy, in_axes=(0, 0, None))(keys, q, chance), memory, after

    def update(weights, stretch, key, count):
        def loss(online):
            errors, *values = td_errors(online, weights.target_params, model, stretch, config)
            return jnp.mean(jnp.square(errors) * stretch.weight[None]), (errors, values)

        (total, (errors, values)), gradient = jax.value_and_grad(loss, has_aux=True)(weights.params)
        direction, opt_state = optimizer.update(gradient, weights.opt_state)
        rate = off_policy.annealed(config.learning_rate, count, config)
        online = jax.tree.map(lambda p, d: p - rate * d, weights.params, direction)
        q, target_q = map(unscaled, values)
        best = jnp.max(q, axis=-1)
        metrics = {
            "loss": total,
            "grad_norm": optax.tree.norm(gradient),
            "q_mean": jnp.mean(best),
            "q_max": jnp.max(best),
            "q_spread": jnp.std(best),
            "target_gap": jnp.mean(jnp.abs(q - target_q)),
        }
        errors = priority(errors, config.largest_error_weight)
        return Weights(online, weights.target_params, opt_state), errors, metrics

    def sync(weights, t):
        target_params = off_policy.update_target(
            weights.params, weights.target_params, t, config.target_update_period, config
        )
        return replace(weights, target_params=target_params)

    def greedy(model_params, x, memory):
        memory, q = model.step(model_params, memory, x)
        return jnp.argmax(q, axis=-1).astype(jnp.int32), memory

    learner = off_policy.Learner(
        init=init,
        act=act,
        update=update,
        health=lambda weights, x: {"dead_units": dead_units(model.hidden(weights.params, x))},
        greedy=greedy,
        value=lambda model_params, x, memory: unscaled(jnp.max(model.step(model_params, memory, x)[1], -1)),
        sync=sync,
        initial_memory=model.initial_memory,
        metrics=lambda t: {"epsilon": epsilon(t * steps_per_iteration)},
    )
    return off_policy.make(env, params, config, learner, stretches(config))


def network(env: Environment, params: Params, config: Config) -> Model:
    """Return the network with a memory as functions of its parameters.

    Raises:
      ValueError: if the actions are not discrete.
    """
    module = RecurrentQNetwork(
        num_actions=num_actions(env, params),
        hidden_sizes=config.hidden_sizes,
        memory_size=config.memory_size,
        head_sizes=config.head_sizes,
        cell=config.cell,
        activation=config.activation,
        channels=config.channels,
        layer_norm=config.layer_norm,
        dueling=config.dueling,
        initializer=config.initializer,
    )
    shape = encoded_shape(env.observation_space(params), flatten=not config.channels)

    def init(key):
        x, first = jnp.zeros((1, 1, *shape)), jnp.zeros((1, 1), bool)
        return {"params": module.init(key, module.initial_memory((1,)), x, first)["params"]}

    def unroll(params, memory, x, first) -> Any:
        return module.apply(params, memory, x, first)

    def step(params, memory, x):
        first = jnp.zeros((1, *jax.tree.leaves(memory)[0].shape[:-1]), bool)
        after, q = unroll(params, memory, x[None], first)
        return jax.tree.map(lambda m: m[0], after), q[0]

    def hidden(params, x) -> list[jax.Array]:
        x = jnp.swapaxes(x, 0, 1)
        memory, first = module.initial_memory(x.shape[1:2]), jnp.zeros(x.shape[:2], bool)
        return jax.tree.leaves(module.apply(params, memory, x, first, mutable=["intermediates"])[1])

    return Model(init, module.initial_memory, unroll, step, hidden)
