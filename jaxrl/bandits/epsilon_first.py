"""Epsilon-first: arms at random for a share of the pulls, then the one with the highest mean so far.

Source: Vermorel and Mohri (2005), "Multi-armed bandit algorithms and empirical evaluation".
"""

import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits.epsilon_greedy import explorer
from jaxrl.bandits.learner import algorithm, number_of_arms
from jaxrl.config import static, traced, validate


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

    def epsilon(n):
        return jnp.where(n < config.epsilon * config.total_steps, 1.0, 0.0)

    learner = explorer(num_arms, epsilon)
    return algorithm(env, params, learner, config.num_steps)
