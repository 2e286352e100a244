"""Mountain car, with pushes or a throttle, with the dynamics of Gymnasium; all constants are traced."""

import math
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class MountainCarParams:
    """Constants and limits, all `[]` float32 but the last; lengths and times are without unit.

    Attributes:
      force: acceleration of a full push.
      gravity: acceleration of the steepest slope.
      left_wall: the least position; the car stops there.
      right_wall: the greatest position.
      speed_limit: at which the velocity is clipped.
      goal_position: the episode terminates at or beyond it ...
      goal_velocity: ... with at least this velocity.
      goal_reward: for terminating.
      step_reward: for any step.
      push_cost: times the squared action, taken off the reward.
      start_low: the first position is uniform between this ...
      start_high: ... and this; the first velocity is 0.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    force: jax.Array
    gravity: jax.Array
    left_wall: jax.Array
    right_wall: jax.Array
    speed_limit: jax.Array
    goal_position: jax.Array
    goal_velocity: jax.Array
    goal_reward: jax.Array
    step_reward: jax.Array
    push_cost: jax.Array
    start_low: jax.Array
    start_high: jax.Array
    max_steps: jax.Array


@struct.dataclass
class MountainCarState:
    """The car's position and velocity, and the clock `t`; all `[]`."""

    position: jax.Array
    velocity: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class MountainCar:
    """Rock a weak car out of a valley by pushing left (0), not at all (1) or right (2): -1 a step.

    This is what Gymnasium calls `MountainCar-v0`; the suffix here counts this library's versions. The
    observation is `[2]` float32: position and velocity. The wall on the left stops the car. `step` ignores
    its key. Terminates at position 0.5, truncated after 200 steps.

    Args:
      velocities: observe the velocity; without it the observation is `[1]` and hides a part of the state.

    >>> env = MountainCar()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, 2, env.default_params())
    >>> out.obs.shape, float(out.reward), bool(out.terminated)
    ((2,), -1.0, False)

    Source: Moore (1990), Efficient memory-based learning for robot control; Gymnasium,
    `envs/classic_control/mountain_car.py`.
    """

    id: str = "MountainCar-v1"
    velocities: bool = True

    def default_params(self) -> MountainCarParams:
        """Return Gymnasium's constants."""
        return _params(force=0.001, step_reward=-1.0, max_steps=200)

    def time_limit(self, params: MountainCarParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: MountainCarParams) -> Box:
        """Return Gymnasium's bounds, those of the default walls and speed limit."""
        low, high = (-1.2, -0.07), (0.6, 0.07)
        count = 2 if self.velocities else 1
        return Box(low[:count], high[:count], (count,))

    def action_space(self, params: MountainCarParams) -> Discrete | Box:
        """Return left (0), nothing (1) and right (2)."""
        return Discrete(3)

    def reset(self, key: jax.Array, params: MountainCarParams) -> tuple[MountainCarState, jax.Array]:
        """Return a first state at rest in the valley, and its observation."""
        position = jax.random.uniform(key, minval=params.start_low, maxval=params.start_high)
        state = MountainCarState(position=position, velocity=jnp.float32(0.0), t=jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: MountainCarState, action: jax.Array, params: MountainCarParams
    ) -> tuple[MountainCarState, Step]:
        """Return the next state and what happened; ignores `key`."""
        action = as_action(self.action_space(params), action)
        throttle, effort = self._push(action)
        slope = jnp.cos(3 * state.position)
        velocity = state.velocity + throttle * params.force - slope * params.gravity
        velocity = jnp.clip(velocity, -params.speed_limit, params.speed_limit)
        position = jnp.clip(state.position + velocity, params.left_wall, params.right_wall)
        velocity = jnp.where((position == params.left_wall) & (velocity < 0), 0.0, velocity)
        terminated = (position >= params.goal_position) & (velocity >= params.goal_velocity)
        reward = params.step_reward - params.push_cost * jnp.square(effort)
        state = MountainCarState(position=position, velocity=velocity, t=state.t + 1)
        return state, Step(
            obs=self._observe(state),
            reward=reward + jnp.where(terminated, params.goal_reward, 0.0),
            terminated=terminated,
            truncated=(state.t >= params.max_steps) & ~terminated,
        )

    def ascii(self, state: MountainCarState, params: MountainCarParams) -> str:
        """Return the track as a line of text from wall to wall, the car as `C`, the goal as `G`."""
        low, high = float(params.left_wall), float(params.right_wall)

        def column(position: jax.Array) -> int:
            return int(np.clip(round((float(position) - low) / (high - low) * 38), 0, 38))

        track = ["."] * 39
        track[column(params.goal_position)] = "G"
        track[column(state.position)] = "C"
        return "|" + "".join(track) + "|"

    def frame(self, state: MountainCarState, params: MountainCarParams) -> np.ndarray:
        """Return a picture of car, valley and flag, `[300, 480, 3]` uint8."""
        from envs import render

        low, high = float(params.left_wall), float(params.right_wall)
        width = high - low
        canvas = render.Canvas(480, 300, (low, high), (-0.05, -0.05 + width * 300 / 480))

        def ground(x: float) -> float:
            return 0.4 * math.sin(3 * x) + 0.42

        xs = np.linspace(low, high, 121)
        hill = [(x, ground(x)) for x in xs]
        canvas.polygon([*hill, (high, -0.1), (low, -0.1)], render.FLOOR_BLUE)
        for a, b in pairwise(hill):
            canvas.line(a, b, 2, render.WALL_GREY)
        canvas.line((low, ground(low)), (low, ground(low) + 0.3), 8, render.WALL_GREY)
        goal = float(params.goal_position)
        top = ground(goal) + 0.17
        canvas.line((goal, ground(goal)), (goal, top), 2, render.INK)
        canvas.polygon([(goal, top), (goal + 0.08, top - 0.03), (goal, top - 0.06)], render.GREEN)
        x = float(state.position)
        slope = math.atan(1.2 * math.cos(3 * x))
        along = np.array([math.cos(slope), math.sin(slope)])
        up = np.array([-along[1], along[0]])
        at = np.array([x, ground(x)])
        box = [(-0.06, 0.025), (0.06, 0.025), (0.06, 0.065), (-0.06, 0.065)]
        canvas.polygon([tuple(at + a * along + b * up) for a, b in box], render.ORANGE)
        for wheel in (-0.035, 0.035):
            canvas.disc(tuple(at + wheel * along + 0.02 * up), 0.02, render.INK)
        return canvas.array()

    def _push(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the throttle between -1 and 1, and the action that is paid for."""
        push = (action - 1).astype(jnp.float32)
        return push, push

    def _observe(self, state: MountainCarState) -> jax.Array:
        return jnp.stack([state.position] + [state.velocity] * self.velocities)


@dataclass(frozen=True)
class MountainCarContinuous(MountainCar):
    """Drive a weak car out of a valley with a throttle in [-1, 1], `[1]` float32.

    The reward is 100 for the goal, less 0.1 times the squared action at each step (the action as it was
    given, while the throttle is clipped). This is Gymnasium's `MountainCarContinuous-v0`; the suffix here
    counts this library's versions. Terminates at position 0.45, truncated after 999 steps.

    Args:
      velocities: observe the velocity; without it the observation is `[1]` and hides a part of the state.

    >>> env = MountainCarContinuous()
    >>> at_wall = MountainCarState(jnp.float32(-1.19), jnp.float32(-0.06), jnp.int32(0))
    >>> state, out = env.step(jax.random.key(0), at_wall, jnp.array([-1.0]), env.default_params())
    >>> float(state.velocity), round(float(out.reward), 2)
    (0.0, -0.1)

    Source: Gymnasium, `envs/classic_control/continuous_mountain_car.py`.
    """

    id: str = "MountainCarContinuous-v1"

    def default_params(self) -> MountainCarParams:
        """Return Gymnasium's constants."""
        return _params(force=0.0015, goal_position=0.45, goal_reward=100.0, push_cost=0.1, max_steps=999)

    def action_space(self, params: MountainCarParams) -> Discrete | Box:
        """Return the throttle, a `Box` `[1]` between -1 and 1."""
        return Box(-1.0, 1.0, (1,))

    def _push(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        effort = action[0]
        return jnp.clip(effort, -1.0, 1.0), effort


def _params(*, max_steps: int, **changes: float) -> MountainCarParams:
    values = {
        "force": 0.001,
        "gravity": 0.0025,
        "left_wall": -1.2,
        "right_wall": 0.6,
        "speed_limit": 0.07,
        "goal_position": 0.5,
        "goal_velocity": 0.0,
        "goal_reward": 0.0,
        "step_reward": 0.0,
        "push_cost": 0.0,
        "start_low": -0.6,
        "start_high": -0.4,
    }
    leaves = {name: jnp.float32(value) for name, value in (values | changes).items()}
    return MountainCarParams(**leaves, max_steps=jnp.int32(max_steps))
