"""Expected SARSA: on-policy control towards the mean value of the actions that may be taken next.

Source: van Seijen et al. (2009), "A theoretical and empirical analysis of expected Sarsa"; Sutton and
Barto (2018), section 6.6, equation 6.9.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.explore.selection import epsilon_greedy_probabilities
from jaxrl.tabular.control import driver
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of expected SARSA: those that all tabular methods share."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return expected SARSA on `env`, whose observations and actions must be `Discrete`.

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

        Q(s, a) <- Q(s, a) + learning_rate * (r + gamma * sum_a' pi(a' | s') Q(s', a') - Q(s, a))

    where pi is epsilon-greedy with the epsilon of this step.
    """
    values = q[transition.next_obs]
    expected = jnp.sum(epsilon_greedy_probabilities(values, rates.epsilon) * values)
    target = driver.bootstrap(transition, rates.gamma, expected)
    at = (transition.obs, transition.action)
    error = target - q[at]
    return q.at[at].add(rates.learning_rate * error), error
