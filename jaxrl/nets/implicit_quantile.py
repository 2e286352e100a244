"""The network that takes the level of a quantile as an input."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.nets.mlp import activation_function


class ImplicitQuantileNetwork(nn.Module):
    """Quantiles at N levels for each of A actions: `[..., *obs], [..., N] -> [..., A, N]`.

    The features of an observation are multiplied by an embedding of the level,
    `relu(W [cos(0), cos(pi tau), ..., cos((C - 1) pi tau)] + b)`, before the last hidden layer. Hidden
    activations are sown as intermediates named "hidden".

    Attributes:
      num_actions: A.
      hidden_sizes: widths of the dense layers, at least two: those before the product, and the one after it.
      activation: a name that `activation_function` knows.
      channels: filters of 3 x 3 convolutions before the dense layers; none for vectors.
      layer_norm: whether to normalise before each activation.
      num_cosines: C.
      initializer: of the kernels, one of `INITIALIZERS`.

    >>> network = ImplicitQuantileNetwork(num_actions=2)
    >>> x, levels = jnp.zeros((5, 4)), jnp.full((5, 8), 0.5)
    >>> network.apply(network.init(jax.random.key(0), x, levels), x, levels).shape
    (5, 2, 8)

    Source: Dabney et al. (2018), https://arxiv.org/abs/1806.06923, equation 4 and section 3.
    """

    num_actions: int
    hidden_sizes: Sequence[int] = (120, 84)
    activation: str = "relu"
    channels: Sequence[int] = ()
    layer_norm: bool = False
    num_cosines: int = 64
    initializer: str = "orthogonal"

    @nn.compact
    def __call__(self, x: jax.Array, levels: jax.Array) -> jax.Array:
        """Return the quantiles of observations `x` at `levels`."""
        if self.channels:
            convolutions = CNN(
                self.channels,
                hidden_sizes=(),
                activation=self.activation,
                layer_norm=self.layer_norm,
                kernel_init=INITIALIZERS[self.initializer](2**0.5),
            )
            x = convolutions(x)
        for size in self.hidden_sizes[:-1]:
            x = self._hidden(x, size)
        multiples = jnp.pi * jnp.arange(self.num_cosines, dtype=jnp.float32)
        angles = jnp.expand_dims(multiples, tuple(range(levels.ndim))) * levels[..., None]
        embedding = nn.relu(self._dense(x.shape[-1], 2**0.5)(jnp.cos(angles)))
        x = self._hidden(x[..., None, :] * embedding, self.hidden_sizes[-1])
        outputs = self._dense(self.num_actions, 1.0)(x)
        return jnp.swapaxes(outputs, -1, -2)

    def _hidden(self, x: jax.Array, size: int) -> jax.Array:
        x = self._dense(size, 2**0.5)(x)
        x = activation_function(self.activation)(nn.LayerNorm()(x) if self.layer_norm else x)
        self.sow("intermediates", "hidden", x)
        return x

    def _dense(self, size: int, gain: float) -> nn.Dense:
        return nn.Dense(size, kernel_init=INITIALIZERS[self.initializer](gain))
