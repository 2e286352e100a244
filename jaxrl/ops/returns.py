"""Returns and advantages over one stream `[T]`; the caller vmaps over environments.

Every function takes the two ends of an episode apart and follows one law: a target bootstraps with
`gamma * (1 - terminated_t) * next_value_t`, where `next_value_t` is the value of the *true* next
observation (`VecStep.next_obs`, never the first observation after a reset), and a trace is cut at
`terminated_t | truncated_t`. So a time limit ends the trace and not the value. The last entry of the
stream is bootstrapped like a truncation, since nothing is known beyond it.
"""

import chex
import jax
import jax.numpy as jnp
from jax import lax

Scalar = float | jax.Array

# The fastest of 1, 4, 8, 16 and 32 on CPU, T = 128, for 4 to 512 streams; from 16 on it is 3 times slower.
_UNROLL = 4


def discounted_returns(
    reward_t: jax.Array,
    next_value_t: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    gamma: Scalar,
) -> jax.Array:
    """Return the discounted return from every step to the end of its episode, `[T]`.

        G_t = r_t + gamma * G_{t+1}      within an episode
        G_t = r_t                        where it terminates
        G_t = r_t + gamma * V(s'_t)      where it is truncated, and at the last entry

    Args:
      reward_t: `[T]` float.
      next_value_t: `[T]` float, the value of the true next observation; zeros give Monte Carlo sums.
      terminated_t: `[T]` bool.
      truncated_t: `[T]` bool.
      gamma: `[]` float in [0, 1].

    Returns:
      `[T]` float.

    >>> one, no = jnp.ones(3), jnp.zeros(3, bool)
    >>> discounted_returns(one, 0 * one, no, no, 0.5).tolist()
    [1.75, 1.5, 1.0]

    Source: Sutton and Barto (2018), equations 3.8 and 12.18 with lambda = 1.
    """
    return lambda_returns(reward_t, next_value_t, terminated_t, truncated_t, gamma, 1.0)


def n_step_returns(
    reward_t: jax.Array,
    next_value_t: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    gamma: Scalar,
    n: int,
) -> jax.Array:
    """Return the n-step return of every step, shorter where the episode or the stream ends before, `[T]`.

        G_t = r_t + ... + gamma^{m-1} r_{t+m-1} + gamma^m * (1 - terminated_{t+m-1}) * V(s'_{t+m-1})

    where m is n, or less if step t+m-1 is the first that ends an episode, or the last of the stream.

    Args:
      reward_t: `[T]` float.
      next_value_t: `[T]` float, the value of the true next observation.
      terminated_t: `[T]` bool.
      truncated_t: `[T]` bool.
      gamma: `[]` float in [0, 1].
      n: number of rewards, at least 1.

    Returns:
      `[T]` float.

    Raises:
      ValueError: if `n` is below 1.

    >>> one, no = jnp.ones(3), jnp.zeros(3, bool)
    >>> n_step_returns(one, 8 * one, no, no, 0.5, n=2).tolist()
    [3.5, 3.5, 5.0]

    Source: Sutton and Barto (2018), equation 7.1.
    """
    _check_stream(reward_t, next_value_t, terminated_t, truncated_t)
    chex.assert_rank(gamma, 0)
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}; 1 is the one-step target")
    bootstrap_t = jnp.where(terminated_t, 0.0, next_value_t)
    one_step_t = reward_t + gamma * bootstrap_t
    last_t = (terminated_t | truncated_t).at[-1].set(True)

    def lengthen(_, return_t):
        return jnp.where(last_t, one_step_t, reward_t + gamma * jnp.roll(return_t, -1))

    return lax.fori_loop(0, n - 1, lengthen, one_step_t)


