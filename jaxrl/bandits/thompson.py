"""Thompson sampling: draw what each arm may be worth from the posterior, pull the arm that draws the most.

`family="beta"` is for rewards in [0, 1] (exact for clicks: the Beta posterior of a Bernoulli arm),
`"gaussian"` for any others (the normal posterior of a mean under known noise). Its regret attains the
bound of Lai and Robbins.

Source: Thompson (1933); Agrawal and Goyal (2012), https://arxiv.org/abs/1111.1797, algorithm 1; Raj and
Kalyani (2017), https://arxiv.org/abs/1707.09727, for `discount`. Rewards strictly between 0 and 1 count as
fractions of a success, where Agrawal and Goyal toss a coin.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.estimates import Estimates
from jaxrl.bandits.learner import Learner, algorithm, check_unit_rewards, number_of_arms, unit_reward
from jaxrl.config import static, traced, validate
from jaxrl.ops.beta import beta_noise, beta_of_noise
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of Thompson sampling; the default prior is uniform, as in Agrawal and Goyal."""

    prior_successes: float = traced(1.0, gt=0)
    """First parameter of the Beta prior (family beta)."""
    prior_failures: float = traced(1.0, gt=0)
    """Second parameter of the Beta prior (family beta)."""
    prior_mean: float = traced(0.0)
    """Mean of the normal prior (family gaussian)."""
    prior_scale: float = traced(1.0, gt=0)
    """Standard deviation of the normal prior (family gaussian)."""
    noise_scale: float = traced(1.0, gt=0)
    """Standard deviation of a reward around its arm's mean (family gaussian)."""
    discount: float = traced(1.0, gt=0, le=1)
    """Weight of a reward relative to that of the next pull; below 1 for arms that drift."""
    family: str = static("beta", choices=("beta", "gaussian"))
    """The posterior: beta for rewards in [0, 1], gaussian for any others."""
    window: int = static(0, ge=0)
    """How many of the latest pulls count, for arms that drift; 0 counts all."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Thompson sampling on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, the actions are not discrete, or the family is
        beta and the environment says that it pays rewards outside [0, 1].
    """
    validate(config)
    num_arms = number_of_arms(env, params)
    is_beta = config.family == "beta"
    if is_beta:
        check_unit_rewards(env, params, "use family='gaussian'")

    def draw(key, num):
        if is_beta:
            return beta_noise(key, (num_arms,), num)
        return bulk(jax.random.normal, key, num, (num_arms,))

    def select(beliefs, x, noise, n):
        if is_beta:
            sample = beta_of_noise(noise, *beta_posterior(beliefs, config))
        else:
            mean, scale = gaussian_posterior(beliefs, config)
            sample = mean + scale * noise
        return jnp.argmax(sample).astype(jnp.int32)

    def update(beliefs, x, arm, reward, n):
        reward = unit_reward(reward) if is_beta else reward
        return estimates.update(beliefs, arm, reward, n, config.discount)

    def values(beliefs, x):
        if not is_beta:
            return gaussian_posterior(beliefs, config)[0]
        a, b = beta_posterior(beliefs, config)
        return a / (a + b)

    learner = Learner(
        init=lambda key: estimates.init(num_arms, config.window),
        draw=draw,
        select=select,
        update=update,
        values=values,
    )
    return algorithm(env, params, learner, config.num_steps)


def beta_posterior(beliefs: Estimates, config: Config) -> tuple[jax.Array, jax.Array]:
    """Return the parameters of each arm's Beta posterior: the prior's and the successes, and the failures.

    Returns:
      `(a, b)`, each `[A]` float32.

    >>> [x.tolist() for x in beta_posterior(estimates.init(2), Config())]
    [[1.0, 1.0], [1.0, 1.0]]
    """
    failures = jnp.maximum(beliefs.count - beliefs.total, 0.0)
    return config.prior_successes + jnp.maximum(beliefs.total, 0.0), config.prior_failures + failures


def gaussian_posterior(beliefs: Estimates, config: Config) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the standard deviation of each arm's normal posterior.

        1 / scale^2 = 1 / prior_scale^2 + count / noise_scale^2

    Returns:
      `(mean, scale)`, each `[A]` float32.

    Source: Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution", equations 20 and 24.
    """
    precision = config.prior_scale**-2 + beliefs.count * config.noise_scale**-2
    mean = config.prior_mean * config.prior_scale**-2 + beliefs.total * config.noise_scale**-2
    return mean / precision, jax.lax.rsqrt(precision)
