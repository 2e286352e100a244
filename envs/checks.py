"""Checks of environments' parameters; those of single numbers pass over what is traced."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def check_env_like(env: Any) -> None:
    """Check that `env` is an environment and no class, name or pair of one.

    Raises:
      ValueError: saying what came.

    >>> check_env_like("CartPole-v1")
    Traceback (most recent call last):
    ...
    ValueError: `env` must be an environment, the first that `envs.make` returns, got 'CartPole-v1'
    """
    if isinstance(env, type) or not all(hasattr(env, member) for member in ("reset", "step")):
        raise ValueError(f"`env` must be an environment, the first that `envs.make` returns, got {env!r}")


def check_params(env: Any, params: Any) -> None:
    """Ask an environment whether its parameters, which must be concrete, make sense.

    Raises:
      ValueError: naming the parameter that does not; never for an environment without an opinion.

    >>> import envs
    >>> env, params = envs.make("Pendulum-v1")
    >>> check_params(env, params.replace(mass=-params.mass))
    Traceback (most recent call last):
    ...
    ValueError: `mass` must be positive and finite, got -1
    """
    if hasattr(env, "check_params"):
        env.check_params(params)


def check_size(name: str, value: Any, least: int = 1) -> None:
    """Check that `value`, a number that sets a shape, is an integer and not less than `least`.

    Raises:
      ValueError: naming it and what came.

    >>> check_size("num_arms", 2.5)
    Traceback (most recent call last):
    ...
    ValueError: `num_arms` must be an integer, got 2.5
    """
    if not isinstance(value, int | np.integer):
        raise ValueError(f"`{name}` must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")


def as_number(name: str, value: Any) -> float:
    """Return `value`, one number that is known before the compile, as a float.

    Raises:
      ValueError: naming it and what came.

    >>> as_number("`low`", "a")
    Traceback (most recent call last):
    ...
    ValueError: `low` must be a number, got 'a'
    """
    if isinstance(value, Tracer) or not is_number(value, ()):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


def is_number(value: Any, shape: tuple[int, ...]) -> bool:
    """Return whether `value` is a real number, or an array of `shape` of them; tracers are."""
    if not isinstance(value, jax.Array):
        if isinstance(value, str | bytes | Mapping | Sequence) or value is None:
            return False
        value = np.asarray(value)
    is_real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    return is_real and value.shape in ((), shape)


def check_probabilities(name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Check that values have a shape and, unless they are tracers, lie in [0, 1].

    Raises:
      ValueError: naming both shapes, or the first entry that does not and its value.

    >>> check_probabilities("probabilities", [0.2, 1.2], (2,))
    Traceback (most recent call last):
    ...
    ValueError: `probabilities` must lie in [0, 1], got 1.2 at index 1
    """
    _check(name, values, shape, lambda x: (x >= 0) & (x <= 1), "lie in [0, 1]")


def check_finite(name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Check that values have a shape and, unless they are tracers, are finite.

    Raises:
      ValueError: naming both shapes, or the first entry that is not and its value.
    """
    _check(name, values, shape, np.isfinite, "be finite")


def check_positive(name: str, values: Any, shape: tuple[int, ...], or_zero: Any = False) -> None:
    """Check that values have a shape and, unless they are tracers, are positive and finite.

    Args:
      name: of the parameter.
      values: to check.
      shape: that they must have.
      or_zero: of this shape, too; where true, 0 is as good.

    Raises:
      ValueError: naming both shapes, or the first entry that is not and its value.
    """
    _check(
        name,
        values,
        shape,
        lambda x: ((x > 0) | ((x == 0) & or_zero)) & np.isfinite(x),
        "be positive and finite",
    )


def check_at_least(name: str, values: Any, shape: tuple[int, ...], least: int = 0) -> None:
    """Check that values have a shape and, unless they are tracers, are finite and not less than `least`.

    Raises:
      ValueError: naming both shapes, or the first entry that is not and its value.

    >>> check_at_least("friction", -0.5, ())
    Traceback (most recent call last):
    ...
    ValueError: `friction` must be at least 0 and finite, got -0.5
    """
    whole = np.issubdtype(jnp.result_type(values), np.integer)
    rule = f"be at least {least}" + " and finite" * (not whole)
    _check(name, values, shape, lambda x: (x >= least) & np.isfinite(x), rule)


def _check(name: str, values: Any, shape: tuple[int, ...], good: Any, rule: str) -> None:
    if np.shape(values) != shape:
        # An index beyond the last arm would silently mean the last.
        raise ValueError(f"`{name}` must have shape {shape}, as the environment does, got {np.shape(values)}")
    if isinstance(values, Tracer):
        return
    values = np.asarray(values)
    wrong = np.argwhere(~good(values))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        where = f" at index {index[0] if len(index) == 1 else index}" if index else ""
        raise ValueError(f"`{name}` must {rule}, got {float(values[index]):g}{where}")
