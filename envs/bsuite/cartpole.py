"""bsuite's two cart-poles: balance, and swing up. The clock terminates them, and they see it."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from envs.classic.cartpole import CartPoleState, picture
from envs.classic.cartpole_swing_up import CartPoleSwingUp, SwingUpParams
from envs.core import Step
from envs.spaces import Box


@dataclass(frozen=True)
class TimedSwingUp(CartPoleSwingUp):
    """`envs.classic.CartPoleSwingUp` as bsuite has it: the clock terminates, after `max_steps` + 1 steps.

    What bsuite sweeps are the params `height` and `near`.

    >>> env = TimedSwingUp()
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (8,)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning,
    `experiments/cartpole_swingup/cartpole_swingup.py`.
    """

    id: str = "CartPoleSwingUp-bsuite-v1"

    limit_terminates = True

    def time_limit(self, params: SwingUpParams) -> jax.Array:
        """Return the steps of the longest episode, `max_steps` + 1."""
        return params.max_steps + 1

    def step(
        self, key: jax.Array, state: CartPoleState, action: jax.Array, params: SwingUpParams
    ) -> tuple[CartPoleState, Step]:
        """Return the state one Euler step later; ignores `key`."""
        state, step = super().step(key, state, action, params)
        terminated = step.terminated | (state.t > params.max_steps)
        return state, replace(step, terminated=terminated, truncated=jnp.bool_(False))


@dataclass(frozen=True)
class TimedCartPole(TimedSwingUp):
    """Keep a pole upright by pushing its cart left (0), not at all (1) or right (2): 1 a step.

    The episode terminates, without a reward for the last step, where the cosine of the angle is 0.8 or less
    or the cart 3 m or more from the middle, and after `max_steps` + 1 steps (1,001, the best return). The
    observation is `[6]` float32: position and velocity over the position limit, sine and cosine of the angle,
    its velocity, and the share of the time that is over. `step` ignores its key.

    Args:
      velocities: must be True.

    Raises:
      ValueError: if `velocities` is False.

    >>> env = TimedCartPole()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, 1, env.default_params())
    >>> out.obs.shape, float(out.reward), bool(out.terminated)
    ((6,), 1.0, False)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/cartpole.py`.
    """

    id: str = "CartPole-bsuite-v1"

    def __post_init__(self):
        if not self.velocities:
            raise ValueError("`velocities` must be True; PartialObservation hides them")

    def default_params(self) -> SwingUpParams:
        """Return bsuite's constants."""
        return replace(
            super().default_params(),
            height=jnp.float32(0.8),
            near=jnp.float32(3.0),
            slow=jnp.float32(jnp.inf),
            push_cost=jnp.float32(0.0),
        )

    def observation_space(self, params: SwingUpParams) -> Box:
        """Return the bounds; the position's is twice its limit, so that last observations lie inside."""
        swing_up = super().observation_space(params)
        low, high = (tuple(bound[:6]) for bound in swing_up.bounds())
        return Box(low, high, (6,))

    def reset(self, key: jax.Array, params: SwingUpParams) -> tuple[CartPoleState, jax.Array]:
        """Return a first state near the upright rest, and its observation."""
        draws = params.start_range * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        state = CartPoleState(draws[0], draws[1], draws[2], draws[3], jnp.int32(0))
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: CartPoleState, action: jax.Array, params: SwingUpParams
    ) -> tuple[CartPoleState, Step]:
        """Return the state one Euler step later; ignores `key`."""
        state, step = super().step(key, state, action, params)
        fallen = (jnp.cos(state.angle) <= params.height) | (jnp.abs(state.position) >= params.near)
        return state, replace(step, terminated=step.terminated | fallen)

    def frame(self, state: CartPoleState, params: SwingUpParams) -> np.ndarray:
        """Return a picture of cart and pole, `[240, 480, 3]` uint8."""
        return picture(state, params, lowest=-0.45)

    def _observe(self, state: CartPoleState, params: SwingUpParams) -> jax.Array:
        return super()._observe(state, params)[:6]
