"""Hyperparameters: how a `Config` declares its fields, and how its values are checked.

A `Config` is a `flax.struct.dataclass`. Fields declared `traced` are leaves: they can be batched,
swept and changed without a second compile. Fields declared `static` set shapes or choose code.
"""

import dataclasses
from typing import Any

import numpy as np
from flax import struct
from jax.core import Tracer

_RULES = {
    "ge": (np.greater_equal, "at least"),
    "gt": (np.greater, "greater than"),
    "le": (np.less_equal, "at most"),
    "lt": (np.less, "less than"),
}


def traced(default: float | None, *, ge=None, gt=None, le=None, lt=None) -> Any:
    """Return the declaration of a float that may be swept, within the bounds given."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return struct.field(default=default, metadata={"bounds": bounds})


def static(default: Any, *, ge=None, gt=None, le=None, lt=None, choices: tuple = ()) -> Any:
    """Return the declaration of a value that sets a shape or chooses code, bounded or one of `choices`."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return struct.field(
        pytree_node=False, default=default, metadata={"bounds": bounds, "choices": tuple(choices)}
    )


def is_traced(field: dataclasses.Field) -> bool:
    """Return whether a dataclass field is a leaf of its `Config`."""
    return field.metadata.get("pytree_node", True)


def traced_fields(config: Any) -> list[str]:
    """Return the names of the fields that can be swept.

    >>> from jaxrl.agents import ppo
    >>> "learning_rate" in traced_fields(ppo.Config), "num_envs" in traced_fields(ppo.Config)
    (True, False)
    """
    return [field.name for field in dataclasses.fields(config) if is_traced(field)]


def validate(config: Any) -> None:
    """Check every concrete value of `config` against its declaration; tracers pass.

    A `Config` whose fields must also fit each other has a method `check`, which is called last; it must
    serve numbers, batches of them, and tracers, which pass.

    Raises:
      ValueError: naming the field, the value, and what would be accepted.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, Tracer):
            check(field, value)
    if hasattr(config, "check"):
        config.check()


def check(field: dataclasses.Field, value: Any) -> None:
    """Check one concrete value, a scalar or a batch, against the declaration of its field.

    Raises:
      ValueError: naming the field, the value, and what would be accepted.
    """
    choices = field.metadata.get("choices", ())
    if choices and value not in choices:
        raise ValueError(f"`{field.name}` must be one of {', '.join(map(repr, choices))}, got {value!r}")
    if isinstance(field.default, bool) and not isinstance(value, bool):
        raise ValueError(f"`{field.name}` must be True or False, got {value!r}")
    if isinstance(field.default, tuple) and not (
        isinstance(value, tuple | list) and all(isinstance(n, int | np.integer) and n >= 1 for n in value)
    ):
        raise ValueError(f"`{field.name}` must be a tuple of integers of at least 1, got {value!r}")
    plain = value.item() if isinstance(value, np.generic) else value
    if field.default is None and not is_traced(field) and not isinstance(plain, field.type):  # type: ignore[arg-type]
        raise ValueError(f"`{field.name}` must be {field.type}, got {value!r}")
    if value is None or isinstance(value, str):
        if is_traced(field) and field.default is not None:
            raise ValueError(f"`{field.name}` must be a number, got {value!r}")
        return
    bounds = {rule: bound for rule, bound in field.metadata.get("bounds", {}).items() if bound is not None}
    values = np.asarray(value)
    if np.iscomplexobj(values):
        raise ValueError(f"`{field.name}` must be a real number, got {value!r}")
    sized = isinstance(field.default, int) and not isinstance(field.default, bool) and not is_traced(field)
    if sized and (not np.issubdtype(values.dtype, np.integer) or values.ndim > 0):
        raise ValueError(f"`{field.name}` must be an integer, got {value!r}")
    if not np.issubdtype(values.dtype, np.number):
        if is_traced(field):
            raise ValueError(f"`{field.name}` must be a number, got {value!r}")
        return
    wanted = " and ".join(f"{_RULES[rule][1]} {bound}" for rule, bound in bounds.items())
    good = np.isfinite(values)
    for rule, bound in bounds.items():
        good &= _RULES[rule][0](values, bound)
    if not np.all(good):
        wrong = values[~good].flat[0] if values.ndim else values[()]
        raise ValueError(f"`{field.name}` must be {wanted or 'finite'}, got {wrong}")


def check_unit_interval(**values: Any) -> None:
    """Check that every concrete value, a scalar or a batch, lies in [0, 1]; tracers pass.

    Raises:
      ValueError: naming the argument and the value.

    >>> check_unit_interval(gamma=1.5)
    Traceback (most recent call last):
    ValueError: `gamma` must be at least 0 and at most 1, got 1.5
    """
    for name, value in values.items():
        if isinstance(value, Tracer):
            continue
        wrong = ~((np.asarray(value) >= 0) & (np.asarray(value) <= 1))
        if wrong.any():
            raise ValueError(
                f"`{name}` must be at least 0 and at most 1, got {np.asarray(value)[wrong].flat[0]:.6g}"
            )


def check_minibatches(num_envs: int, num_steps: int, num_minibatches: int) -> int:
    """Return the size of a rollout's batch, `num_envs * num_steps`.

    Raises:
      ValueError: if `num_minibatches` does not divide it.

    >>> check_minibatches(4, 128, 4)
    512
    """
    batch_size = num_envs * num_steps
    if batch_size % num_minibatches:
        near = max(n for n in range(1, num_minibatches) if batch_size % n == 0)
        raise ValueError(
            f"`num_minibatches` must divide num_envs * num_steps = {batch_size}, got {num_minibatches}; "
            f"try {near}"
        )
    return batch_size
