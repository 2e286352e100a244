"""Linear equations of a matrix that is known by its products only."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp


def conjugate_gradient(
    product: Callable[[jax.Array], jax.Array], b: jax.Array, num_iterations: int, tolerance: float = 1e-10
) -> jax.Array:
    """Return an approximate solution x of `A x = b`, for a symmetric, positive definite A, `[N]`.

    Args:
      product: `v -> A v`.
      b: `[N]` float.
      num_iterations: products to take; N of them are exact but for rounding.
      tolerance: of the squared residual, below which x stays as it is.

    >>> A = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradient(lambda v: A @ v, jnp.array([3.0, 4.0]), 2).round(5).tolist()
    [1.0, 1.0]

    Source: Hestenes and Stiefel (1952), "Methods of conjugate gradients for solving linear systems".
    """
    chex.assert_rank(b, 1)

    def iterate(_, loop):
        x, residual, direction, norm = loop
        along = product(direction)
        goes_on = norm > tolerance
        curvature = jnp.dot(direction, along)
        size = jnp.where(goes_on, norm / jnp.where(goes_on, curvature, 1.0), 0.0)
        residual = residual - size * along
        after = jnp.dot(residual, residual)
        turn = jnp.where(goes_on, after / jnp.where(goes_on, norm, 1.0), 0.0)
        return x + size * direction, residual, residual + turn * direction, after

    start = (jnp.zeros_like(b), b, b, jnp.dot(b, b))
    return jax.lax.fori_loop(0, num_iterations, iterate, start)[0]
