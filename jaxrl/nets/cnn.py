"""The convolutional torso for small images."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from jaxrl.nets.initializers import Initializer, orthogonal
from jaxrl.nets.mlp import MLP, activation_function


class CNN(nn.Module):
    """Convolutions and dense layers, each with the activation: `[..., H, W, C] -> [..., hidden_sizes[-1]]`.

    The defaults are the network of MinAtar's authors: 16 filters of 3 x 3, then 128 units.

    Attributes:
      channels: filters of each convolution.
      kernel_sizes: side of each convolution's square kernel.
      strides: of each convolution.
      hidden_sizes: width of each dense layer.
      activation: a name that `activation_function` knows.
      padding: "VALID" or "SAME".
      kernel_init: of every layer.

    >>> network = CNN()
    >>> variables = network.init(jax.random.key(0), jax.numpy.zeros((10, 10, 4)))
    >>> network.apply(variables, jax.numpy.zeros((5, 10, 10, 4))).shape
    (5, 128)

    Source: Young and Tian (2019), https://arxiv.org/abs/1903.03176, section 4.
    """

    channels: Sequence[int] = (16,)
    kernel_sizes: Sequence[int] = (3,)
    strides: Sequence[int] = (1,)
    hidden_sizes: Sequence[int] = (128,)
    activation: str = "relu"
    padding: str = "VALID"
    kernel_init: Initializer = orthogonal(2**0.5)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the features of the image `x`.

        Raises:
          ValueError: if `x` is no image or too small, or the convolutions are lists of unequal lengths.
        """
        if not len(self.channels) == len(self.kernel_sizes) == len(self.strides):
            raise ValueError(
                "`channels`, `kernel_sizes` and `strides` must have one entry a convolution, got "
                f"{tuple(self.channels)}, {tuple(self.kernel_sizes)} and {tuple(self.strides)}"
            )
        if x.ndim < 3:
            raise ValueError(
                f"`x` must be an image [..., H, W, C], got shape {x.shape}; use an MLP for vectors"
            )
        activate = activation_function(self.activation)
        for channels, size, stride in zip(self.channels, self.kernel_sizes, self.strides, strict=True):
            if self.padding == "VALID" and min(x.shape[-3:-1]) < size:
                raise ValueError(
                    f"`kernel_sizes` must fit the image, got {size} for {x.shape[-3:-1]}; "
                    "use smaller kernels, fewer layers or padding='SAME'"
                )
            x = nn.Conv(channels, (size, size), (stride, stride), self.padding, kernel_init=self.kernel_init)(
                x
            )
            x = activate(x)
        x = x.reshape(*x.shape[:-3], -1)
        return MLP(self.hidden_sizes, self.activation, kernel_init=self.kernel_init)(x)
