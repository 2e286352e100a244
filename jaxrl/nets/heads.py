"""Output layers, and the actor-critic that most policy-gradient methods share."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.initializers import INITIALIZERS
from jaxrl.nets.mlp import MLP
from jaxrl.nets.recurrent import Cell, Recurrent

# The least standard deviation of a scale that depends on the input, as in Brax.
MIN_SCALE = 1e-3


class Head(nn.Module):
    """A last dense layer, by default orthogonal with a small gain: `[..., H] -> [..., size]`.

    With `has_scale` the outputs are means, and a log standard deviation for each, which does not depend
    on the input and starts at `initial_log_std`, follows them: `[..., 2 * size]`, as
    `jaxrl.distributions.for_space` takes them. With `scale_from_input` too, the standard deviations are
    softplus of as many more outputs, plus 0.001.

    Attributes:
      size: number of outputs: logits or means.
      gain: of the orthogonal kernel: 0.01 for a policy, 1 for a value.
      has_scale: whether to append log standard deviations.
      initial_log_std: their first value, where they do not depend on the input.
      scale_from_input: whether they depend on it.
      initializer: of the kernel, one of `INITIALIZERS`; the others than "orthogonal" know no gain.

    >>> head = Head(2, has_scale=True)
    >>> outputs, variables = head.init_with_output(jax.random.key(0), jnp.zeros((5, 3)))
    >>> outputs.shape
    (5, 4)

    Source: Brax's training/distribution.py for the scale that depends on the input.
    """

    size: int
    gain: float = 0.01
    has_scale: bool = False
    initial_log_std: float = 0.0
    scale_from_input: bool = False
    initializer: str = "orthogonal"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs for the features `x`."""
        kernel_init = INITIALIZERS[self.initializer](self.gain)
        if self.has_scale and self.scale_from_input:
            mean, raw = jnp.split(nn.Dense(2 * self.size, kernel_init=kernel_init)(x), 2, axis=-1)
            return jnp.concatenate([mean, jnp.log(nn.softplus(raw) + MIN_SCALE)], axis=-1)
        outputs = nn.Dense(self.size, kernel_init=kernel_init)(x)
        if not self.has_scale:
            return outputs
        log_std = self.param("log_std", nn.initializers.constant(self.initial_log_std), (self.size,))
        return jnp.concatenate([outputs, jnp.broadcast_to(log_std, outputs.shape)], axis=-1)


