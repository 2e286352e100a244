"""The four rooms of Sutton, Precup and Singh."""

from dataclasses import dataclass, replace

import jax.numpy as jnp

from envs.gridworlds.grid import GridParams, GridWorld

MAP = (
    "#############",
    "#.....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#.....#",
    "#.....#.....#",
    "##.####.....#",
    "#.....###G###",
    "#.....#.....#",
    "#.....#.....#",
    "#...........#",
    "#.....#.....#",
    "#############",
)


@dataclass(frozen=True)
class FourRooms(GridWorld):
    """Four rooms joined by four hallways: +1 in the eastern hallway, 0 elsewhere, start anywhere.

    With probability `slip` (1/3, as published; 0 makes the moves exact) one of the three other directions is
    taken, each alike. `place_goal` moves the goal, also inside a compiled program. Truncated after 500 steps.

    >>> env = FourRooms()
    >>> env.num_states, env.outcomes(14, 1, env.default_params()).probability.shape
    (169, (4,))

    Source: Sutton, Precup and Singh (1999), Between MDPs and semi-MDPs, section 3; the goal and the random
    start of Bacon, Harb and Precup (2017), The Option-Critic Architecture, section 5.1.
    """

    id: str = "FourRooms-v1"
    map: tuple[str, ...] = MAP
    turns: tuple[int, ...] = (-1, 0, 1, 2)

    def default_params(self) -> GridParams:
        """Return the published slip and reward."""
        params = super().default_params()
        return replace(
            params, slip=jnp.float32(1 / 3), step_reward=jnp.float32(0.0), max_steps=jnp.int32(500)
        )
