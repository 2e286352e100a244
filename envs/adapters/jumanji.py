"""Jumanji's environments behind our protocol, with the clock told apart from an end.

Jumanji reports most time limits as an end (discount 0, as if nothing could follow). The adapter keeps its
counter at 0, so that only ends of its own are left, and runs the clock itself: the limit is a parameter and
its last step a truncation. Observations become dictionaries; `action_mask` is offered where actions are one
integer, and stays in the observation in any case. Keys come from the caller at every step.

What was found wrong, and what is left out, is in `FIDELITY` and `LEFT_OUT`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.adapters.conversion import any_box, like, sorted_options, strong
from envs.core import Obs, Step, require
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, as_action

# Written out, so that listing them imports nothing; those of `LEFT_OUT` are not among them.
NAMES = (
    "BinPack-v2",
    "CVRP-v1",
    "Cleaner-v0",
    "FlatPack-v0",
    "Game2048-v1",
    "GraphColoring-v1",
    "JobShop-v0",
    "Knapsack-v1",
    "MMST-v0",
    "Maze-v0",
    "Minesweeper-v0",
    "MultiCVRP-v0",
    "PacMan-v1",
    "RobotWarehouse-v0",
    "RubiksCube-partly-scrambled-v0",
    "RubiksCube-v0",
    "SlidingTilePuzzle-v0",
    "Snake-v1",
    "Sudoku-v0",
    "Sudoku-very-easy-v0",
    "TSP-v1",
    "Tetris-v0",
)
LEFT_OUT = {
    "Connector-v3": "a reward for each agent",
    "LevelBasedForaging-v0": "a reward for each agent",
    "SearchAndRescue-v0": "a reward for each agent",
    "Sokoban-v0": "its constructor downloads the levels",
}

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "keys are handed over as plain words, so jax's check for reuse does not see what is done with them",
    ),
    "FlatPack-v0": ("`reset` uses a key twice",),
    "MMST-v0": ("`reset` uses a key twice",),
}


@struct.dataclass
class JumanjiParams:
    """What may be swept: `max_steps` `[]` int32, the limit in steps; None where there is none."""

    max_steps: jax.Array | None


@struct.dataclass
class JumanjiState:
    """Jumanji's state without its key and counter, the steps taken, and the mask if there is one."""

    raw: Any
    t: jax.Array
    mask: jax.Array | None


@dataclass(frozen=True)
class Jumanji:
    """A Jumanji environment without time limit as an `envs.Environment`; `make` builds it.

    Attributes:
      name: Jumanji's id.
      options: what its constructor takes, as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"jumanji/{self.name}"

    def default_params(self) -> JumanjiParams:
        """Return the limit that Jumanji's constructor was given, if it has one."""
        limit = getattr(_build(self.name, self.options), "time_limit", None)
        return JumanjiParams(None if limit is None else jnp.int32(limit))

    def observation_space(self, params: JumanjiParams) -> Space:
        """Return the space of observations: a `Dict` for all but plain arrays."""
        return _spaces(self)[0]

    def action_space(self, params: JumanjiParams) -> Space:
        """Return the space of actions."""
        return _spaces(self)[1]

    def reset(self, key: jax.Array, params: JumanjiParams) -> tuple[JumanjiState, Obs]:
        """Return a first state and its observation."""
        with jax.numpy_rank_promotion("allow"):
            raw, timestep = _build(self.name, self.options).reset(jax.random.key_data(key))
        obs = self._observe(timestep.observation, jnp.int32(0))
        return JumanjiState(jax.tree.map(strong, raw.replace(key=None)), jnp.int32(0), self._mask(obs)), obs

    def step(
        self, key: jax.Array, state: JumanjiState, action: Any, params: JumanjiParams
    ) -> tuple[JumanjiState, Step]:
        """Return the next state and what happened; metrics are the scalars of Jumanji's `extras`."""
        raw = state.raw.replace(key=jax.random.key_data(key))
        if params.max_steps is not None:
            raw = raw.replace(step_count=jnp.zeros_like(raw.step_count))
        action = as_action(self.action_space(params), action)
        with jax.numpy_rank_promotion("allow"):
            after, timestep = _build(self.name, self.options).step(raw, action)
        t = state.t + 1
        terminated = (timestep.discount == 0) & timestep.last()
        truncated = timestep.last() & ~terminated
        if params.max_steps is not None:
            truncated = truncated | ((t >= params.max_steps) & ~terminated)
            after = after.replace(step_count=t)
        obs = self._observe(timestep.observation, t)
        extras = timestep.extras or {}
        metrics = {name: strong(jnp.float32(x)) for name, x in extras.items() if jnp.ndim(x) == 0}
        after = JumanjiState(like(after.replace(key=None), state.raw), t, self._mask(obs))
        reward = strong(jnp.asarray(timestep.reward, jnp.float32))
        return after, Step(obs, reward, strong(terminated), strong(truncated), metrics)

    def _observe(self, observation: Any, t: jax.Array) -> Obs:
        return _values(self.observation_space(JumanjiParams(None)), observation, t)

    def _mask(self, obs: Obs) -> jax.Array | None:
        if not isinstance(self.action_space(JumanjiParams(None)), Discrete) or "action_mask" not in obs:
            return None
        mask = obs["action_mask"]
        # After the end Jumanji often allows nothing; then anything is allowed.
        return jnp.logical_or(mask, ~mask.any())


