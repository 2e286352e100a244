"""UCB1: the arm with the highest upper confidence bound, mean + scale * sqrt(ln(n) / pulls).

Source: Auer, Cesa-Bianchi and Fischer (2002), "Finite-time analysis of the multiarmed bandit problem",
figure 1; Garivier and Moulines (2008), https://arxiv.org/abs/0805.3415, for D-UCB (`discount`) and SW-UCB
(`window`).
"""

import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.index import index_policy
from jaxrl.bandits.learner import algorithm, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.explore import selection


@struct.dataclass
class Config:
    """Hyperparameters of UCB1; the defaults are the paper's."""

    exploration: float = traced(2**0.5, ge=0)
    """Weight of the confidence width; sqrt(2) for rewards in [0, 1], where less often does better."""
    discount: float = traced(1.0, gt=0, le=1)
    """Weight of a reward relative to that of the next pull; below 1 for arms that drift (D-UCB)."""
    window: int = static(0, ge=0)
    """How many of the latest pulls count, for arms that drift (SW-UCB); 0 counts all."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return UCB1 on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)

    def index(beliefs):
        bonus = selection.ucb_bonus(beliefs.count, jnp.sum(beliefs.count), config.exploration)
        return estimates.means(beliefs) + bonus

    learner = index_policy(num_arms, index, discount=config.discount, window=config.window)
    return algorithm(env, params, learner, config.num_steps)
