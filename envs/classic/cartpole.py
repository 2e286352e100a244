"""CartPole with the dynamics of Gymnasium, every physical constant a traced parameter."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_positive
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class CartPoleParams:
    """Physical constants and limits, all `[]` float32 but the last.

    Attributes:
      gravity: m/s^2.
      cart_mass: kg.
      pole_mass: kg.
      half_length: m, from the hinge to the pole's centre of mass.
      force: N, of a push to either side.
      time_step: s, of one explicit Euler step.
      position_limit: m; beyond it to either side the episode terminates.
      angle_limit: rad; likewise.
      start_range: the first state's four numbers are uniform between minus and plus this.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    gravity: jax.Array
    cart_mass: jax.Array
    pole_mass: jax.Array
    half_length: jax.Array
    force: jax.Array
    time_step: jax.Array
    position_limit: jax.Array
    angle_limit: jax.Array
    start_range: jax.Array
    max_steps: jax.Array


@struct.dataclass
class CartPoleState:
    """The cart's position (m) and velocity (m/s), the pole's angle (rad) and velocity (rad/s), the clock."""

    position: jax.Array
    velocity: jax.Array
    angle: jax.Array
    angular_velocity: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class CartPole:
    """Push a cart left (0) or right (1) so that the pole on it stays upright: reward 1 a step.

    The observation is `[4]` float32: position, velocity, angle, angular velocity. `step` ignores its key. An
    episode terminates when cart or pole leave their limits and is truncated after 500 steps. What a step from
    an already terminated state gives is, as in Gymnasium, undefined (here: reward 1).

    Args:
      velocities: observe the velocities; without them the observation is `[2]` and hides a part of the state.

    >>> env = CartPole()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, 1, env.default_params())
    >>> out.obs.shape, float(out.reward), bool(out.terminated)
    ((4,), 1.0, False)

    Source: Barto, Sutton and Anderson (1983); equations and constants of Gymnasium,
    `envs/classic_control/cartpole.py`.
    """

    id: str = "CartPole-v1"
    velocities: bool = True

    def default_params(self) -> CartPoleParams:
        """Return Gymnasium's constants."""
        return CartPoleParams(
            gravity=jnp.float32(9.8),
            cart_mass=jnp.float32(1.0),
            pole_mass=jnp.float32(0.1),
            half_length=jnp.float32(0.5),
            force=jnp.float32(10.0),
            time_step=jnp.float32(0.02),
            position_limit=jnp.float32(2.4),
            angle_limit=jnp.float32(math.radians(12)),
            start_range=jnp.float32(0.05),
            max_steps=jnp.int32(500),
        )

    def check_params(self, params: CartPoleParams) -> None:
        """Check that masses, lengths and the time step are positive.

        Raises:
          ValueError: naming the first that is not.
        """
        for name in ("cart_mass", "pole_mass", "half_length", "time_step"):
            check_positive(name, getattr(params, name), ())

    def time_limit(self, params: CartPoleParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: CartPoleParams) -> Box:
        """Return Gymnasium's bounds: twice the default limits, so that last observations lie inside."""
        high = (4.8, math.inf, math.radians(24), math.inf)
        high = high if self.velocities else high[::2]
        return Box(tuple(-bound for bound in high), high, (len(high),))

    def action_space(self, params: CartPoleParams) -> Discrete:
        """Return left (0) and right (1)."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: CartPoleParams) -> tuple[CartPoleState, jax.Array]:
        """Return a first state near the upright rest, and its observation."""
        draws = params.start_range * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        state = CartPoleState(draws[0], draws[1], draws[2], draws[3], jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: CartPoleState, action: jax.Array, params: CartPoleParams
    ) -> tuple[CartPoleState, Step]:
        """Return the state one Euler step later; ignores `key`."""
        action = as_action(self.action_space(params), action)
        state = euler_step(state, jnp.where(action == 1, params.force, -params.force), params)
        terminated = (jnp.abs(state.position) > params.position_limit) | (
            jnp.abs(state.angle) > params.angle_limit
        )
        truncated = (state.t >= params.max_steps) & ~terminated
        return state, Step(self._observe(state), jnp.float32(1.0), terminated, truncated)

    def ascii(self, state: CartPoleState, params: CartPoleParams) -> str:
        """Return position and angle as text."""
        return f"cart {float(state.position):+.2f} m, pole {math.degrees(float(state.angle)):+.1f} degrees"

    def frame(self, state: CartPoleState, params: CartPoleParams) -> np.ndarray:
        """Return a picture of cart and pole, `[240, 480, 3]` uint8."""
        return picture(state, params, lowest=-0.45)

    def _observe(self, state: CartPoleState) -> jax.Array:
        numbers = [state.position, state.velocity, state.angle, state.angular_velocity]
        return jnp.stack(numbers if self.velocities else numbers[::2])


def euler_step(state: CartPoleState, force: jax.Array, params: Any) -> CartPoleState:
    """Return the state after one explicit Euler step under a `force` in N on the cart.

    `params` holds `gravity`, `cart_mass`, `pole_mass`, `half_length` and `time_step`, as `CartPoleParams`.
    """
    mass = params.cart_mass + params.pole_mass
    moment = params.pole_mass * params.half_length
    cos, sin = jnp.cos(state.angle), jnp.sin(state.angle)
    push = (force + moment * jnp.square(state.angular_velocity) * sin) / mass
    angular_acceleration = (params.gravity * sin - cos * push) / (
        params.half_length * (4 / 3 - params.pole_mass * jnp.square(cos) / mass)
    )
    acceleration = push - moment * angular_acceleration * cos / mass
    return CartPoleState(
        position=state.position + params.time_step * state.velocity,
        velocity=state.velocity + params.time_step * acceleration,
        angle=state.angle + params.time_step * state.angular_velocity,
        angular_velocity=state.angular_velocity + params.time_step * angular_acceleration,
        t=state.t + 1,
    )


def picture(state: CartPoleState, params: Any, lowest: float) -> np.ndarray:
    """Return a picture of cart and pole, `[240, 480, 3]` uint8, from the height `lowest` (m) upwards."""
    from envs import render

    limit = float(params.position_limit)
    x, angle = float(state.position), float(state.angle)
    length = 2 * float(params.half_length)
    canvas = render.Canvas(480, 240, (-limit, limit), (lowest, 2 * limit * 240 / 480 + lowest))
    canvas.line((-limit, 0.0), (limit, 0.0), 2, render.GREY)
    for wheel in (-0.22, 0.22):
        canvas.disc((x + wheel, 0.07), 0.07, render.INK)
    left, right, low, high = x - 0.36, x + 0.36, 0.1, 0.38
    canvas.polygon([(left, low), (right, low), (right, high), (left, high)], render.WALL_GREY)
    tip = (x + length * math.sin(angle), high + length * math.cos(angle))
    canvas.line((x, high), tip, 12, render.ORANGE)
    canvas.disc((x, high), 0.055, render.PAPER)
    return canvas.array()
