"""What bandits share: the clock and the last pull, and checks of what their arms may be."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer


@struct.dataclass
class Pull:
    """The clock and, for pictures only, the last pull; all `[]`.

    Attributes:
      t: int32, pulls in this episode.
      arm: int32, the last one, -1 before it.
      reward: float32, what it paid.
    """

    t: jax.Array
    arm: jax.Array
    reward: jax.Array


def no_pull() -> Pull:
    """Return the state before the first pull."""
    return Pull(t=jnp.int32(0), arm=jnp.int32(-1), reward=jnp.float32(0))


def regret_metrics(expected: jax.Array, arm: jax.Array) -> dict[str, jax.Array]:
    """Return the metrics of a pull: `regret`, `optimal`.

    Args:
      expected: `[A]` float32, the expected reward of each arm.
      arm: `[]` int32, the one pulled.

    >>> {k: round(float(v), 2) for k, v in regret_metrics(jnp.array([0.05, 0.12]), 0).items()}
    {'regret': 0.07, 'optimal': 0.0}
    """
    best, chosen = jnp.max(expected), expected[arm]
    return {"regret": best - chosen, "optimal": (chosen == best).astype(jnp.float32)}


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


def check_positive(name: str, values: Any, shape: tuple[int, ...]) -> None:
    """Check that values have a shape and, unless they are tracers, are positive and finite.

    Raises:
      ValueError: naming both shapes, or the first entry that is not and its value.
    """
    _check(name, values, shape, lambda x: (x > 0) & np.isfinite(x), "be positive and finite")


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
