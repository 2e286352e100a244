"""Which action to take, given estimates of what each is worth: one state at a time, the caller vmaps.

Every rule takes the values `[A]` of one state, breaks ties at random, and accepts a `mask` of the allowed
actions. Each random rule has a `*_probabilities` twin: its exact distribution, for expected SARSA, importance
weights and tests.
"""

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

Scalar = float | jax.Array


def greedy(key: jax.Array, values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return an action of the highest value, each of several with the same probability, `[]` int32.

    Ties decide how fast a learner leaves its first, equal estimates: `argmax` would always take action 0.

    Args:
      key: one key.
      values: `[A]` float.
      mask: `[A]` bool, the allowed actions; all by default.

    >>> int(greedy(jax.random.key(0), jnp.array([1.0, 3.0, 2.0])))
    1
    """
    return any_of(best_actions(values, mask), jax.random.uniform(key, values.shape))


def greedy_probabilities(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return the distribution of `greedy`: uniform over the actions of the highest value, `[A]` float.

    >>> greedy_probabilities(jnp.array([2.0, 1.0, 2.0])).tolist()
    [0.5, 0.0, 0.5]
    """
    best = best_actions(values, mask).astype(values.dtype)
    return best / jnp.sum(best)


def epsilon_greedy(
    key: jax.Array, values: jax.Array, epsilon: Scalar, mask: jax.Array | None = None
) -> jax.Array:
    """Return any action with probability `epsilon`, else a best one, `[]` int32.

    The random action may be the best one too, as in Sutton and Barto, so that a best action is taken with
    probability `1 - epsilon + epsilon / A`.

    Args:
      key: one key.
      values: `[A]` float.
      epsilon: `[]` float, in [0, 1].
      mask: `[A]` bool, the allowed actions; all by default.

    >>> int(epsilon_greedy(jax.random.key(0), jnp.array([1.0, 3.0, 2.0]), epsilon=0.0))
    1

    Source: Sutton and Barto (2018), section 2.2.
    """
    # One draw serves both: the largest of the noise picks uniformly among whichever actions may be taken.
    draw = jax.random.uniform(key, (values.shape[0] + 1,))
    explore = draw[0] < epsilon
    return any_of(jnp.where(explore, _allowed(values, mask), best_actions(values, mask)), draw[1:])


def epsilon_greedy_probabilities(
    values: jax.Array, epsilon: Scalar, mask: jax.Array | None = None
) -> jax.Array:
    """Return the distribution of `epsilon_greedy`, `[A]` float.

    >>> epsilon_greedy_probabilities(jnp.array([1.0, 3.0]), 0.5).tolist()
    [0.25, 0.75]
    """
    allowed = _allowed(values, mask).astype(values.dtype)
    return epsilon * allowed / jnp.sum(allowed) + (1.0 - epsilon) * greedy_probabilities(values, mask)


def softmax(
    key: jax.Array, values: jax.Array, temperature: Scalar = 1.0, mask: jax.Array | None = None
) -> jax.Array:
    """Return an action drawn in proportion to `exp(values / temperature)`, `[]` int32 (Boltzmann).

    Args:
      key: one key.
      values: `[A]` float.
      temperature: `[]` float, positive; towards 0 it is greedy, towards infinity uniform.
      mask: `[A]` bool, the allowed actions; all by default.

    >>> int(softmax(jax.random.key(0), jnp.array([1.0, 3.0, 2.0]), temperature=0.01))
    1

    Source: Sutton and Barto (2018), equation 2.11 (there of preferences, at temperature 1).
    """
    return jax.random.categorical(key, _logits(values, temperature, mask)).astype(jnp.int32)


def softmax_probabilities(
    values: jax.Array, temperature: Scalar = 1.0, mask: jax.Array | None = None
) -> jax.Array:
    """Return the distribution of `softmax`, `[A]` float.

    >>> softmax_probabilities(jnp.array([0.0, 1.0, 0.0]), 1.0, jnp.array([True, False, True])).tolist()
    [0.5, 0.0, 0.5]
    """
    return jax.nn.softmax(_logits(values, temperature, mask))


def ucb_bonus(counts: jax.Array, total: Scalar, scale: Scalar = 2**0.5) -> jax.Array:
    """Return what UCB adds to each value, `[A]` float: infinite for actions never taken.

        scale * sqrt(ln(total) / counts)

    Args:
      counts: `[A]` float or int, how often each action was taken; may be discounted counts.
      total: `[]` float or int, how many actions were taken in all; below 1 it counts as 1.
      scale: `[]` float; sqrt(2) is UCB1.

    >>> ucb_bonus(jnp.array([1.0, 0.0]), 1.0).tolist()
    [0.0, inf]

    Source: Auer, Cesa-Bianchi and Fischer (2002), figure 1; Sutton and Barto (2018), equation 2.10.
    """
    chex.assert_rank(counts, 1)
    counts = jnp.asarray(counts, jnp.float32)
    log_total = jnp.log(jnp.maximum(total, 1.0))
    bonus = scale * jnp.sqrt(log_total / jnp.where(counts > 0, counts, 1.0))
    return jnp.where(counts > 0, bonus, jnp.inf)


def ucb(
    key: jax.Array,
    values: jax.Array,
    counts: jax.Array,
    scale: Scalar = 2**0.5,
    mask: jax.Array | None = None,
) -> jax.Array:
    """Return an action of the highest upper confidence bound, `[]` int32: `values + ucb_bonus`.

    Every allowed action is taken once before any is taken again.

    Args:
      key: one key.
      values: `[A]` float.
      counts: `[A]` float or int, how often each action was taken in this state.
      scale: `[]` float, the weight of the bonus.
      mask: `[A]` bool, the allowed actions; all by default.

    >>> int(ucb(jax.random.key(0), jnp.array([0.5, 0.4]), jnp.array([100, 2])))
    1
    """
    chex.assert_equal_shape([values, counts])
    return greedy(key, values + ucb_bonus(counts, jnp.sum(counts), scale), mask)


def count_bonus(counts: jax.Array, scale: Scalar) -> jax.Array:
    """Return a bonus that fades with the visits, element-wise: `scale / sqrt(max(counts, 1))`.

    Added to the reward (or, as in the model-based interval estimation of the paper, inside the backup).

    Args:
      counts: `[...]` float or int, visits, the present one included.
      scale: `[]` float.

    >>> count_bonus(jnp.array([1, 4]), 0.5).tolist()
    [0.5, 0.25]

    Source: Strehl and Littman (2008), "An analysis of model-based interval estimation", equation 6.
    """
    return scale * jax.lax.rsqrt(jnp.maximum(jnp.asarray(counts, jnp.float32), 1.0))


def optimistic_value(max_reward: Scalar, gamma: Scalar) -> jax.Array:
    """Return the highest value that any policy could have, from which greedy learners explore by themselves.

        max_reward / (1 - gamma)

    Args:
      max_reward: `[]` float, of one step.
      gamma: `[]` float, in [0, 1).

    Raises:
      ValueError: if a concrete `gamma` is not in [0, 1).

    >>> round(float(optimistic_value(1.0, 0.9)), 4)
    10.0

    Source: Brafman and Tennenholtz (2002), R-max; Sutton and Barto (2018), section 2.6.
    """
    if not isinstance(gamma, Tracer) and not 0 <= gamma < 1:
        raise ValueError(
            f"`gamma` must be at least 0 and less than 1, got {gamma}; choose a start value yourself"
        )
    return jnp.asarray(max_reward / (1.0 - gamma), jnp.float32)


def best_actions(values: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return which of the allowed actions have the highest value, `[A]` bool.

    Args:
      values: `[A]` float.
      mask: `[A]` bool, the allowed actions; all by default.
    """
    chex.assert_rank(values, 1)
    if mask is None:
        return values == jnp.max(values)
    chex.assert_equal_shape([values, mask])
    return mask & (values == jnp.max(jnp.where(mask, values, -jnp.inf)))


def any_of(eligible: jax.Array, noise: jax.Array) -> jax.Array:
    """Return one of the eligible actions, each with the same probability, `[]` int32.

    Args:
      eligible: `[A]` bool.
      noise: `[A]` float, independent and uniform on [0, 1); one draw may serve several selections of which
        only one is used.

    >>> int(any_of(jnp.array([True, False, True]), jnp.array([0.2, 0.9, 0.4])))
    2
    """
    return jnp.argmax(jnp.where(eligible, noise, -1.0)).astype(jnp.int32)


def _allowed(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    return jnp.ones(values.shape, bool) if mask is None else mask


def _logits(values: jax.Array, temperature: Scalar, mask: jax.Array | None) -> jax.Array:
    chex.assert_rank(values, 1)
    logits = values / temperature
    return logits if mask is None else jnp.where(mask, logits, -jnp.inf)
