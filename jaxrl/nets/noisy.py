"""The dense layer with learned noise."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.initializers import Initializer


class NoisyDense(nn.Module):
    """A dense layer whose weights are drawn anew wherever an rng "noise" is given: `[..., D] -> [..., size]`.

        y = x (mu_w + sigma_w * f(e_in) f(e_out)^T) + mu_b + sigma_b * f(e_out),   f(e) = sign(e) sqrt(|e|)

    Without that rng it is the mean layer, which is how a policy is evaluated.

    Attributes:
      size: number of outputs.
      initial_scale: sigma_0; each sigma starts at `initial_scale / sqrt(D)`.
      kernel_init: of the means.

    >>> layer = NoisyDense(2)
    >>> variables = layer.init(jax.random.key(0), jnp.ones(3))
    >>> mean = layer.apply(variables, jnp.ones(3))
    >>> noisy = layer.apply(variables, jnp.ones(3), rngs={"noise": jax.random.key(1)})
    >>> mean.shape, bool(jnp.all(mean == noisy))
    ((2,), False)

    Source: Fortunato et al. (2018), https://arxiv.org/abs/1706.10295, section 3, factorised noise.
    """

    size: int
    initial_scale: float = 0.5
    kernel_init: Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs for `x`."""
        width = x.shape[-1]
        scale = nn.initializers.constant(self.initial_scale / width**0.5)
        kernel = self.param("kernel", self.kernel_init, (width, self.size))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.size,))
        kernel_scale = self.param("kernel_scale", scale, (width, self.size))
        bias_scale = self.param("bias_scale", scale, (self.size,))
        if self.has_rng("noise"):
            key_in, key_out = jax.random.split(self.make_rng("noise"))
            noise_in, noise_out = _rooted_normal(key_in, width), _rooted_normal(key_out, self.size)
            kernel = kernel + kernel_scale * jnp.outer(noise_in, noise_out)
            bias = bias + bias_scale * noise_out
        return x @ kernel + jnp.broadcast_to(bias, (*x.shape[:-1], self.size))


def _rooted_normal(key: jax.Array, size: int) -> jax.Array:
    noise = jax.random.normal(key, (size,))
    return jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
