"""Rooms in a row, joined by gaps whose places differ from map to map."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import jax
import jax.numpy as jnp

from envs.checks import check_size
from envs.gridworlds.grid import FLOOR, GOAL, WALL, GridParams, GridWorld


@dataclass(frozen=True)
class MultiRoom(GridWorld):
    """Walk through `rooms` rooms of `size` x `size` cells to the goal in the last: +1 there, 0 elsewhere.

    Each wall between two rooms has one gap. The default map is one fixed draw; `draw` makes others, for
    `VecEnv(..., params_dist=env.draw)`. Episodes start anywhere in the first room; no slip; truncated after
    20 steps a room.

    Args:
      rooms: how many rooms.
      size: rows and columns of each.

    Raises:
      ValueError: if `rooms` is less than 2 or `size` is not positive.

    >>> env = MultiRoom(rooms=3, size=2)
    >>> env.shape, int((env.default_params().cells == WALL).sum())
    ((2, 8), 2)

    Source: own; the idea of MiniGrid's MultiRoom, as a map that is a parameter.
    """

    draws_goal: ClassVar[bool] = True

    id: str = "MultiRoom-v1"
    map: tuple[str, ...] = field(default=(), init=False)
    turns: tuple[int, ...] = (0,)
    rooms: int = 4
    size: int = 5

    def __post_init__(self):
        check_size("rooms", self.rooms, 2)
        check_size("size", self.size)
        object.__setattr__(self, "map", ("#".join(["." * self.size] * self.rooms),) * self.size)
        super().__post_init__()

    def default_params(self) -> GridParams:
        """Return the map of key 0."""
        params = replace(
            super().default_params(),
            slip=jnp.float32(0.0),
            step_reward=jnp.float32(0.0),
            max_steps=jnp.int32(20 * self.rooms),
        )
        return self.draw(jax.random.key(0), params)

    def draw(self, key: jax.Array, params: GridParams) -> GridParams:
        """Return `params` with other gaps and another goal."""
        key_gaps, key_goal = jax.random.split(key)
        gaps = jax.random.randint(key_gaps, (self.rooms - 1,), 0, self.size)
        row, column = jnp.indices(self.shape)
        wall = column % (self.size + 1) == self.size
        gap = row == jnp.append(gaps, 0)[column // (self.size + 1)]
        at = jax.random.randint(key_goal, (2,), 0, self.size)
        goal = (row == at[0]) & (column == at[1] + (self.rooms - 1) * (self.size + 1))
        cells = jnp.where(goal, GOAL, jnp.where(wall & ~gap, WALL, FLOOR)).astype(jnp.int32)
        first = (column < self.size).ravel().astype(jnp.float32)
        return replace(params, cells=cells, start=first / jnp.sum(first))
