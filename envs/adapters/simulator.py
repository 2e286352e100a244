"""What adapters of rigid-body simulators share: constants as parameters, and failures that stay contained."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.adapters.conversion import like, strong
from envs.core import Step

# A position in m, a velocity in m/s, an observation or a reward beyond this is no physics any more.
LARGEST = 1e5


@struct.dataclass
class SystemParams:
    """What may be swept and randomised.

    Attributes:
      sys: fields of the simulator's model by dotted name, float32 arrays of the shapes that they have there.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    sys: dict[str, jax.Array]
    max_steps: jax.Array


@struct.dataclass
class SystemState:
    """The simulator's state `pipeline`, the observation of it, the clock `t`, and what else it keeps."""

    pipeline: Any
    obs: jax.Array
    t: jax.Array
    info: dict[str, Any] = struct.field(default_factory=dict)


def started(pipeline: Any, obs: Any, info: dict[str, Any] | None = None) -> SystemState:
    """Return a first state with strong dtypes; numbers that are not sound are observed as 0."""
    obs = strong(jnp.asarray(obs, jnp.float32))
    obs = jnp.where(is_sound(obs), obs, jnp.zeros_like(obs))
    return SystemState(
        pipeline=jax.tree.map(strong, pipeline),
        obs=obs,
        t=jnp.int32(0),
        info={name: jax.tree.map(strong, value) for name, value in (info or {}).items()},
    )


def contained(
    state: SystemState,
    params: SystemParams,
    pipeline: Any,
    obs: Any,
    reward: Any,
    done: Any,
    metrics: dict[str, Any],
    moved: tuple[jax.Array, ...],
    info: dict[str, Any] | None = None,
) -> tuple[SystemState, Step]:
    """Return the next state and the step, with a simulation that diverged truncated where it was sound.

    Args:
      state: before the step.
      params: with the limit.
      pipeline: the simulator's state after the step.
      obs: of it.
      reward: a number of any type.
      done: whether the task ended, likewise.
      metrics: likewise.
      moved: positions and velocities that must be sound, beside observation and reward.
      info: what else the simulator keeps.
    """
    pipeline, kept = like(pipeline, state.pipeline), like(info or {}, state.info)
    obs, reward = (strong(jnp.asarray(x, jnp.float32)) for x in (obs, reward))
    diverged = ~jnp.stack([is_sound(x).all() for x in (obs, reward, *moved)]).all()
    pipeline, obs = jax.tree.map(
        lambda new, old: jnp.where(diverged, old, new), (pipeline, obs), (state.pipeline, state.obs)
    )
    named = {name: jnp.where(diverged, 0.0, jnp.float32(x)) for name, x in metrics.items()}
    named["diverged"] = diverged.astype(jnp.float32)
    terminated = (jnp.asarray(done) > 0) & ~diverged
    t = state.t + 1
    return SystemState(pipeline=pipeline, obs=obs, t=t, info=kept), Step(
        obs=obs,
        reward=jnp.where(diverged, 0.0, reward),
        terminated=terminated,
        truncated=((t >= params.max_steps) | diverged) & ~terminated,
        metrics={name: strong(x) for name, x in named.items()},
    )


def is_sound(x: jax.Array) -> jax.Array:
    """Return where numbers are finite and of a size that physics has.

    >>> is_sound(jnp.array([1.0, jnp.nan, jnp.inf, 1e20])).tolist()
    [True, False, False, False]
    """
    return jnp.abs(x) < LARGEST


def numbers(model: Any, also: tuple[str, ...] = ()) -> dict[str, jax.Array]:
    """Return the float arrays of a model by dotted name; the halves of a pair are `.0` and `.1`.

    Args:
      model: a pytree.
      also: names of arrays of integers that are constants, too.

    >>> {name: x.tolist() for name, x in numbers({"a": (1.0, np.array([2.0])), "b": 3}).items()}
    {'a.0': 1.0, 'a.1': [2.0]}
    """
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        name = _dotted(path)
        if np.size(leaf) and (np.issubdtype(np.asarray(leaf).dtype, np.floating) or name in also):
            named[name] = jnp.asarray(leaf, jnp.float32)
    return named


def replaced(model: Any, values: dict[str, jax.Array]) -> Any:
    """Return a model with the leaves of these dotted names replaced."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: values.get(_dotted(path), leaf), model)


@contextmanager
def lenient() -> Iterator[None]:
    """Run a simulator's code, which relies on rank promotion and warns of deprecations."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def silent() -> Iterator[None]:
    """Import a simulator and load a model: no word of what is missing or deprecated, and no log file."""
    with jax.ensure_compile_time_eval(), lenient(), redirect_stdout(StringIO()):
        import mujoco

        before = mujoco.get_mju_user_warning()  # type: ignore[attr-defined]
        mujoco.set_mju_user_warning(lambda message: None)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            mujoco.set_mju_user_warning(before)  # type: ignore[attr-defined]


def _dotted(path: Any) -> str:
    entries = (getattr(entry, "name", getattr(entry, "idx", getattr(entry, "key", entry))) for entry in path)
    return ".".join(map(str, entries))
