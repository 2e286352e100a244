"""Eligibility traces: how much each entry of a table is to blame for the present error."""

from typing import Any

import jax

Scalar = float | jax.Array

KINDS = ("accumulating", "replacing", "dutch")


def visit(trace: jax.Array, index: Any, decay: Scalar, kind: str, learning_rate: Scalar) -> jax.Array:
    """Return the trace, of any shape, after everything has faded by `decay` and `index` was visited.

        accumulating   e <- decay * e;   e[index] <- e[index] + 1
        replacing      e <- decay * e;   e[index] <- 1
        dutch          e <- decay * e;   e[index] <- (1 - learning_rate) * e[index] + 1

    Args:
      trace: `[...]` float.
      index: of the entry that was visited, an integer or a tuple of them.
      decay: `[]` float, gamma * lambda within an episode, 0 at its first step.
      kind: "accumulating", "replacing" or "dutch".
      learning_rate: `[]` float; only dutch traces depend on it.

    Raises:
      ValueError: for an unknown kind.

    >>> visit(jax.numpy.array([1.0, 1.0]), 0, 0.5, "dutch", 0.2).tolist()
    [1.399999976158142, 0.5]

    Source: Sutton and Barto (2018), equations 12.5 and 12.11 (dutch), and exercise 12.7 (replacing).
    """
    faded = decay * trace
    if kind == "accumulating":
        return faded.at[index].add(1.0)
    if kind == "replacing":
        return faded.at[index].set(1.0)
    if kind == "dutch":
        return faded.at[index].add(1.0 - learning_rate * faded[index])
    raise ValueError(f"`trace` must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
