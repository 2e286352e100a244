"""Policy and value losses, entropies and the diagnostics that go with them.

All are element-wise on arrays of any shape, so that the caller decides what to average over; a loss
is to be minimised.
"""

import chex
import jax
import jax.numpy as jnp
from jax import lax

Scalar = float | jax.Array


def policy_gradient_loss(log_prob: jax.Array, advantage: jax.Array) -> jax.Array:
    """Return the loss whose gradient is the policy gradient's negative, element-wise: `-log_prob * A`.

    Args:
      log_prob: `[...]` float, of the taken actions under the current policy.
      advantage: `[...]` float, through which no gradient flows.

    >>> policy_gradient_loss(jnp.array([-0.5]), jnp.array([2.0])).tolist()
    [1.0]

    Source: Williams (1992), "Simple statistical gradient-following algorithms for connectionist
    reinforcement learning"; Sutton et al. (1999), theorem 1.
    """
    chex.assert_equal_shape([log_prob, advantage])
    chex.assert_type([log_prob, advantage], float)
    return -log_prob * lax.stop_gradient(advantage)


def clipped_surrogate(
    log_prob: jax.Array, old_log_prob: jax.Array, advantage: jax.Array, clip_epsilon: Scalar
) -> jax.Array:
    """Return PPO's clipped policy loss, element-wise.

        loss = -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon) * A)
        ratio = exp(log_prob - old_log_prob)

    Args:
      log_prob: `[...]` float, of the taken actions under the current policy.
      old_log_prob: `[...]` float, under the policy that acted.
      advantage: `[...]` float.
      clip_epsilon: `[]` float, positive.

    Returns:
      `[...]` float; no gradient flows into `old_log_prob` and `advantage`.

    >>> clipped_surrogate(jnp.log(jnp.array([1.5, 1.5])), jnp.zeros(2), jnp.array([1.0, -1.0]), 0.2).tolist()
    [-1.2000000476837158, 1.5]

    Source: Schulman et al. (2017), https://arxiv.org/abs/1707.06347, equation 7.
    """
    chex.assert_equal_shape([log_prob, old_log_prob, advantage])
    chex.assert_type([log_prob, old_log_prob, advantage], float)
    old_log_prob, advantage = lax.stop_gradient((old_log_prob, advantage))
    ratio = jnp.exp(log_prob - old_log_prob)
    clipped = jnp.clip(ratio, 1.0 - clip_epsilon, 1.0 + clip_epsilon)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def value_loss(value: jax.Array, target: jax.Array) -> jax.Array:
    """Return half the squared error to a fixed target, element-wise: `(V - target)^2 / 2`.

    Args:
      value: `[...]` float.
      target: `[...]` float, through which no gradient flows.

    >>> value_loss(jnp.array([3.0]), jnp.array([1.0])).tolist()
    [2.0]
    """
    chex.assert_equal_shape([value, target])
    chex.assert_type([value, target], float)
    return 0.5 * jnp.square(value - lax.stop_gradient(target))


def clipped_value_loss(
    value: jax.Array, old_value: jax.Array, target: jax.Array, clip_epsilon: Scalar
) -> jax.Array:
    """Return PPO's value loss with the change of the value clipped, element-wise.

        loss = max((V - target)^2, (V_old + clip(V - V_old, -epsilon, epsilon) - target)^2) / 2

    Args:
      value: `[...]` float.
      old_value: `[...]` float, as predicted when the action was taken.
      target: `[...]` float.
      clip_epsilon: `[]` float, positive.

    Returns:
      `[...]` float; no gradient flows into `old_value` and `target`.

    >>> clipped_value_loss(jnp.array([1.0]), jnp.array([0.0]), jnp.array([1.0]), 0.5).tolist()
    [0.125]

    Source: OpenAI baselines' ppo2, detail 9 of Huang et al. (2022), "The 37 Implementation Details of PPO".
    """
    chex.assert_equal_shape([value, old_value, target])
    chex.assert_type([value, old_value, target], float)
    old_value, target = lax.stop_gradient((old_value, target))
    clipped = old_value + jnp.clip(value - old_value, -clip_epsilon, clip_epsilon)
    return 0.5 * jnp.maximum(jnp.square(value - target), jnp.square(clipped - target))


