"""A leg with a torso that hops in a plane, on a floor of springs and dampers with Coulomb's friction."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_at_least, check_finite, check_positive
from envs.containment import attempt, shown
from envs.core import Step
from envs.physics.rigid import acceleration
from envs.spaces import Box, as_action

# How often a step is divided, for the floor and the joints' stops are stiff.
_SUBSTEPS = 8
# Thigh forward, knee bent, foot flat: hip, knee and ankle in the first state.
_POSE = (-0.4, 0.8, -0.4)
_LOW = (-1.5, 0.0, -0.8)
_HIGH = (0.7, 2.2, 0.8)
# Heel and toe behind and before the ankle, as shares of the foot.
_HEEL, _TOE = -0.25, 0.75
_AT_LEAST_ZERO = (
    "damping",
    "armature",
    "stop_stiffness",
    "friction",
    "stiffness",
    "restitution_loss",
    "control_cost",
    "largest_pitch",
    "start_range",
)


@struct.dataclass
class PlanarHopperParams:
    """Physical constants, rewards and limits; `[]` float32 where not said otherwise.

    Attributes:
      mass: `[4]` float32 kg, of torso, thigh, shank and foot, uniform rods.
      length: `[4]` float32 m.
      gear: `[3]` float32 N m, of full torques at hip, knee and ankle.
      damping: N m s/rad, of each joint.
      armature: kg m^2, of each motor.
      stop_stiffness: N m/rad, of the joints' stops.
      friction: coefficient between foot and floor.
      stiffness: N/m, of the floor under heel and toe.
      restitution_loss: s/m; the floor's force grows by this share for each m/s of a point that sinks.
      gravity: m/s^2.
      time_step: s, between two actions.
      forward_weight: of the forward speed in m/s.
      healthy_reward: of each step that does not terminate.
      control_cost: of full torques.
      least_height: m, of the hip; below it the episode terminates.
      largest_pitch: rad, of the torso; beyond it the episode terminates.
      start_range: the first joint angles and all velocities are this close to the pose at rest.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    mass: jax.Array
    length: jax.Array
    gear: jax.Array
    damping: jax.Array
    armature: jax.Array
    stop_stiffness: jax.Array
    friction: jax.Array
    stiffness: jax.Array
    restitution_loss: jax.Array
    gravity: jax.Array
    time_step: jax.Array
    forward_weight: jax.Array
    healthy_reward: jax.Array
    control_cost: jax.Array
    least_height: jax.Array
    largest_pitch: jax.Array
    start_range: jax.Array
    max_steps: jax.Array


