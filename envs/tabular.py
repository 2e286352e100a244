"""The exact model of a small environment: `extract(env, params)` returns its `TabularMDP`.

An environment offers it by four members: `num_states`, `state_index(state, params)`,
`start_distribution(params)` and `outcomes(state_index, action, params)`. Everything here is a pure
function of `params`, so a sweep over models is a `vmap`.
"""

from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from envs.spaces import Discrete, Space


class Outcomes(NamedTuple):
    """What may follow one state and action: K branches, whose probabilities sum to one.

    Attributes:
      probability: `[K]` float32.
      next_state: `[K]` int32, a state index.
      reward: `[K]` float32.
      terminated: `[K]` bool; a property of the state that is entered. An ended state leads to itself
        with reward 0 and `terminated` true.
    """

    probability: jax.Array
    next_state: jax.Array
    reward: jax.Array
    terminated: jax.Array


@runtime_checkable
class HasModel(Protocol):
    """An environment that knows its own transition probabilities (the clock is no part of its states)."""

    @property
    def num_states(self) -> int:
        """How many states there are; they are numbered from 0."""
        ...

    def state_index(self, state: Any, params: Any) -> jax.Array:
        """Return the `[]` int32 number of `state`."""
        ...

    def start_distribution(self, params: Any) -> jax.Array:
        """Return the `[S]` probabilities of the first state."""
        ...

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: Any) -> Outcomes:
        """Return what may follow one state and action."""
        ...

    def action_space(self, params: Any) -> Space:
        """Return a `Discrete` space."""
        ...


@struct.dataclass
class TabularMDP:
    """A finite Markov decision process, without its time limit.

    Attributes:
      P: `[S, A, S]` float32, P[s, a, s'] the probability of s' after action a in s.
      R: `[S, A]` float32, the expected reward of action a in s.
      terminal: `[S]` bool; such a state keeps itself with reward 0.
      start: `[S]` float32, the probabilities of the first state.
    """

    P: jax.Array
    R: jax.Array
    terminal: jax.Array
    start: jax.Array


def extract(env: Any, params: Any) -> TabularMDP:
    """Return the exact model of `env` under `params`: all states and actions through `env.outcomes`.

    Compiled once for each `env`, whatever its parameters.

    Args:
      env: an environment with the members of `HasModel` and a `Discrete` action space.
      params: its parameters; under `vmap` over them the result has their leading axis.

    Raises:
      ValueError: if `env` does not know its model, or its actions are not `Discrete`.

    >>> import envs
    >>> mdp = extract(*envs.make("FrozenLake4x4-v1"))
    >>> mdp.P.shape, int(mdp.terminal.sum())
    ((16, 4, 16), 5)
    """
    missing = [m for m in ("num_states", "outcomes", "start_distribution") if not hasattr(env, m)]
    if missing:
        name = getattr(env, "id", type(env).__name__)
        raise ValueError(f"`env` must offer its exact model, got {name!r} without {', '.join(missing)}")
    space = env.action_space(params)
    if not isinstance(space, Discrete):
        raise ValueError(f"`env` must have Discrete actions, got {space}")
    return _tabulate(env, space.n, params)


# One by one, the operations of a large model would take many small compiles.
@partial(jax.jit, static_argnums=(0, 1))
def _tabulate(env: Any, num_actions: int, params: Any) -> TabularMDP:
    def expected(state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        out = env.outcomes(state, action, params)
        ends = out.terminated & (out.probability > 0)
        row = jnp.zeros(env.num_states, jnp.float32).at[out.next_state].add(out.probability)
        entered = jnp.zeros(env.num_states, bool).at[out.next_state].max(ends)
        return row, jnp.sum(out.probability * out.reward), entered

    states = jnp.arange(env.num_states, dtype=jnp.int32)
    actions = jnp.arange(num_actions, dtype=jnp.int32)
    per_action = jax.vmap(expected, in_axes=(None, 0))
    P, R, entered = jax.vmap(per_action, in_axes=(0, None))(states, actions)
    terminal = entered.any(axis=(0, 1))
    return TabularMDP(
        P=jnp.where(terminal[:, None, None], jnp.eye(env.num_states)[:, None, :], P),
        R=jnp.where(terminal[:, None], 0.0, R),
        terminal=terminal,
        start=env.start_distribution(params),
    )
