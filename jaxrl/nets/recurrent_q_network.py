"""The network of action values of a learner that remembers."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.nets.mlp import MLP
from jaxrl.nets.q_network import QNetwork
from jaxrl.nets.recurrent import Cell, Recurrent


class RecurrentQNetwork(nn.Module):
    """Features of each observation, a memory of them, and the values of A actions, as three methods.

    The activations of the features and of the head are sown as intermediates named "hidden".

    Attributes:
      num_actions: A.
      hidden_sizes: widths of the dense layers before the memory.
      memory_size: H.
      head_sizes: widths of the dense layers after it.
      cell: "gru" or "lstm".
      activation: a name that `activation_function` knows.
      channels: filters of 3 x 3 convolutions before all that; none for vectors.
      layer_norm: whether to normalise before each activation.
      dueling: whether the head is split into a value and advantages (see `QNetwork`).
      initializer: of the kernels but the memory's, which are orthogonal; see `QNetwork`.

    >>> network = RecurrentQNetwork(num_actions=2, memory_size=8)
    >>> memory, x, first = network.initial_memory((3,)), jnp.zeros((5, 3, 4)), jnp.zeros((5, 3), bool)
    >>> (memories, q), _ = network.init_with_output(jax.random.key(0), memory, x, first)
    >>> q.shape, memories[0].shape
    ((5, 3, 2), (5, 3, 8))

    Source: Kapturowski et al. (2019), "Recurrent experience replay in distributed reinforcement learning",
    section 2.3.
    """

    num_actions: int
    hidden_sizes: Sequence[int] = (64,)
    memory_size: int = 64
    head_sizes: Sequence[int] = (64,)
    cell: Cell = "lstm"
    activation: str = "relu"
    channels: Sequence[int] = ()
    layer_norm: bool = False
    dueling: bool = False
    initializer: str = "orthogonal"

    def setup(self):
        """Declare the parts."""
        kernel_init = INITIALIZERS[self.initializer](2**0.5)
        if self.channels:
            self.torso: Any = CNN(
                self.channels,
                hidden_sizes=self.hidden_sizes,
                activation=self.activation,
                layer_norm=self.layer_norm,
                kernel_init=kernel_init,
            )
        else:
            self.torso = MLP(self.hidden_sizes, self.activation, self.layer_norm, kernel_init)
        self.recurrent = Recurrent(self.memory_size, self.cell)
        self.head = QNetwork(
            self.num_actions,
            hidden_sizes=self.head_sizes,
            activation=self.activation,
            layer_norm=self.layer_norm,
            dueling=self.dueling,
            initializer=self.initializer,
        )

    def __call__(self, memory: Any, x: jax.Array, first: jax.Array) -> tuple[Any, jax.Array]:
        """Return the memory after each step and the values there: `remember`, then `values`.

        Args:
          memory: before the first step, leaves `[..., H]`.
          x: `[T, ..., *obs]` float32.
          first: `[T, ...]` bool, the steps before which the memory is cleared.
        """
        memories, outputs = self.remember(memory, self.features(x), first)
        return memories, self.values(outputs)

    def features(self, x: jax.Array) -> jax.Array:
        """Return what is remembered of observations: `[..., *obs] -> [..., F]`."""
        features = self.torso(x)
        self.sow("intermediates", "hidden", features)
        return features

    def remember(self, memory: Any, features: jax.Array, first: jax.Array) -> tuple[Any, jax.Array]:
        """Return the memory after each of T steps, leaves `[T, ..., H]`, and the outputs `[T, ..., H]`."""

        def step(recurrent, memory, at):
            features, first = at
            memory, outputs = recurrent(memory, features[None], first[None])
            return memory, (memory, outputs[0])

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return scan(self.recurrent, memory, (features, first))[1]

    def values(self, outputs: jax.Array) -> jax.Array:
        """Return the values of the actions: `[..., H] -> [..., A]`."""
        return jnp.squeeze(self.head(outputs), axis=-1)

    @nn.nowrap
    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Return the memory at the start of an episode: zeros, leaves `[*batch_shape, H]`."""
        return Recurrent(self.memory_size, self.cell).initial_carry(batch_shape)
