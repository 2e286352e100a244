"""Reservoir sampling: a memory that is at any time a uniform sample of everything ever added."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Reservoir:
    """The kept items, `[capacity, ...]`, and how many were ever added, `[]` int32."""

    items: Any
    count: jax.Array


def init(item: Any, capacity: int) -> Reservoir:
    """Return an empty reservoir for items like `item`, of which only shapes and types matter.

    Raises:
      ValueError: if `capacity` is below 1.
    """
    if capacity < 1:
        raise ValueError(f"`capacity` must be at least 1, got {capacity}")
    items = jax.tree.map(lambda x: jnp.zeros((capacity, *jnp.shape(x)), jnp.asarray(x).dtype), item)
    return Reservoir(items=items, count=jnp.int32(0))


def add(key: jax.Array, reservoir: Reservoir, items: Any) -> Reservoir:
    """Return the reservoir after `[B, ...]` more items, each of which replaces any kept one or is dropped.

    After k items each is kept with probability `capacity / k`.

    >>> full = add(jax.random.key(0), init(0, capacity=3), jnp.arange(3))
    >>> full.items.tolist(), int(add(jax.random.key(1), full, jnp.arange(3, 9)).count)
    ([0, 1, 2], 9)

    Source: Vitter (1985), "Random sampling with a reservoir", algorithm R.
    """
    capacity = jax.tree.leaves(reservoir.items)[0].shape[0]
    size = jax.tree.leaves(items)[0].shape[0]

    def one(kept, at):
        item, count, drawn = at
        # Up to the capacity in order; then a random place up to the count, dropped where it lies beyond.
        place = jnp.where(count < capacity, count, drawn)
        return jax.tree.map(lambda x, y: x.at[place].set(y, mode="drop"), kept, item), None

    counts = reservoir.count + jnp.arange(size, dtype=jnp.int32)
    drawn = jax.random.randint(key, (size,), 0, counts + 1)
    kept, _ = jax.lax.scan(one, reservoir.items, (items, counts, drawn))
    return Reservoir(items=kept, count=reservoir.count + size)


def sample(key: jax.Array, reservoir: Reservoir, size: int) -> Any:
    """Return `[size, ...]` of the kept items, with repetition; at least one must have been added."""
    capacity = jax.tree.leaves(reservoir.items)[0].shape[0]
    index = jax.random.randint(key, (size,), 0, jnp.minimum(jnp.maximum(reservoir.count, 1), capacity))
    return jax.tree.map(lambda x: x[index], reservoir.items)
