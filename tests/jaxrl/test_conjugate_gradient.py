"""Conjugate gradients against NumPy's solver."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import ops


def test_as_many_iterations_as_unknowns_solve():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(5, 6, 6))
    matrices = half @ half.transpose(0, 2, 1) + np.eye(6)
    b = rng.normal(size=(5, 6))

    def solve(A, b, n):
        return ops.conjugate_gradient(lambda v: A @ v, b, n)

    A, right = jnp.float32(matrices), jnp.float32(b)
    exact = np.linalg.solve(matrices, b[..., None])[..., 0]
    np.testing.assert_allclose(jax.vmap(lambda A, b: solve(A, b, 6))(A, right), exact, rtol=1e-3, atol=1e-4)
    # Fewer come closer in the norm of the matrix, one step after the other.
    errors = []
    for n in range(7):
        error = exact - jax.vmap(lambda A, b, n=n: solve(A, b, n))(A, right)
        errors.append(np.einsum("bi,bij,bj->b", error, matrices, error))
    assert (np.diff(errors, axis=0)[:5] < 0).all()


def test_it_stays_at_a_solution_and_takes_zero():
    identity = ops.conjugate_gradient(lambda v: 2.0 * v, jnp.array([2.0, 4.0]), 10)
    np.testing.assert_allclose(identity, [1.0, 2.0])
    np.testing.assert_array_equal(ops.conjugate_gradient(lambda v: 2.0 * v, jnp.zeros(3), 10), 0.0)
