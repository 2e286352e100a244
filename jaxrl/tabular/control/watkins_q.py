"""Watkins's Q(lambda): Q-learning with traces that are cut where the behaviour leaves the greedy policy.

Source: Watkins (1989); Sutton and Barto (1998), section 7.6, figure 7.14; Sutton and Barto (2018),
section 12.10.
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
    """Hyperparameters of Watkins's Q(lambda)."""

    lambda_: float = traced(0.9, ge=0, le=1)
    """How far credit reaches back along greedy actions: 0 is Q-learning."""
    trace: str = static("replacing", choices=("accumulating", "replacing"))
    """What a visit does to the trace."""


@struct.dataclass
class Tables:
    """The action values `q` and the `trace`, both `[S, A]` float32."""

    q: jax.Array
    trace: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Watkins's Q(lambda) on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        q = driver.table(num_states, num_actions, config)
        return Tables(q=q, trace=jnp.zeros_like(q))

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

        error = r + gamma * max_a' Q(s', a') - Q(s, a)
        Q <- Q + learning_rate * error * trace

    The trace ends with the episode, and where the next action is not a best one.
    """
    q, at = tables.q, (transition.obs, transition.action)
    next_values = q[transition.next_obs]
    best = jnp.max(next_values)
    error = driver.bootstrap(transition, rates.gamma, best) - q[at]
    trace = traces.visit(tables.trace, at, rates.gamma * lambda_, kind, rates.learning_rate)
    learned = q + rates.learning_rate * error * trace
    follows = (next_values[transition.next_action] == best) & ~transition.done
    return Tables(q=learned, trace=jnp.where(follows, trace, 0.0)), error