def categorical_entropy(logits: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Return the entropy in nats of softmax(logits) over the allowed actions, `[...]`.

        H = -sum_a p_a log p_a

    Args:
      logits: `[..., A]` float, unnormalised.
      mask: `[..., A]` bool, True where an action is allowed; at least one must be.

    >>> round(float(categorical_entropy(jnp.zeros(3), jnp.array([True, True, False]))), 4)
    0.6931
    """
    chex.assert_type(logits, float)
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min)
    log_prob = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_prob) * log_prob, axis=-1)


def gaussian_entropy(log_std: jax.Array) -> jax.Array:
    """Return the entropy in nats of a Gaussian with independent components, `[...]`.

        H = sum_i (log_std_i + (1 + log(2 pi)) / 2)

    Args:
      log_std: `[..., D]` float.

    >>> round(float(gaussian_entropy(jnp.zeros(1))), 4)
    1.4189
    """
    chex.assert_type(log_std, float)
    return jnp.sum(log_std + 0.5 * (1.0 + jnp.log(2.0 * jnp.pi)), axis=-1)


def approximate_kl(log_prob: jax.Array, old_log_prob: jax.Array) -> jax.Array:
    """Return an unbiased, never negative estimate of KL(old || new) per sample of the old policy.

        k3 = (ratio - 1) - log ratio,    ratio = exp(log_prob - old_log_prob)

    Args:
      log_prob: `[...]` float, of actions drawn from the old policy, under the new.
      old_log_prob: `[...]` float, under the old.

    >>> approximate_kl(jnp.zeros(1), jnp.zeros(1)).tolist()
    [0.0]

    Source: Schulman (2020), "Approximating KL divergence", http://joschu.net/blog/kl-approx.html.
    """
    chex.assert_equal_shape([log_prob, old_log_prob])
    log_ratio = log_prob - old_log_prob
    return jnp.expm1(log_ratio) - log_ratio


def clip_fraction(log_prob: jax.Array, old_log_prob: jax.Array, clip_epsilon: Scalar) -> jax.Array:
    """Return 1.0 where the ratio is outside of `[1 - clip_epsilon, 1 + clip_epsilon]`, else 0.0.

    Args:
      log_prob: `[...]` float.
      old_log_prob: `[...]` float.
      clip_epsilon: `[]` float, positive.

    >>> clip_fraction(jnp.array([0.0, 1.0]), jnp.zeros(2), 0.2).tolist()
    [0.0, 1.0]
    """
    chex.assert_equal_shape([log_prob, old_log_prob])
    return (jnp.abs(jnp.expm1(log_prob - old_log_prob)) > clip_epsilon).astype(log_prob.dtype)


def explained_variance(value: jax.Array, target: jax.Array) -> jax.Array:
    """Return the share of the targets' variance that the values explain, `[]`; 0 if the targets are constant.

        1 - Var(target - V) / Var(target)

    Args:
      value: `[...]` float.
      target: `[...]` float.

    >>> float(explained_variance(jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])))
    1.0
    """
    chex.assert_equal_shape([value, target])
    variance = jnp.var(target)
    is_constant = variance == 0.0
    return jnp.where(is_constant, 0.0, 1.0 - jnp.var(target - value) / jnp.where(is_constant, 1.0, variance))


def standardize(x: jax.Array, epsilon: float = 1e-8, axis_name: str | None = None) -> jax.Array:
    """Return `x` with mean 0 and deviation 1 over all of its entries: `(x - mean) / (std + epsilon)`.

    Args:
      x: `[...]` float, for instance a minibatch of advantages.
      epsilon: added to the standard deviation; 1e-8 as in CleanRL.
      axis_name: name of a mapped axis whose entries count too, as when a minibatch is split over devices.

    >>> standardize(jnp.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]

    Source: detail 7 of Huang et al. (2022), "The 37 Implementation Details of PPO".
    """
    chex.assert_type(x, float)
    mean = jnp.mean(x)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
    variance = jnp.mean(jnp.square(x - mean))
    if axis_name is not None:
        variance = lax.pmean(variance, axis_name)
    return (x - mean) / (jnp.sqrt(variance) + epsilon)
