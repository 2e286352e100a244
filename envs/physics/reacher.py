"""An arm of two links that reaches for a point, every physical constant a traced parameter."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_at_least, check_finite, check_positive
from envs.containment import attempt, shown
from envs.core import Step
from envs.physics.rigid import acceleration, runge_kutta
from envs.spaces import Box, as_action


@struct.dataclass
class ReacherParams:
    """Physical constants, costs and limits.

    Attributes:
      mass: `[2]` float32 kg, of the upper arm and the forearm, uniform rods.
      length: `[2]` float32 m.
      damping: `[]` float32 N m s/rad, of each joint.
      armature: `[]` float32 kg m^2, of each motor.
      gear: `[]` float32 N m, of a full torque at either joint.
      gravity: `[]` float32 m/s^2, downwards in the picture; 0 is an arm on a table.
      time_step: `[]` float32 s, between two actions.
      control_cost: `[]` float32, of full torques.
      start_velocity: `[]` float32 rad/s; first velocities are uniform between plus and minus this.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    mass: jax.Array
    length: jax.Array
    damping: jax.Array
    armature: jax.Array
    gear: jax.Array
    gravity: jax.Array
    time_step: jax.Array
    control_cost: jax.Array
    start_velocity: jax.Array
    max_steps: jax.Array


@struct.dataclass
class ReacherState:
    """Angles of shoulder and elbow (rad, from hanging down), velocities, the target (m), the clock `t`."""

    angle: jax.Array
    velocity: jax.Array
    target: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Reacher:
    """Bring the tip of a two-link arm to the target and hold it there, by torques `[2]` in [-1, 1].

    The reward is minus the distance between tip and target after the step, less the cost of the torques. The
    observation is `[10]` float32: cosine and sine of both angles, both velocities, the target, and the way
    from the tip to it. `step` ignores its key. It never terminates; truncated after 100 steps of 0.04 s.
    Metric: `diverged`, 1 for a step at which the simulation failed (see `envs.containment`).

    >>> env = Reacher()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, jnp.ones(2), env.default_params())
    >>> out.obs.shape, float(out.reward) < 0, bool(out.terminated)
    ((10,), True, False)

    Source: the task is that of Gymnasium, `envs/mujoco/reacher_v5.py`; the arm is ours.
    """

    id: str = "Reacher-v1"

    def default_params(self) -> ReacherParams:
        """Return an arm of two rods of 0.5 m and 1 kg on a table."""
        return ReacherParams(
            mass=jnp.ones(2, jnp.float32),
            length=jnp.full(2, 0.5, jnp.float32),
            damping=jnp.float32(0.5),
            armature=jnp.float32(0.01),
            gear=jnp.float32(5.0),
            gravity=jnp.float32(0.0),
            time_step=jnp.float32(0.04),
            control_cost=jnp.float32(0.05),
            start_velocity=jnp.float32(0.1),
            max_steps=jnp.int32(100),
        )

    def check_params(self, params: ReacherParams) -> None:
        """Check that constants are finite, and positive or at least 0 where there is no physics otherwise.

        Raises:
          ValueError: naming the first that is not.
        """
        for name, shape in (("mass", (2,)), ("length", (2,)), ("time_step", ())):
            check_positive(name, getattr(params, name), shape)
        for name in ("damping", "armature", "control_cost", "start_velocity"):
            check_at_least(name, getattr(params, name), ())
        for name in ("gear", "gravity"):
            check_finite(name, getattr(params, name), ())
        check_at_least("max_steps", params.max_steps, (), 1)

    def time_limit(self, params: ReacherParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: ReacherParams) -> Box:
        """Return numbers without bounds, but for cosines and sines."""
        high = (1.0,) * 4 + (math.inf,) * 6
        return Box(tuple(-bound for bound in high), high, (10,))

    def action_space(self, params: ReacherParams) -> Box:
        """Return the torques at shoulder and elbow, a `Box` `[2]` between -1 and 1."""
        return Box(-1.0, 1.0, (2,))

    def reset(self, key: jax.Array, params: ReacherParams) -> tuple[ReacherState, jax.Array]:
        """Return an arm in any pose and a target uniform in the disc that it reaches, and the observation."""
        key_pose, key_velocity, key_target = jax.random.split(key, 3)
        angle = jax.random.uniform(key_pose, (2,), minval=-math.pi, maxval=math.pi)
        velocity = params.start_velocity * jax.random.uniform(key_velocity, (2,), minval=-1.0, maxval=1.0)
        draws = jax.random.uniform(key_target, (2,))
        radius, heading = jnp.sum(params.length) * jnp.sqrt(draws[0]), 2 * math.pi * draws[1]
        target = radius * jnp.stack([jnp.cos(heading), jnp.sin(heading)])
        state = ReacherState(angle=angle, velocity=velocity, target=target, t=jnp.int32(0))
        return state, shown(_observe(state, params))

    def step(
        self, key: jax.Array, state: ReacherState, action: jax.Array, params: ReacherParams
    ) -> tuple[ReacherState, Step]:
        """Return the state one Runge-Kutta step later; ignores `key`."""
        action = jnp.clip(as_action(self.action_space(params), action), -1.0, 1.0)
        return attempt(_move, state, shown(_observe(state, params)), action, params)

    def ascii(self, state: ReacherState, params: ReacherParams) -> str:
        """Return where the tip and its target are as text."""
        tip = np.asarray(joints(state.angle, params.length)[1])
        to = np.asarray(state.target)
        return f"tip ({tip[0]:+.2f}, {tip[1]:+.2f}) m, target ({to[0]:+.2f}, {to[1]:+.2f}) m"

    def frame(self, state: ReacherState, params: ReacherParams) -> np.ndarray:
        """Return a picture of the arm and its target, `[360, 360, 3]` uint8."""
        from envs import render

        reach = 1.15 * float(jnp.sum(params.length))
        canvas = render.Canvas(360, 360, (-reach, reach), (-reach, reach))
        elbow, tip = ((float(x), float(z)) for x, z in joints(state.angle, params.length))
        target = (float(state.target[0]), float(state.target[1]))
        canvas.disc(target, 0.07 * reach, render.GREEN)
        canvas.disc(target, 0.05 * reach, render.PAPER)
        canvas.line((0.0, 0.0), elbow, 14, render.WALL_GREY)
        canvas.line(elbow, tip, 14, render.ORANGE)
        for joint in ((0.0, 0.0), elbow):
            canvas.disc(joint, 0.035 * reach, render.INK)
        return canvas.array()


