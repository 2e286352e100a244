"""Brax's robots behind our protocol: four engines, and their physical constants as traced parameters.

The adapter calls an environment's own `reset` and `step` and none of Brax's wrappers. So episodes start
anywhere (Brax's automatic reset repeats each environment's first start), the last observation is kept, and
the clock truncates where Brax's wrapper reports an end. What it changes besides:

- Parameters are those fields of Brax's `System` that the chosen engine reads, by their dotted names
  (`params.sys["link.inertia.mass"]`). A field that the engine ignores, such as "dof.damping" on "spring", is
  not offered and is refused if asked for, for changing it would silently do nothing.
- Actions are clipped to [-1, 1], with which Brax's own policies act; some rewards charge for more.
- States have the same strong dtypes after `reset` and `step`, so nothing is compiled twice.
- Where the simulation diverges (a number that is not finite, or above 100,000) the episode is truncated
  with reward 0, the last state and observation that were sound stay, and the metric "diverged" is 1: see
  `envs.containment`.

What is inherited is in `FIDELITY`, what is left out in `LEFT_OUT`.
"""

import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from envs.adapters.conversion import sorted_options, strong
from envs.adapters.simulator import (
    SystemParams,
    SystemState,
    check_system,
    contained,
    lenient,
    numbers,
    replaced,
    silent,
    started,
)
from envs.checks import check_size
from envs.core import Step, require, unknown
from envs.render.scene import Camera
from envs.spaces import Box, as_action

# Written out, so that listing them does not import Brax (about 4 s).
NAMES = (
    "ant",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "pusher",
    "reacher",
    "walker2d",
)
LEFT_OUT = {
    "fast": "it has no physics; Brax tests with it",
    "swimmer": "Brax 0.14.2 runs it on no engine (`jnp.clip` has no argument `a_min` any more)",
}
BACKENDS = ("spring", "positional", "generalized", "mjx")

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "engines step at different rates, some with other gears: returns are not comparable between them",
        "what Brax derives from masses when it loads a model (`invweight`) does not follow a changed mass",
        "Brax no longer maintains its models, nor the engines spring, positional and generalized",
    ),
    "halfcheetah": ("its model uses `settotalmass`, which a later MuJoCo than 4.0 will refuse",),
    "inverted_pendulum": ("a step is 0.02 s on spring and positional, 0.04 s on generalized and mjx",),
}


@dataclass(frozen=True)
class _View(Camera):
    """A camera, and whether it follows the first link."""

    follows: bool = True


_VIEWS = {
    "ant": _View((0, 0, 0.4), 6.0, 20, 30),
    "halfcheetah": _View((0, 0, 0.5), 5.0, 0, 12),
    "hopper": _View((0, 0, 0.75), 4.5, 0, 10),
    "humanoid": _View((0, 0, 0.9), 5.0, 65, 12),
    "humanoidstandup": _View((0, 0, 0.6), 5.0, 25, 20),
    "inverted_double_pendulum": _View((0, 0, 0.5), 4.5, 0, 8, follows=False),
    "inverted_pendulum": _View((0, 0, 0.2), 3.5, 0, 10, follows=False),
    "pusher": _View((0.4, -0.1, -0.2), 3.2, 70, 35, follows=False),
    "reacher": _View((0, 0, 0), 1.1, 0, 65, follows=False),
    "walker2d": _View((0, 0, 0.75), 4.5, 0, 10),
}

