"""bsuite's mountain car: the clock terminates it, and it sees the clock."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from envs.classic.mountain_car import MountainCar, MountainCarParams, MountainCarState
from envs.core import Step
from envs.spaces import Box


@dataclass(frozen=True)
class TimedMountainCar(MountainCar):
    """`envs.classic.MountainCar` as bsuite has it: 1,000 steps, whose end terminates and is observed.

    The observation is `[3]` float32: position, velocity and the share of the time that is over.

    Args:
      velocities: must be True.

    Raises:
      ValueError: if `velocities` is False.

    >>> env = TimedMountainCar()
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (3,)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/mountain_car.py`.
    """

    id: str = "MountainCar-bsuite-v1"

    limit_terminates = True

    def __post_init__(self):
        if not self.velocities:
            raise ValueError("`velocities` must be True; PartialObservation hides them")

    def default_params(self) -> MountainCarParams:
        """Return bsuite's constants."""
        return replace(super().default_params(), max_steps=jnp.int32(1000))

    def observation_space(self, params: MountainCarParams) -> Box:
        """Return the bounds of the default walls and speed limit, and of the time."""
        return Box((-1.2, -0.07, 0.0), (0.6, 0.07, 1.0), (3,))

    def reset(self, key: jax.Array, params: MountainCarParams) -> tuple[MountainCarState, jax.Array]:
        """Return a first state at rest in the valley, and its observation."""
        state, _ = super().reset(key, params)
        return state, self._observe_time(state, params)

    def step(
        self, key: jax.Array, state: MountainCarState, action: jax.Array, params: MountainCarParams
    ) -> tuple[MountainCarState, Step]:
        """Return the next state and what happened; ignores `key`."""
        state, step = super().step(key, state, action, params)
        return state, replace(
            step,
            obs=self._observe_time(state, params),
            terminated=step.terminated | step.truncated,
            truncated=jnp.bool_(False),
        )

    def _observe_time(self, state: MountainCarState, params: MountainCarParams) -> jax.Array:
        return jnp.append(self._observe(state), state.t / params.max_steps)
