"""navix's grid worlds (MiniGrid in JAX) behind our protocol.

The adapter calls navix's `_step`, never its `step`, which starts a new episode one step after the end. Keys
come from the caller at every step, and the time limit is a parameter: its last step is a truncation, unless
the goal is reached with it. States carry no sprites unless the observation is a picture.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.adapters.conversion import any_box, like, sorted_options, strong
from envs.core import Obs, Step, require, unknown
from envs.spaces import Box, Discrete, as_action

# Written out, so that listing them imports nothing.
NAMES = (
    "Navix-DistShift1-v0",
    "Navix-DistShift2-v0",
    "Navix-DoorKey-16x16-v0",
    "Navix-DoorKey-5x5-v0",
    "Navix-DoorKey-6x6-v0",
    "Navix-DoorKey-8x8-v0",
    "Navix-DoorKey-Random-16x16-v0",
    "Navix-DoorKey-Random-5x5-v0",
    "Navix-DoorKey-Random-6x6-v0",
    "Navix-DoorKey-Random-8x8-v0",
    "Navix-Dynamic-Obstacles-16x16-v0",
    "Navix-Dynamic-Obstacles-5x5-Random-v0",
    "Navix-Dynamic-Obstacles-5x5-v0",
    "Navix-Dynamic-Obstacles-6x6-Random-v0",
    "Navix-Dynamic-Obstacles-6x6-v0",
    "Navix-Dynamic-Obstacles-8x8-v0",
    "Navix-Empty-16x16-v0",
    "Navix-Empty-5x5-v0",
    "Navix-Empty-6x6-v0",
    "Navix-Empty-8x8-v0",
    "Navix-Empty-Random-16x16-v0",
    "Navix-Empty-Random-5x5-v0",
    "Navix-Empty-Random-6x6-v0",
    "Navix-Empty-Random-8x8-v0",
    "Navix-FourRooms-v0",
    "Navix-GoToDoor-5x5-v0",
    "Navix-GoToDoor-6x6-v0",
    "Navix-GoToDoor-8x8-v0",
    "Navix-KeyCorridorS3R1-v0",
    "Navix-KeyCorridorS3R2-v0",
    "Navix-KeyCorridorS3R3-v0",
    "Navix-KeyCorridorS4R3-v0",
    "Navix-KeyCorridorS5R3-v0",
    "Navix-KeyCorridorS6R3-v0",
    "Navix-LavaGapS5-v0",
    "Navix-LavaGapS6-v0",
    "Navix-LavaGapS7-v0",
    "Navix-SimpleCrossingS11N5-v0",
    "Navix-SimpleCrossingS9N1-v0",
    "Navix-SimpleCrossingS9N2-v0",
    "Navix-SimpleCrossingS9N3-v0",
)
OBSERVATIONS = (
    "symbolic",
    "symbolic_first_person",
    "categorical",
    "categorical_first_person",
    "rgb",
    "rgb_first_person",
)

_KEY_CORRIDOR = ("the goal's door can start open and doors can overlap (navix issues #141, #160)",)
_CROSSING = ("some layouts cannot be solved, 5 % of S11N5 (navix issue #136)",)
FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "the default limit is navix's 100 steps, not MiniGrid's 4 x width x height and the like",
        "keys are handed over as plain words, so jax's check for reuse does not see what is done with them",
        "FourRooms, GoToDoor, KeyCorridor and SimpleCrossing draw several things from one key",
        "observations are the whole grid by default, not MiniGrid's 7x7 view (`observation`)",
    ),
    **{name: _KEY_CORRIDOR for name in NAMES if "KeyCorridor" in name},
    **{name: _CROSSING for name in NAMES if "SimpleCrossing" in name},
}


@struct.dataclass
class NavixParams:
    """What may be swept: `max_steps` `[]` int32, the limit in steps."""

    max_steps: jax.Array


@struct.dataclass
class NavixState:
    """navix's state without its key (and sprites), and the steps taken, `t`."""

    raw: Any
    t: jax.Array


