"""FrozenLake with the dynamics of Gymnasium and the slip as a traced parameter."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from envs.gridworlds.grid import FLOOR, GOAL, PIT, GridParams, GridWorld

MAP_4X4 = ("SFFF", "FHFH", "FFFH", "HFFG")
MAP_8X8 = (
    "SFFFFFFF",
    "FFFFFFFF",
    "FFFHFFFF",
    "FFFFFHFF",
    "FFFHFFFF",
    "FHHFFFHF",
    "FHFFHFHF",
    "FFFHFFFG",
)


@dataclass(frozen=True)
class FrozenLake(GridWorld):
    """Cross a frozen lake without falling into a hole: +1 at the goal, 0 elsewhere.

    With probability `slip` the walker moves perpendicular to the chosen direction, either way alike.
    Gymnasium's `is_slippery=True` is `slip = 2/3` (the default), `is_slippery=False` is `slip = 0`.
    Episodes are truncated after 100 steps on maps up to 4x4 and after 200 on larger ones. The best policies
    reach the goal with probability 0.7442 (4x4) and 0.9132 (8x8) within the limit.

    >>> env = FrozenLake()
    >>> round(float(env.outcomes(0, 2, env.default_params()).probability[1]), 4)
    0.3333

    Source: Gymnasium, `envs/toy_text/frozen_lake.py`.
    """

    id: str = "FrozenLake4x4-v1"
    map: tuple[str, ...] = MAP_4X4

    def default_params(self) -> GridParams:
        """Return Gymnasium's numbers for slippery ice."""
        return replace(
            super().default_params(),
            slip=jnp.float32(2 / 3),
            step_reward=jnp.float32(0.0),
            goal_reward=jnp.float32(1.0),
            pit_reward=jnp.float32(0.0),
            max_steps=jnp.int32(100 if self.num_states <= 16 else 200),
        )


def random_lake(key: jax.Array, params: GridParams, pit_probability: float = 0.2) -> GridParams:
    """Return `params` with a random map of the same size that can always be crossed.

    Start and goal lie in opposite corners; one random way of right and down moves between them stays free,
    any other cell is a hole with probability `pit_probability`. Fits `VecEnv`'s `params_dist`. (Gymnasium
    rejects impassable maps instead, which has another distribution and an unbounded loop.)

    >>> params = random_lake(jax.random.key(0), FrozenLake().default_params())
    >>> params.cells.shape, int(params.cells[-1, -1]) == GOAL
    ((4, 4), True)
    """
    key_path, key_pits = jax.random.split(key)
    height, width = params.cells.shape
    moves = jax.random.permutation(key_path, jnp.arange(height + width - 2) < height - 1)
    row = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(moves, dtype=jnp.int32)])
    column = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(~moves, dtype=jnp.int32)])
    pits = jax.random.bernoulli(key_pits, pit_probability, (height, width)).at[row, column].set(False)
    cells = jnp.where(pits, PIT, FLOOR).astype(jnp.int32).at[-1, -1].set(GOAL)
    return replace(params, cells=cells, start=jnp.zeros_like(params.start).at[0].set(1.0))
