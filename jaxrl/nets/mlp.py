"""The multi-layer perceptron, and activations by name."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from envs.core import unknown
from jaxrl.nets.initializers import Initializer, orthogonal

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "silu": nn.silu,
    "softplus": nn.softplus,
    "tanh": jnp.tanh,
}


def activation_function(name: str) -> Callable[[jax.Array], jax.Array]:
    """Return the activation called `name`.

    Raises:
      ValueError: if there is none; the closest names are given.

    >>> float(activation_function("relu")(-1.0))
    0.0
    """
    if name not in ACTIVATIONS:
        raise ValueError(unknown("activation", name, list(ACTIVATIONS)))
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """Dense layers, each followed by the activation: `[..., D] -> [..., hidden_sizes[-1]]`.

    Attributes:
      hidden_sizes: width of each layer; none gives the identity.
      activation: a name that `activation_function` knows.
      layer_norm: whether to normalise before each activation.
      kernel_init: of every layer; orthogonal with gain sqrt(2), as CleanRL.

    >>> variables = MLP((8, 4)).init(jax.random.key(0), jnp.zeros(3))
    >>> MLP((8, 4)).apply(variables, jnp.zeros((5, 3))).shape
    (5, 4)
    """

    hidden_sizes: Sequence[int] = (64, 64)
    activation: str = "tanh"
    layer_norm: bool = False
    kernel_init: Initializer = orthogonal(2**0.5)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the features of `x`."""
        activate = activation_function(self.activation)
        for size in self.hidden_sizes:
            x = nn.Dense(size, kernel_init=self.kernel_init)(x)
            if self.layer_norm:
                x = nn.LayerNorm()(x)
            x = activate(x)
        return x
