"""A recurrent layer over stretches of trajectories, whose memory is cleared where an episode begins."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from envs.vector import where
from jaxrl.nets.initializers import orthogonal

Cell = Literal["gru", "lstm"]
_CELLS = {"gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}


class Recurrent(nn.Module):
    """A GRU or an LSTM: `carry [...], x [T, ..., F], first [T, ...] -> carry [...], y [T, ..., features]`.

    Attributes:
      features: H, size of the memory and of the output.
      cell: "gru" or "lstm".

    >>> network = Recurrent(8, "lstm")
    >>> x, first = jnp.zeros((5, 2, 3)), jnp.zeros((5, 2), bool)
    >>> variables = network.init(jax.random.key(0), network.initial_carry((2,)), x, first)
    >>> carry, y = network.apply(variables, network.initial_carry((2,)), x, first)
    >>> y.shape
    (5, 2, 8)

    Source: Cho et al. (2014), https://arxiv.org/abs/1406.1078; Hochreiter and Schmidhuber (1997); CleanRL's
    ppo_atari_lstm.py for orthogonal kernels.
    """

    features: int
    cell: Cell = "gru"

    @nn.compact
    def __call__(self, carry: Any, x: jax.Array, first: jax.Array) -> tuple[Any, jax.Array]:
        """Return the memory after the last step, and the outputs of all.

        Args:
          carry: the memory before the first step, leaves `[..., H]`.
          x: `[T, ..., F]` float32.
          first: `[T, ...]` bool, the steps before which the memory is cleared: the first of an episode.
        """

        def step(cell, carry, inputs):
            x, first = inputs
            carry = where(first, jax.tree.map(jnp.zeros_like, carry), carry)
            return cell(carry, x)

        # flax's own orthogonal initialiser would call LAPACK; see jaxrl.nets.initializers.
        cell = _CELLS[self.cell](
            self.features, kernel_init=orthogonal(1.0), recurrent_kernel_init=orthogonal(1.0)
        )
        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return scan(cell, carry, (x, first))

    @nn.nowrap
    def initial_carry(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Return the memory at the start of an episode: zeros, leaves `[*batch_shape, features]`."""
        zeros = jnp.zeros((*batch_shape, self.features), jnp.float32)
        return (zeros, zeros) if self.cell == "lstm" else zeros