_INERTIA = ("link.inertia.mass", "link.inertia.i", "link.inertia.transform.pos")
_MOTOR = ("actuator.gear", "actuator.gain")  # integers, in some models
# Physical constants that an engine reads: found by removing from its program what no output depends on.
FIELDS: dict[str, tuple[str, ...]] = {
    "spring": (
        "gravity",
        "opt.timestep",
        *_INERTIA,
        *_MOTOR,
        "vel_damping",
        "ang_damping",
        "link.constraint_stiffness",
        "link.constraint_vel_damping",
        "link.constraint_ang_damping",
        "link.constraint_limit_stiffness",
        "geom_friction",
        "elasticity",
        "baumgarte_erp",
    ),
    "positional": (
        "gravity",
        "opt.timestep",
        *_INERTIA,
        *_MOTOR,
        "vel_damping",
        "ang_damping",
        "link.constraint_vel_damping",
        "link.constraint_ang_damping",
        "geom_friction",
        "elasticity",
    ),
    "generalized": (
        "gravity",
        "opt.timestep",
        *_INERTIA,
        *_MOTOR,
        "dof.damping",
        "dof.armature",
        "dof.stiffness",
        "geom_friction",
    ),
    "mjx": (
        "opt.gravity",
        "opt.timestep",
        "body_mass",
        "body_inertia",
        "body_ipos",
        "actuator_gear",
        "actuator_gainprm",
        "dof_damping",
        "dof_armature",
        "jnt_stiffness",
        "geom_friction",
    ),
}
_OF_CONTACTS = frozenset({"geom_friction", "elasticity", "baumgarte_erp"})


@dataclass(frozen=True)
class Brax:
    """A Brax environment as an `envs.Environment`; `make` builds it.

    Metrics are those of Brax, and "diverged": 1 for a step at which the simulation failed.

    Attributes:
      name: Brax's id.
      backend: the engine, one of `BACKENDS`.
      fields: the dotted names of the fields of `System` that are parameters.
      options: what the environment's constructor takes, as sorted pairs.
    """

    name: str
    backend: str
    fields: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows, with the engine if it is not the default one."""
        return f"brax/{self.name}" if self.backend == BACKENDS[0] else f"brax/{self.name}[{self.backend}]"

    def default_params(self) -> SystemParams:
        """Return the model's constants, and Brax's limit of 1,000 steps."""
        values = numbers(self._raw.sys, _MOTOR)
        return SystemParams(
            sys={name: strong(values[name]) for name in self.fields}, max_steps=jnp.int32(1000)
        )

    def check_params(self, params: SystemParams) -> None:
        """Check that constants are those of `default_params`, of their shapes and physical.

        Raises:
          ValueError: naming the first that is not; for an unknown one, the closest.
        """
        with jax.ensure_compile_time_eval():
            check_system(params, self.default_params().sys)

    def time_limit(self, params: SystemParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: SystemParams) -> Box:
        """Return positions and velocities without bounds, `[O]` float32."""
        return Box(-np.inf, np.inf, _first(self).obs.shape)

    def action_space(self, params: SystemParams) -> Box:
        """Return the motors' commands, `[A]` between -1 and 1."""
        return Box(-1.0, 1.0, (self._raw.action_size,))

    def reset(self, key: jax.Array, params: SystemParams) -> tuple[SystemState, jax.Array]:
        """Return a first state and its observation; numbers that are not finite are observed as 0."""
        with lenient():
            start = self._bind(params).reset(key)
        state = started(start.pipeline_state, start.obs)
        return state, state.obs

    def step(
        self, key: jax.Array, state: SystemState, action: Any, params: SystemParams
    ) -> tuple[SystemState, Step]:
        """Return the next state and what happened; ignores `key`."""
        with lenient():
            from brax.envs import State

        first = _first(self)
        zeros = [jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), x) for x in (first.metrics, first.info)]
        none = jnp.zeros((), jnp.float32)
        before = State(state.pipeline, state.obs, none, none, *zeros)
        action = jnp.clip(as_action(self.action_space(params), action), -1.0, 1.0)
        with lenient():
            after = self._bind(params).step(before, action)
        pipeline = after.pipeline_state
        moved = (pipeline.q, pipeline.qd, pipeline.x.pos)
        return contained(state, params, pipeline, after.obs, after.reward, after.done, after.metrics, moved)

    def frame(self, state: SystemState, params: SystemParams) -> np.ndarray:
        """Return a picture of the robot, `[300, 400, 3]` uint8; the camera follows those that walk."""
        from envs.adapters.mujoco_scene import picture

        sys, links = self._raw.sys, state.pipeline.x
        pos = np.concatenate([np.zeros((1, 3)), np.asarray(links.pos)])
        quat = np.concatenate([[[1.0, 0.0, 0.0, 0.0]], np.asarray(links.rot)])
        view = _VIEWS[self.name]
        if view.follows:
            x, y = np.nan_to_num(pos[1, :2])
            view = replace(view, target=(float(x), float(y), view.target[2]))
        return picture(sys, pos, quat, view, params.sys.get("geom_size"), tile=view.distance / 8)

    @property
    def _raw(self) -> Any:
        return _build(self.name, self.backend, self.options)

    def _bind(self, params: SystemParams) -> Any:
        """Return a copy of Brax's object with these constants; the one that is kept stays untouched."""
        bound = copy.copy(self._raw)
        bound.sys = replaced(bound.sys, params.sys)
        return bound