class ActorCritic(nn.Module):
    """A policy and a value in separate towers, each of which can run alone.

    Attributes:
      size: numbers of the policy: logits, or means where `has_scale` (`for_space(space).size`).
      hidden_sizes: width of the dense layers of each tower.
      activation: a name that `activation_function` knows.
      channels: filters of 3 x 3 convolutions before the dense layers; none for vectors.
      has_scale: whether the policy is Gaussian with a log standard deviation that is a parameter.
      scale_from_input: whether it is an output instead; see `Head`.
      critic_hidden_sizes: widths of the critic's dense layers; none for those of the actor.
      actor_inputs: how many entries of a vector the actor sees; the critic always sees all.
      initializer: of the kernels, one of `INITIALIZERS`.

    >>> network = ActorCritic(size=2)
    >>> variables = network.init(jax.random.key(0), jnp.zeros(4))
    >>> network.apply(variables, jnp.zeros((5, 4)), method="actor").shape
    (5, 2)
    >>> network.apply(variables, jnp.zeros((5, 4)), method="critic").shape
    (5,)

    Source: CleanRL's ppo.py and ppo_continuous_action.py: orthogonal kernels with gains sqrt(2), 0.01
    (policy) and 1 (value), zero biases.
    """

    size: int
    hidden_sizes: Sequence[int] = (64, 64)
    activation: str = "tanh"
    channels: Sequence[int] = ()
    has_scale: bool = False
    scale_from_input: bool = False
    critic_hidden_sizes: Sequence[int] = ()
    actor_inputs: int | None = None
    initializer: str = "orthogonal"

    def setup(self):
        """Declare the two towers."""
        self.actor_torso = self._torso(self.hidden_sizes)
        self.actor_head = Head(
            self.size,
            gain=0.01,
            has_scale=self.has_scale,
            scale_from_input=self.scale_from_input,
            initializer=self.initializer,
        )
        self.critic_torso = self._torso(self.critic_hidden_sizes or self.hidden_sizes)
        self.critic_head = Head(1, gain=1.0, initializer=self.initializer)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return `(actor(x), critic(x))`."""
        return self.actor(x), self.critic(x)

    def actor(self, x: jax.Array) -> jax.Array:
        """Return the parameters of the policy's distribution, `[..., size]` (twice that with a scale)."""
        return self.actor_head(self.actor_torso(self._for_actor(x)))

    def critic(self, x: jax.Array) -> jax.Array:
        """Return the value, `[...]`."""
        return jnp.squeeze(self.critic_head(self.critic_torso(x)), axis=-1)

    def _for_actor(self, x: jax.Array) -> jax.Array:
        return x if self.actor_inputs is None else x[..., : self.actor_inputs]

    def _torso(self, hidden_sizes: Sequence[int]) -> nn.Module:
        shared = {
            "hidden_sizes": hidden_sizes,
            "activation": self.activation,
            "kernel_init": INITIALIZERS[self.initializer](2**0.5),
        }
        return CNN(self.channels, **shared) if self.channels else MLP(**shared)


class RecurrentActorCritic(ActorCritic):
    """The same with a memory between the dense layers and the head of each tower.

    Both methods take a stretch of T steps, the memory before it, and which of the steps begin an episode:
    `(memory, x [T, ..., F], first [T, ...]) -> (memory, outputs [T, ...])`.

    Attributes:
      memory_size: H.
      cell: "gru" or "lstm"; see `Recurrent`.

    >>> network = RecurrentActorCritic(size=2, memory_size=8)
    >>> x, first = jnp.zeros((5, 3, 4)), jnp.zeros((5, 3), bool)
    >>> memory = network.initial_memory((3,))
    >>> variables = network.init(jax.random.key(0), x, memory, first)
    >>> network.apply(variables, memory[1], x, first, method="critic_over_time")[1].shape
    (5, 3)
    """

    memory_size: int = 64
    cell: Cell = "gru"

    def setup(self):
        """Declare the two towers and their memories."""
        super().setup()
        self.actor_memory = Recurrent(self.memory_size, self.cell)
        self.critic_memory = Recurrent(self.memory_size, self.cell)

    def __call__(self, x: jax.Array, memory: Any = None, first: jax.Array | None = None) -> Any:
        """Return the memories of actor and critic after the last step, and the outputs of both."""
        actor_memory, outputs = self.actor_over_time(memory[0], x, first)
        critic_memory, value = self.critic_over_time(memory[1], x, first)
        return (actor_memory, critic_memory), outputs, value

    def actor_over_time(self, memory: Any, x: jax.Array, first: Any) -> tuple[Any, jax.Array]:
        """Return the actor's memory after the last step, and the distributions' parameters."""
        memory, features = self.actor_memory(memory, self.actor_torso(self._for_actor(x)), first)
        return memory, self.actor_head(features)

    def critic_over_time(self, memory: Any, x: jax.Array, first: Any) -> tuple[Any, jax.Array]:
        """Return the critic's memory after the last step, and the values."""
        memory, features = self.critic_memory(memory, self.critic_torso(x), first)
        return memory, jnp.squeeze(self.critic_head(features), axis=-1)

    @nn.nowrap
    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Return both memories at the start of an episode: zeros, leaves `[*batch_shape, H]`."""
        start = Recurrent(self.memory_size, self.cell).initial_carry(batch_shape)
        return start, start
