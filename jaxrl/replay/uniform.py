"""Uniform replay: every place of a ring with the same chance, in constant time."""

import jax
import jax.numpy as jnp

from jaxrl.replay.ring import Ring


def sample(key: jax.Array, ring: Ring, written: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Return `size` places of the ring, with repetition, as `(row [B], env [B])` int32.

    Args:
      key: one key.
      ring: its shapes.
      written: `[]` int32, rows written so far, more than `ring.lookahead`; shared by all seeds.
      size: B.

    >>> row, env = sample(jax.random.key(0), Ring(capacity=8, num_envs=2), jnp.int32(3), size=100)
    >>> sorted(set(row.tolist())), sorted(set(env.tolist()))
    ([0, 1], [0, 1])

    Source: Mnih et al. (2015), "Human-level control through deep reinforcement learning", methods.
    """
    oldest, count = ring.drawable(written)
    # A third of the calls of `randint`; the chances of two places differ by less than one in 2**32 / places.
    places = jnp.maximum(count, 1) * ring.num_envs
    place = (jax.random.bits(key, (size,)) % places.astype(jnp.uint32)).astype(jnp.int32)
    row, env = jnp.divmod(place, ring.num_envs)
    return (oldest + row) % ring.rows, env
