"""CartPole that starts with the pole hanging down, with the rules of bsuite."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_positive
from envs.classic.acrobot import wrap
from envs.classic.cartpole import CartPoleState, euler_step, picture
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class SwingUpParams:
    """Physical constants, limits and rewards, all `[]` float32 but the last.

    Attributes:
      gravity: m/s^2.
      cart_mass: kg.
      pole_mass: kg.
      half_length: m, from the hinge to the pole's centre of mass.
      force: N, of a push to either side.
      time_step: s, of one explicit Euler step.
      position_limit: m; beyond it to either side the episode terminates.
      height: a pole counts as upright where the cosine of its angle is greater than this, ...
      slow: ... its velocity is less than this, in rad/s, ...
      near: ... and the cart is closer than this to the middle, in m.
      upright_reward: for a step that ends upright.
      push_cost: for a push.
      start_range: the first state's four numbers are this close to the hanging rest in the middle.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    gravity: jax.Array
    cart_mass: jax.Array
    pole_mass: jax.Array
    half_length: jax.Array
    force: jax.Array
    time_step: jax.Array
    position_limit: jax.Array
    height: jax.Array
    slow: jax.Array
    near: jax.Array
    upright_reward: jax.Array
    push_cost: jax.Array
    start_range: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class CartPoleSwingUp:
    """Swing a hanging pole up and balance it, pushing the cart left (0), not at all (1) or right (2).

    The reward is 1 for a step that ends upright (high, slow and near the middle), less 0.1 for a push:
    without deep exploration it is best to remain still. The observation is `[8]` float32: position and
    velocity over the position limit, sine and cosine of the angle, its velocity, the share of the time that
    is over, and 1 or -1 for near and for slow. `step` ignores its key. Terminates beyond 3 m; the clock
    truncates after 1,000 steps (bsuite terminates, one step later).

    Args:
      velocities: observe the velocities; without them the observation is `[5]`: position, sine, cosine, time
        and near.

    >>> env = CartPoleSwingUp()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, 2, env.default_params())
    >>> out.obs.shape, round(float(out.reward), 2), bool(out.terminated)
    ((8,), -0.1, False)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning,
    `experiments/cartpole_swingup/cartpole_swingup.py`.
    """

    id: str = "CartPoleSwingUp-v1"
    velocities: bool = True

    def default_params(self) -> SwingUpParams:
        """Return bsuite's constants, with the height of the class's default, 0.5."""
        return SwingUpParams(
            gravity=jnp.float32(9.8),
            cart_mass=jnp.float32(1.0),
            pole_mass=jnp.float32(0.1),
            half_length=jnp.float32(0.5),
            force=jnp.float32(10.0),
            time_step=jnp.float32(0.01),
            position_limit=jnp.float32(3.0),
            height=jnp.float32(0.5),
            slow=jnp.float32(1.0),
            near=jnp.float32(1.0),
            upright_reward=jnp.float32(1.0),
            push_cost=jnp.float32(0.1),
            start_range=jnp.float32(0.05),
            max_steps=jnp.int32(1000),
        )

    def check_params(self, params: SwingUpParams) -> None:
        """Check that masses, lengths and the time step are positive.

        Raises:
          ValueError: naming the first that is not.
        """
        for name in ("cart_mass", "pole_mass", "half_length", "time_step"):
            check_positive(name, getattr(params, name), ())

    def time_limit(self, params: SwingUpParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: SwingUpParams) -> Box:
        """Return the bounds; the position's is twice its limit, so that last observations lie inside."""
        low = (-2.0, -math.inf, -1.0, -1.0, -math.inf, 0.0, -1.0, -1.0)
        high = (2.0, math.inf, 1.0, 1.0, math.inf, math.inf, 1.0, 1.0)
        kept = range(8) if self.velocities else _WITHOUT_VELOCITIES
        return Box(tuple(low[i] for i in kept), tuple(high[i] for i in kept), (len(kept),))

    def action_space(self, params: SwingUpParams) -> Discrete:
        """Return left (0), nothing (1) and right (2)."""
        return Discrete(3)

    def reset(self, key: jax.Array, params: SwingUpParams) -> tuple[CartPoleState, jax.Array]:
        """Return a first state near the hanging rest, and its observation."""
        draws = params.start_range * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        state = CartPoleState(draws[0], draws[1], wrap(math.pi + draws[2]), draws[3], jnp.int32(0))
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: CartPoleState, action: jax.Array, params: SwingUpParams
    ) -> tuple[CartPoleState, Step]:
        """Return the state one Euler step later; ignores `key`."""
        action = as_action(self.action_space(params), action)
        push = (action - 1).astype(jnp.float32)
        state = euler_step(state, push * params.force, params)
        state = state.replace(angle=wrap(state.angle))  # type: ignore[attr-defined]
        near, slow = self._near_and_slow(state, params)
        upright = (jnp.cos(state.angle) > params.height) & near & slow
        reward = jnp.where(upright, params.upright_reward, 0.0) - jnp.abs(push) * params.push_cost
        terminated = jnp.abs(state.position) > params.position_limit
        truncated = (state.t >= params.max_steps) & ~terminated
        return state, Step(self._observe(state, params), reward, terminated, truncated)

    def ascii(self, state: CartPoleState, params: SwingUpParams) -> str:
        """Return position and angle as text."""
        return f"cart {float(state.position):+.2f} m, pole {math.degrees(float(state.angle)):+.0f} degrees"

    def frame(self, state: CartPoleState, params: SwingUpParams) -> np.ndarray:
        """Return a picture of cart and pole, `[240, 480, 3]` uint8."""
        return picture(state, params, lowest=-1.3)

    def _near_and_slow(self, state: CartPoleState, params: SwingUpParams) -> tuple[jax.Array, jax.Array]:
        return jnp.abs(state.position) < params.near, jnp.abs(state.angular_velocity) < params.slow

    def _observe(self, state: CartPoleState, params: SwingUpParams) -> jax.Array:
        near, slow = self._near_and_slow(state, params)
        numbers = [
            state.position / params.position_limit,
            state.velocity / params.position_limit,
            jnp.sin(state.angle),
            jnp.cos(state.angle),
            state.angular_velocity,
            state.t / params.max_steps,
            jnp.where(near, 1.0, -1.0),
            jnp.where(slow, 1.0, -1.0),
        ]
        kept = range(8) if self.velocities else _WITHOUT_VELOCITIES
        return jnp.stack([numbers[i].astype(jnp.float32) for i in kept])


_WITHOUT_VELOCITIES = (0, 2, 3, 5, 6)
