"""Monte Carlo control: the mean return after each action, of the policy that is greedy to it but for epsilon.

No episode is stored. A return is linear in its rewards, so the sums of the returns after all visits of
each pair grow step by step: each reward is added with the pair's trace of lambda = 1, and the table
learns from the sums when the episode ends. Where a time limit ends it, the return goes on with the value
of the action that would have been taken.

Source: Sutton and Barto (2018), section 5.4.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.config import static
from jaxrl.tabular.control import driver
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of Monte Carlo control."""

    first_visit: bool = static(True)
    """Whether only the return after a pair's first visit in an episode counts, or that after each."""
    sample_average: bool = static(False)
    """Whether all returns weigh alike for ever; else recent ones weigh more, by learning_rate."""


@struct.dataclass
class Tables:
    """What Monte Carlo control learns and remembers; every leaf `[S, A]` float32.

    Attributes:
      q: the action values.
      count: how many returns were counted in all.
      visits: how many are being counted in this episode.
      trace: the weight of the next reward in them.
      returns: their sum so far.
    """

    q: jax.Array
    count: jax.Array
    visits: jax.Array
    trace: jax.Array
    returns: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Monte Carlo control on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        zeros = jnp.zeros((num_states, num_actions), jnp.float32)
        q = driver.table(num_states, num_actions, config)
        return Tables(q=q, count=zeros, visits=zeros, trace=zeros, returns=zeros)

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=lambda tables, transition, rates, _: update(
            tables, transition, rates, config.first_visit, config.sample_average
        ),
        selects_ahead=True,
    )
    return driver.make(env, params, config, method)


def update(
    tables: Tables, transition: Transition, rates: Rates, first_visit: bool, sample_average: bool
) -> tuple[Tables, jax.Array]:
    """Return the tables after one step, and the mean error of the pairs that learned (0 within an episode).

        Q(s, a) <- Q(s, a) + weight * (mean return after (s, a) - Q(s, a))

    The weight is that of the n returns of this episode among all (sample average), or that which n steps
    of `learning_rate` towards their mean have: 1 - (1 - learning_rate)^n.
    """
    at = (transition.obs, transition.action)
    counted = jnp.where(tables.visits[at] == 0, 1.0, 0.0) if first_visit else jnp.float32(1.0)
    trace, visits = tables.trace.at[at].add(counted), tables.visits.at[at].add(counted)
    next_value = tables.q[transition.next_obs, transition.next_action]
    cut = transition.truncated & ~transition.terminated
    beyond = jnp.where(cut, rates.gamma * next_value, 0.0)
    returns = tables.returns + trace * (transition.reward + beyond)
    learns = (visits > 0) & transition.done
    count = tables.count + jnp.where(learns, visits, 0.0)
    if sample_average:
        weight = visits / jnp.maximum(count, 1.0)
    elif first_visit:
        weight = rates.learning_rate
    else:
        weight = 1.0 - (1.0 - rates.learning_rate) ** visits
    error = jnp.where(learns, returns / jnp.maximum(visits, 1.0) - tables.q, 0.0)
    going = jnp.where(transition.done, 0.0, 1.0)
    return Tables(
        q=tables.q + weight * error,
        count=count,
        visits=going * visits,
        trace=going * rates.gamma * trace,
        returns=going * returns,
    ), jnp.sum(jnp.abs(error)) / jnp.maximum(jnp.sum(learns), 1)
