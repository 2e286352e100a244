"""LinUCB: the arm with the highest upper confidence bound of a linear model of the context.

Source: Li et al. (2010), "A contextual-bandit approach to personalized news article recommendation",
https://arxiv.org/abs/1003.0146, algorithm 1 (a model an arm).
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import ridge
from jaxrl.bandits.learner import Learner, algorithm, num_features, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.explore import selection
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of LinUCB; the regularisation is the paper's."""

    exploration: float = traced(1.0, ge=0)
    """Weight alpha of the confidence width; 1 + sqrt(ln(2 / delta) / 2) in the proof, less in practice."""
    regularization: float = traced(1.0, gt=0)
    """Weight of the ridge penalty."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return LinUCB on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms, size = number_of_arms(env, params), num_features(env, params)

    def select(beliefs, x, noise, n):
        mean, variance = ridge.predict(beliefs, x)
        return selection.any_of(selection.best_actions(mean + config.exploration * jnp.sqrt(variance)), noise)

    learner = Learner(
        init=lambda key: ridge.init(num_arms, size, config.regularization),
        draw=lambda key, num: bulk(jax.random.uniform, key, num, (num_arms,)),
        select=select,
        update=lambda beliefs, x, arm, reward, n: ridge.update(beliefs, x, arm, reward),
        values=lambda beliefs, x: ridge.predict(beliefs, x)[0],
    )
    return algorithm(env, params, learner, config.num_steps)
