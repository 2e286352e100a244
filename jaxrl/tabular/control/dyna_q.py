"""Dyna-Q: Q-learning from every real step, and from steps that a learned model imagines.

The model remembers what followed each pair the last time, so it is exact where the world is deterministic
and a single sample where it is not.

Source: Sutton (1990); Sutton and Barto (2018), section 8.2, "Tabular Dyna-Q".
"""

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Environment, Params
from jaxrl.algorithm import Algorithm
from jaxrl.config import static
from jaxrl.tabular.control import driver, q_learning
from jaxrl.tabular.control.driver import Rates, Transition


@struct.dataclass
class Config(driver.Config):
    """Hyperparameters of Dyna-Q."""

    planning_steps: int = static(10, ge=0)
    """Imagined steps after each real one; 0 is Q-learning."""


@struct.dataclass
class Model:
    """What followed each pair of state and action the last time; leaves `[S, A]`.

    Attributes:
      next_obs: int32; the state itself where the action was never tried.
      reward: float32; 0 where it was never tried.
      terminated: bool.
    """

    next_obs: jax.Array
    reward: jax.Array
    terminated: jax.Array


@struct.dataclass
class Seen:
    """A list of what was seen, without repetition, so that a draw from it is one look-up.

    Attributes:
      order: `[N]` int32, what was seen, in the order of its first time.
      known: `[N]` bool, whether it was.
      count: `[]` int32, how much was.
    """

    order: jax.Array
    known: jax.Array
    count: jax.Array


@struct.dataclass
class Tables:
    """The action values `q` `[S, A]`, the `model`, and the pairs that were `seen`."""

    q: jax.Array
    model: Model
    seen: Seen


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Dyna-Q on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        return Tables(
            q=driver.table(num_states, num_actions, config),
            model=init_model(num_states, num_actions),
            seen=init_seen(num_states * num_actions),
        )

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=update,
        num_uniforms=config.planning_steps,
    )
    return driver.make(env, params, config, method)


def update(
    tables: Tables, transition: Transition, rates: Rates, uniforms: jax.Array
) -> tuple[Tables, jax.Array]:
    """Return the tables after one real step and as many imagined ones as there are `uniforms` `[n]`.

    Each is an update of Q-learning; the error is that of the real step.
    """
    q, error = q_learning.update(tables.q, transition, rates)
    model = learn(tables.model, transition)
    num_actions = q.shape[1]
    seen = see(tables.seen, transition.obs * num_actions + transition.action)

    def imagine(q, uniform):
        obs, action = jnp.divmod(draw(seen, uniform), num_actions)
        return q_learning.update(q, recall(model, obs, action), rates)[0], None

    q, _ = jax.lax.scan(imagine, q, uniforms)
    return Tables(q=q, model=model, seen=seen), error


def init_model(num_states: int, num_actions: int) -> Model:
    """Return a model that has seen nothing: every action stays where it is and pays nothing."""
    shape = (num_states, num_actions)
    states = jnp.arange(num_states, dtype=jnp.int32)
    return Model(
        next_obs=jnp.broadcast_to(states[:, None], shape),
        reward=jnp.zeros(shape, jnp.float32),
        terminated=jnp.zeros(shape, bool),
    )


def learn(model: Model, transition: Transition) -> Model:
    """Return the model after a real step."""
    at = (transition.obs, transition.action)
    return Model(
        next_obs=model.next_obs.at[at].set(transition.next_obs),
        reward=model.reward.at[at].set(transition.reward),
        terminated=model.terminated.at[at].set(transition.terminated),
    )


def recall(model: Model, obs: jax.Array, action: jax.Array) -> Transition:
    """Return what the model says follows `action` in `obs`."""
    return Transition(
        obs=obs,
        action=action,
        reward=model.reward[obs, action],
        next_obs=model.next_obs[obs, action],
        next_action=jnp.int32(0),
        terminated=model.terminated[obs, action],
        truncated=jnp.zeros((), bool),
    )


def init_seen(size: int) -> Seen:
    """Return an empty list of the numbers below `size`."""
    return Seen(order=jnp.zeros(size, jnp.int32), known=jnp.zeros(size, bool), count=jnp.int32(0))


def see(seen: Seen, index: jax.Array) -> Seen:
    """Return the list with `index` in it."""
    # Written where the next one goes in any case: what lies beyond the count is never read.
    known = seen.known[index]
    return Seen(
        order=seen.order.at[seen.count].set(index, mode="drop"),
        known=seen.known.at[index].set(True),
        count=seen.count + ~known,
    )


def draw(seen: Seen, uniform: jax.Array) -> jax.Array:
    """Return one of what was seen, `[]` int32, each alike, from one number in [0, 1)."""
    position = (uniform * seen.count).astype(jnp.int32)
    return seen.order[jnp.minimum(position, seen.count - 1)]
