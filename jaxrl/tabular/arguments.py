"""Checks of what the tabular methods are given; tracers pass."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax.core import Tracer

from jaxrl.config import check_unit_interval


def check_number(name: str, value: Any, rule: str, holds: Callable[[np.ndarray], Any]) -> None:
    """Check that a concrete `value` is one finite number for which `holds`.

    Raises:
      ValueError: naming the argument, the rule and the value.

    >>> check_number("tolerance", float("nan"), "at least 0", lambda x: x >= 0)
    Traceback (most recent call last):
    ValueError: `tolerance` must be one finite number, at least 0, got nan
    """
    if isinstance(value, Tracer):
        return
    array = np.asarray(value)
    # Of kind V are the short floats of JAX.
    number = array.ndim == 0 and array.dtype.kind in "biufV"
    if not number or not np.isfinite(array) or not holds(array):
        raise ValueError(f"`{name}` must be one finite number, {rule}, got {value!r}")


def check_discount(gamma: Any) -> None:
    """Check that a concrete `gamma` is one number in [0, 1].

    Raises:
      ValueError: naming the argument and the value.

    >>> check_discount(None)
    Traceback (most recent call last):
    ValueError: `gamma` must be a number in [0, 1], got None; vmap over several
    """
    if isinstance(gamma, Tracer):
        return
    array = np.asarray(gamma)
    if array.ndim != 0 or array.dtype.kind not in "biufV":
        raise ValueError(f"`gamma` must be a number in [0, 1], got {gamma!r}; vmap over several")
    check_unit_interval(gamma=gamma)
