"""SARSA: on-policy control towards the value of the action that is taken next.

Source: Rummery and Niranjan (1994); Sutton and Barto (2018), section 6.4, equation 6.7. Where a time
limit ends the episode, the next action is the one that would have been taken.
"""

import jax
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.tabular.control import driver
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of SARSA: those that all tabular methods share."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return SARSA on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """
    method = driver.Method(
        init=lambda num_states, num_actions: driver.table(num_states, num_actions, config),
        values=driver.row,
        update=lambda q, transition, rates, _: update(q, transition, rates),
        selects_ahead=True,
    )
    return driver.make(env, params, config, method)


def update(q: jax.Array, transition: Transition, rates: Rates) -> tuple[jax.Array, jax.Array]:
    """Return the table `[S, A]` after one step, and its error.

    Q(s, a) <- Q(s, a) + learning_rate * (r + gamma * Q(s', a') - Q(s, a))
    """
    target = driver.bootstrap(transition, rates.gamma, q[transition.next_obs, transition.next_action])
    at = (transition.obs, transition.action)
    error = target - q[at]
    return q.at[at].add(rates.learning_rate * error), error
