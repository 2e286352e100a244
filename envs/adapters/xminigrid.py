"""XLand-MiniGrid's grid worlds behind our protocol.

The adapter calls the environment itself, without the wrappers that restart episodes and lose the last
observation. Termination is discount 0; the limit is a parameter and its last step a truncation. The rule set
of the XLand worlds is a parameter too, so that a batch of rule sets can be mapped over.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.adapters.conversion import any_box, like, sorted_options, strong
from envs.core import Obs, Step, require
from envs.spaces import Box, Discrete, as_action

_XLAND = (
    *("R1-9x9", "R1-11x11", "R1-13x13", "R1-15x15", "R1-17x17"),
    *("R2-9x9", "R2-11x11", "R2-13x13", "R2-15x15", "R2-17x17"),
    *("R4-9x9", "R4-11x11", "R4-13x13", "R4-15x15", "R4-17x17"),
    *("R6-13x13", "R6-17x17", "R6-19x19", "R9-16x16", "R9-19x19", "R9-25x25"),
)
_MINIGRID = (
    "BlockedUnlockPickUp",
    *("DoorKey-5x5", "DoorKey-6x6", "DoorKey-8x8", "DoorKey-16x16"),
    *("Empty-5x5", "Empty-6x6", "Empty-8x8", "Empty-16x16"),
    *("EmptyRandom-5x5", "EmptyRandom-6x6", "EmptyRandom-8x8", "EmptyRandom-16x16"),
    *("FourRooms", "LockedRoom", "MemoryS8", "MemoryS16", "MemoryS32", "MemoryS64", "MemoryS128"),
    *("Playground", "Unlock", "UnlockPickUp"),
)
# Written out, so that listing them imports nothing.
NAMES = (*(f"MiniGrid-{name}" for name in _MINIGRID), *(f"XLand-MiniGrid-{name}" for name in _XLAND))

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "observations have two layers, tile and colour; a door's state is in its tile, not a third layer",
        "the agent sees through walls, unlike in MiniGrid",
    ),
    **{
        f"XLand-MiniGrid-{name}": (
            "the default rule set has no goal; give one of the benchmarks' as parameter",
        )
        for name in _XLAND
    },
}


@struct.dataclass
class XMiniGridParams:
    """What may be swept: `max_steps` `[]` int32, and `ruleset`, XLand's, or None for MiniGrid's worlds."""

    max_steps: jax.Array
    ruleset: Any


@struct.dataclass
class XMiniGridState:
    """The environment's own state without its key."""

    raw: Any


@dataclass(frozen=True)
class XMiniGrid:
    """An XLand-MiniGrid environment as an `envs.Environment`; `make` builds it.

    Attributes:
      name: its id there.
      options: fields of its `EnvParams` that set shapes (`view_size`, `height`, `width`), as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"xminigrid/{self.name}"

    def default_params(self) -> XMiniGridParams:
        """Return the limit, and the rule set if there is one."""
        params = _build(self)[1]
        ruleset = getattr(params, "ruleset", None)
        return XMiniGridParams(jnp.int32(params.max_steps), jax.tree.map(strong, ruleset))

    def time_limit(self, params: XMiniGridParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: XMiniGridParams) -> Box:
        """Return the view, `[V, V, 2]` uint8: tile and colour of each cell."""
        env, theirs = _build(self)
        return any_box(env.observation_shape(theirs), jnp.uint8)

    def action_space(self, params: XMiniGridParams) -> Discrete:
        """Return the six actions: forward, turn right, turn left, pick up, put down, toggle."""
        env, theirs = _build(self)
        return Discrete(env.num_actions(theirs))

    def reset(self, key: jax.Array, params: XMiniGridParams) -> tuple[XMiniGridState, Obs]:
        """Return a first state and its observation."""
        env, theirs = self._with(params)
        with jax.numpy_rank_promotion("allow"):
            timestep = env.reset(theirs, key)
        return XMiniGridState(self._strip(timestep.state)), strong(timestep.observation)

    def step(
        self, key: jax.Array, state: XMiniGridState, action: Any, params: XMiniGridParams
    ) -> tuple[XMiniGridState, Step]:
        """Return the next state and what happened; ignores `key`; no metrics."""
        from xminigrid.types import StepType, TimeStep  # type: ignore[import-not-found]

        env, theirs = self._with(params)
        before = TimeStep(
            state=state.raw,
            step_type=StepType.MID,
            reward=jnp.float32(0),
            discount=jnp.float32(1),
            observation=None,  # type: ignore[arg-type]
        )
        with jax.numpy_rank_promotion("allow"):
            timestep = env.step(theirs, before, as_action(self.action_space(params), action))
        terminated = timestep.discount == 0
        # The clock is read anew: theirs truncates at the exact step only, and not after it.
        truncated = (timestep.state.step_num >= params.max_steps) & ~terminated
        after = XMiniGridState(like(self._strip(timestep.state), state.raw))
        reward = strong(jnp.asarray(timestep.reward, jnp.float32))
        return after, Step(strong(timestep.observation), reward, strong(terminated), strong(truncated))

    def _with(self, params: XMiniGridParams) -> tuple[Any, Any]:
        env, theirs = _build(self)
        theirs = theirs.replace(max_steps=params.max_steps)
        return env, theirs if params.ruleset is None else theirs.replace(ruleset=params.ruleset)

    def _strip(self, raw: Any) -> Any:
        return jax.tree.map(strong, raw.replace(key=None))


def make(name: str, **options: Any) -> XMiniGrid:
    """Return XLand-MiniGrid's environment called `name`.

    Args:
      name: one of `NAMES`.
      **options: fields of its `EnvParams` (`view_size`, `height`, `width`, `max_steps`); must be hashable.

    Raises:
      ImportError: if xminigrid is not installed.
      TypeError: if there is no such field.
    """
    require("xminigrid", "xminigrid")
    env = XMiniGrid(name, sorted_options(options, f"xminigrid/{name}"))
    _build(env)
    return env


@lru_cache(maxsize=64)
def _build(env: XMiniGrid) -> tuple[Any, Any]:
    """Return the environment and its static parameters; equal environments share them."""
    import xminigrid  # type: ignore[import-not-found]

    with jax.ensure_compile_time_eval():
        return xminigrid.make(env.name, **dict(env.options))  # type: ignore[return-value]
