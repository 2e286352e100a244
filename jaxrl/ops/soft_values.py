"""Values with an entropy bonus, their temperature, and targets from several critics.

`reward` and `discount` are those of a transition, as `jaxrl.replay.Transition` holds them: `discount` is
gamma^m, or 0 after a termination. Critics lead: `[N, ...]` are the values of N of them.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax

Scalar = float | jax.Array


def subset_minimum(q: jax.Array, size: int, key: Any = None) -> jax.Array:
    """Return the least value of `size` critics drawn without replacement, `[...]`.

    Args:
      q: `[N, ...]` float.
      size: M, at most N; with M = N nothing is drawn.
      key: one key, needed where M < N; one subset is drawn for all values.

    >>> subset_minimum(jnp.array([[1.0, 5.0], [2.0, 4.0]]), 2).tolist()
    [1.0, 4.0]

    Source: Fujimoto et al. (2018), https://arxiv.org/abs/1802.09477, equation 10; Chen et al. (2021),
    "Randomized Ensembled Double Q-Learning", https://arxiv.org/abs/2101.05982, algorithm 1, for subsets.
    """
    if size == len(q):
        return jnp.min(q, axis=0)
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(key, (len(q),))))
    drawn = (rank < size).reshape(-1, *(1,) * (q.ndim - 1))
    return jnp.min(jnp.where(drawn, q, jnp.inf), axis=0)


def soft_target(
    reward: jax.Array, discount: jax.Array, next_q: jax.Array, next_log_prob: jax.Array, temperature: Scalar
) -> jax.Array:
    """Return the target of a soft action value, `[...]`, for a drawn next action.

        r + discount * (Q(s', a') - temperature * log pi(a' | s')),    a' ~ pi(. | s')

    Args:
      reward: `[...]` float.
      discount: `[...]` float.
      next_q: `[...]` float, Q(s', a') of the target network.
      next_log_prob: `[...]` float.
      temperature: `[]` float.

    Returns:
      `[...]` float, through which no gradient flows.

    >>> float(soft_target(*(jnp.float32(x) for x in (1.0, 0.5, 4.0, -2.0)), temperature=0.5))
    3.5

    Source: Haarnoja et al. (2018), https://arxiv.org/abs/1812.05905, equations 2 and 3.
    """
    chex.assert_equal_shape([reward, discount, next_q, next_log_prob])
    return lax.stop_gradient(reward + discount * (next_q - temperature * next_log_prob))


def expected_soft_value(logits: jax.Array, q: jax.Array, temperature: Scalar) -> jax.Array:
    """Return what a state is worth under a policy over A actions, `[...]`.

        sum_a pi(a | s) (Q(s, a) - temperature * log pi(a | s)),    pi = softmax(logits)

    Args:
      logits: `[..., A]` float.
      q: `[..., A]` float.
      temperature: `[]` float.

    >>> float(expected_soft_value(jnp.zeros(2), jnp.array([1.0, 3.0]), temperature=0.0))
    2.0

    Source: Christodoulou (2019), "Soft Actor-Critic for Discrete Action Settings",
    https://arxiv.org/abs/1910.07207, equation 10.
    """
    chex.assert_equal_shape([logits, q])
    log_pi = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_pi) * (q - temperature * log_pi), axis=-1)


def temperature_loss(log_temperature: jax.Array, entropy: jax.Array, target_entropy: Scalar) -> jax.Array:
    """Return the loss that raises the temperature where the entropy is below its target, `[...]`.

        temperature * (entropy - target_entropy)

    Args:
      log_temperature: `[]` float.
      entropy: `[...]` float, of the policy, or `-log pi` of drawn actions; no gradient flows into it.
      target_entropy: `[]` float, in nats.

    >>> slope = jax.grad(temperature_loss)
    >>> [float(slope(jnp.float32(0), jnp.float32(h), -1.0)) for h in (-2.0, 0.0)]
    [-1.0, 1.0]

    Source: Haarnoja et al. (2018), https://arxiv.org/abs/1812.05905, equation 18.
    """
    return jnp.exp(log_temperature) * (lax.stop_gradient(entropy) - target_entropy)


def smoothed_action(action: jax.Array, noise: jax.Array, bound: Scalar) -> jax.Array:
    """Return an action in [-1, 1] with noise that is clipped, `[...]`.

        clip(action + clip(noise, -bound, bound), -1, 1)

    Args:
      action: `[...]` float in [-1, 1].
      noise: `[...]` float.
      bound: `[]` float, of the noise.

    >>> smoothed_action(jnp.array([0.0, 0.9]), jnp.array([2.0, 0.3]), 0.5).tolist()
    [0.5, 1.0]

    Source: Fujimoto et al. (2018), https://arxiv.org/abs/1802.09477, equation 15.
    """
    return jnp.clip(action + jnp.clip(noise, -bound, bound), -1.0, 1.0)
