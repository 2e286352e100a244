"""Pendulum with the dynamics of Gymnasium, every physical constant a traced parameter."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_positive
from envs.classic.acrobot import wrap
from envs.core import Step
from envs.spaces import Box, as_action


@struct.dataclass
class PendulumParams:
    """Physical constants and limits, all `[]` float32 but the last.

    Attributes:
      gravity: m/s^2.
      mass: kg.
      length: m, of a uniform rod.
      torque_limit: N m; the action is clipped to plus and minus this.
      speed_limit: rad/s, at which the velocity is clipped.
      time_step: s.
      start_angle: rad; the first angle is uniform between minus and plus this.
      start_velocity: rad/s, likewise for the first velocity.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    gravity: jax.Array
    mass: jax.Array
    length: jax.Array
    torque_limit: jax.Array
    speed_limit: jax.Array
    time_step: jax.Array
    start_angle: jax.Array
    start_velocity: jax.Array
    max_steps: jax.Array


@struct.dataclass
class PendulumState:
    """Angle (rad, 0 upright, between -pi and pi), velocity (rad/s) and the clock `t`; all `[]`."""

    angle: jax.Array
    velocity: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Pendulum:
    """Swing a rod up and hold it upright by a torque in [-2, 2] N m, `[1]` float32.

    The reward is -(angle^2 + 0.1 velocity^2 + 0.001 torque^2) of the state before the step. The observation
    is `[3]` float32: cosine and sine of the angle, velocity. `step` ignores its key. It never terminates;
    truncated after 200 steps.

    Args:
      velocities: observe the velocity; without it the observation is `[2]` and hides a part of the state.

    >>> env = Pendulum()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, jnp.array([2.0]), env.default_params())
    >>> out.obs.shape, float(out.reward) < 0, bool(out.terminated)
    ((3,), True, False)

    Source: Gymnasium, `envs/classic_control/pendulum.py`.
    """

    id: str = "Pendulum-v1"
    velocities: bool = True

    def default_params(self) -> PendulumParams:
        """Return Gymnasium's constants."""
        return PendulumParams(
            gravity=jnp.float32(10.0),
            mass=jnp.float32(1.0),
            length=jnp.float32(1.0),
            torque_limit=jnp.float32(2.0),
            speed_limit=jnp.float32(8.0),
            time_step=jnp.float32(0.05),
            start_angle=jnp.float32(math.pi),
            start_velocity=jnp.float32(1.0),
            max_steps=jnp.int32(200),
        )

    def check_params(self, params: PendulumParams) -> None:
        """Check that masses, lengths and the time step are positive.

        Raises:
          ValueError: naming the first that is not.
        """
        for name in ("mass", "length", "time_step"):
            check_positive(name, getattr(params, name), ())

    def time_limit(self, params: PendulumParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: PendulumParams) -> Box:
        """Return Gymnasium's bounds, those of the default speed limit."""
        high = (1.0, 1.0, 8.0) if self.velocities else (1.0, 1.0)
        return Box(tuple(-bound for bound in high), high, (len(high),))

    def action_space(self, params: PendulumParams) -> Box:
        """Return the torque, a `Box` `[1]` between -2 and 2."""
        return Box(-2.0, 2.0, (1,))

    def reset(self, key: jax.Array, params: PendulumParams) -> tuple[PendulumState, jax.Array]:
        """Return a first state anywhere, and its observation."""
        draws = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        state = PendulumState(
            angle=params.start_angle * draws[0], velocity=params.start_velocity * draws[1], t=jnp.int32(0)
        )
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: PendulumState, action: jax.Array, params: PendulumParams
    ) -> tuple[PendulumState, Step]:
        """Return the state one semi-implicit Euler step later; ignores `key`."""
        action = as_action(self.action_space(params), action)
        torque = jnp.clip(action[0], -params.torque_limit, params.torque_limit)
        cost = jnp.square(wrap(state.angle)) + 0.1 * jnp.square(state.velocity) + 0.001 * jnp.square(torque)
        inertia = params.mass * jnp.square(params.length) / 3
        weight = params.mass * params.gravity * params.length / 2
        acceleration = (weight * jnp.sin(state.angle) + torque) / inertia
        velocity = state.velocity + params.time_step * acceleration
        velocity = jnp.clip(velocity, -params.speed_limit, params.speed_limit)
        state = PendulumState(
            angle=wrap(state.angle + params.time_step * velocity), velocity=velocity, t=state.t + 1
        )
        return state, Step(self._observe(state), -cost, jnp.bool_(False), state.t >= params.max_steps)

    def ascii(self, state: PendulumState, params: PendulumParams) -> str:
        """Return angle and velocity as text."""
        return f"angle {math.degrees(float(state.angle)):+.0f} degrees, {float(state.velocity):+.2f} rad/s"

    def frame(self, state: PendulumState, params: PendulumParams) -> np.ndarray:
        """Return a picture of the rod, `[360, 360, 3]` uint8."""
        from envs import render

        length = float(params.length)
        canvas = render.Canvas(360, 360, (-1.25 * length, 1.25 * length), (-1.25 * length, 1.25 * length))
        angle = float(state.angle)
        tip = (-length * math.sin(angle), length * math.cos(angle))
        canvas.line((0.0, 0.0), (0.0, length), 1.5, render.GREY)
        canvas.line((0.0, 0.0), tip, 22, render.ORANGE)
        canvas.disc((0.0, 0.0), 0.06 * length, render.INK)
        return canvas.array()

    def _observe(self, state: PendulumState) -> jax.Array:
        return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle)] + [state.velocity] * self.velocities)
