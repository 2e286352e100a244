"""Numbers of an observation, and perhaps an action: actors and critics alike; and ensembles of them."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.mlp import activation_function


class Estimator(nn.Module):
    """K numbers of an observation, or of an observation and an action: `[..., *obs] -> [..., K]`.

    The action joins the features that enter the dense layers. The activations of each of them are sown as
    intermediates named "hidden". Kernels are initialised as flax does by default, with variance 1 / inputs.

    Attributes:
      num_outputs: K.
      hidden_sizes: widths of the dense layers.
      activation: a name that `activation_function` knows.
      channels: filters of 3 x 3 convolutions before the dense layers; none for vectors.
      layer_norm: whether to normalise before each activation.

    >>> critic = Estimator(num_outputs=1)
    >>> variables = critic.init(jax.random.key(0), jnp.zeros(4), jnp.zeros(2))
    >>> critic.apply(variables, jnp.zeros((5, 4)), jnp.zeros((5, 2))).shape
    (5, 1)
    """

    num_outputs: int
    hidden_sizes: Sequence[int] = (256, 256)
    activation: str = "relu"
    channels: Sequence[int] = ()
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, action: jax.Array | None = None) -> jax.Array:
        """Return the numbers of observations `x` and actions `[..., A]`."""
        activate = activation_function(self.activation)
        if self.channels:
            x = CNN(self.channels, hidden_sizes=(), activation=self.activation, layer_norm=self.layer_norm)(x)
        if action is not None:
            x = jnp.concatenate([x, action], axis=-1)
        for size in self.hidden_sizes:
            x = nn.Dense(size)(x)
            x = activate(nn.LayerNorm()(x) if self.layer_norm else x)
            self.sow("intermediates", "hidden", x)
        return nn.Dense(self.num_outputs)(x)


def init_ensemble(module: nn.Module, key: jax.Array, size: int, *inputs: jax.Array) -> Any:
    """Return the parameters of N = `size` independent networks, leaves `[N, ...]`."""
    return jax.vmap(lambda key: {"params": module.init(key, *inputs)["params"]})(jax.random.split(key, size))


def apply_ensemble(module: nn.Module, params: Any, *inputs: jax.Array) -> jax.Array:
    """Return what each network says of the same inputs, `[N, ...]`; its layers are one product each.

    >>> critic = Estimator(num_outputs=1)
    >>> params = init_ensemble(critic, jax.random.key(0), 3, jnp.zeros(4))
    >>> apply_ensemble(critic, params, jnp.zeros((5, 4))).shape
    (3, 5, 1)
    """
    return jax.vmap(module.apply)(params, *_each(params, inputs))  # type: ignore[return-value]


def hidden_of_ensemble(module: nn.Module, params: Any, *inputs: jax.Array) -> list[jax.Array]:
    """Return the activations of each hidden layer of all networks side by side, `[B, N * H]` each."""

    def hidden(params, *inputs):
        sown: Any = module.apply(params, *inputs, mutable=["intermediates"])[1]
        return list(sown.get("intermediates", {}).get("hidden", ()))

    layers = jax.vmap(hidden, out_axes=-2)(params, *_each(params, inputs))
    return [layer.reshape(*layer.shape[:-2], -1) for layer in layers]


def _each(params: Any, inputs: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Return the inputs once for each network: of shared ones, the first layer's outputs come transposed."""
    size = len(jax.tree.leaves(params)[0])
    return [jnp.broadcast_to(x[None], (size, *x.shape)) for x in inputs]