def make(name: str, backend: str = "spring", fields: Any = None, **options: Any) -> Brax:
    """Return Brax's environment called `name`.

    Args:
      name: one of `NAMES`.
      backend: the engine: "spring" is the fastest on a CPU, "mjx" is MuJoCo.
      fields: dotted names of fields of Brax's `System`, the parameters, or one; by default those of `FIELDS`.
      **options: what the environment's constructor takes ("ant": `healthy_z_range`).

    Raises:
      ImportError: if Brax is not installed.
      ValueError: if the engine or a field is unknown, or the engine ignores the field in this environment.
      TypeError: if the constructor does not take an option.
    """
    require("brax", "physics")
    if backend not in BACKENDS:
        raise ValueError(unknown("`backend`", str(backend), list(BACKENDS)))
    if "n_frames" in options:
        check_size("n_frames", options["n_frames"])
    pairs = sorted_options(options, f"brax/{name}")
    if fields is None:
        touches = _has_contacts(_build(name, backend, pairs))
        kept = tuple(field for field in FIELDS[backend] if touches or field not in _OF_CONTACTS)
        return Brax(name, backend, kept, pairs)
    fields = (fields,) if isinstance(fields, str) else tuple(fields)
    env = Brax(name, backend, fields, pairs)
    known = numbers(env._raw.sys, _MOTOR)
    for field in env.fields:
        if field not in known:
            raise ValueError(unknown("field of `System`", str(field), list(known)))
    if ignored := [field for field in env.fields if field not in read_fields(name, backend, pairs)]:
        raise ValueError(
            f"`fields` must be read by the backend {backend!r} in {name!r}, which ignores {ignored}; "
            f"by default they are {list(FIELDS[backend])}"
        )
    return env


@lru_cache(maxsize=64)
def read_fields(name: str, backend: str, options: tuple[tuple[str, Any], ...] = ()) -> frozenset[str]:
    """Return the fields of `System` on which a start and the step after it depend.

    They are found by tracing both with every field as an argument and removing what no output depends on.
    """
    env = Brax(name, backend, (), options)
    values = numbers(env._raw.sys, _MOTOR)

    def play(values):
        params = SystemParams(sys=values, max_steps=jnp.int32(1000))
        state, obs = env.reset(jax.random.key(0), params)
        state, out = env.step(jax.random.key(0), state, jnp.ones(env._raw.action_size), params)
        return obs, out, state.pipeline.q, state.pipeline.qd

    jaxpr = jax.make_jaxpr(play)(values).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return frozenset(name for name, is_used in zip(sorted(values), used, strict=True) if is_used)


@lru_cache(maxsize=64)
def _build(name: str, backend: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return Brax's object; equal environments share it."""
    with silent():
        import brax.envs

        return brax.envs.get_environment(name, backend=backend, **dict(options))


def _has_contacts(raw: Any) -> bool:
    """Return whether anything in the model can touch anything else."""
    with lenient():
        from brax import contact
        from brax.base import Transform

        links = Transform.create(pos=jnp.zeros((raw.sys.num_links(), 3)))
        return jax.eval_shape(contact.get, raw.sys, links) is not None


@lru_cache(maxsize=64)
def _first(env: Brax) -> Any:
    """Return the shapes of Brax's first state."""
    with lenient():
        return jax.eval_shape(env._raw.reset, jax.eval_shape(lambda: jax.random.key(0)))
