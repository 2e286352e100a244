"""MuJoCo Playground's version of dm_control's suite, on MJX: 25 tasks with rewards in [0, 1] a step.

Playground 0.2 runs on NVIDIA's Warp by default; the adapter asks for `impl="jax"`, which runs anywhere and
can be differentiated. As of version 1 Playground is written in PyTorch, hence the extra's bound. None of
these tasks ends by itself: the clock truncates, and a simulation that diverges, which Playground calls
`done`, is contained as `envs.containment` says. Keys come from the caller at every step.

Tasks of locomotion and manipulation are left out: their first use clones a repository of models.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
from envs.core import Step, require, unknown
from envs.render.scene import Camera
from envs.spaces import Box, as_action

# Written out, so that listing them does not import MuJoCo (about 4 s).
NAMES = (
    "AcrobotSwingup",
    "AcrobotSwingupSparse",
    "BallInCup",
    "CartpoleBalance",
    "CartpoleBalanceSparse",
    "CartpoleSwingup",
    "CartpoleSwingupSparse",
    "CheetahRun",
    "FingerSpin",
    "FingerTurnEasy",
    "FingerTurnHard",
    "FishSwim",
    "HopperHop",
    "HopperStand",
    "HumanoidRun",
    "HumanoidStand",
    "HumanoidWalk",
    "PendulumSwingup",
    "PointMass",
    "ReacherEasy",
    "ReacherHard",
    "SwimmerSwimmer6",
    "WalkerRun",
    "WalkerStand",
    "WalkerWalk",
)

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "keys are handed over as plain words, for `reset` of some tasks uses one twice",
        "what MuJoCo derives from masses when it loads a model does not follow a changed mass",
    ),
    "ReacherEasy": ("the first observation shows where the target was before it was drawn",),
    "ReacherHard": ("the first observation shows where the target was before it was drawn",),
}

# Physical constants of MuJoCo's model, as for Brax's backend "mjx".
FIELDS = (
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
)


@dataclass(frozen=True)
class Playground:
    """A task of dm_control's suite as an `envs.Environment`; `make` builds it.

    Metrics are those of Playground, and "diverged": 1 for a step at which the simulation failed.

    Attributes:
      name: Playground's id.
      options: what overrides its configuration, as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()
    backend: str = "mjx"

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"playground/{self.name}"

    def default_params(self) -> SystemParams:
        """Return the model's constants, and the task's limit of 1,000 steps."""
        values = numbers(self._raw.mjx_model)
        limit = self._raw._config.episode_length
        return SystemParams(sys={name: strong(values[name]) for name in FIELDS}, max_steps=jnp.int32(limit))

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
            start = self._bind(params).reset(jax.random.key_data(key))
        info = {name: value for name, value in start.info.items() if name != "rng"}
        state = started(start.data, start.obs, info)
        return state, state.obs

    def step(
        self, key: jax.Array, state: SystemState, action: Any, params: SystemParams
    ) -> tuple[SystemState, Step]:
        """Return the next state and what happened."""
        first = _first(self)
        metrics = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first.metrics)
        none = jnp.zeros((), jnp.float32)
        info = dict(state.info)
        if "rng" in first.info:
            info["rng"] = jax.random.key_data(key)
        before = first.replace(
            data=state.pipeline, obs=state.obs, reward=none, done=none, metrics=metrics, info=info
        )
        action = jnp.clip(as_action(self.action_space(params), action), -1.0, 1.0)
        with lenient():
            after = self._bind(params).step(before, action)
        data = after.data
        kept = {name: after.info[name] for name in state.info}
        moved = (data.qpos, data.qvel)
        return contained(state, params, data, after.obs, after.reward, False, after.metrics, moved, kept)

    def frame(self, state: SystemState, params: SystemParams) -> np.ndarray:
        """Return a picture of the robot, `[300, 400, 3]` uint8."""
        from envs.adapters.mujoco_scene import picture

        model, data = self._raw.mj_model, state.pipeline
        extent, (x, y, z) = float(model.stat.extent), map(float, model.stat.center)
        if model.njnt and model.nbody > 1 and extent > 1:
            x, y = np.nan_to_num(np.asarray(data.xpos)[1, :2]).tolist()
        view = Camera((x, y, z), 2.2 * extent, 20, 25)
        return picture(model, data.xpos, data.xquat, view, tile=extent / 4)

    @property
    def _raw(self) -> Any:
        return _build(self.name, self.options)

    def _bind(self, params: SystemParams) -> Any:
        """Return a copy of Playground's object with these constants; the one that is kept stays untouched."""
        bound = copy.copy(self._raw)
        bound._mjx_model = replaced(bound._mjx_model, params.sys)
        return bound


def make(name: str, **options: Any) -> Playground:
    """Return Playground's task called `name`.

    Args:
      name: one of `NAMES`.
      **options: what overrides its configuration ("sim_dt", "episode_length").

    Raises:
      ImportError: if Playground is not installed.
      ValueError: if an option is not hashable or unknown.
    """
    require("mujoco_playground", "playground")
    pairs = sorted_options(options, f"playground/{name}")
    with silent():
        from mujoco_playground import dm_control_suite  # type: ignore[import-not-found]

        known = list(dm_control_suite.get_default_config(name).keys())
    for option in options:
        if option not in known:
            raise ValueError(unknown("option", option, known))
    env = Playground(name, pairs)
    _build(env.name, env.options)
    return env


@lru_cache(maxsize=32)
def _build(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return Playground's object; equal environments share it."""
    with silent():
        from mujoco_playground import dm_control_suite  # type: ignore[import-not-found]

        return dm_control_suite.load(name, config_overrides={**dict(options), "impl": "jax"})


@lru_cache(maxsize=32)
def _first(env: Playground) -> Any:
    """Return the shapes of Playground's first state."""
    with lenient():
        return jax.eval_shape(env._raw.reset, jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))))
