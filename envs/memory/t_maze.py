"""The T-maze: a sign at the start says which way to turn at the end of a corridor."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.mdps.exact import ExactState, ExactWorld
from envs.spaces import Box
from envs.tabular import Outcomes

NORTH, EAST, SOUTH, WEST = range(4)
_NORTH_SIGN, _SOUTH_SIGN, _CORRIDOR, _JUNCTION = (0, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 0)


@struct.dataclass
class TMazeParams:
    """The corridor and what is paid; every field may be traced and mapped over.

    Attributes:
      length: `[]` int32, the steps from the start to the junction, from 1 to the world's `max_length`.
      goal_reward: `[]` float32, for the turn that the sign said.
      wrong_reward: `[]` float32, for the other turn.
      bump_reward: `[]` float32, for a move against a wall.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    length: jax.Array
    goal_reward: jax.Array
    wrong_reward: jax.Array
    bump_reward: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class TMaze(ExactWorld):
    """Walk a corridor and turn at its end to the side that a sign at the start said: 4 if right, -0.1 if not.

    Actions: 0 north, 1 east, 2 south, 3 west; a move against a wall stays and costs 0.1. The observation is
    `[3]` float32, what is seen in the cell: 011 and 110 for the two signs, 101 in the corridor, 010 at the
    junction. Either turn terminates; truncated after 100 steps. The corridor's length is a parameter, so
    lengths can be mapped over. Without memory no policy expects more than 1.95.

    Args:
      max_length: the greatest and default length.

    Raises:
      ValueError: if it is not positive.

    >>> env = TMaze(max_length=3)
    >>> params = env.default_params()
    >>> print(env.ascii(env.state_at(1, params), params))
    ###G
    .A..
    ###.

    Source: Bakker (2001), Reinforcement learning with long short-term memory, section 4.
    """

    id: str = "TMaze-v1"
    max_length: int = 10

    def __post_init__(self):
        check_size("max_length", self.max_length)

    @property
    def num_states(self) -> int:  # type: ignore[override]
        """Cell and sign, and one for the end: sign * (max_length + 1) + cell."""
        return 2 * (self.max_length + 1) + 1

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        """Four."""
        return 4

    def default_params(self) -> TMazeParams:
        """Return the published rewards, and a corridor as long as it can be."""
        return TMazeParams(
            length=jnp.int32(self.max_length),
            goal_reward=jnp.float32(4.0),
            wrong_reward=jnp.float32(-0.1),
            bump_reward=jnp.float32(-0.1),
            max_steps=jnp.int32(100),
        )

    def check_params(self, params: TMazeParams) -> None:
        """Check that the corridor is no longer than it can be.

        Raises:
          ValueError: if it is, or has no length.
        """
        if not 1 <= int(params.length) <= self.max_length:
            raise ValueError(
                f"`length` must lie in 1..max_length = {self.max_length}, got {int(params.length)}"
            )

    def observation_space(self, params: TMazeParams) -> Box:
        """Return three numbers between 0 and 1."""
        return Box(0.0, 1.0, (3,))

    def start_distribution(self, params: TMazeParams) -> jax.Array:
        """Return the `[S]` probabilities: either sign alike."""
        states = jnp.arange(self.num_states)
        return jnp.where((states == 0) | (states == self.max_length + 1), jnp.float32(0.5), 0.0)

    def reset(self, key: jax.Array, params: TMazeParams) -> tuple[ExactState, jax.Array]:
        """Return a start with a new sign, and the sign."""
        state, _ = super().reset(key, params)
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: ExactState, action: jax.Array, params: TMazeParams
    ) -> tuple[ExactState, Step]:
        """Return the next state and what happened."""
        state, step = super().step(key, state, action, params)
        return state, step.replace(obs=self._observe(state, params))  # type: ignore[attr-defined]

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: TMazeParams) -> Outcomes:
        """Return what follows: K = 1."""
        sign, cell = jnp.divmod(jnp.asarray(state_index, jnp.int32), self.max_length + 1)
        over = state_index == self.num_states - 1
        length = jnp.clip(params.length, 1, self.max_length)
        turns = (cell >= length) & ((action == NORTH) | (action == SOUTH))
        to = jnp.clip(cell + jnp.where(action == EAST, 1, 0) - jnp.where(action == WEST, 1, 0), 0, length)
        right = (action == NORTH) == (sign == 0)
        reward = jnp.where(to == cell, params.bump_reward, 0.0)
        reward = jnp.where(turns, jnp.where(right, params.goal_reward, params.wrong_reward), reward)
        ends = over | turns
        following = jnp.where(ends, self.num_states - 1, sign * (self.max_length + 1) + to)
        return Outcomes(
            probability=jnp.ones(1, jnp.float32),
            next_state=following[None].astype(jnp.int32),
            reward=jnp.where(over, 0.0, reward)[None],
            terminated=ends[None],
        )

    def ascii(self, state: ExactState, params: TMazeParams) -> str:
        """Return the maze as text: the walker as `A`, the goal as `G`."""
        length, sign, cell = self._where(state, params)
        rows = [["#"] * (length + 1) for _ in range(3)]
        rows[1] = ["."] * (length + 1)
        rows[0][length] = rows[2][length] = "."
        if sign is not None:
            rows[2 * sign][length] = "G"
            rows[1][cell] = "A"
        return "\n".join("".join(row) for row in rows)

    def frame(self, state: ExactState, params: TMazeParams) -> np.ndarray:
        """Return a picture of the maze, `[3 * size, (max_length + 1) * size, 3]`; the sign is an arrow."""
        from envs import render

        length, sign, cell = self._where(state, params)
        cells = np.ones((3, self.max_length + 1), int)
        cells[1, : length + 1] = cells[[0, 2], length] = 0
        sprites = []
        if sign is not None:
            cells[2 * sign, length] = 3
            sprites = [(1, 0, render.ARROWS[3 if sign == 0 else 1]), (1, cell, render.AGENT)]
        return render.tiles(cells, render.GRID_TILES, sprites)

    def _where(self, state: ExactState, params: TMazeParams) -> tuple[int, int | None, int]:
        sign, cell = divmod(int(state.index), self.max_length + 1)
        return int(params.length), sign if sign < 2 else None, cell

    def _observe(self, state: ExactState, params: TMazeParams) -> jax.Array:
        sign, cell = jnp.divmod(state.index, self.max_length + 1)
        signs = jnp.asarray((_NORTH_SIGN, _SOUTH_SIGN), jnp.float32)
        places = jnp.asarray((_CORRIDOR, _JUNCTION), jnp.float32)
        place = places[(cell >= params.length).astype(jnp.int32)]
        seen = jnp.where(cell == 0, signs[jnp.minimum(sign, 1)], place)
        return jnp.where(sign == 2, 0.0, seen)
