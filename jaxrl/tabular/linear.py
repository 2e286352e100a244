"""Linear equations without LAPACK, whose batched routines may block every worker of XLA's CPU pool."""

import chex
import jax
import jax.numpy as jnp
from jax import lax

# Rows eliminated between two products of matrices.
_BLOCK = 32


def solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Return x of `matrix @ x = right`, by blockwise Gauss-Jordan elimination without pivoting.

    That is stable for the matrices of Markov chains, `I - gamma * P` and their transposes: their diagonal
    dominates, so elimination does not enlarge their entries. It is not for others. Its loops are shared by
    a batch.

    Args:
      matrix: `[S, S]` float, diagonally dominant by rows or by columns.
      right: `[S]` float.

    Returns:
      `[S]` float; not finite if `matrix` is singular.

    >>> solve(jnp.array([[1.0, -0.5], [0.0, 1.0]]), jnp.array([1.0, 2.0])).tolist()
    [2.0, 2.0]

    Source: Golub and Van Loan (2013), Matrix Computations, section 3.4.10 (diagonal dominance).
    """
    size = right.shape[0]
    chex.assert_shape(matrix, (size, size))
    block = min(_BLOCK, size)
    padded = size + -size % block
    # What is padded are unknowns that are 0.
    system = jnp.eye(padded, padded + 1, dtype=matrix.dtype)
    system = system.at[:size, :size].set(matrix).at[:size, -1].set(right)
    within, everywhere = jnp.arange(block), jnp.arange(padded)

    def eliminate(index, system):
        first = index * block
        rows = lax.dynamic_slice_in_dim(system, first, block)

        def eliminate_row(k, rows):
            row = rows[k] / rows[k, first + k]
            return jnp.where((within == k)[:, None], row[None], rows - rows[:, first + k, None] * row[None])

        rows = lax.fori_loop(0, block, eliminate_row, rows)
        if block == size:
            return rows
        columns = lax.dynamic_slice_in_dim(system, first, block, axis=1)
        others = (everywhere < first) | (everywhere >= first + block)
        columns = jnp.where(others[:, None], columns, 0.0)
        system = system - jnp.matmul(columns, rows, precision=lax.Precision.HIGHEST)
        return lax.dynamic_update_slice_in_dim(system, rows, first, axis=0)

    return lax.fori_loop(0, padded // block, eliminate, system)[:size, -1]
