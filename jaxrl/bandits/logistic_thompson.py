"""Logistic Thompson sampling: linear models of the log-odds of a click, with a Laplace posterior.

Source: Chapelle and Li (2011), "An empirical evaluation of Thompson sampling", algorithm 3, here with
the full covariance where they keep its diagonal, updated at every click (Spiegelhalter and Lauritzen
1990). The mode after one click lies on a line from the one before, so Newton's method finds it in one
dimension.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import ridge
from jaxrl.bandits.learner import (
    Learner,
    algorithm,
    check_unit_rewards,
    num_features,
    number_of_arms,
    unit_reward,
)
from jaxrl.config import static, traced, validate
from jaxrl.ops.noise import bulk

# Enough for 1e-5 where variances of a logit reach 1e6; a decade takes two to three steps.
NEWTON_STEPS = 16


@struct.dataclass
class Config:
    """Hyperparameters of logistic Thompson sampling."""

    exploration: float = traced(1.0, ge=0)
    """Factor on the posterior's standard deviation; 1 is Thompson sampling proper."""
    prior_scale: float = traced(1.0, gt=0)
    """Standard deviation of the prior on each coefficient."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


@struct.dataclass
class Posterior:
    """The normal approximation of each arm's coefficients.

    Attributes:
      mean: `[A, F]` float32.
      covariance: `[A, F, F]` float32.
    """

    mean: jax.Array
    covariance: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return logistic Thompson sampling on `env`, whose rewards must lie in [0, 1].

    Raises:
      ValueError: if a field of `config` is out of its range, the actions are not discrete, or the environment
        says that it pays other rewards.
    """
    validate(config)
    num_arms, size = number_of_arms(env, params), num_features(env, params)
    check_unit_rewards(env, params, "use jaxrl.bandits.linear_thompson")

    def init(key):
        start = ridge.init(num_arms, size, jnp.asarray(config.prior_scale, jnp.float32) ** -2)
        return Posterior(mean=start.moment, covariance=start.inverse)

    def select(beliefs, x, noise, n):
        scale = jnp.sqrt(jnp.maximum((beliefs.covariance @ x) @ x, 0.0))
        return jnp.argmax(beliefs.mean @ x + config.exploration * scale * noise).astype(jnp.int32)

    learner = Learner(
        init=init,
        draw=lambda key, num: bulk(jax.random.normal, key, num, (num_arms,)),
        select=select,
        update=lambda beliefs, x, arm, reward, n: update(beliefs, x, arm, unit_reward(reward)),
        values=lambda beliefs, x: jax.nn.sigmoid(beliefs.mean @ x),
    )
    return algorithm(env, params, learner, config.num_steps)


def update(posterior: Posterior, x: jax.Array, arm: jax.Array, reward: jax.Array) -> Posterior:
    """Return the posterior after showing `arm` to x: the new mode, and the curvature there.

        mode      = argmin_w (w - mean) . covariance^-1 (w - mean) / 2 - ln P(reward | sigmoid(w . x))
        precision = covariance^-1 + p (1 - p) x x^T,   p = sigmoid(mode . x)

    Args:
      posterior: before.
      x: `[F]` float32, the features.
      arm: `[]` int32.
      reward: `[]` float32, in [0, 1]: 1 for a click.
    """
    rows = jnp.where((jnp.arange(posterior.mean.shape[0]) == arm)[:, None], x[None], 0.0)
    direction = jnp.einsum("aij,aj->ai", posterior.covariance, rows)
    variance = jnp.sum(rows * direction, axis=-1)
    start = jnp.sum(posterior.mean * rows, axis=-1)
    # The logit z at the mode solves z = start + variance * (reward - sigmoid(z)). The difference of the sides
    # increases, and sigmoid(z) between 0 and 1 bounds the root. It bends at z = 0 alone: from there, or from
    # the bound next to it, every Newton step falls short of the root, so that none can overshoot.
    low, high = start + variance * (reward - 1.0), start + variance * reward
    logit = jnp.clip(0.0, low, high)
    for _ in range(NEWTON_STEPS):
        surprise, slope = _surprise(logit, reward)
        error = logit - start - variance * surprise
        logit = jnp.clip(logit - error / (1.0 + variance * slope), low, high)
    surprise, slope = _surprise(logit, reward)
    return Posterior(
        mean=posterior.mean + direction * surprise[:, None],
        covariance=ridge.downdate(posterior.covariance, rows, slope),
    )


def _surprise(logit, reward):
    """Return `reward - p` and `p (1 - p)`, p = sigmoid(logit), without the rounding of `1 - p` near 1."""
    chance, other = jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
    return reward * other - (1.0 - reward) * chance, chance * other
