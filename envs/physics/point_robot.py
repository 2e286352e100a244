"""A disc that slides over a floor to a goal, pushed in two directions: the smallest robot of all."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_at_least, check_finite, check_positive
from envs.containment import attempt, shown
from envs.core import Step
from envs.physics.rigid import runge_kutta
from envs.spaces import Box, as_action

# How often a step is divided, so that friction stays stable at several times its default.
_SUBSTEPS = 2


@struct.dataclass
class PointRobotParams:
    """Physical constants, costs and limits, all `[]` float32 but the last.

    Attributes:
      mass: kg.
      friction: coefficient of sliding friction between disc and floor.
      damping: N s/m, of viscous friction.
      gear: N, of a full push in one direction.
      gravity: m/s^2, that presses the disc onto the floor.
      slip_speed: m/s, below which sliding friction fades, so that dynamics are smooth.
      time_step: s, between two actions.
      control_cost: of a full push in both directions.
      start_range: m; start and goal are uniform in a square between plus and minus this.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    mass: jax.Array
    friction: jax.Array
    damping: jax.Array
    gear: jax.Array
    gravity: jax.Array
    slip_speed: jax.Array
    time_step: jax.Array
    control_cost: jax.Array
    start_range: jax.Array
    max_steps: jax.Array


@struct.dataclass
class PointRobotState:
    """Position (m), velocity (m/s) and goal (m), all `[2]` float32, and the clock `t`."""

    position: jax.Array
    velocity: jax.Array
    goal: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class PointRobot:
    """Slide to the goal and stay there, by a push `[2]` in [-1, 1] of the full force in each direction.

    The reward is minus the distance to the goal after the step, less the cost of the push. The observation
    is `[6]` float32: position, velocity, and the way to the goal. `step` ignores its key. It never
    terminates; truncated after 100 steps of 0.05 s. Metric: `diverged`, 1 for a step at which the simulation
    failed (see `envs.containment`).

    >>> env = PointRobot()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, jnp.ones(2), env.default_params())
    >>> out.obs.shape, float(out.reward) < 0, bool(out.terminated)
    ((6,), True, False)

    Source: ours; Coulomb's friction is smoothed as mu m g v / sqrt(v^2 + slip_speed^2).
    """

    id: str = "PointRobot-v1"

    def default_params(self) -> PointRobotParams:
        """Return a disc of 1 kg on wood, which a full push moves at 4 m/s^2."""
        return PointRobotParams(
            mass=jnp.float32(1.0),
            friction=jnp.float32(0.1),
            damping=jnp.float32(0.5),
            gear=jnp.float32(5.0),
            gravity=jnp.float32(9.81),
            slip_speed=jnp.float32(0.1),
            time_step=jnp.float32(0.05),
            control_cost=jnp.float32(0.05),
            start_range=jnp.float32(1.0),
            max_steps=jnp.int32(100),
        )

    def check_params(self, params: PointRobotParams) -> None:
        """Check that constants are finite, and positive or at least 0 where there is no physics otherwise.

        Raises:
          ValueError: naming the first that is not.
        """
        for name in ("mass", "slip_speed", "time_step"):
            check_positive(name, getattr(params, name), ())
        for name in ("friction", "damping", "gravity", "control_cost", "start_range"):
            check_at_least(name, getattr(params, name), ())
        check_finite("gear", params.gear, ())
        check_at_least("max_steps", params.max_steps, (), 1)

    def time_limit(self, params: PointRobotParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: PointRobotParams) -> Box:
        """Return numbers without bounds: there is no wall."""
        return Box(-np.inf, np.inf, (6,))

    def action_space(self, params: PointRobotParams) -> Box:
        """Return the push, a `Box` `[2]` between -1 and 1."""
        return Box(-1.0, 1.0, (2,))

    def reset(self, key: jax.Array, params: PointRobotParams) -> tuple[PointRobotState, jax.Array]:
        """Return a disc at rest and its goal anywhere in the square, and the observation."""
        places = params.start_range * jax.random.uniform(key, (2, 2), minval=-1.0, maxval=1.0)
        state = PointRobotState(places[0], jnp.zeros(2), places[1], jnp.int32(0))
        return state, shown(_observe(state))

    def step(
        self, key: jax.Array, state: PointRobotState, action: jax.Array, params: PointRobotParams
    ) -> tuple[PointRobotState, Step]:
        """Return the state two Runge-Kutta steps later; ignores `key`."""
        action = jnp.clip(as_action(self.action_space(params), action), -1.0, 1.0)
        return attempt(_move, state, shown(_observe(state)), action, params)

    def ascii(self, state: PointRobotState, params: PointRobotParams) -> str:
        """Return where the disc and its goal are as text."""
        x, z = map(float, state.position)
        to_x, to_z = map(float, state.goal)
        return f"at ({x:+.2f}, {z:+.2f}) m, goal ({to_x:+.2f}, {to_z:+.2f}) m"

    def frame(self, state: PointRobotState, params: PointRobotParams) -> np.ndarray:
        """Return a picture of the floor from above, `[360, 360, 3]` uint8."""
        from envs import render

        reach = 1.3 * float(params.start_range)
        canvas = render.Canvas(360, 360, (-reach, reach), (-reach, reach))
        goal, at = np.asarray(state.goal), np.asarray(state.position)
        canvas.disc((goal[0], goal[1]), 0.09 * reach, render.GREEN)
        canvas.disc((goal[0], goal[1]), 0.065 * reach, render.PAPER)
        tip = at + 0.15 * np.asarray(state.velocity)
        canvas.line((at[0], at[1]), (tip[0], tip[1]), 5, render.GREY)
        canvas.disc((at[0], at[1]), 0.06 * reach, render.ORANGE)
        return canvas.array()


def _move(
    state: PointRobotState, action: jax.Array, params: PointRobotParams
) -> tuple[PointRobotState, Step]:
    def derivative(y: jax.Array) -> jax.Array:
        velocity = y[2:]
        slip = velocity / jnp.sqrt(jnp.sum(jnp.square(velocity)) + jnp.square(params.slip_speed))
        force = params.gear * action - params.damping * velocity
        force = force - params.friction * params.mass * params.gravity * slip
        return jnp.concatenate([velocity, force / params.mass])

    y = jnp.concatenate([state.position, state.velocity])
    for _ in range(_SUBSTEPS):
        y = runge_kutta(derivative, y, params.time_step / _SUBSTEPS)
    state = PointRobotState(position=y[:2], velocity=y[2:], goal=state.goal, t=state.t + 1)
    distance = jnp.sqrt(jnp.sum(jnp.square(state.goal - state.position)) + 1e-8)
    reward = -distance - params.control_cost * jnp.mean(jnp.square(action))
    truncated = state.t >= params.max_steps
    return state, Step(_observe(state), reward, jnp.bool_(False), truncated)


def _observe(state: PointRobotState) -> jax.Array:
    return jnp.concatenate([state.position, state.velocity, state.goal - state.position])
