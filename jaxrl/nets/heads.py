"""Output layers, and the actor-critic that most policy-gradient methods share."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl.nets.cnn import CNN
from jaxrl.nets.initializers import orthogonal
from jaxrl.nets.mlp import MLP


class Head(nn.Module):
    """A last dense layer, orthogonal with a small gain: `[..., H] -> [..., size]`.

    With `has_scale` the outputs are means, and a log standard deviation for each, which does not depend
    on the input and starts at `initial_log_std`, follows them: `[..., 2 * size]`, as
    `jaxrl.distributions.for_space` takes them.

    Attributes:
      size: number of outputs: logits or means.
      gain: of the orthogonal kernel: 0.01 for a policy, 1 for a value.
      has_scale: whether to append log standard deviations.
      initial_log_std: their first value.

    >>> head = Head(2, has_scale=True)
    >>> outputs, variables = head.init_with_output(jax.random.key(0), jnp.zeros((5, 3)))
    >>> outputs.shape
    (5, 4)
    """

    size: int
    gain: float = 0.01
    has_scale: bool = False
    initial_log_std: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs for the features `x`."""
        outputs = nn.Dense(self.size, kernel_init=orthogonal(self.gain))(x)
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

    def setup(self):
        """Declare the two towers."""
        self.actor_torso = self._torso()
        self.actor_head = Head(self.size, gain=0.01, has_scale=self.has_scale)
        self.critic_torso = self._torso()
        self.critic_head = Head(1, gain=1.0)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return `(actor(x), critic(x))`."""
        return self.actor(x), self.critic(x)

    def actor(self, x: jax.Array) -> jax.Array:
        """Return the parameters of the policy's distribution, `[..., size]` (twice that with a scale)."""
        return self.actor_head(self.actor_torso(x))

    def critic(self, x: jax.Array) -> jax.Array:
        """Return the value, `[...]`."""
        return jnp.squeeze(self.critic_head(self.critic_torso(x)), axis=-1)

    def _torso(self) -> nn.Module:
        if not self.channels:
            return MLP(self.hidden_sizes, self.activation)
        count = len(self.channels)
        return CNN(self.channels, (3,) * count, (1,) * count, self.hidden_sizes, self.activation)