def joints(angle: jax.Array, length: jax.Array) -> jax.Array:
    """Return where elbow and tip are, `[2, 2]` (x, z in m) for angles `[2]` and lengths `[2]`."""
    heading = jnp.cumsum(angle)
    links = length[:, None] * jnp.stack([jnp.sin(heading), -jnp.cos(heading)], axis=-1)
    return jnp.cumsum(links, axis=0)


def place(angle: jax.Array, length: jax.Array) -> jax.Array:
    """Return x, z and angle of the links' centres of mass, `[2, 3]`."""
    ends = joints(angle, length)
    starts = jnp.stack([jnp.zeros(2), ends[0]])
    return jnp.concatenate([0.5 * (starts + ends), jnp.cumsum(angle)[:, None]], axis=-1)


def _move(state: ReacherState, action: jax.Array, params: ReacherParams) -> tuple[ReacherState, Step]:
    def derivative(y: jax.Array) -> jax.Array:
        torque = params.gear * action - params.damping * y[2:]
        return jnp.concatenate([y[2:], _acceleration(y[:2], y[2:], torque, params)])

    y = runge_kutta(derivative, jnp.concatenate([state.angle, state.velocity]), params.time_step)
    state = ReacherState(angle=y[:2], velocity=y[2:], target=state.target, t=state.t + 1)
    gap = state.target - joints(state.angle, params.length)[1]
    reward = -jnp.sqrt(jnp.sum(jnp.square(gap)) + 1e-8)
    reward = reward - params.control_cost * jnp.mean(jnp.square(action))
    truncated = state.t >= params.max_steps
    return state, Step(_observe(state, params), reward, jnp.bool_(False), truncated)


def _acceleration(
    angle: jax.Array, velocity: jax.Array, torque: jax.Array, params: ReacherParams
) -> jax.Array:
    inertia = params.mass * jnp.square(params.length) / 12
    return acceleration(
        lambda q: place(q, params.length),
        params.mass,
        inertia,
        params.gravity,
        params.armature,
        angle,
        velocity,
        torque,
    )


def _observe(state: ReacherState, params: ReacherParams) -> jax.Array:
    gap = state.target - joints(state.angle, params.length)[1]
    return jnp.concatenate([jnp.cos(state.angle), jnp.sin(state.angle), state.velocity, state.target, gap])
