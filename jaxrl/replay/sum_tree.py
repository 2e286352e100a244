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
      index: `[B]` int32, in bounds.
      weight: `[B]` float32, not negative.

    >>> float(update(init(100), jnp.array([3, 99]), jnp.array([1.0, 2.0]))[-1][0])
    3.0
    """
    levels = [tree[0].at[index].set(weight, mode="promise_in_bounds")]
    for level in tree[1:]:
        index = index // FANOUT
        total = jnp.sum(_children(levels[-1], index), axis=1)
        levels.append(level.at[index].set(total, mode="promise_in_bounds"))
    return tuple(levels)


def find(tree: Tree, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the index at which the cumulated weights pass `mass`, and its weight, `[B]` int32 and float32.

    The weight is never zero.

    Args:
      tree: with some weight.
      mass: `[B]` float32, from 0 to the sum of all weights.

    >>> tree = update(init(100), jnp.array([3, 99]), jnp.array([1.0, 2.0]))
    >>> index, weight = find(tree, jnp.array([0.5, 1.5, 3.0]))
    >>> index.tolist(), weight.tolist()
    ([3, 99, 99], [1.0, 2.0, 2.0])
    """
    index = jnp.zeros(mass.shape, jnp.int32)
    children = jnp.zeros((*mass.shape, FANOUT))
    child = index
    for level in tree[-2::-1]:
        children = _children(level, index)
        # One after the other, in one kernel; `cumsum` takes five times as long on a CPU.
        sums = [children[:, 0]]
        for i in range(1, FANOUT):
            sums.append(sums[-1] + children[:, i])
        cumulated = jnp.stack(sums, axis=1)
        # Rounding may leave the mass at or above the last sum: then it belongs to the last child with weight.
        mass = jnp.minimum(mass, jnp.nextafter(sums[-1], jnp.float32(0)))
        is_passed = cumulated <= mass[:, None]
        child = jnp.sum(is_passed, axis=1, dtype=jnp.int32)
        mass = mass - jnp.max(jnp.where(is_passed, cumulated, 0.0), axis=1)
        index = index * FANOUT + child
    # From the children at hand: to read the leaves once more, beside a later write, would make XLA copy them.
    weight = jnp.sum(jnp.where(jnp.arange(FANOUT)[None] == child[:, None], children, 0.0), axis=1)
    return index, weight


def _children(level: jax.Array, index: jax.Array) -> jax.Array:
    return level.reshape(-1, FANOUT).at[index].get(mode="promise_in_bounds")
