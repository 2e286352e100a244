"""KL-UCB: the arm with the highest mean that the rewards so far do not yet rule out.

Its regret attains the bound of Lai and Robbins for Bernoulli arms, which UCB1's does not.

Source: Garivier and Cappé (2011), https://arxiv.org/abs/1102.2490, algorithm 1.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.index import index_policy
from jaxrl.bandits.learner import algorithm, check_unit_rewards, number_of_arms, unit_reward
from jaxrl.config import static, traced, validate

NEWTON_STEPS = 6


@struct.dataclass
class Config:
    """Hyperparameters of KL-UCB; the defaults are what the paper recommends in practice."""

    exploration: float = traced(0.0, ge=0)
    """Weight c of ln ln n in the budget ln n + c ln ln n; 3 in the proof, 0 in the paper's experiments."""
    discount: float = traced(1.0, gt=0, le=1)
    """Weight of a reward relative to that of the next pull; below 1 for arms that drift."""
    window: int = static(0, ge=0)
    """How many of the latest pulls count, for arms that drift; 0 counts all."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return KL-UCB on `env`, whose rewards must lie in [0, 1].

    Raises:
      ValueError: if a field of `config` is out of its range, the actions are not discrete, or the environment
        says that it pays other rewards.
    """
    validate(config)
    num_arms = number_of_arms(env, params)
    check_unit_rewards(env, params, "use jaxrl.bandits.ucb1 with a larger exploration")

    def index(beliefs):
        log_n = jnp.log(jnp.maximum(jnp.sum(beliefs.count), 1.0))
        budget = log_n + config.exploration * jnp.log(jnp.maximum(log_n, 1.0))
        tried = beliefs.count > 0
        bound = upper_bound(estimates.means(beliefs), budget / jnp.where(tried, beliefs.count, 1.0))
        return jnp.where(tried, bound, jnp.inf)

    learner = index_policy(num_arms, index, discount=config.discount, window=config.window, read=unit_reward)
    return algorithm(env, params, learner, config.num_steps)


def bernoulli_kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """Return the divergence of a coin with chance p from one with chance q, element-wise.

        kl(p, q) = p ln(p / q) + (1 - p) ln((1 - p) / (1 - q))

    >>> round(float(bernoulli_kl(jnp.float32(0.05), jnp.float32(0.12))), 4)
    0.0289
    """
    xlogy = jax.scipy.special.xlogy
    return xlogy(p, p) - xlogy(p, q) + xlogy(1.0 - p, 1.0 - p) - xlogy(1.0 - p, 1.0 - q)


def upper_bound(mean: jax.Array, radius: jax.Array) -> jax.Array:
    """Return the largest q in [mean, 1] with `kl(mean, q) <= radius`, element-wise.

    Newton's method from a bound above: the divergence is convex, so that every step stays above the root.

    Args:
      mean: `[...]` float32 in [0, 1].
      radius: `[...]` float32, at least 0.

    Returns:
      `[...]` float32, within 1e-5 of the root for a radius from 1e-5, which `ln n / count` exceeds for the
      first million pulls. Below, the divergence is mostly rounding, and the bound is up to 2e-4 off.

    >>> round(float(upper_bound(jnp.float32(0.0), jnp.float32(jnp.log(2.0)))), 6)
    0.5
    """
    mean = jnp.clip(mean, 0.0, 1.0)
    # kl is at least 2 (q - p)^2 (Pinsker), and at least -(1 - p) ln(1 - q) less the entropy of p.
    xlogy = jax.scipy.special.xlogy
    entropy = -xlogy(mean, mean) - xlogy(1.0 - mean, 1.0 - mean)
    certain = mean >= 1.0
    pinsker = mean + jnp.sqrt(0.5 * radius)
    far = -jnp.expm1(-(radius + entropy) / jnp.where(certain, 1.0, 1.0 - mean))
    q = jnp.minimum(pinsker, far)
    for _ in range(NEWTON_STEPS):
        inside = (q > mean) & (q < 1.0)
        safe = jnp.where(inside, q, 0.5)
        slope = (safe - mean) / (safe * (1.0 - safe))
        step = (bernoulli_kl(mean, safe) - radius) / jnp.where(inside, slope, 1.0)
        q = jnp.where(inside, jnp.clip(q - step, mean, q), q)
    return jnp.where(certain, 1.0, jnp.clip(q, mean, 1.0))
