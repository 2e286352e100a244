"""What kernels start from; the orthogonal initialiser, made of matrix products only.

`jax.nn.initializers.orthogonal` calls LAPACK's QR. Under `vmap` over seeds that blocks every worker of
XLA's CPU thread pool and can deadlock a machine with few cores. The polar factor of a Gaussian matrix
has the same distribution (Haar), and Newton-Schulz iterations find it with products alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Initializer = Callable[..., jax.Array]

# p(s) = a s + b s^3 + c s^5. The first multiplies small singular values by 3.4 and keeps those in (0, 1.2]
# there, without converging (Jordan 2024); the second converges cubically from near 1.
_GROW = (3.4445, -4.7750, 2.0315)
_POLISH = (15 / 8, -10 / 8, 3 / 8)
_POLISH_STEPS = 5


def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: Any = jnp.float32) -> Initializer:
    """Return an initialiser whose matrices are `scale` times a uniformly distributed orthogonal one.

    A drop-in replacement for `jax.nn.initializers.orthogonal`: a kernel of any rank is seen as a matrix
    with `shape[column_axis]` columns; if that is not square, the shorter side is orthonormal. The numbers
    for a key differ from that one's, their distribution does not.

    Args:
      scale: gain; sqrt(2) for a hidden layer, 0.01 for a policy's and 1 for a value's last layer in PPO.
      column_axis: the axis that holds the columns (a layer's outputs).
      dtype: of the kernel, unless the call names another; the iterations run in float32 or better.

    Returns:
      `init(key, shape, dtype) -> [*shape]`.

    Raises:
      ValueError: by `init`, if `shape` has fewer than two axes.

    >>> q = orthogonal()(jax.random.key(0), (4, 3))
    >>> bool(jnp.allclose(q.T @ q, jnp.eye(3), atol=1e-5))
    True

    Source: Saxe et al. (2014), https://arxiv.org/abs/1312.6120; Björck and Bowie (1971) and
    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon, for the iterations.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = dtype) -> jax.Array:
        if len(shape) < 2:
            raise ValueError(f"`shape` must have at least two axes, got {tuple(shape)}; use zeros for a bias")
        num_columns = shape[column_axis]
        num_rows = math.prod(shape) // num_columns if num_columns else 0
        if num_rows == 0 or num_columns == 0:
            return jnp.zeros(shape, dtype)
        working_dtype = jnp.promote_types(dtype, jnp.float32)
        gaussian = jax.random.normal(
            key, (max(num_rows, num_columns), min(num_rows, num_columns)), working_dtype
        )
        matrix = _polar_factor(gaussian)
        if num_rows < num_columns:
            matrix = matrix.T
        others = tuple(np.delete(shape, column_axis))
        kernel = jnp.moveaxis(jnp.reshape(matrix, (*others, num_columns)), -1, column_axis)
        return (scale * kernel).astype(dtype)

    return init


INITIALIZERS: dict[str, Callable[[float], Initializer]] = {
    "orthogonal": orthogonal,
    "lecun_normal": lambda gain: nn.initializers.lecun_normal(),
    "lecun_uniform": lambda gain: nn.initializers.lecun_uniform(),
}
"""What kernels may start from, by gain: flax's default, the second, and Brax's, the third, have none."""


def _polar_factor(x: jax.Array) -> jax.Array:
    """Return the matrix with orthonormal columns nearest to a Gaussian `x`, `[m, n]` with m >= n."""
    grow_steps = _grow_steps(*x.shape)
    coefficients = np.array([_GROW] * grow_steps + [_POLISH] * _POLISH_STEPS)
    x = x / jnp.linalg.norm(x)

    def iterate(x, coefficients):
        a, b, c = coefficients
        gram = jnp.matmul(x.T, x, precision=lax.Precision.HIGHEST)
        square = jnp.matmul(gram, gram, precision=lax.Precision.HIGHEST)
        return a * x + jnp.matmul(x, b * gram + c * square, precision=lax.Precision.HIGHEST), None

    x, _ = lax.scan(iterate, x, jnp.asarray(coefficients, x.dtype))
    return x


def _grow_steps(m: int, n: int) -> int:
    """Return the iterations that lift the least singular value of a normalised `[m, n]` Gaussian to about 1.

    Of a square Gaussian it is below t / sqrt(n) with probability t, so 1e-7 of that is never met; where
    m >= 2 n it is close to sqrt(m) - sqrt(n).
    """
    norm = math.sqrt(m * n)
    least = 0.25 * (math.sqrt(m) - math.sqrt(n)) if m >= 2 * n else 1e-7 / math.sqrt(n)
    return math.ceil(math.log(norm / max(least, 1e-12)) / math.log(_GROW[0]))
