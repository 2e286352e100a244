"""Epsilon-first: arms at random for a share of the pulls, then the one with the highest mean so far.

Source: Vermorel and Mohri (2005), "Multi-armed bandit algorithms and empirical evaluation".
"""

import jax
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.learner import Learner, algorithm, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.explore import selection


@struct.dataclass
class Config:
    """Hyperparameters of epsilon-first."""

    epsilon: float = traced(0.1, ge=0, le=1)
    """Share of total_steps in which arms are pulled at random."""
    total_steps: float = traced(10_000.0, gt=0)
    """Pulls of which epsilon is the share; the length of the training."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return epsilon-first on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)

    def select(beliefs, x, noise, n):
        explore = n < config.epsilon * config.total_steps
        return selection.any_of(explore | selection.best_actions(values(beliefs, x)), noise)

    def values(beliefs, x):
        return estimates.means(beliefs)

    learner = Learner(
        init=lambda key: estimates.init(num_arms),
        draw=lambda key, num: jax.random.uniform(key, (num, num_arms)),
        select=select,
        update=lambda beliefs, x, arm, reward, n: estimates.update(beliefs, arm, reward, n),
        values=values,
    )
    return algorithm(env, params, learner, config.num_steps)
