"""A function of some rows of a batch, at the cost of these rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def map_where(
    function: Callable[[Any], jax.Array], chosen: jax.Array, rows: Any, block_size: int
) -> jax.Array:
    """Return `function(rows)` where `chosen`, and 0 elsewhere.

    Chosen rows are gathered and computed a block at a time, in a loop that ends with the last of them. So
    few cost little, where a `where` would compute all; batched over seeds, they cost what the seed with most
    does. No gradient flows backwards through it.

    Args:
      function: from rows, leaves `[block_size, ...]`, to `[block_size]` float, each row by itself.
      chosen: `[N]` bool.
      rows: leaves `[N, ...]`.
      block_size: rows of a block.

    Returns:
      `[N]` float.

    >>> is_even = jnp.array([False, True, False, True])
    >>> map_where(jnp.sqrt, is_even, jnp.array([1.0, 4.0, 9.0, 16.0]), block_size=1).tolist()
    [0.0, 2.0, 0.0, 4.0]
    """
    size = len(chosen)
    block_size = min(block_size, size)
    padded = -(-size // block_size) * block_size
    # Beyond the chosen ones an index out of bounds, at which nothing is written.
    places = jnp.flatnonzero(chosen, size=padded, fill_value=size)
    count = jnp.sum(chosen, dtype=jnp.int32)

    def block(start):
        at = jax.lax.dynamic_slice_in_dim(places, start, block_size)
        return at, function(jax.tree.map(lambda x: x.at[at].get(mode="clip"), rows))

    def body(carry):
        start, out = carry
        at, values = block(start)
        return start + block_size, out.at[at].set(values, mode="drop")

    like = jax.eval_shape(lambda: block(jnp.int32(0))[1])
    first = (jnp.int32(0), jnp.zeros(size, like.dtype))
    return jax.lax.while_loop(lambda carry: carry[0] < count, body, first)[1]
