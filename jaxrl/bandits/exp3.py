"""EXP3: exponential weights on importance-weighted rewards, for rewards that an adversary may choose.

It assumes nothing of how rewards come about, and pays for that where they are plain random draws.

Source: Auer, Cesa-Bianchi, Freund and Schapire (2002), "The nonstochastic multiarmed bandit problem",
figure 1, and corollary 3.2 for the default exploration.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits.learner import Learner, algorithm, check_unit_rewards, number_of_arms, unit_reward
from jaxrl.config import static, traced, validate
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of EXP3; the defaults are the paper's."""

    exploration: float | None = traced(None, gt=0, le=1)
    """Share of uniform exploration, also the step size; by default sqrt(A ln A / ((e - 1) total_steps))."""
    total_steps: float = traced(10_000.0, gt=0)
    """Pulls that the default exploration is tuned for; the length of the training."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return EXP3 on `env`, whose rewards must lie in [0, 1].

    Raises:
      ValueError: if a field of `config` is out of its range, the actions are not discrete, or the environment
        says that it pays other rewards.
    """
    validate(config)
    num_arms = number_of_arms(env, params)
    check_unit_rewards(env, params, "rescale them")
    if config.exploration is None:
        rate = jnp.minimum(
            jnp.sqrt(num_arms * math.log(num_arms) / ((math.e - 1.0) * config.total_steps)), 1.0
        )
    else:
        rate = config.exploration

    learner = Learner(
        init=lambda key: jnp.zeros(num_arms, jnp.float32),
        draw=lambda key, num: bulk(jax.random.gumbel, key, num, (num_arms,)),
        select=lambda weights, x, gumbel, n: jnp.argmax(
            jnp.log(probabilities(weights, rate)) + gumbel
        ).astype(jnp.int32),
        update=lambda weights, x, arm, reward, n: reweigh(weights, arm, unit_reward(reward), rate),
        values=lambda weights, x: weights,
    )
    return algorithm(env, params, learner, config.num_steps)


def probabilities(log_weights: jax.Array, exploration: float | jax.Array) -> jax.Array:
    """Return the chance of each arm, `[A]` float32.

        (1 - exploration) * softmax(log_weights) + exploration / A

    >>> probabilities(jnp.zeros(2), 0.1).tolist()
    [0.5, 0.5]
    """
    uniform = exploration / log_weights.shape[0]
    return (1.0 - exploration) * jax.nn.softmax(log_weights) + uniform


def reweigh(
    log_weights: jax.Array, arm: jax.Array, reward: jax.Array, exploration: float | jax.Array
) -> jax.Array:
    """Return the log weights after a pull, the largest shifted to 0, `[A]` float32.

        log_weights + 1[arm] * exploration / A * reward / probability(arm)

    Args:
      log_weights: `[A]` float32, before.
      arm: `[]` int32, what was pulled.
      reward: `[]` float32, in [0, 1].
      exploration: `[]` float, in (0, 1].
    """
    num_arms = log_weights.shape[0]
    estimate = reward / probabilities(log_weights, exploration)
    pulled = jnp.arange(num_arms) == arm
    after = log_weights + pulled * (exploration / num_arms) * estimate
    return after - jnp.max(after)