class LimitedJumanji(Jumanji):
    """A Jumanji environment with a time limit."""

    def time_limit(self, params: JumanjiParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps  # type: ignore[return-value]


class _Masked:
    """Adds `action_mask`, for environments whose action is one integer and whose observation has a mask."""

    def action_mask(self, state: JumanjiState, params: JumanjiParams) -> jax.Array:
        """Return which actions Jumanji allows, `[A]` bool."""
        return state.mask  # type: ignore[return-value]


class MaskedJumanji(_Masked, Jumanji):
    """A Jumanji environment with a mask over its actions."""


class MaskedLimitedJumanji(_Masked, LimitedJumanji):
    """A Jumanji environment with a time limit and a mask over its actions."""


def make(name: str, **options: Any) -> Jumanji:
    """Return Jumanji's environment called `name`.

    Args:
      name: one of `NAMES`.
      **options: what its constructor takes ("Maze-v0": `time_limit`); must be hashable.

    Raises:
      ImportError: if Jumanji is not installed.
      TypeError: if the constructor does not take an option.
    """
    require("jumanji", "jumanji")
    plain = Jumanji(name, sorted_options(options, f"jumanji/{name}"))
    limited = plain.default_params().max_steps is not None
    obs, actions = _spaces(plain)
    masked = isinstance(actions, Discrete) and isinstance(obs, Dict) and "action_mask" in obs.spaces
    kinds = {(False, False): Jumanji, (True, False): LimitedJumanji}
    kinds |= {(False, True): MaskedJumanji, (True, True): MaskedLimitedJumanji}
    return kinds[limited, masked](plain.name, plain.options)


@lru_cache(maxsize=64)
def _build(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return Jumanji's object; equal environments share it."""
    import jumanji  # type: ignore[import-not-found]

    with jax.ensure_compile_time_eval(), jax.numpy_rank_promotion("allow"):
        return jumanji.make(name, **dict(options))


@lru_cache(maxsize=64)
def _spaces(env: Jumanji) -> tuple[Space, Space]:
    raw = _build(env.name, env.options)
    with jax.ensure_compile_time_eval():
        return _convert(raw.observation_spec, env.name == "TSP-v1"), _convert(raw.action_spec)


def _convert(spec: Any, or_none: bool = False) -> Space:
    """Return Jumanji's spec as a space; counters have no upper bound, for the limit is a parameter.

    With `or_none`, positions may be -1, for none yet.
    """
    kind = type(spec).__name__
    if kind in ("DiscreteArray", "MultiDiscreteArray", "BoundedArray", "Array"):
        shape, dtype = tuple(spec.shape), np.dtype(spec.dtype)
        if spec.name == "step_count":
            return any_box(shape, np.int32)
        if or_none and spec.name in ("position", "trajectory"):
            return Box(-1, int(np.max(spec.maximum)), shape, dtype)
        if kind == "DiscreteArray":
            return Discrete(spec.num_values, dtype)
        if kind == "MultiDiscreteArray" and len(shape) == 1:
            return MultiDiscrete(tuple(np.asarray(spec.num_values).tolist()), dtype)
        if kind == "Array":
            low = int(np.iinfo(dtype).min) if np.issubdtype(dtype, np.integer) else -np.inf
            return Box(low, any_box(shape, dtype).high, shape, dtype)
        low, high = (np.broadcast_to(np.asarray(x), shape) for x in (spec.minimum, spec.maximum))
        return Box(_bound(low), _bound(high), shape, dtype)
    return Dict({name: _convert(part, or_none) for name, part in spec._specs.items()})


def _bound(bound: np.ndarray) -> Any:
    return bound.flat[0].item() if bound.size == 0 or np.all(bound == bound.flat[0]) else bound.tolist()


def _values(space: Space, observation: Any, t: jax.Array) -> Any:
    if isinstance(space, Dict):
        return {
            name: t if name == "step_count" else _values(part, getattr(observation, name), t)
            for name, part in space.spaces.items()
        }
    return strong(jnp.asarray(observation, space.dtype))
