"""Targets and losses of action values: expected, categorical, as quantiles, and with an entropy bonus.

All take any leading axes. `reward` and `discount` are those of a transition over one or more steps, as
`jaxrl.replay.Transition` holds them: `discount` is gamma^m, or 0 after a termination.
"""

import chex
import jax
import jax.numpy as jnp
from jax import lax

Scalar = float | jax.Array


def select(values: jax.Array, action: jax.Array) -> jax.Array:
    """Return `values[..., action, ...]`: `[..., A]` or `[..., A, K]` at `action` `[...]`.

    >>> select(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1, 0])).tolist()
    [2.0, 3.0]
    """
    index = action.reshape(action.shape + (1,) * (values.ndim - action.ndim))
    return jnp.squeeze(jnp.take_along_axis(values, index, axis=action.ndim), axis=action.ndim)


def q_target(
    reward: jax.Array, discount: jax.Array, next_q: jax.Array, selector_q: jax.Array | None = None
) -> jax.Array:
    """Return the target of Q-learning, or of double Q-learning, `[...]`.

        r + discount * Q(s', argmax_a selector(s', a))

    Args:
      reward: `[...]` float.
      discount: `[...]` float.
      next_q: `[..., A]` float, of the target network at s'.
      selector_q: `[..., A]` float, whose best action counts: of the online network for double Q-learning,
        `next_q` itself by default.

    Returns:
      `[...]` float, through which no gradient flows.

    >>> q_target(jnp.float32(1), jnp.float32(0.5), jnp.array([2.0, 4.0]), jnp.array([1.0, 0.0])).tolist()
    2.0

    Source: van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461, equations 2 and 4.
    """
    best = jnp.argmax(next_q if selector_q is None else selector_q, axis=-1)
    return lax.stop_gradient(reward + discount * select(next_q, best))


def munchausen_target(
    reward: jax.Array,
    discount: jax.Array,
    q: jax.Array,
    action: jax.Array,
    next_q: jax.Array,
    temperature: Scalar,
    scale: Scalar,
    clip: Scalar,
) -> jax.Array:
    """Return the target of Munchausen DQN, `[...]`.

        r + scale * max(temperature * log pi(a | s), clip)
          + discount * sum_a' pi(a' | s') (Q(s', a') - temperature * log pi(a' | s'))

    where pi = softmax(Q / temperature), and both Q are of the target network.

    Args:
      reward: `[...]` float, of a single step.
      discount: `[...]` float.
      q: `[..., A]` float, at s.
      action: `[...]` int32.
      next_q: `[..., A]` float, at s'.
      temperature: `[]` float, positive.
      scale: `[]` float, 0.9 in the paper.
      clip: `[]` float, -1 in the paper.

    Source: Vieillard, Pietquin and Geist (2020), https://arxiv.org/abs/2007.14430, equation 1.
    """
    log_pi = temperature * jax.nn.log_softmax(q / temperature)
    bonus = scale * jnp.maximum(select(log_pi, action), clip)
    # temperature * logsumexp(Q / temperature) is the sum over actions.
    soft_value = temperature * jax.nn.logsumexp(next_q / temperature, axis=-1)
    return lax.stop_gradient(reward + bonus + discount * soft_value)


def project(probabilities: jax.Array, atoms: jax.Array, support: jax.Array) -> jax.Array:
    """Return a distribution on `atoms`, moved to an evenly spaced `support`, `[..., K]`.

    The mass of an atom goes to its two neighbours in the support, in proportion to its nearness; atoms
    beyond the ends go to the ends. Mass is preserved, and so is the mean of atoms within the ends.

        m_i = sum_j p_j * max(1 - |clip(atom_j) - z_i| / spacing, 0)

    Args:
      probabilities: `[..., J]` float.
      atoms: `[..., J]` float.
      support: `[K]` float, ascending, K at least 2.

    >>> project(jnp.array([1.0]), jnp.array([0.25]), jnp.array([0.0, 1.0])).tolist()
    [0.75, 0.25]

    Source: Bellemare, Dabney and Munos (2017), https://arxiv.org/abs/1707.06887, equation 7.
    """
    chex.assert_equal_shape([probabilities, atoms])
    per_unit = (support.shape[0] - 1) / (support[-1] - support[0])
    at = (jnp.clip(atoms, support[0], support[-1]) - support[0]) * per_unit
    # On CPU two additions an atom are twenty times as fast as a comparison with every place of the
    # support; elsewhere they would be summed in no fixed order.
    return lax.platform_dependent(
        probabilities, at, support, cpu=_add_to_neighbours, default=_weigh_all_places
    )


def _add_to_neighbours(probabilities: jax.Array, at: jax.Array, support: jax.Array) -> jax.Array:
    size = support.shape[0]
    below = jnp.clip(jnp.floor(at).astype(jnp.int32), 0, size - 2)

    def add(p, below, share):
        return jnp.zeros(size, p.dtype).at[below].add(p * (1.0 - share)).at[below + 1].add(p * share)

    return jnp.vectorize(add, signature="(j),(j),(j)->(k)")(probabilities, below, at - below)


def _weigh_all_places(probabilities: jax.Array, at: jax.Array, support: jax.Array) -> jax.Array:
    places = jnp.arange(support.shape[0], dtype=at.dtype)
    distance = jnp.abs(at[..., None, :] - places.reshape(*(1,) * (at.ndim - 1), -1, 1))
    return jnp.sum(jnp.maximum(1.0 - distance, 0.0) * probabilities[..., None, :], axis=-1)


def cross_entropy(logits: jax.Array, probabilities: jax.Array) -> jax.Array:
    """Return the cross-entropy in nats of softmax(logits) with a fixed distribution, `[...]`.

        -sum_i p_i log softmax(logits)_i

    Args:
      logits: `[..., K]` float.
      probabilities: `[..., K]` float, through which no gradient flows.
    """
    chex.assert_equal_shape([logits, probabilities])
    return -jnp.sum(lax.stop_gradient(probabilities) * jax.nn.log_softmax(logits), axis=-1)


def quantile_huber_loss(
    quantiles: jax.Array, levels: jax.Array, targets: jax.Array, kappa: Scalar = 1.0
) -> jax.Array:
    """Return the quantile regression loss, `[...]`.

        sum_i mean_j |level_i - 1[u_ij < 0]| * huber_kappa(u_ij) / kappa,    u_ij = target_j - quantile_i

    Args:
      quantiles: `[..., N]` float.
      levels: `[..., N]` float in (0, 1), which quantiles these are.
      targets: `[..., M]` float, samples, through which no gradient flows.
      kappa: `[]` float, positive, from where on errors count linearly.

    >>> quantile_huber_loss(jnp.array([0.0]), jnp.array([0.25]), jnp.array([2.0, -2.0])).tolist()
    0.75

    Source: Dabney et al. (2018), https://arxiv.org/abs/1710.10044, equation 10 and algorithm 1.
    """
    chex.assert_equal_shape([quantiles, levels])
    error = lax.stop_gradient(targets)[..., None, :] - quantiles[..., None]
    size = jnp.abs(error)
    huber = jnp.where(size <= kappa, 0.5 * jnp.square(error), kappa * (size - 0.5 * kappa))
    weight = jnp.abs(levels[..., None] - (error < 0))
    return jnp.sum(jnp.mean(weight * huber / kappa, axis=-1), axis=-1)
