"""MOSS: UCB with a width that vanishes once an arm has had more than its share of the pulls.

Minimax optimal: its worst regret grows like sqrt(A n), without UCB1's logarithm.

Source: Audibert and Bubeck (2009), "Minimax policies for adversarial and stochastic bandits".
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits import estimates
from jaxrl.bandits.index import index_policy
from jaxrl.bandits.learner import algorithm, number_of_arms
from jaxrl.config import static, traced, validate


@struct.dataclass
class Config:
    """Hyperparameters of MOSS; the defaults are the paper's."""

    total_steps: float = traced(10_000.0, gt=0)
    """Pulls that the policy is tuned for; the length of the training."""
    exploration: float = traced(1.0, ge=0)
    """Weight of the confidence width, 1 for rewards in [0, 1]."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return MOSS on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)

    def index(beliefs):
        return estimates.means(beliefs) + width(beliefs.count, config.total_steps, config.exploration)

    learner = index_policy(num_arms, index)
    return algorithm(env, params, learner, config.num_steps)


def width(count: jax.Array, horizon: float | jax.Array, scale: float | jax.Array = 1.0) -> jax.Array:
    """Return what MOSS adds to each mean, `[A]` float32: infinite for arms never pulled.

        scale * sqrt(max(ln(horizon / (A * count)), 0) / count)

    >>> width(jnp.array([0.0, 50.0]), 100.0).tolist()
    [inf, 0.0]
    """
    pulls = jnp.where(count > 0, count, 1.0)
    surplus = jnp.maximum(jnp.log(horizon / (count.shape[0] * pulls)), 0.0)
    return jnp.where(count > 0, scale * jnp.sqrt(surplus / pulls), jnp.inf)
