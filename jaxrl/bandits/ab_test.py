"""The A/B test: show all variants equally often for a fixed number of visitors, then ship one for ever.

The baseline that adaptive policies replace. Its regret grows at the full rate during the test, and whatever
the test decides is never questioned again.

Source: a two-sample z-test of each variant against the control with Bonferroni's correction; see Kohavi, Tang
and Xu (2020), "Trustworthy Online Controlled Experiments", chapters 3 and 17.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import ndtri

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits.learner import Learner, algorithm, number_of_arms
from jaxrl.config import static, traced, validate


@struct.dataclass
class Config:
    """Hyperparameters of the A/B test; see `sample_size` for the length of a test."""

    test_steps: float = traced(3_000.0, gt=0)
    """Pulls of the test, all arms together."""
    significance: float = traced(0.05, gt=0, lt=1)
    """Chance of shipping a variant that is no better than the control, over all variants (one-sided)."""
    ship: str = static("significant", choices=("significant", "best"))
    """What is shipped: the best variant if significantly better than the control, arm 0; or the best mean."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


@struct.dataclass
class Counts:
    """What the test has seen of each arm: pulls, rewards and squared rewards, `[A]` float32 each."""

    count: jax.Array
    total: jax.Array
    square: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return the A/B test on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)

    def init(key):
        zeros = jnp.zeros(num_arms, jnp.float32)
        return Counts(count=zeros, total=zeros, square=zeros)

    def select(beliefs, x, noise, n):
        shipped = jnp.argmax(values(beliefs, x)).astype(jnp.int32)
        return jnp.where(n < config.test_steps, n % num_arms, shipped)

    def update(beliefs, x, arm, reward, n):
        # What is seen after the test is not part of it.
        pulled = (jnp.arange(num_arms) == arm) * jnp.where(n < config.test_steps, 1.0, 0.0)
        return Counts(
            count=beliefs.count + pulled,
            total=beliefs.total + pulled * reward,
            square=beliefs.square + pulled * jnp.square(reward),
        )

    def values(beliefs, x):
        mean = beliefs.total / jnp.maximum(beliefs.count, 1.0)
        if config.ship == "best":
            return mean
        proven = z_scores(beliefs) > ndtri(1.0 - config.significance / max(num_arms - 1, 1))
        control = jnp.arange(num_arms) == 0
        return jnp.where(proven | control, mean, -jnp.inf)

    learner = Learner(init=init, draw=lambda key, num: (), select=select, update=update, values=values)
    return algorithm(env, params, learner, config.num_steps)


def z_scores(beliefs: Counts) -> jax.Array:
    """Return by how many standard errors each arm's mean exceeds that of arm 0, `[A]` float32; 0 for arm 0.

        z_a = (mean_a - mean_0) / sqrt(variance_a / count_a + variance_0 / count_0)

    0 as well where either arm has fewer than two pulls, which tell nothing of its variance.
    """
    count = jnp.maximum(beliefs.count, 1.0)
    mean = beliefs.total / count
    error = jnp.maximum(beliefs.square / count - jnp.square(mean), 0.0) / count
    difference, squared = mean - mean[0], error + error[0]
    certain = jnp.where(difference == 0.0, 0.0, jnp.copysign(jnp.inf, difference))
    z = jnp.where(squared > 0, difference / jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), certain)
    return jnp.where((beliefs.count >= 2) & (beliefs.count[0] >= 2), z, 0.0)


def sample_size(
    base_rate: float, lift: float, significance: float = 0.05, power: float = 0.8, num_variants: int = 1
) -> int:
    """Return the visitors that each arm needs for a test to find a lift in a click rate.

        n = (z_{1 - significance / variants} + z_{power})^2 (p (1 - p) + q (1 - q)) / lift^2,   q = p + lift

    Args:
      base_rate: p, of the control.
      lift: the difference to be found, positive.
      significance: chance of a false alarm, one-sided, over all variants.
      power: chance of finding the lift where it exists.
      num_variants: compared with the control.

    Raises:
      ValueError: if the rates, `significance` or `power` do not lie in (0, 1), the lift is not positive, or
        there is no variant.

    >>> sample_size(0.05, 0.03)
    832

    Source: Fleiss, Levin and Paik (2003), "Statistical Methods for Rates and Proportions", section 4.2.
    """
    if not 0 < base_rate < base_rate + lift < 1:
        raise ValueError(f"`base_rate` and `base_rate + lift` must lie in (0, 1), got {base_rate} and {lift}")
    for name, chance in (("significance", significance), ("power", power)):
        if not 0 < chance < 1:
            raise ValueError(f"`{name}` must lie in (0, 1), got {chance}; it is a chance")
    if num_variants < 1:
        raise ValueError(f"`num_variants` must be at least 1, got {num_variants}; do not count the control")
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    z = quantile(1.0 - significance / num_variants) + quantile(power)
    rate = base_rate + lift
    visitors = z**2 * (base_rate * (1.0 - base_rate) + rate * (1.0 - rate)) / lift**2
    return int(-(-visitors // 1))
