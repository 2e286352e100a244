"""n-step SARSA: on-policy control towards n rewards and the value of the action taken after them.

Source: Sutton and Barto (2018), section 7.2. At an episode's end all steps that are still waiting are
updated, oldest first; where a time limit ends it, towards the action that would have been taken.
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
    """Hyperparameters of n-step SARSA."""

    n: int = static(4, ge=1)
    """Rewards of a target; 1 is SARSA."""


@struct.dataclass
class Window:
    """The steps that still wait for their target, the newest last; leaves `[n]`.

    Attributes:
      obs: int32.
      action: int32.
      reward: float32, the discounted sum of the rewards since.
      discount: float32, of what follows that sum; 0 where there is no such step.
    """

    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    discount: jax.Array


@struct.dataclass
class Tables:
    """The action values `q` `[S, A]`, and the window."""

    q: jax.Array
    window: Window
    waiting: jax.Array


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return n-step SARSA on `env`, whose observations and actions must be `Discrete`.

    Raises:
      ValueError: if a field of `config` is out of its range, or `env` has other spaces.
    """

    def init(num_states, num_actions):
        integers, floats = jnp.zeros(config.n, jnp.int32), jnp.zeros(config.n, jnp.float32)
        window = Window(obs=integers, action=integers, reward=floats, discount=floats)
        q = driver.table(num_states, num_actions, config)
        return Tables(q=q, window=window, waiting=jnp.zeros(config.n, bool))

    method = driver.Method(
        init=init,
        values=lambda tables, obs: tables.q[obs],
        update=lambda tables, transition, rates, _: update(tables, transition, rates),
        selects_ahead=True,
    )
    return driver.make(env, params, config, method)


def update(tables: Tables, transition: Transition, rates: Rates) -> tuple[Tables, jax.Array]:
    """Return the tables after one step, and the error of the oldest step of the window.

    Q(s, a) <- Q(s, a) + learning_rate * (r_1 + ... + gamma^{n-1} r_n + gamma^n Q(s_n, a_n) - Q(s, a))
    """
    old = tables.window
    n = old.obs.shape[0]

    def push(entries, newest):
        return jnp.concatenate([entries[1:], newest[None]])

    window = Window(
        obs=push(old.obs, transition.obs),
        action=push(old.action, transition.action),
        reward=push(old.reward + old.discount * transition.reward, transition.reward),
        discount=push(old.discount * rates.gamma, rates.gamma),
    )
    waiting = push(tables.waiting, jnp.ones((), bool))
    next_value = tables.q[transition.next_obs, transition.next_action]
    target = window.reward + window.discount * jnp.where(transition.terminated, 0.0, next_value)
    # The oldest step is due when it has its n rewards, every step when the episode ends.
    due = waiting & (transition.done | (jnp.arange(n) == 0))

    def learn(q, step):
        obs, action, target, due = step
        error = jnp.where(due, target - q[obs, action], 0.0)
        return q.at[obs, action].add(rates.learning_rate * error), error

    q, errors = jax.lax.scan(learn, tables.q, (window.obs, window.action, target, due), unroll=min(n, 8))
    return Tables(q=q, window=window, waiting=waiting & ~transition.done), errors[0]