def lambda_returns(
    reward_t: jax.Array,
    next_value_t: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    gamma: Scalar,
    lambda_: Scalar,
) -> jax.Array:
    """Return the lambda-return of every step, `[T]`.

        G_t = r_t + gamma * ((1 - lambda) * V(s'_t) + lambda * G_{t+1})   within an episode
        G_t = r_t + gamma * (1 - terminated_t) * V(s'_t)                  at its end, and at the last entry

    With `V(s'_t) = max_a Q(s'_t, a)` these are Peng's Q(lambda) targets.

    Args:
      reward_t: `[T]` float.
      next_value_t: `[T]` float, the value of the true next observation.
      terminated_t: `[T]` bool.
      truncated_t: `[T]` bool.
      gamma: `[]` float in [0, 1].
      lambda_: `[]` float in [0, 1]; 0 gives one-step targets, 1 discounted returns.

    Returns:
      `[T]` float.

    >>> one, no = jnp.ones(2), jnp.zeros(2, bool)
    >>> lambda_returns(one, 4 * one, no, no, 0.5, 0.5).tolist()
    [2.75, 3.0]

    Source: Sutton and Barto (2018), equation 12.18.
    """
    _check_stream(reward_t, next_value_t, terminated_t, truncated_t)
    chex.assert_rank([gamma, lambda_], 0)
    last_t = (terminated_t | truncated_t).at[-1].set(True)
    decay_t = jnp.where(last_t, 0.0, gamma * lambda_)
    weight_t = jnp.where(terminated_t, 0.0, jnp.where(last_t, gamma, gamma * (1.0 - lambda_)))
    return _discounted_sum(reward_t + weight_t * next_value_t, decay_t)


def gae(
    reward_t: jax.Array,
    value_tm1: jax.Array,
    next_value_t: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    gamma: Scalar,
    lambda_: Scalar,
) -> tuple[jax.Array, jax.Array]:
    """Return the generalised advantage estimates and the value targets, `([T], [T])`.

        delta_t  = r_t + gamma * (1 - terminated_t) * V(s'_t) - V(s_{t-1})
        A_t      = delta_t + gamma * lambda * (1 - (terminated_t | truncated_t)) * A_{t+1}
        target_t = A_t + V(s_{t-1})

    Args:
      reward_t: `[T]` float.
      value_tm1: `[T]` float, the value of the observation acted on.
      next_value_t: `[T]` float, the value of the true next observation.
      terminated_t: `[T]` bool.
      truncated_t: `[T]` bool.
      gamma: `[]` float in [0, 1], may be traced.
      lambda_: `[]` float in [0, 1], may be traced.

    Returns:
      advantage: `[T]` float.
      target: `[T]` float; `lambda_returns`, if within an episode `next_value_t` is the next `value_tm1`.

    >>> one, end = jnp.ones(3), jnp.array([False, True, False])
    >>> advantage, target = gae(one, one, 2 * one, end, jnp.zeros_like(end), 0.5, 1.0)
    >>> advantage.tolist(), target.tolist()
    ([1.0, 0.0, 1.0], [2.0, 1.0, 2.0])

    Source: Schulman et al. (2016), https://arxiv.org/abs/1506.02438, equations 11 and 16.
    """
    _check_stream(reward_t, next_value_t, terminated_t, truncated_t, value_tm1)
    chex.assert_rank([gamma, lambda_], 0)
    delta_t = reward_t + gamma * jnp.where(terminated_t, 0.0, next_value_t) - value_tm1
    decay_t = jnp.where(terminated_t | truncated_t, 0.0, gamma * lambda_)
    advantage_t = _discounted_sum(delta_t, decay_t)
    return advantage_t, advantage_t + value_tm1


