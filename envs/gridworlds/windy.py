"""The windy grid world of Sutton and Barto."""

from dataclasses import dataclass, replace

import jax.numpy as jnp

from envs.gridworlds.grid import GridParams, GridWorld


@dataclass(frozen=True)
class WindyGridWorld(GridWorld):
    """A 7x10 field with a crosswind, -1 a step until the goal; the shortest way takes 15 steps.

    >>> WindyGridWorld().shape
    (7, 10)

    Source: Sutton and Barto, Reinforcement Learning, 2nd edition, example 6.5.
    """

    id: str = "WindyGridWorld-v1"
    map: tuple[str, ...] = ("." * 10,) * 3 + ("S......G..",) + ("." * 10,) * 3
    wind: tuple[int, ...] | None = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)

    def default_params(self) -> GridParams:
        """Return the book's numbers: no slip, -1 a step and also for the last one."""
        return replace(
            super().default_params(),
            slip=jnp.float32(0.0),
            step_reward=jnp.float32(-1.0),
            goal_reward=jnp.float32(-1.0),
        )
