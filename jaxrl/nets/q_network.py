"""The network of action values, with the options that the relatives of DQN ask for."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.nets.mlp import activation_function
from jaxrl.nets.noisy import NoisyDense


class QNetwork(nn.Module):
    """K numbers for each of A actions: `[..., *obs] -> [..., A, K]`.

    The activations of each hidden layer are sown as intermediates named "hidden", from which the share of
    dead units is read.

    Attributes:
      num_actions: A.
      num_outputs: K: 1 for a value, or the atoms or quantiles of a distribution.
      hidden_sizes: widths of the dense layers.
      activation: a name that `activation_function` knows.
      channels: filters of 3 x 3 convolutions before the dense layers; none for vectors.
      layer_norm: whether to normalise before each activation.
      dueling: whether the last hidden layer and the head are split into a value and advantages,
        `Q = V + A - mean_a A`.
      noisy: whether the dense layers have learned noise (see `NoisyDense`).
      initializer: of the kernels, one of `INITIALIZERS`.

    >>> network = QNetwork(num_actions=2, dueling=True)
    >>> variables = network.init(jax.random.key(0), jnp.zeros(4))
    >>> network.apply(variables, jnp.zeros((5, 4))).shape
    (5, 2, 1)

    Source: Wang et al. (2016), https://arxiv.org/abs/1511.06581, equation 9, for dueling streams.
    """

    num_actions: int
    num_outputs: int = 1
    hidden_sizes: Sequence[int] = (120, 84)
    activation: str = "relu"
    channels: Sequence[int] = ()
    layer_norm: bool = False
    dueling: bool = False
    noisy: bool = False
    initializer: str = "orthogonal"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs for observations `x`."""
        if self.channels:
            convolutions = CNN(
                self.channels,
                hidden_sizes=(),
                activation=self.activation,
                layer_norm=self.layer_norm,
                kernel_init=INITIALIZERS[self.initializer](2**0.5),
            )
            x = convolutions(x)
        if not self.dueling:
            return self._head(self._hidden(x, self.hidden_sizes), self.num_actions)
        shared, own = self.hidden_sizes[:-1], self.hidden_sizes[-1:]
        x = self._hidden(x, shared)
        value, advantage = (
            self._head(self._hidden(x, own), 1),
            self._head(self._hidden(x, own), self.num_actions),
        )
        return value + advantage - jnp.mean(advantage, axis=-2, keepdims=True)

    def _hidden(self, x: jax.Array, sizes: Sequence[int]) -> jax.Array:
        activate = activation_function(self.activation)
        for size in sizes:
            x = self._dense(size, 2**0.5)(x)
            x = activate(nn.LayerNorm()(x) if self.layer_norm else x)
            self.sow("intermediates", "hidden", x)
        return x

    def _head(self, x: jax.Array, count: int) -> jax.Array:
        outputs = self._dense(count * self.num_outputs, 1.0)(x)
        return outputs.reshape(*outputs.shape[:-1], count, self.num_outputs)

    def _dense(self, size: int, gain: float) -> nn.Module:
        kernel_init = INITIALIZERS[self.initializer](gain)
        return (NoisyDense if self.noisy else nn.Dense)(size, kernel_init=kernel_init)
