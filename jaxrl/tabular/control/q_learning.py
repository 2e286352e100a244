"""Q-learning: off-policy control towards the value of the best next action.

Source: Watkins (1989); Sutton and Barto (2018), section 6.5, equation 6.8.
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
    """Hyperparameters of Q-learning: those that all tabular methods share."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Q-learning on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """
    method = driver.Method(
        init=lambda num_states, num_actions: driver.table(num_states, num_actions, config),
        values=driver.row,
        update=lambda q, transition, rates, _: update(q, transition, rates),
    )
    return driver.make(env, params, config, method)


def update(q: jax.Array, transition: Transition, rates: Rates) -> tuple[jax.Array, jax.Array]:
    """Return the table `[S, A]` after one step, and its error.

    Q(s, a) <- Q(s, a) + learning_rate * (r + gamma * max_a' Q(s', a') - Q(s, a))
    """
    target = driver.bootstrap(transition, rates.gamma, jnp.max(q[transition.next_obs]))
    at = (transition.obs, transition.action)
    error = target - q[at]
    return q.at[at].add(rates.learning_rate * error), error
