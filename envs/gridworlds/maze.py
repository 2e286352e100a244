"""The mazes on which Sutton and Barto show planning: one that stays, and two that change."""

from dataclasses import dataclass, replace

import jax.numpy as jnp

from envs.gridworlds.grid import GridParams, GridWorld

DYNA_MAZE = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
# Before and after the change; the new cells are `parse_map(after)[0]`.
BLOCKING_MAZE = tuple(
    ("........G", ".........", ".........", wall, ".........", "...S.....")
    for wall in ("########.", ".########")
)
SHORTCUT_MAZE = tuple(
    ("........G", ".........", ".........", wall, ".........", "...S.....")
    for wall in (".########", ".#######.")
)


@dataclass(frozen=True)
class DynaMaze(GridWorld):
    """A maze of 6x9 cells: +1 on reaching the goal, 0 elsewhere; the shortest way takes 14 steps.

    No slip. Episodes are truncated after 2,000 steps (the book's never are). `BLOCKING_MAZE` and
    `SHORTCUT_MAZE` are the maps, before and after, of the book's two changing mazes.

    >>> DynaMaze().shape, DynaMaze(map=BLOCKING_MAZE[0]).num_states
    ((6, 9), 54)

    Source: Sutton and Barto, Reinforcement Learning, 2nd edition, figures 8.2, 8.4 and 8.5.
    """

    id: str = "DynaMaze-v1"
    map: tuple[str, ...] = DYNA_MAZE
    turns: tuple[int, ...] = (0,)

    def default_params(self) -> GridParams:
        """Return the book's rewards and a limit of 2,000 steps."""
        return replace(
            super().default_params(),
            slip=jnp.float32(0.0),
            step_reward=jnp.float32(0.0),
            max_steps=jnp.int32(2000),
        )
