"""Cliff walking with the dynamics of Gymnasium and the slip as a traced parameter."""

from dataclasses import dataclass, replace

import jax.numpy as jnp

from envs.gridworlds.grid import GridParams, GridWorld


@dataclass(frozen=True)
class CliffWalking(GridWorld):
    """Walk along a cliff: -1 a step; a step into the cliff pays -100 and leads back to the start.

    Actions are Gymnasium's: 0 up, 1 right, 2 down, 3 left. With probability `slip` the walker moves
    perpendicular to the chosen direction, either way alike: 0 by default, 2/3 if `slippery`, which is
    Gymnasium's `CliffWalkingSlippery-v1`. The best return is -13, and -64.71 if slippery. Episodes end at the
    goal and are truncated after 1,000 steps (Gymnasium's never are).

    Args:
      slippery: choose the default of `slip`.

    >>> import jax
    >>> env = CliffWalking()
    >>> params = env.default_params()
    >>> print(env.ascii(env.reset(jax.random.key(0), params)[0], params).splitlines()[-1])
    AHHHHHHHHHHG
    >>> out = env.outcomes(36, 1, params)
    >>> int(out.next_state[1]), float(out.reward[1]), bool(out.terminated[1])
    (36, -100.0, False)

    Source: Sutton and Barto, Reinforcement Learning, 2nd edition, example 6.6; Gymnasium,
    `envs/toy_text/cliffwalking.py`.
    """

    id: str = "CliffWalking-v1"
    map: tuple[str, ...] = (*("." * 12,) * 3, "S" + "H" * 10 + "G")
    turns: tuple[int, ...] = (1, 0, -1)
    directions: tuple[int, ...] = (3, 2, 1, 0)
    pits_restart: bool = True
    slippery: bool = False

    def default_params(self) -> GridParams:
        """Return Gymnasium's numbers and a limit of 1,000 steps."""
        return replace(
            super().default_params(),
            slip=jnp.float32(2 / 3 if self.slippery else 0.0),
            step_reward=jnp.float32(-1.0),
            goal_reward=jnp.float32(-1.0),
            pit_reward=jnp.float32(-100.0),
            max_steps=jnp.int32(1000),
        )
