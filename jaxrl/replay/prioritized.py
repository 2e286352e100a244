"""Prioritised replay: places of a ring in proportion to a power of their last error, in O(log n).

Source: Schaul et al. (2016), "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952, the
proportional variant: sections 3.3 and 3.4 and appendix B.2.1.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.replay import sum_tree
from jaxrl.replay.ring import Ring, Scalar


@struct.dataclass
class Priorities:
    """The weight with which each place is drawn.

    Attributes:
      tree: of `priority ** alpha`, a leaf a place, `row * num_envs + env`.
      largest: `[]` float32, the largest weight so far: what new places start with.
    """

    tree: sum_tree.Tree
    largest: jax.Array


def init(ring: Ring) -> Priorities:
    """Return the priorities of an empty ring."""
    return Priorities(tree=sum_tree.init(ring.capacity), largest=jnp.float32(1))


def add(priorities: Priorities, ring: Ring, written: jax.Array) -> Priorities:
    """Return the priorities after `ring.add`, with the same `written`, the rows before it.

    The rows just written get weight zero, since what follows them is not known yet, and those that they
    complete the largest weight so far, so that each is drawn once before long.
    """
    completed = written - ring.lookahead + jnp.arange(ring.block)
    # Of a block longer than the lookahead the first rows are complete already.
    num_new = min(ring.block, ring.lookahead)
    new = written + ring.block - num_new + jnp.arange(num_new)
    index = jnp.concatenate([_places(ring, completed), _places(ring, new)])
    # Before the first row there is none: those places are written later, and must stay at zero. So must those
    # that a small ring has written over by now, which the new rows name too: of two weights for one place
    # either might stay.
    oldest = jnp.maximum(written + ring.block - ring.rows, 0)
    weight = jnp.where(completed >= oldest, priorities.largest, 0.0)
    weight = jnp.concatenate([jnp.repeat(weight, ring.num_envs), jnp.zeros(num_new * ring.num_envs)])
    return replace(priorities, tree=sum_tree.update(priorities.tree, index, weight))


def sample(
    key: jax.Array, priorities: Priorities, ring: Ring, written: jax.Array, size: int, beta: Scalar
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return `size` places and the importance weights that undo the preference, `(row, env, weight)` `[B]`.

        P(i) = p_i^alpha / sum_k p_k^alpha,    weight_i = (count * P(i))^-beta / max_j weight_j

    One place is drawn from each of `size` equal shares of the total weight. The largest weight is that of
    the batch.

    Args:
      key: one key.
      priorities: with some weight.
      ring: its shapes.
      written: `[]` int32, rows written so far.
      size: B.
      beta: `[]` float, from 0 (no correction) to 1 (full).
    """
    total = priorities.tree[-1][0]
    mass = (jnp.arange(size) + jax.random.uniform(key, (size,))) * (total / size)
    index, found = sum_tree.find(priorities.tree, mass)
    count = ring.drawable(written)[1] * ring.num_envs
    weight = jnp.power(count * found / total, -beta)
    row, env = jnp.divmod(index, ring.num_envs)
    return row, env, weight / jnp.max(weight)


def update(
    priorities: Priorities, ring: Ring, row: jax.Array, env: jax.Array, error: jax.Array, alpha: Scalar
) -> Priorities:
    """Return the priorities with new errors in some places: `p = (|error| + 1e-6) ** alpha`.

    Args:
      priorities: before.
      ring: its shapes.
      row: `[B]` int32, as `sample` drew it.
      env: `[B]` int32.
      error: `[B]` float32, TD errors or losses.
      alpha: `[]` float, from 0 (uniform) to 1.
    """
    weight = jnp.power(jnp.abs(error) + 1e-6, alpha)
    return Priorities(
        tree=sum_tree.update(priorities.tree, row * ring.num_envs + env, weight),
        largest=jnp.maximum(priorities.largest, jnp.max(weight)),
    )


def _places(ring: Ring, rows: jax.Array) -> jax.Array:
    return (
        (rows % ring.rows)[:, None] * ring.num_envs + jnp.arange(ring.num_envs, dtype=jnp.int32)[None]
    ).reshape(-1)
