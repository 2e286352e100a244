"""Double Q-learning: two tables, one of which names the best action and the other what it is worth.

So the largest of noisy estimates is not taken for the value of the best action. Acts on their sum.

Source: van Hasselt (2010), "Double Q-learning", algorithm 1; Sutton and Barto (2018), section 6.7.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.tabular.control import driver
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of double Q-learning: those that all tabular methods share."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return double Q-learning on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        return jnp.stack([driver.table(num_states, num_actions, config)] * 2)

    method = driver.Method(init=init, values=values, update=update, num_uniforms=1)
    return driver.make(env, params, config, method)


def values(q: jax.Array, obs: jax.Array) -> jax.Array:
    """Return the mean of both tables `[2, S, A]` for one state, `[A]`."""
    return jnp.mean(q[:, obs], axis=0)


def update(
    q: jax.Array, transition: Transition, rates: Rates, uniforms: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the tables `[2, S, A]` after one step, and the error of the one that learned.

        Q_i(s, a) <- Q_i(s, a) + learning_rate * (r + gamma * Q_j(s', argmax_a' Q_i(s', a')) - Q_i(s, a))

    where i is 0 or 1 with equal probability and j the other one.
    """
    i = (uniforms[0] < 0.5).astype(jnp.int32)
    best = jnp.argmax(q[i, transition.next_obs])
    target = driver.bootstrap(transition, rates.gamma, q[1 - i, transition.next_obs, best])
    at = (i, transition.obs, transition.action)
    error = target - q[at]
    return q.at[at].add(rates.learning_rate * error), error
