"""What a learner believes, measured against what then happens."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from envs.core import Environment, Params, time_limit
from envs.vector import VecEnv
from jaxrl.algorithm import Policy
from jaxrl.rollout import unroll

Scalar = float | jax.Array

# A return is known where what is cut off from it counts at most this much.
NEGLIGIBLE = 0.01


@struct.dataclass
class Beliefs:
    """Values along evaluation episodes, beside the returns that followed; every leaf `[T, num_episodes]`.

    Attributes:
      predicted: float32, what the learner expected of its own policy.
      realised: float32, the discounted return that came.
      known: float32, 1 where that return is known, else 0: steps after the end of the first episode, and
        those of an episode that did not terminate with the horizon too near.
    """

    predicted: jax.Array
    realised: jax.Array
    known: jax.Array


def beliefs(
    policy: Policy,
    env: Environment,
    params: Params,
    key: jax.Array,
    num_episodes: int,
    gamma: Scalar,
    max_steps: int | None = None,
) -> Beliefs:
    """Return what a policy expected and got in the first episode of each of `num_episodes` environments.

        realised_t = r_{t+1} + gamma r_{t+2} + ...     to the end of the episode

    Of an episode that the clock ended, the steps count after which at least log(0.01) / log(gamma) others
    were seen: what is cut off there counts at most 1 %. The learner's state is only read.

    Args:
      policy: with a `value`, as learners of action values return it.
      env: the environment.
      params: its parameters.
      key: one key.
      num_episodes: how many.
      gamma: `[]` float, the learner's discount factor.
      max_steps: T, the horizon; the environment's own time limit by default (1,000 if it has none).

    Raises:
      ValueError: if the policy has no `value`.

    Source: van Hasselt et al. (2016), https://arxiv.org/abs/1509.06461, figure 3.
    """
    value = policy.value
    if value is None:
        raise ValueError("`policy` must have a value, as those of learners of action values do")
    if num_episodes < 1:
        raise ValueError(f"`num_episodes` must be at least 1, got {num_episodes}")
    max_steps = time_limit(env, params) if max_steps is None else max_steps
    vec = VecEnv(env, num_episodes, reset="first")
    key_reset, key_unroll = jax.random.split(key)
    vec_state, obs = vec.reset(key_reset, params)
    carry = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_episodes, *jnp.shape(x))), policy.init())

    def act(key, obs, carry):
        predicted = jax.vmap(value)(obs, carry)
        action, carry = jax.vmap(policy.act)(obs, carry, jax.random.split(key, num_episodes))
        return action, predicted, carry

    *_, steps = unroll(vec, params, act, key_unroll, vec_state, obs, carry, max_steps)
    return compare(steps.extras, steps.reward, steps.terminated, steps.truncated, gamma)


def compare(
    predicted: jax.Array, reward: jax.Array, terminated: jax.Array, truncated: jax.Array, gamma: Scalar
) -> Beliefs:
    """Return what was expected along the first episode of each environment beside what came; see `beliefs`.

    Args:
      predicted: `[T, B]` float.
      reward: `[T, B]` float.
      terminated: `[T, B]` bool.
      truncated: `[T, B]` bool.
      gamma: `[]` float.
    """

    def backwards(loop, at):
        realised, weight = loop
        reward, terminated, truncated = at
        ended = terminated | truncated
        realised = reward + gamma * jnp.where(ended, 0.0, realised)
        # How much of the return lies beyond what was seen.
        weight = jnp.where(terminated, 0.0, gamma * jnp.where(truncated, 1.0, weight))
        return (realised, weight), (realised, weight)

    start = (jnp.zeros(reward.shape[1:]), jnp.ones(reward.shape[1:]))
    _, (realised, beyond) = lax.scan(backwards, start, (reward, terminated, truncated), reverse=True)
    ended = terminated | truncated
    done = jnp.cumsum(ended, axis=0) - ended > 0
    known = ~done & (beyond <= NEGLIGIBLE)
    return Beliefs(predicted, realised, known.astype(jnp.float32))


def overestimation(
    policy: Policy,
    env: Environment,
    params: Params,
    key: jax.Array,
    num_episodes: int,
    gamma: Scalar,
    max_steps: int | None = None,
) -> jax.Array:
    """Return the mean of `predicted - realised` over the known steps, `[]` float32; NaN if there is none.

    The arguments are those of `beliefs`.

    >>> import envs
    >>> from jaxrl.agents import dqn
    >>> algorithm = dqn.make(*envs.make("Catch-bsuite-v1"), dqn.Config(gamma=0.9))
    >>> policy = algorithm.policy(jax.jit(algorithm.init)(jax.random.key(0)))
    >>> overestimation(policy, algorithm.env, algorithm.params, jax.random.key(1), 4, gamma=0.9).shape
    ()
    """
    found = beliefs(policy, env, params, key, num_episodes, gamma, max_steps)
    return jnp.sum((found.predicted - found.realised) * found.known) / jnp.sum(found.known)
