"""Acrobot with the dynamics of Gymnasium, every physical constant a traced parameter."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_positive
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class AcrobotParams:
    """Physical constants and limits, all `[]` float32 but the last.

    Attributes:
      gravity: m/s^2.
      length_1: m, of the link that hangs from the fixed joint.
      length_2: m, of the other one; it sets the height of the tip only.
      mass_1: kg.
      mass_2: kg.
      centre_1: m, from the fixed joint to the first link's centre of mass.
      centre_2: m, from the second joint to the second link's centre of mass.
      inertia: kg m^2, of either link around its centre of mass.
      torque: N m, of a push to either side at the second joint.
      time_step: s, of one Runge-Kutta step of fourth order.
      speed_limit_1: rad/s, at which the first joint's velocity is clipped.
      speed_limit_2: rad/s, likewise for the second joint.
      goal_height: m; the episode terminates when the tip is higher above the fixed joint.
      start_range: the first state's four numbers are uniform between minus and plus this.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    gravity: jax.Array
    length_1: jax.Array
    length_2: jax.Array
    mass_1: jax.Array
    mass_2: jax.Array
    centre_1: jax.Array
    centre_2: jax.Array
    inertia: jax.Array
    torque: jax.Array
    time_step: jax.Array
    speed_limit_1: jax.Array
    speed_limit_2: jax.Array
    goal_height: jax.Array
    start_range: jax.Array
    max_steps: jax.Array


@struct.dataclass
class AcrobotState:
    """Angles (rad) and their velocities (rad/s), and the clock `t`; all `[]`.

    `angle_1` is 0 where the first link hangs down, `angle_2` is 0 where the second one continues it.
    """

    angle_1: jax.Array
    angle_2: jax.Array
    velocity_1: jax.Array
    velocity_2: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Acrobot:
    """Swing two links up by pushing the joint between them left (0), not at all (1) or right (2).

    The reward is -1 a step until the tip is above the goal height, and 0 for the step that brings it there.
    The observation is `[6]` float32: cosine and sine of both angles, both velocities. `step` ignores its key.
    Truncated after 500 steps.

    Args:
      velocities: observe the velocities; without them the observation is `[4]` and hides a part of the state.

    >>> env = Acrobot()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, 2, env.default_params())
    >>> out.obs.shape, float(out.reward), bool(out.terminated)
    ((6,), -1.0, False)

    Source: Sutton (1996), Generalization in reinforcement learning; the equations of Sutton and Barto's book
    as in Gymnasium, `envs/classic_control/acrobot.py`.
    """

    id: str = "Acrobot-v1"
    velocities: bool = True

    def default_params(self) -> AcrobotParams:
        """Return Gymnasium's constants."""
        return AcrobotParams(
            gravity=jnp.float32(9.8),
            length_1=jnp.float32(1.0),
            length_2=jnp.float32(1.0),
            mass_1=jnp.float32(1.0),
            mass_2=jnp.float32(1.0),
            centre_1=jnp.float32(0.5),
            centre_2=jnp.float32(0.5),
            inertia=jnp.float32(1.0),
            torque=jnp.float32(1.0),
            time_step=jnp.float32(0.2),
            speed_limit_1=jnp.float32(4 * math.pi),
            speed_limit_2=jnp.float32(9 * math.pi),
            goal_height=jnp.float32(1.0),
            start_range=jnp.float32(0.1),
            max_steps=jnp.int32(500),
        )

    def check_params(self, params: AcrobotParams) -> None:
        """Check that masses, lengths and the time step are positive.

        Raises:
          ValueError: naming the first that is not.
        """
        for name in (
            "length_1",
            "length_2",
            "mass_1",
            "mass_2",
            "centre_1",
            "centre_2",
            "inertia",
            "time_step",
        ):
            check_positive(name, getattr(params, name), ())

    def time_limit(self, params: AcrobotParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: AcrobotParams) -> Box:
        """Return Gymnasium's bounds."""
        high = (1.0, 1.0, 1.0, 1.0)
        if self.velocities:
            high += tuple(np.array([4 * math.pi, 9 * math.pi], np.float32).tolist())
        return Box(tuple(-bound for bound in high), high, (len(high),))

    def action_space(self, params: AcrobotParams) -> Discrete:
        """Return left (0), nothing (1) and right (2)."""
        return Discrete(3)

    def reset(self, key: jax.Array, params: AcrobotParams) -> tuple[AcrobotState, jax.Array]:
        """Return a first state near the hanging rest, and its observation."""
        draws = params.start_range * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        state = AcrobotState(draws[0], draws[1], draws[2], draws[3], jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: AcrobotState, action: jax.Array, params: AcrobotParams
    ) -> tuple[AcrobotState, Step]:
        """Return the state one Runge-Kutta step later; ignores `key`."""
        action = as_action(self.action_space(params), action)
        torque = params.torque * (action - 1)
        h = params.time_step
        # A state that was pushed may be faster than the limits, so fast that the step would end in NaN.
        velocity_1 = jnp.clip(state.velocity_1, -params.speed_limit_1, params.speed_limit_1)
        velocity_2 = jnp.clip(state.velocity_2, -params.speed_limit_2, params.speed_limit_2)
        y = jnp.stack([state.angle_1, state.angle_2, velocity_1, velocity_2])
        k1 = _derivative(y, torque, params)
        k2 = _derivative(y + h / 2 * k1, torque, params)
        k3 = _derivative(y + h / 2 * k2, torque, params)
        k4 = _derivative(y + h * k3, torque, params)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        state = AcrobotState(
            angle_1=wrap(y[0]),
            angle_2=wrap(y[1]),
            velocity_1=jnp.clip(y[2], -params.speed_limit_1, params.speed_limit_1),
            velocity_2=jnp.clip(y[3], -params.speed_limit_2, params.speed_limit_2),
            t=state.t + 1,
        )
        terminated = self._height(state, params) > params.goal_height
        truncated = (state.t >= params.max_steps) & ~terminated
        reward = terminated.astype(jnp.float32) - 1
        return state, Step(self._observe(state), reward, terminated, truncated)

    def ascii(self, state: AcrobotState, params: AcrobotParams) -> str:
        """Return angles and height as text."""
        angles = f"{math.degrees(float(state.angle_1)):+.0f} {math.degrees(float(state.angle_2)):+.0f}"
        height = float(self._height(state, params))
        return f"angles {angles} degrees, tip {height:+.2f} m, goal {float(params.goal_height):+.2f} m"

    def frame(self, state: AcrobotState, params: AcrobotParams) -> np.ndarray:
        """Return a picture of the links and the goal's height, `[400, 400, 3]` uint8."""
        from envs import render

        first, second = float(params.length_1), float(params.length_2)
        reach = 1.1 * (first + second)
        canvas = render.Canvas(400, 400, (-reach, reach), (-reach, reach))
        goal = float(params.goal_height)
        canvas.line((-reach, goal), (reach, goal), 2, render.GREEN)
        angle = float(state.angle_1)
        elbow = (first * math.sin(angle), -first * math.cos(angle))
        angle += float(state.angle_2)
        tip = (elbow[0] + second * math.sin(angle), elbow[1] - second * math.cos(angle))
        canvas.line((0.0, 0.0), elbow, 14, render.WALL_GREY)
        canvas.line(elbow, tip, 14, render.ORANGE)
        for joint in ((0.0, 0.0), elbow):
            canvas.disc(joint, 0.07 * reach / 2.2, render.INK)
        return canvas.array()

    def _height(self, state: AcrobotState, params: AcrobotParams) -> jax.Array:
        both = state.angle_1 + state.angle_2
        return -params.length_1 * jnp.cos(state.angle_1) - params.length_2 * jnp.cos(both)

    def _observe(self, state: AcrobotState) -> jax.Array:
        parts = [f(angle) for angle in (state.angle_1, state.angle_2) for f in (jnp.cos, jnp.sin)]
        return jnp.stack(parts + [state.velocity_1, state.velocity_2] * self.velocities)


