"""`ExplicitMDP`: any finite Markov decision process, given by its arrays."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.mdps.exact import ExactState, ExactWorld
from envs.tabular import Outcomes


@struct.dataclass
class MDPParams:
    """The process; every field may be traced and mapped over.

    Attributes:
      P: `[S, A, S]` float32, P[s, a, s'] the probability of s' after action a in s.
      R: `[S, A, S]` float32, the reward of that transition.
      terminal: `[S]` bool; such a state ends the episode when it is entered.
      start: `[S]` float32, the probabilities of the first state.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    P: jax.Array
    R: jax.Array
    terminal: jax.Array
    start: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class ExplicitMDP(ExactWorld):
    """A world of `num_states` states and `num_actions` actions whose rules are the arrays of its params.

    `explicit(P, R, ...)` makes one from arrays, with checks. The default parameters are a blank: any action
    leads to all states alike and pays nothing.

    >>> env = ExplicitMDP(num_states=2, num_actions=3)
    >>> env.default_params().P.shape
    (2, 3, 2)

    Source: Puterman (1994), Markov Decision Processes, section 2.1.
    """

    id: str = "ExplicitMDP"
    num_states: int = 2
    num_actions: int = 2
    random_start: bool = True

    def __post_init__(self):
        check_size("num_states", self.num_states)
        check_size("num_actions", self.num_actions)

    def default_params(self) -> MDPParams:
        """Return a process in which nothing matters."""
        shape = (self.num_states, self.num_actions, self.num_states)
        return MDPParams(
            P=jnp.full(shape, 1 / self.num_states, jnp.float32),
            R=jnp.zeros(shape, jnp.float32),
            terminal=jnp.zeros(self.num_states, bool),
            start=jnp.full(self.num_states, 1 / self.num_states, jnp.float32),
            max_steps=jnp.int32(100),
        )

    def start_distribution(self, params: MDPParams) -> jax.Array:
        """Return the `[S]` probabilities of the first state."""
        if self.random_start:
            return params.start / jnp.sum(params.start)
        return jax.nn.one_hot(jnp.argmax(params.start), self.num_states, dtype=jnp.float32)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: MDPParams) -> Outcomes:
        """Return what may follow: K = S branches, one for each state."""
        states = jnp.arange(self.num_states, dtype=jnp.int32)
        ended = params.terminal[state_index]
        stays = (states == state_index).astype(jnp.float32)
        return Outcomes(
            probability=jnp.where(ended, stays, params.P[state_index, action]),
            next_state=states,
            reward=jnp.where(ended, 0.0, params.R[state_index, action]),
            terminated=params.terminal,
        )

    def ascii(self, state: ExactState | None, params: MDPParams) -> str:
        """Return the states' numbers, the current one in brackets, ends as `*`."""
        here = -1 if state is None else int(state.index)
        names = ["*" if ends else str(s) for s, ends in enumerate(np.asarray(params.terminal))]
        return " ".join(f"[{name}]" if s == here else name for s, name in enumerate(names))

    def frame(self, state: ExactState | None, params: MDPParams) -> np.ndarray:
        """Return the states and their likely transitions, one colour an action, `[480, 480, 3]` uint8."""
        from envs.mdps.drawing import graph

        return graph(
            np.asarray(params.P),
            np.asarray(params.terminal),
            here=None if state is None else int(state.index),
        )


def explicit(
    P: Any,
    R: Any,
    terminal: Any = None,
    start: Any = None,
    max_steps: int = 1000,
    id: str = "ExplicitMDP",
) -> tuple[ExplicitMDP, MDPParams]:
    """Return the environment of a process given by arrays, and its parameters.

    Args:
      P: `[S, A, S]` transition probabilities.
      R: `[S, A, S]`, or `[S, A]` where the reward does not depend on the state that is entered.
      terminal: `[S]` bool, by default none.
      start: `[S]` probabilities of the first state, by default uniform over those that are not terminal.
      max_steps: the step at which an episode is truncated.
      id: the environment's name.

    Raises:
      ValueError: if a shape does not fit, a row is no distribution, or a reward is not finite.

    >>> env, params = explicit(P=[[[0.0, 1.0]], [[0.0, 1.0]]], R=[[1.0], [0.0]], terminal=[False, True])
    >>> print(env.ascii(env.state_at(0, params), params))
    [0] *
    """
    P, R = np.asarray(P, np.float64), np.asarray(R, np.float64)
    if P.ndim != 3 or P.shape[0] != P.shape[2] or 0 in P.shape:
        raise ValueError(f"`P` must be [S, A, S], got shape {P.shape}")
    S, A, _ = P.shape
    if R.shape not in ((S, A), (S, A, S)):
        raise ValueError(f"`R` must be [S, A] = [{S}, {A}] or [S, A, S], got shape {R.shape}")
    terminal = np.zeros(S, bool) if terminal is None else np.asarray(terminal, bool)
    if terminal.shape != (S,):
        raise ValueError(f"`terminal` must be [S] = [{S}], got shape {terminal.shape}")
    if start is None:
        if terminal.all():
            raise ValueError("`terminal` must leave a state to start in, got only terminal states")
        start = ~terminal / np.sum(~terminal)
    start = np.asarray(start, np.float64)
    if start.shape != (S,):
        raise ValueError(f"`start` must be [S] = [{S}], got shape {start.shape}")
    _check_distributions("P", P)
    _check_distributions("start", start)
    if not np.isfinite(R).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(R))[0]))
        raise ValueError(f"`R` must be finite, got {R[where]} at {list(where)}")
    env = ExplicitMDP(id=id, num_states=S, num_actions=A)
    params = MDPParams(
        P=jnp.asarray(P, jnp.float32),
        R=jnp.asarray(np.broadcast_to(R.reshape(S, A, -1), P.shape), jnp.float32),
        terminal=jnp.asarray(terminal),
        start=jnp.asarray(start, jnp.float32),
        max_steps=jnp.int32(max_steps),
    )
    return env, params


def _check_distributions(name: str, rows: np.ndarray) -> None:
    wrong = ~(rows >= 0)
    if wrong.any():
        where = tuple(map(int, np.argwhere(wrong)[0]))
        raise ValueError(f"`{name}` must hold probabilities, got {rows[where]} at {list(where)}")
    sums = rows.sum(-1)
    wrong = np.abs(sums - 1) > 1e-5
    if wrong.any():
        where = tuple(map(int, np.argwhere(wrong)[0]))
        row = f"row {list(where)}" if where else "it"
        raise ValueError(
            f"`{name}` must hold probabilities that sum to 1, but {row} sums to {sums[where]:.6g}"
        )
