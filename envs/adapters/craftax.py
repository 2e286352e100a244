"""Craftax and Craftax-Classic behind our protocol.

The adapter uses the classes without auto-reset. Craftax reports its time limit as an end; here the limit is a
parameter and its last step a truncation, and death (lava, the boss's defeat) terminates. Achievements are
metrics: percent, in the last step of an episode only, so that an episode's sum is what it achieved.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.adapters.conversion import like, sorted_options, strong
from envs.core import Obs, Params, State, Step, require
from envs.spaces import Box, Discrete, as_action

# Written out, so that listing them imports nothing. The pixel worlds prepare their textures on first use.
NAMES = (
    "Craftax-Classic-Pixels-v1",
    "Craftax-Classic-Symbolic-v1",
    "Craftax-Pixels-v1",
    "Craftax-Symbolic-v1",
)

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "keys are handed over as plain words, so jax's check for reuse does not see what is done with them",
        "`step` draws several things from one key",
    ),
}


@dataclass(frozen=True)
class Craftax:
    """A Craftax environment as an `envs.Environment`; `make` builds it.

    States and parameters are Craftax's own dataclasses, without its key.

    Attributes:
      name: Craftax's id.
      options: fields of its `StaticEnvParams`, as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"craftax/{self.name}"

    def default_params(self) -> Params:
        """Return Craftax's `EnvParams`, every number an array."""
        return jax.tree.map(strong, _build(self).default_params)

    def time_limit(self, params: Params) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_timesteps

    def observation_space(self, params: Params) -> Box:
        """Return a vector of float32, or a picture `[H, W, 3]` of float32 in [0, 1]."""
        return Box(-np.inf, np.inf, _observation_shape(self))

    def action_space(self, params: Params) -> Discrete:
        """Return the actions: 17 in the classic world, 43 in the full one."""
        return Discrete(int(_build(self).num_actions))

    def reset(self, key: jax.Array, params: Params) -> tuple[State, Obs]:
        """Return a first state and its observation."""
        with jax.numpy_rank_promotion("allow"):
            obs, state = _build(self).reset_env(jax.random.key_data(key), params)
        return jax.tree.map(strong, state.replace(state_rng=None)), strong(jnp.asarray(obs, jnp.float32))

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened; metrics are the achievements."""
        key, key_state = (jax.random.key_data(k) for k in jax.random.split(key))
        env, before = _build(self), state.replace(state_rng=key_state)
        endless = params.replace(max_timesteps=jnp.int32(np.iinfo(np.int32).max))
        action = as_action(self.action_space(params), action)
        with jax.numpy_rank_promotion("allow"):
            # Its own clock ends the achievements' bookkeeping as it does here.
            obs, after, reward, _, info = env.step_env(key, before, action, params)
            terminated = env.is_terminal(after, endless)
        truncated = (after.timestep >= params.max_timesteps) & ~terminated
        metrics = {name: strong(jnp.float32(x)) for name, x in info.items() if name != "discount"}
        after = like(after.replace(state_rng=None), state)
        return after, Step(
            obs=strong(jnp.asarray(obs, jnp.float32)),
            reward=strong(jnp.asarray(reward, jnp.float32)),
            terminated=strong(jnp.asarray(terminated, bool)),
            truncated=strong(jnp.asarray(truncated, bool)),
            metrics=metrics,
        )


def make(name: str, **options: Any) -> Craftax:
    """Return Craftax's environment called `name`.

    Args:
      name: one of `NAMES`.
      **options: fields of its `StaticEnvParams` ("map_size"); must be hashable.

    Raises:
      ImportError: if Craftax is not installed.
      TypeError: if there is no such field.
    """
    require("craftax", "craftax")
    env = Craftax(name, sorted_options(options, f"craftax/{name}"))
    _build(env)
    return env


@lru_cache(maxsize=16)
def _build(env: Craftax) -> Any:
    """Return Craftax's object; equal environments share it."""
    from craftax.craftax_env import make_craftax_env_from_name  # type: ignore[import-not-found]

    with jax.ensure_compile_time_eval():
        raw = make_craftax_env_from_name(env.name, auto_reset=False)
        static = raw.default_static_params()
        return type(raw)(static.replace(**dict(env.options)) if env.options else static)


@lru_cache(maxsize=16)
def _observation_shape(env: Craftax) -> tuple[int, ...]:
    raw = _build(env)
    return tuple(raw.observation_space(raw.default_params).shape)
