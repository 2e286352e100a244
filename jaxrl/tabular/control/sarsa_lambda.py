"""SARSA(lambda): on-policy control that credits every earlier step by its eligibility trace.

With dutch traces it is true online SARSA(lambda), which equals its forward view step by step.

Source: Sutton and Barto (2018), sections 12.7 and 12.5; van Seijen et al. (2016), "True online
temporal-difference learning", https://arxiv.org/abs/1512.04087, algorithm 2.
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.tabular import traces
from jaxrl.tabular.control import driver
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of SARSA(lambda)."""

    lambda_: float = traced(0.9, ge=0, le=1)
    """How far credit reaches back: 0 is SARSA, 1 Monte Carlo."""
    trace: str = static("replacing", choices=traces.KINDS)
    """What a visit does to the trace."""


@struct.dataclass
class Tables:
    """What SARSA(lambda) learns and remembers.

    Attributes:
      q: `[S, A]` float32.
      trace: `[S, A]` float32, 0 at an episode's start.
      expected: `[]` float32, what the present pair was worth one step ago; for dutch traces.
    """

    q: jax.Array
    trace: jax.Array
    expected: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return SARSA(lambda) on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        q = driver.table(num_states, num_actions, config)
        return Tables(q=q, trace=jnp.zeros_like(q), expected=jnp.float32(0))

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=lambda tables, transition, rates, _: update(
            tables, transition, rates, config.lambda_, config.trace
        ),
        selects_ahead=True,
    )
    return driver.make(env, params, config, method)


def update(
    tables: Tables, transition: Transition, rates: Rates, lambda_: traces.Scalar, kind: str
) -> tuple[Tables, jax.Array]:
    """Return the tables after one step, and its error.

        error = r + gamma * Q(s', a') - Q(s, a)
        Q <- Q + learning_rate * error * trace

    and, with dutch traces, `(Q(s, a) - expected) * (trace - 1{s, a})` besides `error * trace`.
    """
    q, at = tables.q, (transition.obs, transition.action)
    next_value = q[transition.next_obs, transition.next_action]
    error = driver.bootstrap(transition, rates.gamma, next_value) - q[at]
    trace = traces.visit(tables.trace, at, rates.gamma * lambda_, kind, rates.learning_rate)
    if kind == "dutch":
        moved = q[at] - tables.expected
        learned = q + rates.learning_rate * (error + moved) * trace
        learned = learned.at[at].add(-rates.learning_rate * moved)
    else:
        learned = q + rates.learning_rate * error * trace
    going = ~transition.done
    return Tables(
        q=learned,
        trace=jnp.where(going, trace, 0.0),
        expected=jnp.where(going, next_value, 0.0),
    ), error
