"""What bandits share: the clock and the last pull."""

import jax
import jax.numpy as jnp
from flax import struct


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
