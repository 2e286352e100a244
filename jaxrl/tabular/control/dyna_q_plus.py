"""Dyna-Q+: Dyna-Q that imagines a bonus for what it has not tried for long, so as to notice changes.

Planning considers all actions of the states that were visited; one never tried is imagined to stay in
place and pay nothing but its bonus.

Source: Sutton (1990); Sutton and Barto (2018), section 8.3 and its footnote.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.config import traced
from jaxrl.tabular.control import driver, dyna_q, q_learning
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(dyna_q.Config):
    """Hyperparameters of Dyna-Q+."""

    kappa: float = traced(1e-4, ge=0)
    """Weight of the bonus: kappa times the square root of the steps since the action was tried there."""


@struct.dataclass
class Tables:
    """What Dyna-Q+ learns and remembers.

    Attributes:
      q: `[S, A]` float32.
      model: what followed each pair.
      seen: the states that were visited.
      tried: `[S, A]` int32, environment steps done when the pair was last tried.
    """

    q: jax.Array
    model: dyna_q.Model
    seen: dyna_q.Seen
    tried: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Dyna-Q+ on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        return Tables(
            q=driver.table(num_states, num_actions, config),
            model=dyna_q.init_model(num_states, num_actions),
            seen=dyna_q.init_seen(num_states),
            tried=jnp.zeros((num_states, num_actions), jnp.int32),
        )

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=lambda tables, transition, rates, uniforms: update(
            tables, transition, rates, uniforms, config.kappa
        ),
        num_uniforms=2 * config.planning_steps,
    )
    return driver.make(env, params, config, method)


def update(
    tables: Tables, transition: Transition, rates: Rates, uniforms: jax.Array, kappa: float | jax.Array
) -> tuple[Tables, jax.Array]:
    """Return the tables after one real step and `n` imagined ones, for `uniforms` `[2 * n]`.

    Each is an update of Q-learning, the imagined ones with the reward `r + kappa * sqrt(steps untried)`;
    the error is that of the real step.
    """
    q, error = q_learning.update(tables.q, transition, rates)
    model = dyna_q.learn(tables.model, transition)
    seen = dyna_q.see(tables.seen, transition.obs)
    now = rates.count + 1
    tried = tables.tried.at[transition.obs, transition.action].set(now)
    num_actions = q.shape[1]

    def imagine(q, uniforms):
        obs = dyna_q.draw(seen, uniforms[0])
        action = jnp.minimum((uniforms[1] * num_actions).astype(jnp.int32), num_actions - 1)
        bonus = kappa * jnp.sqrt((now - tried[obs, action]).astype(jnp.float32))
        imagined = dyna_q.recall(model, obs, action)
        return q_learning.update(q, replace(imagined, reward=imagined.reward + bonus), rates)[0], None

    q, _ = jax.lax.scan(imagine, q, uniforms.reshape(-1, 2))
    return Tables(q=q, model=model, seen=seen, tried=tried), error
