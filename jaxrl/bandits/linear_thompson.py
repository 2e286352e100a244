"""Linear Thompson sampling: draw each arm's linear model from its posterior, pull the arm it favours.

Source: Agrawal and Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs",
https://arxiv.org/abs/1209.3352, algorithm 1, with a model an arm. What a drawn model says of the one
context at hand is itself normal, with mean `theta_a . x` and variance `exploration^2 * x . inverse_a x`,
so that number is drawn instead of the model: the arms are chosen with the same probabilities, and no
matrix is factorised.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import ridge
from jaxrl.bandits.learner import Learner, algorithm, num_features, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of linear Thompson sampling."""

    exploration: float = traced(0.5, ge=0)
    """Scale v of the posterior: the standard deviation of a reward around its linear prediction."""
    regularization: float = traced(1.0, gt=0)
    """Precision of the prior on each coefficient, in units of the noise's."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return linear Thompson sampling on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms, size = number_of_arms(env, params), num_features(env, params)

    def select(beliefs, x, noise, n):
        mean, variance = ridge.predict(beliefs, x)
        return jnp.argmax(mean + config.exploration * jnp.sqrt(variance) * noise).astype(jnp.int32)

    learner = Learner(
        init=lambda key: ridge.init(num_arms, size, config.regularization),
        draw=lambda key, num: bulk(jax.random.normal, key, num, (num_arms,)),
        select=select,
        update=lambda beliefs, x, arm, reward, n: ridge.update(beliefs, x, arm, reward),
        values=lambda beliefs, x: ridge.predict(beliefs, x)[0],
    )
    return algorithm(env, params, learner, config.num_steps)
