"""Bayesian linear regression of each arm's reward on the features, updated by one row at a time.

    reward = theta_a . x + noise,   precision_a = regularization * I + sum x x^T,   moment_a = sum reward * x

The inverse of each precision is kept up to date by Sherman and Morrison's formula; no LAPACK is called, whose
batched routines can block a CPU's threads under `vmap`.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Ridge:
    """The regressions of A arms on F features.

    Attributes:
      inverse: `[A, F, F]` float32, the inverse of each precision.
      moment: `[A, F]` float32.
    """

    inverse: jax.Array
    moment: jax.Array


def init(num_arms: int, num_features: int, regularization: float | jax.Array) -> Ridge:
    """Return the regressions before the first row: coefficients of zero with precision `regularization`."""
    identity = jnp.eye(num_features, dtype=jnp.float32) / regularization
    return Ridge(
        inverse=jnp.broadcast_to(identity, (num_arms, num_features, num_features)),
        moment=jnp.zeros((num_arms, num_features), jnp.float32),
    )


def update(ridge: Ridge, x: jax.Array, arm: jax.Array, reward: jax.Array) -> Ridge:
    """Return the regressions after one more row of one arm.

        inverse - (inverse x) (inverse x)^T / (1 + x . inverse x)

    Args:
      ridge: before.
      x: `[F]` float32, the features.
      arm: `[]` int32, what was pulled.
      reward: `[]` float32, what it paid.

    Source: Sherman and Morrison (1950).
    """
    # A row of zeros leaves the other arms as they are.
    rows = jnp.where((jnp.arange(ridge.moment.shape[0]) == arm)[:, None], x[None], 0.0)
    return Ridge(
        inverse=downdate(ridge.inverse, rows, jnp.ones(rows.shape[0], jnp.float32)),
        moment=ridge.moment + reward * rows,
    )


def downdate(inverse: jax.Array, rows: jax.Array, weight: jax.Array) -> jax.Array:
    """Return the inverses of `precision_a + weight_a row_a row_a^T`, given those of `precision_a`.

    Args:
      inverse: `[A, F, F]` float32, symmetric.
      rows: `[A, F]` float32.
      weight: `[A]` float32, at least 0.
    """
    product = jnp.einsum("aij,aj->ai", inverse, rows)
    scale = weight / (1.0 + weight * jnp.sum(rows * product, axis=-1))
    return inverse - scale[:, None, None] * product[:, :, None] * product[:, None, :]


def predict(ridge: Ridge, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return each arm's predicted reward `theta_a . x` and its variance `x . inverse_a x`, `[A]` each.

    The variance is in units of the noise's: multiply by its square for that of a reward.

    >>> [v.tolist() for v in predict(init(2, 1, 4.0), jnp.array([2.0]))]
    [[0.0, 0.0], [1.0, 1.0]]
    """
    product = ridge.inverse @ x
    # Rounding must not make a variance negative.
    return jnp.sum(ridge.moment * product, axis=-1), jnp.maximum(product @ x, 0.0)


def inverse_of(matrix: jax.Array) -> jax.Array:
    """Return the inverse of a symmetric positive definite matrix, `[F, F]`, by the sweep operator.

    >>> inverse_of(jnp.array([[2.0, 1.0], [1.0, 1.0]])).tolist()
    [[1.0, -1.0], [-1.0, 2.0]]

    Source: Goodnight (1979), "A tutorial on the sweep operator".
    """
    index = jnp.arange(matrix.shape[0])

    def sweep(k, swept):
        row, pivot = swept[k], swept[k, k]
        rest = swept - row[:, None] * row[None, :] / pivot
        row = jnp.where(index == k, -1.0, row) / pivot
        on_row, on_column = (index == k)[:, None], (index == k)[None, :]
        return jnp.where(on_row, row[None, :], jnp.where(on_column, row[:, None], rest))

    return -jax.lax.fori_loop(0, matrix.shape[0], sweep, matrix)
