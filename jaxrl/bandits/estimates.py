"""How often each arm was pulled and what it paid: over all pulls, the latest ones, or discounted by age."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct

Scalar = float | jax.Array


@struct.dataclass
class Estimates:
    """Pulls and rewards of each arm; W latest pulls if the window is not the whole past.

    Attributes:
      count: `[A]` float32, pulls, each weighted by its age if discounted.
      total: `[A]` float32, the sum of their rewards, weighted alike.
      arms: `[W]` int32, the latest pulls, or None without a window.
      rewards: `[W]` float32, what they paid, or None without a window.
      inside: `[A]` int32, the pulls of each arm in the window, or None without a window.
    """

    count: jax.Array
    total: jax.Array
    arms: jax.Array | None
    rewards: jax.Array | None
    inside: jax.Array | None = None


def init(num_arms: int, window: int = 0) -> Estimates:
    """Return the estimates before the first pull; a window of 0 keeps the whole past."""
    return Estimates(
        count=jnp.zeros(num_arms, jnp.float32),
        total=jnp.zeros(num_arms, jnp.float32),
        arms=jnp.zeros(window, jnp.int32) if window else None,
        rewards=jnp.zeros(window, jnp.float32) if window else None,
        inside=jnp.zeros(num_arms, jnp.int32) if window else None,
    )


def update(
    estimates: Estimates, arm: jax.Array, reward: jax.Array, n: jax.Array, discount: Scalar = 1.0
) -> Estimates:
    """Return the estimates after one more pull.

        count <- discount * count + 1[arm],   total <- discount * total + reward * 1[arm]

    and what falls out of the window is taken off again, with the weight that it has come to.

    Args:
      estimates: before.
      arm: `[]` int32, what was pulled.
      reward: `[]` float32, what it paid.
      n: `[]` int32, the pulls before this one; shared by all seeds.
      discount: `[]` float, in (0, 1]; 1 forgets nothing.

    >>> after = update(init(2), jnp.int32(1), jnp.float32(0.5), jnp.int32(0))
    >>> after.count.tolist(), after.total.tolist()
    ([0.0, 1.0], [0.0, 0.5])

    Source: Garivier and Moulines (2008), https://arxiv.org/abs/0805.3415, for both ways to forget.
    """
    index = jnp.arange(len(estimates.count))
    pulled = (index == arm).astype(jnp.float32)
    count = discount * estimates.count + pulled
    total = discount * estimates.total + pulled * reward
    if estimates.arms is None or estimates.rewards is None or estimates.inside is None:
        return replace(estimates, count=count, total=total)
    window = len(estimates.arms)
    slot = n % window
    old_arm, old_reward = estimates.arms[slot], estimates.rewards[slot]
    left = (index == old_arm) & (n >= window)
    leaving = left * jnp.asarray(discount, jnp.float32) ** window
    inside = estimates.inside + (index == arm) - left
    # Sums of floats less all their terms are rounding errors, not zero, and their quotient is no mean.
    return Estimates(
        count=jnp.where(inside > 0, jnp.maximum(count - leaving, 0.0), 0.0),
        total=jnp.where(inside > 0, total - leaving * old_reward, 0.0),
        arms=estimates.arms.at[slot].set(arm),
        rewards=estimates.rewards.at[slot].set(reward),
        inside=inside,
    )


def means(estimates: Estimates, untried: Scalar = 0.0) -> jax.Array:
    """Return the mean reward of each arm, `[A]` float32; `untried` for those without a pull.

    >>> means(init(2), untried=1.0).tolist()
    [1.0, 1.0]
    """
    tried = estimates.count > 0
    return jnp.where(tried, estimates.total / jnp.where(tried, estimates.count, 1.0), untried)
