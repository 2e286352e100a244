"""What every adapter does with foreign values: exact dtypes, hashable options, spaces from shapes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.spaces import Box


def strong(x: Any) -> jax.Array:
    """Return `x` as an array whose dtype is not weak.

    >>> strong(jnp.asarray(1.0)).weak_type
    False
    """
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def like(new: Any, old: Any) -> Any:
    """Return the pytree `new` with the dtypes of `old`, so that it can be carried in its place.

    >>> like({"t": jnp.float32(2)}, {"t": jnp.int32(1)})
    {'t': Array(2, dtype=int32)}
    """
    return jax.tree.map(lambda x, y: strong(jnp.asarray(x, y.dtype)), new, old)


def frozen(value: Any) -> Any:
    """Return `value` with tuples in place of lists, so that it can be hashed.

    >>> frozen([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(frozen(v) for v in value) if isinstance(value, list | tuple) else value


def sorted_options(options: dict[str, Any], id: str) -> tuple[tuple[str, Any], ...]:
    """Return options as sorted pairs.

    Raises:
      ValueError: if one is not hashable.

    >>> sorted_options({"size": [3, 4], "by": 1}, "suite/Name-v0")
    (('by', 1), ('size', (3, 4)))
    """
    pairs = tuple(sorted((name, frozen(value)) for name, value in options.items()))
    try:
        hash(pairs)
    except TypeError as error:
        raise ValueError(f"`options` must be hashable for {id!r}, got {options}: {error}") from error
    return pairs


def any_box(shape: tuple[int, ...], dtype: Any) -> Box:
    """Return the `Box` of every value of a dtype; of integers that are not bytes, those from 0 on.

    >>> any_box((2,), np.uint8).high
    255
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return Box(False, True, shape, dtype)
    if np.issubdtype(dtype, np.integer):
        return Box(0, int(np.iinfo(dtype).max), shape, dtype)
    return Box(-np.inf, np.inf, shape, dtype)
