"""The scale on which large returns are learned: a root with a linear rest, and its inverse."""

import jax
import jax.numpy as jnp

Scalar = float | jax.Array


def rescale(x: jax.Array, epsilon: Scalar = 1e-3) -> jax.Array:
    """Return values on the scale that is learned, element-wise.

        h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x

    Args:
      x: `[...]` float.
      epsilon: `[]` float, not negative; 1e-3 in the paper. Above 0 the inverse is Lipschitz.

    >>> rescale(jnp.array([3.0, -3.0]), 0.0).tolist()
    [1.0, -1.0]

    Source: Pohlen et al. (2018), https://arxiv.org/abs/1805.11593, proposition A.2.
    """
    return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1.0) - 1.0) + epsilon * x


def unscale(x: jax.Array, epsilon: Scalar = 1e-3) -> jax.Array:
    """Return what `rescale` makes `x` of, element-wise.

        h^-1(x) = sign(x) (y^2 - 1),    y = 2 z / (1 + sqrt(1 + 4 epsilon z)),    z = |x| + 1 + epsilon

    where y is the paper's (sqrt(1 + 4 epsilon z) - 1) / (2 epsilon) without its cancellation, so that
    epsilon = 0 is served too.

    Args:
      x: `[...]` float.
      epsilon: as of `rescale`.

    >>> unscale(jnp.array([1.0, -1.0]), 0.0).tolist()
    [3.0, -3.0]

    Source: as `rescale`.
    """
    shifted = jnp.abs(x) + 1.0 + epsilon
    root = 2.0 * shifted / (1.0 + jnp.sqrt(1.0 + 4.0 * epsilon * shifted))
    return jnp.sign(x) * (jnp.square(root) - 1.0)
