"""The gradient bandit: a softmax over preferences that climb the gradient of the expected reward.

Source: Sutton and Barto (2018), section 2.8; it is REINFORCE with a baseline on one state.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.bandits.learner import Learner, algorithm, number_of_arms
from jaxrl.config import static, traced, validate
from jaxrl.ops.noise import bulk


@struct.dataclass
class Config:
    """Hyperparameters of the gradient bandit; the defaults are those of Sutton and Barto's figure 2.5."""

    learning_rate: float = traced(0.1, ge=0)
    """Step size of the preferences."""
    baseline: bool = static(True)
    """Whether rewards are compared with their mean so far, rather than with zero."""
    num_steps: int = static(100, ge=1)
    """Pulls an iteration."""


@struct.dataclass
class Preferences:
    """The logits of the policy, `[A]` float32, and the sum of the rewards so far, `[]` float32."""

    logits: jax.Array
    total: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return the gradient bandit on `env`.

    Raises:
      ValueError: if a field of `config` is out of its range, or the actions are not discrete.
    """
    validate(config)
    num_arms = number_of_arms(env, params)

    def update(beliefs, x, arm, reward, n):
        baseline = beliefs.total / jnp.maximum(n, 1) if config.baseline else 0.0
        logits = climb(beliefs.logits, arm, reward - baseline, config.learning_rate)
        return Preferences(logits=logits, total=beliefs.total + reward)

    learner = Learner(
        init=lambda key: Preferences(logits=jnp.zeros(num_arms, jnp.float32), total=jnp.float32(0)),
        draw=lambda key, num: bulk(jax.random.gumbel, key, num, (num_arms,)),
        select=lambda beliefs, x, gumbel, n: jnp.argmax(beliefs.logits + gumbel).astype(jnp.int32),
        update=update,
        values=lambda beliefs, x: beliefs.logits,
    )
    return algorithm(env, params, learner, config.num_steps)


def climb(
    logits: jax.Array, arm: jax.Array, advantage: jax.Array, learning_rate: float | jax.Array
) -> jax.Array:
    """Return the preferences after one step along the sampled gradient, `[A]` float32.

        logits + learning_rate * advantage * (1[arm] - softmax(logits))

    >>> climb(jnp.zeros(2), jnp.int32(0), jnp.float32(1.0), 0.1).round(3).tolist()
    [0.05..., -0.05...]

    Source: Sutton and Barto (2018), equation 2.12.
    """
    pulled = jnp.arange(logits.shape[0]) == arm
    return logits + learning_rate * advantage * (pulled - jax.nn.softmax(logits))
