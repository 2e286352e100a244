"""A tree of sums: draw an index in proportion to its weight, and change weights, in O(log n).

Each node has `FANOUT` children. A wide tree is shallow, and a node's children lie side by side, so that one
short vector operation serves a level where a binary tree needs four look-ups. Parents are summed anew
from their children, never corrected by differences, so rounding errors do not pile up.
"""

import math

import jax
import jax.numpy as jnp

FANOUT = 16

# From the leaves to the root; a level's length is a multiple of FANOUT, but for the root's.
Tree = tuple[jax.Array, ...]


def init(size: int) -> Tree:
    """Return the tree of `size` weights, all zero.

    >>> [level.shape[0] for level in init(100)]
    [112, 16, 1]
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1, got {size}")
    levels = []
    while size > 1 or not levels:
        size = math.ceil(size / FANOUT)
        levels.append(jnp.zeros(size * FANOUT, jnp.float32))
    return (*levels, jnp.zeros(1, jnp.float32))


def update(tree: Tree, index: jax.Array, weight: jax.Array) -> Tree:
    """Return the tree with new weights in some places; of an index that comes twice, one weight stays.

    Args:
      tree: before.
      index: `[B]` int32.
      weight: `[B]` float32, not negative.

    >>> float(update(init(100), jnp.array([3, 99]), jnp.array([1.0, 2.0]))[-1][0])
    3.0
    """
    levels = [tree[0].at[index].set(weight)]
    for level in tree[1:]:
        index = index // FANOUT
        children = levels[-1][_children(index)]
        levels.append(level.at[index].set(jnp.sum(children, axis=1)))
    return tuple(levels)


def find(tree: Tree, mass: jax.Array) -> jax.Array:
    """Return the index at which the cumulated weights pass `mass`, `[B]` int32; never one of weight zero.

    Args:
      tree: with some weight.
      mass: `[B]` float32, from 0 to the sum of all weights.

    >>> tree = update(init(100), jnp.array([3, 99]), jnp.array([1.0, 2.0]))
    >>> find(tree, jnp.array([0.5, 1.5, 3.0])).tolist()
    [3, 99, 99]
    """
    index = jnp.zeros(mass.shape, jnp.int32)
    for level in tree[-2::-1]:
        children = level[_children(index)]
        cumulated = jnp.cumsum(children, axis=1)
        # Rounding may leave the mass at or above the last sum: then it belongs to the last child with weight.
        last = FANOUT - 1 - jnp.argmax(children[:, ::-1] > 0, axis=1)
        child = jnp.minimum(jnp.sum(cumulated <= mass[:, None], axis=1), last).astype(jnp.int32)
        before = jnp.take_along_axis(cumulated - children, child[:, None], axis=1)[:, 0]
        mass = jnp.maximum(mass - before, 0.0)
        index = index * FANOUT + child
    return index


def _children(index: jax.Array) -> jax.Array:
    return index[:, None] * FANOUT + jnp.arange(FANOUT, dtype=jnp.int32)[None]