def wrap(angle: jax.Array) -> jax.Array:
    """Return the angle between -pi and pi that is the same up to full turns.

    >>> round(float(wrap(jnp.float32(4.0))), 4)
    -2.2832
    """
    return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))


def _derivative(y: jax.Array, torque: jax.Array, params: AcrobotParams) -> jax.Array:
    angle_1, angle_2, velocity_1, velocity_2 = y
    m2, l1, c1, c2 = params.mass_2, params.length_1, params.centre_1, params.centre_2
    cos, sin = jnp.cos(angle_2), jnp.sin(angle_2)
    d1 = params.mass_1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * cos) + 2 * params.inertia
    d2 = m2 * (c2**2 + l1 * c2 * cos) + params.inertia
    phi2 = m2 * c2 * params.gravity * jnp.sin(angle_1 + angle_2)
    phi1 = (
        -m2 * l1 * c2 * sin * (velocity_2**2 + 2 * velocity_2 * velocity_1)
        + (params.mass_1 * c1 + m2 * l1) * params.gravity * jnp.sin(angle_1)
        + phi2
    )
    acceleration_2 = (torque + d2 / d1 * phi1 - m2 * l1 * c2 * velocity_1**2 * sin - phi2) / (
        m2 * c2**2 + params.inertia - d2**2 / d1
    )
    acceleration_1 = -(d2 * acceleration_2 + phi1) / d1
    return jnp.stack([velocity_1, velocity_2, acceleration_1, acceleration_2])
