"""The one loop of tabular control: act, step, update, a table at a time.

A method is an update function and what it needs of the loop (`Method`); `make` turns it into an
`Algorithm`. One iteration is `num_steps` environment steps, each followed by an update. The caller
vmaps over seeds: every table then gains an axis, and a batch of 256 costs little more than one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from envs.spaces import Discrete, Space
from envs.vector import VecEnv, VecState
from jaxrl.algorithm import Algorithm, Policy
from jaxrl.config import static, traced, validate
from jaxrl.explore import schedules
from jaxrl.explore.selection import epsilon_greedy_probabilities
from jaxrl.rollout import episode_metrics

Tables = Any


@struct.dataclass
class Config:
    """Hyperparameters that all methods of tabular control share."""

    learning_rate: float = traced(0.1, gt=0, le=1)
    """Step size, at first."""
    learning_rate_end: float = traced(0.01, gt=0, le=1)
    """Step size after total_steps, unless the schedule is constant."""
    gamma: float = traced(0.99, ge=0, le=1)
    """Discount factor."""
    epsilon_start: float = traced(1.0, ge=0, le=1)
    """Probability of a random action, at first."""
    epsilon_end: float = traced(0.05, ge=0, le=1)
    """Probability of a random action in the end, unless the schedule is constant."""
    exploration_fraction: float = traced(0.5, gt=0, le=1)
    """Part of total_steps over which epsilon goes from its start to its end."""
    initial_value: float = traced(0.0)
    """What every action is taken to be worth at first; a high value makes the learner try everything."""
    total_steps: float = traced(500_000.0, gt=0)
    """Environment steps that the schedules are made for; the length of the training."""
    num_steps: int = static(256, ge=1)
    """Environment steps of an iteration, each with an update."""
    epsilon_schedule: str = static("linear", choices=schedules.KINDS)
    """How epsilon changes."""
    learning_rate_schedule: str = static("constant", choices=schedules.KINDS)
    """How the step size changes."""

    def check(self) -> None:
        """Check the fields together; see `jaxrl.config.validate`."""
        ends = {"epsilon_start": self.epsilon_start, "epsilon_end": self.epsilon_end}
        schedules.check(self.epsilon_schedule, **ends)
        rates = {"learning_rate": self.learning_rate, "learning_rate_end": self.learning_rate_end}
        schedules.check(self.learning_rate_schedule, **rates)


@struct.dataclass
class Transition:
    """One step from s to s', for a single environment; every leaf `[]`.

    Attributes:
      obs: int32, s.
      action: int32, a.
      reward: float32.
      next_obs: int32, the true s', also at an episode's end.
      next_action: int32, what the behaviour policy does in s'; 0 unless the method selects ahead.
      terminated: bool, the process ended.
      truncated: bool, the clock ended it.
    """

    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    next_obs: jax.Array
    next_action: jax.Array
    terminated: jax.Array
    truncated: jax.Array

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended, either way."""
        return self.terminated | self.truncated


@struct.dataclass
class Rates:
    """What holds at one step; every leaf `[]`.

    Attributes:
      learning_rate: float32.
      gamma: float32.
      epsilon: float32, of the behaviour policy.
      count: int32, environment steps done before this one.
    """

    learning_rate: jax.Array
    gamma: jax.Array
    epsilon: jax.Array
    count: jax.Array


class Method(NamedTuple):
    """A method of tabular control.

    Attributes:
      init: `(num_states, num_actions) -> tables`.
      values: `(tables, obs) -> [A]`, the action values that are acted on.
      update: `(tables, transition, rates, uniforms) -> (tables, error)`; error is `[]` float32, how far
        the table was from its target.
      selects_ahead: whether the next action is chosen before the update (on-policy methods) rather
        than after it.
      num_uniforms: how many random numbers in [0, 1) an update uses.
    """

    init: Callable[[int, int], Tables]
    values: Callable[[Tables, jax.Array], jax.Array]
    update: Callable[[Tables, Transition, Rates, jax.Array], tuple[Tables, jax.Array]]
    selects_ahead: bool = False
    num_uniforms: int = 0


@struct.dataclass
class State:
    """Everything a tabular learner carries from one iteration to the next.

    Attributes:
      tables: the method's.
      vec_state: of the one environment.
      obs: `[1]` int32, what is acted on next.
      action: `[]` int32, what will be done there, if the method selects ahead.
      key: for the next iteration.
    """

    tables: Tables
    vec_state: VecState
    obs: jax.Array
    action: jax.Array
    key: jax.Array


