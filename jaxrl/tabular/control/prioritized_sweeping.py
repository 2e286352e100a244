"""Prioritized sweeping: imagined updates where they change most, spreading backwards from each change.

The queue is a table of priorities and its head an argmax, and the predecessors of a state are read off
the model as a mask: with tables that is faster than a heap, and it batches. Every update comes from
the queue, the present step's too. The model remembers what followed each pair the last time, so the world
should be deterministic.

Source: Moore and Atkeson (1993); Peng and Williams (1993); Sutton and Barto (2018), section 8.4.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced
from jaxrl.tabular.control import driver, dyna_q, q_learning
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of prioritized sweeping."""

    planning_steps: int = static(5, ge=1)
    """Updates from the queue after each real step."""
    threshold: float = traced(1e-4, ge=0)
    """Errors up to this size do not enter the queue."""


@struct.dataclass
class Tables:
    """What prioritized sweeping learns and remembers.

    Attributes:
      q: `[S, A]` float32.
      model: what followed each pair.
      known: `[S, A]` bool, whether the pair was tried.
      priority: `[S, A]` float32, the size of the error that waits there; 0 if none does.
    """

    q: jax.Array
    model: dyna_q.Model
    known: jax.Array
    priority: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return prioritized sweeping on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        q = driver.table(num_states, num_actions, config)
        return Tables(
            q=q,
            model=dyna_q.init_model(num_states, num_actions),
            known=jnp.zeros(q.shape, bool),
            priority=jnp.zeros_like(q),
        )

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=lambda tables, transition, rates, _: update(
            tables, transition, rates, config.planning_steps, config.threshold
        ),
    )
    return driver.make(env, params, config, method)


def update(
    tables: Tables, transition: Transition, rates: Rates, planning_steps: int, threshold: float | jax.Array
) -> tuple[Tables, jax.Array]:
    """Return the tables after one real step and the updates at the head of the queue, and the step's error.

    Each update is one of Q-learning; it lets every pair that is known to lead there enter the queue by the
    size of its own error.
    """
    model = dyna_q.learn(tables.model, transition)
    at = (transition.obs, transition.action)
    known = tables.known.at[at].set(True)
    target = driver.bootstrap(transition, rates.gamma, jnp.max(tables.q[transition.next_obs]))
    error = target - tables.q[at]
    priority = tables.priority.at[at].max(_significant(jnp.abs(error), threshold))
    num_actions = tables.q.shape[1]

    def sweep(loop, _):
        q, priority = loop
        head = jnp.argmax(priority)
        obs, action = jnp.divmod(head.astype(jnp.int32), num_actions)
        # An empty queue has a head of priority 0, which learns nothing.
        waiting = priority[obs, action] > 0
        now = replace(rates, learning_rate=jnp.where(waiting, rates.learning_rate, 0.0))
        q, _ = q_learning.update(q, dyna_q.recall(model, obs, action), now)
        priority = priority.at[obs, action].set(0.0)
        predicted = model.reward + jnp.where(model.terminated, 0.0, rates.gamma * jnp.max(q[obs]))
        leads = known & (model.next_obs == obs) & waiting
        surprise = jnp.where(leads, _significant(jnp.abs(predicted - q), threshold), 0.0)
        return (q, jnp.maximum(priority, surprise)), None

    (q, priority), _ = jax.lax.scan(sweep, (tables.q, priority), length=planning_steps)
    return Tables(q=q, model=model, known=known, priority=priority), error


def _significant(size: jax.Array, threshold: float | jax.Array) -> jax.Array:
    return jnp.where(size > threshold, size, 0.0)
