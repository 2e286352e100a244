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

from envs import containment
from envs.adapters.conversion import like, strong
from envs.checks import check_at_least, check_finite, check_positive
from envs.core import Step, unknown

# Words of the names of constants that are positive wherever the model's are, and of those that are no less
# than 0. Brax's `vel_damping` and `ang_damping` are rates of growth: its own models have negative ones.
_POSITIVE = ("mass", "inertia", "timestep")
_AT_LEAST_ZERO = ("friction", "damping", "armature", "stiffness", "elasticity")
_OF_ANY_SIGN = ("vel_damping", "ang_damping")


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
    obs = containment.shown(strong(jnp.asarray(obs, jnp.float32)))
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
    obs, reward = (strong(jnp.asarray(x, jnp.float32)) for x in (obs, reward))
    t = state.t + 1
    after = SystemState(like(pipeline, state.pipeline), obs, t, like(info or {}, state.info))
    terminated = jnp.asarray(done) > 0
    truncated = (t >= params.max_steps) & ~terminated
    named = {name: strong(jnp.asarray(x, jnp.float32)) for name, x in metrics.items()}
    diverged = ~containment.are_sound(obs, reward, *moved)
    step = Step(obs, reward, terminated, truncated, named)
    return containment.contained(diverged, state, state.obs, after, step)


def check_system(params: SystemParams, model: dict[str, jax.Array]) -> None:
    """Check that constants are those of a model, of its shapes and physical; the traced ones pass.

    Args:
      params: to check.
      model: what may be given, by dotted name, as the model has it.

    Raises:
      ValueError: naming the constant, and for an unknown name the closest.
    """
    for name, values in params.sys.items():
        if name not in model:
            raise ValueError(unknown("field of `params.sys`", name, list(model)))
        _check_field(name, values, np.asarray(model[name]))
    check_at_least("max_steps", params.max_steps, (), 1)


def _check_field(name: str, values: Any, own: np.ndarray) -> None:
    last = name.rpartition(".")[2]
    if name.endswith("inertia.i"):  # a matrix a link
        check_finite(name, values, own.shape)
        values, own = jnp.diagonal(values, axis1=-2, axis2=-1), np.diagonal(own, axis1=-2, axis2=-1)
        last, name = "inertia", f"diagonal of {name}"
    if any(word in last for word in _POSITIVE):
        # What has no mass in the model, such as MuJoCo's world, may have none.
        check_positive(name, values, own.shape, or_zero=own == 0)
    elif any(word in last for word in _AT_LEAST_ZERO) and last not in _OF_ANY_SIGN:
        check_at_least(name, values, own.shape)
    else:
        check_finite(name, values, own.shape)


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
    """Return a model with the leaves of these dotted names replaced.

    Raises:
      ValueError: if it has no such leaf; the closest names are told.

    >>> replaced({"a": 1.0, "b": 2.0}, {"b": 3.0})
    {'a': 1.0, 'b': 3.0}
    """
    known = [_dotted(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]
    for name in values:
        if name not in known:
            raise ValueError(unknown("field of the model", name, known))
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