def make(env: Environment, params: Params, config: Config, method: Method) -> Algorithm:
    """Return the algorithm that runs `method` on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the spaces of `env` are not `Discrete`.
    """
    validate(config)
    num_states, num_actions = sizes(env, params)
    # A single environment, so a fresh start a step costs as much as a pooled one.
    vec = VecEnv(env, 1, reset="fresh")
    exploration_steps = config.exploration_fraction * config.total_steps
    epsilon = schedules.make(
        config.epsilon_schedule, config.epsilon_start, config.epsilon_end, exploration_steps
    )
    learning_rate = schedules.make(
        config.learning_rate_schedule, config.learning_rate, config.learning_rate_end, config.total_steps
    )

    def init(key):
        key_env, key_action, key = jax.random.split(key, 3)
        tables = method.init(num_states, num_actions)
        vec_state, obs = vec.reset(key_env, params)
        action = jnp.int32(0)
        if method.selects_ahead:
            action = select(jax.random.uniform(key_action), method.values(tables, obs[0]), epsilon(0))
        return State(tables=tables, vec_state=vec_state, obs=obs, action=action, key=key)

    def one_step(state, inputs):
        key, uniforms, rates = inputs
        obs = state.obs[0]
        if method.selects_ahead:
            action = state.action
        else:
            action = select(uniforms[0], method.values(state.tables, obs), rates.epsilon)
        vec_state, out = vec.step(key, state.vec_state, action[None], params)
        next_obs, next_action = out.next_obs[0], jnp.int32(0)
        if method.selects_ahead:
            next_action = select(uniforms[0], method.values(state.tables, next_obs), rates.epsilon)
        transition = Transition(
            obs=obs,
            action=action,
            reward=out.reward[0],
            next_obs=next_obs,
            next_action=next_action,
            terminated=out.terminated[0],
            truncated=out.truncated[0],
        )
        tables, error = method.update(state.tables, transition, rates, uniforms[2:])
        if method.selects_ahead:
            first = select(uniforms[1], method.values(tables, out.obs[0]), rates.epsilon)
            next_action = jnp.where(transition.done, first, next_action)
        state = replace(state, tables=tables, vec_state=vec_state, obs=out.obs, action=next_action)
        return state, (out.episode, jnp.abs(error))

    def step(state, t):
        key_env, key_uniform, key = jax.random.split(state.key, 3)
        count = t * config.num_steps + jnp.arange(config.num_steps, dtype=jnp.int32)
        rates = Rates(
            learning_rate=learning_rate(count),
            gamma=jnp.broadcast_to(jnp.asarray(config.gamma, jnp.float32), count.shape),
            epsilon=epsilon(count),
            count=count,
        )
        # All random numbers of the iteration at once: a key a step would cost as much as the step.
        uniforms = jax.random.uniform(key_uniform, (config.num_steps, 2 + method.num_uniforms))
        keys = jax.random.split(key_env, config.num_steps)
        state, (episode, error) = jax.lax.scan(one_step, state, (keys, uniforms, rates))
        metrics: dict[str, jax.Array] = {
            "absolute_error": jnp.mean(error),
            "epsilon": rates.epsilon[-1],
            "learning_rate": rates.learning_rate[-1],
        }
        return replace(state, key=key), metrics | episode_metrics(episode)

    def policy(state):
        def act(obs, carry, key):
            return jnp.argmax(method.values(state.tables, obs)).astype(jnp.int32), carry

        return Policy(init=lambda: (), act=act)

    return Algorithm(init, step, policy, config.num_steps, env, params)


def select(uniform: jax.Array, values: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Return an epsilon-greedy action, `[]` int32, from one uniform number, by inversion.

    The same distribution as `jaxrl.explore.selection.epsilon_greedy`, whose ties are random too.

    Args:
      uniform: `[]` float in [0, 1).
      values: `[A]` float.
      epsilon: `[]` float in [0, 1].

    >>> [int(select(u, jnp.array([1.0, 3.0, 3.0]), 0.3)) for u in (0.09, 0.11, 0.99)]
    [0, 1, 2]
    """
    cumulative = jnp.cumsum(epsilon_greedy_probabilities(values, epsilon))
    return jnp.argmax(cumulative > uniform * cumulative[-1]).astype(jnp.int32)


def bootstrap(transition: Transition, gamma: jax.Array, next_value: jax.Array) -> jax.Array:
    """Return the target `r + gamma * (1 - terminated) * next_value`, `[]` float32."""
    return transition.reward + jnp.where(transition.terminated, 0.0, gamma * next_value)


def table(num_states: int, num_actions: int, config: Config) -> jax.Array:
    """Return the first action values, `[S, A]` float32, all `config.initial_value`."""
    return jnp.full((num_states, num_actions), config.initial_value, jnp.float32)


def row(q: jax.Array, obs: jax.Array) -> jax.Array:
    """Return the action values of one state, `[A]`."""
    return q[obs]


def sizes(env: Environment, params: Params) -> tuple[int, int]:
    """Return how many states and actions `env` has.

    Raises:
      ValueError: if its observations or actions are not `Discrete`.
    """

    def size(name: str, space: Space) -> int:
        if not isinstance(space, Discrete):
            raise ValueError(
                f"`env` must have Discrete {name} for a table, got {env.id} with {space}; "
                "ppo takes any space, and grid worlds observe an index by default"
            )
        return space.n

    return size("observations", env.observation_space(params)), size("actions", env.action_space(params))
