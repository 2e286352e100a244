"""The convolutional torso for small images."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxrl.nets.initializers import Initializer, orthogonal
from jaxrl.nets.mlp import MLP, activation_function


class Convolution(nn.Module):
    """A two-dimensional convolution as one matrix product: `[..., H, W, C] -> [..., H', W', channels]`.

    Under `vmap` over seeds XLA turns a convolution into a grouped one, which on CPU takes twice as long
    as this product of patches and kernel, forward and backward.

    Attributes:
      channels: number of filters.
      kernel_size: side of the square kernel.
      stride: of the kernel.
      padding: "VALID" or "SAME".
      kernel_init: of the kernel `[kernel_size, kernel_size, C, channels]`.

    >>> layer = Convolution(16, 3)
    >>> outputs, variables = layer.init_with_output(jax.random.key(0), jnp.zeros((10, 10, 4)))
    >>> outputs.shape
    (8, 8, 16)
    """

    channels: int
    kernel_size: int
    stride: int = 1
    padding: str = "VALID"
    kernel_init: Initializer = orthogonal(2**0.5)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the filtered image `x`."""
        size, stride = self.kernel_size, self.stride
        kernel = self.param("kernel", self.kernel_init, (size, size, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.channels,))
        pads = lax.padtype_to_pads(x.shape[-3:-1], (size, size), (stride, stride), self.padding)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [*pads, (0, 0)])
        height, width = (stride * ((side - size) // stride) + 1 for side in x.shape[-3:-1])
        patches = [
            x[..., i : i + height : stride, j : j + width : stride, :]
            for i in range(size)
            for j in range(size)
        ]
        x = jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, self.channels)
        return x + bias.reshape(*(1,) * (x.ndim - 1), -1)


class CNN(nn.Module):
    """Convolutions and dense layers, each with the activation: `[..., H, W, C] -> [..., hidden_sizes[-1]]`.

    The defaults are the network of MinAtar's authors: 16 filters of 3 x 3, then 128 units.

    Attributes:
      channels: filters of each convolution.
      kernel_sizes: side of each convolution's square kernel, or one number for all.
      strides: of each convolution, or one number for all.
      hidden_sizes: width of each dense layer.
      activation: a name that `activation_function` knows.
      padding: "VALID" or "SAME".
      layer_norm: whether to normalise (over channels, or units) before each activation.
      kernel_init: of every layer.

    >>> network = CNN()
    >>> variables = network.init(jax.random.key(0), jnp.zeros((10, 10, 4)))
    >>> network.apply(variables, jnp.zeros((5, 10, 10, 4))).shape
    (5, 128)

    Source: Young and Tian (2019), https://arxiv.org/abs/1903.03176, section 4.
    """

    channels: Sequence[int] = (16,)
    kernel_sizes: int | Sequence[int] = 3
    strides: int | Sequence[int] = 1
    hidden_sizes: Sequence[int] = (128,)
    activation: str = "relu"
    padding: str = "VALID"
    layer_norm: bool = False
    kernel_init: Initializer = orthogonal(2**0.5)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the features of the image `x`.

        Raises:
          ValueError: if `x` is no image or too small, or the convolutions are lists of unequal lengths.
        """
        count = len(self.channels)
        sizes, strides = (
            (x,) * count if isinstance(x, int) else tuple(x) for x in (self.kernel_sizes, self.strides)
        )
        if not count == len(sizes) == len(strides):
            raise ValueError(
                "`channels`, `kernel_sizes` and `strides` must have one entry a convolution, got "
                f"{tuple(self.channels)}, {sizes} and {strides}"
            )
        if x.ndim < 3:
            raise ValueError(
                f"`x` must be an image [..., H, W, C], got shape {x.shape}; use an MLP for vectors"
            )
        activate = activation_function(self.activation)
        for channels, size, stride in zip(self.channels, sizes, strides, strict=True):
            if self.padding == "VALID" and min(x.shape[-3:-1]) < size:
                raise ValueError(
                    f"`kernel_sizes` must fit the image, got {size} for {x.shape[-3:-1]}; "
                    "use smaller kernels, fewer layers or padding='SAME'"
                )
            x = Convolution(channels, size, stride, self.padding, self.kernel_init)(x)
            x = activate(nn.LayerNorm()(x) if self.layer_norm else x)
        x = x.reshape(*x.shape[:-3], -1)
        return MLP(self.hidden_sizes, self.activation, self.layer_norm, self.kernel_init)(x)