@dataclass(frozen=True)
class Navix:
    """A navix environment as an `envs.Environment`; `make` builds it.

    Attributes:
      name: navix's id.
      observation: one of `OBSERVATIONS`, navix's functions of that name.
      options: what navix's constructor takes, as sorted pairs.
    """

    name: str
    observation: str = "symbolic"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"navix/{self.name}"

    def default_params(self) -> NavixParams:
        """Return navix's limit of 100 steps, or the option `max_steps`."""
        return NavixParams(jnp.int32(_build(self).max_steps))

    def time_limit(self, params: NavixParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: NavixParams) -> Box:
        """Return every value of the observation's dtype: navix's own bounds are too tight."""
        return _observation_space(self)

    def action_space(self, params: NavixParams) -> Discrete:
        """Return navix's actions; by default turn left, turn right, forward, pick up, drop, toggle, done."""
        return Discrete(_num_actions(self))

    def reset(self, key: jax.Array, params: NavixParams) -> tuple[NavixState, Obs]:
        """Return a first state and its observation."""
        with jax.numpy_rank_promotion("allow"):
            timestep = _build(self).reset(jax.random.key_data(key))
        return NavixState(self._strip(timestep.state), jnp.int32(0)), strong(timestep.observation)

    def step(
        self, key: jax.Array, state: NavixState, action: Any, params: NavixParams
    ) -> tuple[NavixState, Step]:
        """Return the next state and what happened; no metrics."""
        from navix.environments.environment import StepType, Timestep  # type: ignore[import-not-found]

        env = _build(self).replace(max_steps=params.max_steps)
        before = Timestep(
            t=state.t,
            observation=None,  # type: ignore[arg-type]
            action=jnp.int32(0),
            reward=jnp.float32(0),
            step_type=StepType.TRANSITION,
            state=state.raw.replace(key=jax.random.key_data(key)),
        )
        with jax.numpy_rank_promotion("allow"):
            timestep = env._step(before, as_action(self.action_space(params), action))
        after = NavixState(like(self._strip(timestep.state), state.raw), state.t + 1)
        return after, Step(
            obs=strong(timestep.observation),
            reward=strong(jnp.asarray(timestep.reward, jnp.float32)),
            terminated=strong(timestep.step_type == StepType.TERMINATION),
            truncated=strong(timestep.step_type == StepType.TRUNCATION),
        )

    def _strip(self, raw: Any) -> Any:
        raw = raw.replace(key=None)
        return jax.tree.map(strong, raw if "rgb" in self.observation else raw.replace(cache=None))


def make(name: str, observation: str = "symbolic", **options: Any) -> Navix:
    """Return navix's environment called `name`.

    Args:
      name: one of `NAMES`.
      observation: one of `OBSERVATIONS`.
      **options: what navix's constructor takes (`max_steps`); must be hashable.

    Raises:
      ImportError: if navix is not installed.
      ValueError: if there is no such observation.
    """
    require("navix", "navix")
    if observation not in OBSERVATIONS:
        raise ValueError(unknown("observation", observation, list(OBSERVATIONS)))
    env = Navix(name, observation, sorted_options(options, f"navix/{name}"))
    _build(env)
    return env


@lru_cache(maxsize=64)
def _build(env: Navix) -> Any:
    """Return navix's object; equal environments share it."""
    import navix  # type: ignore[import-not-found]

    with jax.ensure_compile_time_eval(), jax.numpy_rank_promotion("allow"):
        function = getattr(navix.observations, env.observation)  # type: ignore[attr-defined]
        return navix.make(env.name, observation_fn=function, **dict(env.options))


@lru_cache(maxsize=64)
def _observation_space(env: Navix) -> Box:
    with jax.numpy_rank_promotion("allow"):
        seen = jax.eval_shape(lambda: _build(env).reset(jax.random.key(0)).observation)
    return any_box(seen.shape, seen.dtype)


@lru_cache(maxsize=64)
def _num_actions(env: Navix) -> int:
    with jax.ensure_compile_time_eval():
        return int(_build(env).action_space.maximum) + 1