@struct.dataclass
class PlanarHopperState:
    """Coordinates `q` and velocities `qd`, both `[6]` float32, and the clock `t`.

    The coordinates are x and z of the hip (m), the torso's pitch, hip, knee and ankle (rad).
    """

    q: jax.Array
    qd: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class PlanarHopper:
    """Hop forward without falling, by torques `[3]` in [-1, 1] at hip, knee and ankle.

    The reward is the hip's forward speed, plus 1 for every step that does not terminate, less the cost of the
    torques. The observation is `[11]` float32: height, pitch, hip, knee, ankle, and all six velocities.
    `step` ignores its key. It terminates where the hip is too low or the torso too far from upright;
    truncated after 500 steps of 0.02 s. Metrics: `x_position` of the hip in m, `x_velocity` in m/s, and
    `diverged`, 1 for a step at which the simulation failed (see `envs.containment`).

    >>> env = PlanarHopper()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> state, out = env.step(jax.random.key(1), state, jnp.zeros(3), env.default_params())
    >>> out.obs.shape, bool(out.terminated)
    ((11,), False)

    Source: the task is that of Gymnasium, `envs/mujoco/hopper_v5.py`; robot and floor are ours. The floor's
    force is that of Hunt and Crossley (1975), k depth (1 - c dz/dt), never below 0.
    """

    id: str = "PlanarHopper-v1"

    def default_params(self) -> PlanarHopperParams:
        """Return a hopper of 8.5 kg and 1.3 m."""
        return PlanarHopperParams(
            mass=jnp.array([4.0, 2.0, 1.5, 1.0], jnp.float32),
            length=jnp.array([0.4, 0.45, 0.5, 0.32], jnp.float32),
            gear=jnp.array([80.0, 80.0, 40.0], jnp.float32),
            damping=jnp.float32(1.0),
            armature=jnp.float32(0.05),
            stop_stiffness=jnp.float32(200.0),
            friction=jnp.float32(1.0),
            stiffness=jnp.float32(10_000.0),
            restitution_loss=jnp.float32(1.0),
            gravity=jnp.float32(9.81),
            time_step=jnp.float32(0.02),
            forward_weight=jnp.float32(1.0),
            healthy_reward=jnp.float32(1.0),
            control_cost=jnp.float32(0.003),
            least_height=jnp.float32(0.55),
            largest_pitch=jnp.float32(0.6),
            start_range=jnp.float32(0.01),
            max_steps=jnp.int32(500),
        )

    def check_params(self, params: PlanarHopperParams) -> None:
        """Check that constants are finite, and positive or at least 0 where there is no physics otherwise.

        Raises:
          ValueError: naming the first that is not.
        """
        for name, shape in (("mass", (4,)), ("length", (4,)), ("time_step", ())):
            check_positive(name, getattr(params, name), shape)
        for name in _AT_LEAST_ZERO:
            check_at_least(name, getattr(params, name), ())
        check_finite("gear", params.gear, (3,))
        for name in ("gravity", "forward_weight", "healthy_reward", "least_height"):
            check_finite(name, getattr(params, name), ())
        check_at_least("max_steps", params.max_steps, (), 1)

    def time_limit(self, params: PlanarHopperParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: PlanarHopperParams) -> Box:
        """Return numbers without bounds."""
        return Box(-np.inf, np.inf, (11,))

    def action_space(self, params: PlanarHopperParams) -> Box:
        """Return the torques, a `Box` `[3]` between -1 and 1."""
        return Box(-1.0, 1.0, (3,))

    def reset(self, key: jax.Array, params: PlanarHopperParams) -> tuple[PlanarHopperState, jax.Array]:
        """Return a hopper that stands on its foot with a bent knee, and its observation."""
        draws = params.start_range * jax.random.uniform(key, (2, 6), minval=-1.0, maxval=1.0)
        pose = jnp.concatenate([jnp.zeros(3), jnp.array(_POSE)]) + draws[0].at[:2].set(0.0)
        lowest = jnp.min(contacts(pose, params.length)[:, 1])
        state = PlanarHopperState(q=pose.at[1].set(-lowest), qd=draws[1], t=jnp.int32(0))
        return state, shown(_observe(state))

    def step(
        self, key: jax.Array, state: PlanarHopperState, action: jax.Array, params: PlanarHopperParams
    ) -> tuple[PlanarHopperState, Step]:
        """Return the state eight semi-implicit Euler steps later; ignores `key`."""
        action = jnp.clip(as_action(self.action_space(params), action), -1.0, 1.0)
        return attempt(_move, state, shown(_observe(state)), action, params)

    def ascii(self, state: PlanarHopperState, params: PlanarHopperParams) -> str:
        """Return where the hip is and how the torso leans as text."""
        x, z, pitch = (float(number) for number in state.q[:3])
        return f"hip at {x:+.2f} m, {z:.2f} m high, torso {math.degrees(pitch):+.0f} degrees"

    def frame(self, state: PlanarHopperState, params: PlanarHopperParams) -> np.ndarray:
        """Return a picture that follows the hip; the floor has a mark every half metre."""
        from envs import render

        here = float(state.q[0])
        canvas = render.Canvas(400, 300, (here - 1.0, here + 1.0), (-0.15, 1.35))
        floor = [(here - 1, -0.15), (here + 1, -0.15), (here + 1, 0), (here - 1, 0)]
        canvas.polygon(floor, render.FLOOR_BLUE)
        canvas.line((here - 1, 0), (here + 1, 0), 2, render.WALL_GREY)
        for mark in range(math.floor(2 * here) - 2, math.ceil(2 * here) + 3):
            canvas.line((mark / 2, -0.06), (mark / 2, 0), 2, render.WALL_GREY)
        points = [(float(x), float(z)) for x, z in skeleton(state.q, params.length)]
        head, hip, knee, ankle, heel, toe = points
        for start, end, width, color in (
            (heel, toe, 10, render.INK),
            (ankle, knee, 12, render.DEEP_BLUE),
            (knee, hip, 15, render.WALL_GREY),
            (hip, head, 20, render.ORANGE),
        ):
            canvas.line(start, end, width, color)
        return canvas.array()


def skeleton(q: jax.Array, length: jax.Array) -> jax.Array:
    """Return head, hip, knee, ankle, heel and toe, `[6, 2]` (x, z in m), for coordinates `[6]`."""
    torso, thigh, shank, foot = _angles(q)
    hip = q[:2]
    head = hip + length[0] * _up(torso)
    knee = hip - length[1] * _up(thigh)
    ankle = knee - length[2] * _up(shank)
    forward = jnp.stack([jnp.cos(foot), -jnp.sin(foot)])
    heel, toe = (ankle + share * length[3] * forward for share in (_HEEL, _TOE))
    return jnp.stack([head, hip, knee, ankle, heel, toe])