def vtrace(
    reward_t: jax.Array,
    value_tm1: jax.Array,
    next_value_t: jax.Array,
    terminated_t: jax.Array,
    truncated_t: jax.Array,
    log_ratio_t: jax.Array,
    gamma: Scalar,
    lambda_: Scalar = 1.0,
    clip_rho: Scalar = 1.0,
    clip_c: Scalar = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Return V-trace's advantages of the taken actions and its value targets, `([T], [T])`.

        rho_t    = min(ratio_t, clip_rho),    c_t = lambda * min(ratio_t, clip_c)
        delta_t  = rho_t * (r_t + gamma * (1 - terminated_t) * V(s'_t) - V(s_{t-1}))
        e_t      = delta_t + gamma * c_t * (1 - (terminated_t | truncated_t)) * e_{t+1}
        target_t = V(s_{t-1}) + e_t
        A_t      = rho_t * (r_t + gamma * (1 - terminated_t) * (V(s'_t) + lambda * e_{t+1}) - V(s_{t-1}))

    where `e_{t+1}` is 0 at a truncation and at the last entry. Of data of the policy itself they are
    `lambda_returns`, and A_t is target_t less the value if lambda is 1.

    Args:
      reward_t: `[T]` float.
      value_tm1: `[T]` float, the value of the observation acted on, under the policy that learns.
      next_value_t: `[T]` float, the value of the true next observation.
      terminated_t: `[T]` bool.
      truncated_t: `[T]` bool.
      log_ratio_t: `[T]` float, log of the action's probability under the policy that learns over that under
        the one that acted.
      gamma: `[]` float in [0, 1].
      lambda_: `[]` float in [0, 1].
      clip_rho: `[]` float, bound of the weights that decide which policy's values are learned.
      clip_c: `[]` float, bound of the weights that decide how fast.

    Returns:
      advantage: `[T]` float.
      target: `[T]` float.

    >>> one, no = jnp.ones(2), jnp.zeros(2, bool)
    >>> advantage, target = vtrace(one, 0 * one, one, no, no, jnp.log(jnp.array([0.5, 4.0])), 0.5)
    >>> advantage.tolist(), target.tolist()
    ([1.125, 1.5], [1.125, 1.5])

    Source: Espeholt et al. (2018), https://arxiv.org/abs/1802.01561, equation 1 and section 4.2.
    """
    _check_stream(reward_t, next_value_t, terminated_t, truncated_t, value_tm1, log_ratio_t)
    chex.assert_rank([gamma, lambda_, clip_rho, clip_c], 0)
    ratio_t = jnp.exp(log_ratio_t)
    rho_t, c_t = jnp.minimum(ratio_t, clip_rho), lambda_ * jnp.minimum(ratio_t, clip_c)
    last_t = (terminated_t | truncated_t).at[-1].set(True)
    bootstrap_t = jnp.where(terminated_t, 0.0, next_value_t)
    delta_t = rho_t * (reward_t + gamma * bootstrap_t - value_tm1)
    error_t = _discounted_sum(delta_t, jnp.where(last_t, 0.0, gamma * c_t))
    next_error_t = jnp.where(last_t, 0.0, lambda_ * jnp.roll(error_t, -1))
    advantage_t = rho_t * (reward_t + gamma * (bootstrap_t + next_error_t) - value_tm1)
    return advantage_t, value_tm1 + error_t


def _discounted_sum(x_t: jax.Array, decay_t: jax.Array) -> jax.Array:
    """Return `y_t = x_t + decay_t * y_{t+1}` with `y_T = 0`."""

    def accumulate(y, inputs):
        x, decay = inputs
        y = x + decay * y
        return y, y

    dtype = jnp.result_type(x_t, decay_t)
    inputs = (x_t.astype(dtype), decay_t.astype(dtype))
    _, y_t = lax.scan(accumulate, jnp.zeros((), dtype), inputs, reverse=True, unroll=_UNROLL)
    return y_t


def _check_stream(reward_t, next_value_t, terminated_t, truncated_t, *values):
    chex.assert_rank(reward_t, 1)
    chex.assert_equal_shape([reward_t, next_value_t, terminated_t, truncated_t, *values])
    chex.assert_type([reward_t, next_value_t, *values], float)
    chex.assert_type([terminated_t, truncated_t], bool)