def place(q: jax.Array, length: jax.Array) -> jax.Array:
    """Return x, z and angle of the centres of mass of torso, thigh, shank and foot, `[4, 3]`."""
    head, hip, knee, ankle, heel, toe = skeleton(q, length)
    centres = jnp.stack([head + hip, hip + knee, knee + ankle, heel + toe]) / 2
    return jnp.concatenate([centres, jnp.stack(_angles(q))[:, None]], axis=-1)


def contacts(q: jax.Array, length: jax.Array) -> jax.Array:
    """Return where heel and toe are, `[2, 2]`."""
    return skeleton(q, length)[4:]


def joint_forces(q: jax.Array, qd: jax.Array, action: jax.Array, params: PlanarHopperParams) -> jax.Array:
    """Return the generalised forces `[6]` of motors, damping and stops."""
    angle = q[3:]
    beyond = jnp.maximum(angle - jnp.array(_HIGH), 0.0) - jnp.maximum(jnp.array(_LOW) - angle, 0.0)
    torque = params.gear * action - params.damping * qd[3:] - params.stop_stiffness * beyond
    return jnp.concatenate([jnp.zeros(3), torque])


def floor_forces(q: jax.Array, qd: jax.Array, params: PlanarHopperParams, h: jax.Array) -> jax.Array:
    """Return the generalised forces `[6]` of the floor on heel and toe.

    Friction is what would stop half of the foot within the time h, at most `friction` times the floor's
    force: so it holds a foot that stands, and is stable.
    """

    def points(q: jax.Array) -> jax.Array:
        return contacts(q, params.length)

    where, back = jax.vjp(points, q)
    velocity = jax.jvp(points, (q,), (qd,))[1]
    depth = jnp.maximum(-where[:, 1], 0.0)
    up = params.stiffness * depth * jnp.maximum(1.0 - params.restitution_loss * velocity[:, 1], 0.0)
    stop = -velocity[:, 0] * params.mass[3] / (2 * h)
    along = jnp.clip(stop, -params.friction * up, params.friction * up)
    return back(jnp.stack([along, up], axis=-1))[0]


def hopper_acceleration(
    q: jax.Array, qd: jax.Array, force: jax.Array, params: PlanarHopperParams
) -> jax.Array:
    """Return the accelerations `[6]` under generalised forces `[6]`, gravity and inertia."""
    inertia = params.mass * jnp.square(params.length) / 12
    armature = jnp.concatenate([jnp.zeros(3), jnp.broadcast_to(params.armature, (3,))])
    return acceleration(
        lambda q: place(q, params.length), params.mass, inertia, params.gravity, armature, q, qd, force
    )


def _angles(q: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return the angles of torso, thigh, shank and foot from upright, forwards."""
    return q[2], q[2] + q[3], q[2] + q[3] + q[4], q[2] + q[3] + q[4] + q[5]


def _up(angle: jax.Array) -> jax.Array:
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)])


def _observe(state: PlanarHopperState) -> jax.Array:
    return jnp.concatenate([state.q[1:], state.qd])


def _move(
    state: PlanarHopperState, action: jax.Array, params: PlanarHopperParams
) -> tuple[PlanarHopperState, Step]:
    h = params.time_step / _SUBSTEPS

    def advance(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
        q, qd = carry
        force = joint_forces(q, qd, action, params) + floor_forces(q, qd, params, h)
        qd = qd + h * hopper_acceleration(q, qd, force, params)
        return (q + h * qd, qd), None

    (q, qd), _ = jax.lax.scan(advance, (state.q, state.qd), length=_SUBSTEPS)
    speed = (q[0] - state.q[0]) / params.time_step
    state = PlanarHopperState(q=q, qd=qd, t=state.t + 1)
    terminated = (q[1] < params.least_height) | (jnp.abs(q[2]) > params.largest_pitch)
    reward = params.forward_weight * speed - params.control_cost * jnp.mean(jnp.square(action))
    reward = reward + jnp.where(terminated, 0.0, params.healthy_reward)
    truncated = (state.t >= params.max_steps) & ~terminated
    metrics = {"x_position": q[0], "x_velocity": speed}
    return state, Step(_observe(state), reward, terminated, truncated, metrics)
