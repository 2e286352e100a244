"""Unroll a policy in a `VecEnv`: the only environment loop."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Params
from envs.vector import EpisodeStats, VecEnv, VecState, where
from jaxrl.algorithm import Metrics

# (key, obs [B, ...], carry) -> (action [B, ...], extras [B, ...], carry)
Act = Callable[[jax.Array, Any, Any], tuple[Any, Any, Any]]


@struct.dataclass
class Transition:
    """What happened from s to s'; leaves `[T, B, ...]` as `unroll` returns them.

    Attributes:
      obs: s, what the policy saw.
      action: what it did.
      extras: what it said beside, for instance `{"log_prob": ...}`.
      reward: float32.
      next_obs: the true s', also at an episode's end.
      terminated: bool, the process ended.
      truncated: bool, the clock ended it.
      episode: running statistics of the episode.
    """

    obs: Any
    action: Any
    extras: Any
    reward: jax.Array
    next_obs: Any
    terminated: jax.Array
    truncated: jax.Array
    episode: EpisodeStats


def unroll(
    vec: VecEnv,
    params: Params,
    act: Act,
    key: jax.Array,
    vec_state: VecState,
    obs: Any,
    carry: Any,
    num_steps: int,
    initial_carry: Any = None,
) -> tuple[VecState, Any, Any, Transition]:
    """Return the state, observation and carry after `num_steps` steps, and the transitions on the way.

    What the caller does not use of the transitions is never stored: XLA drops it from the loop.

    Args:
      vec: B environments.
      params: their parameters.
      act: the batched policy.
      key: one key.
      vec_state: as `vec.reset` returned it.
      obs: `[B, ...]`, the observation to act on.
      carry: the policy's memory.
      num_steps: T.
      initial_carry: `[B, ...]`, the memory at the start of an episode, which replaces the memory where one
        ends; None leaves it alone.

    Returns:
      `(vec_state, obs, carry, transitions [T, B, ...])`.
    """

    def step(loop, keys):
        vec_state, obs, carry = loop
        key_act, key_env = keys
        action, extras, carry = act(key_act, obs, carry)
        vec_state, out = vec.step(key_env, vec_state, action, params)
        if initial_carry is not None:
            carry = where(out.terminated | out.truncated, initial_carry, carry)
        transition = Transition(
            obs=obs,
            action=action,
            extras=extras,
            reward=out.reward,
            next_obs=out.next_obs,
            terminated=out.terminated,
            truncated=out.truncated,
            episode=out.episode,
        )
        return (vec_state, out.obs, carry), transition

    keys = jax.random.split(key, (2, num_steps))
    (vec_state, obs, carry), transitions = jax.lax.scan(step, (vec_state, obs, carry), (keys[0], keys[1]))
    return vec_state, obs, carry, transitions


def episode_metrics(episode: EpisodeStats) -> Metrics:
    """Return the number of episodes that ended and the means of their statistics (NaN if none did).

    Args:
      episode: leaves of any shape.

    Returns:
      `episodes`, `episode_return`, `episode_length` and `episode_<metric>`, each `[]` float32.
    """
    count = jnp.sum(episode.done, dtype=jnp.float32)

    def mean(x):
        return jnp.sum(jnp.where(episode.done, x, 0), dtype=jnp.float32) / count

    named = {"return": episode.return_, "length": episode.length, **episode.metrics}
    return {"episodes": count} | {f"episode_{name}": mean(x) for name, x in named.items()}


def pooled(metrics: Metrics, axis_name: str) -> Metrics:
    """Return `metrics` with those of episodes taken over all devices of a mapped axis.

    Args:
      metrics: with those of `episode_metrics`, of this device.
      axis_name: of the axis; `episodes` is summed over it, the means are weighted by it.
    """
    count = metrics["episodes"]
    total = jax.lax.psum(count, axis_name)

    def mean(x):
        return jax.lax.psum(jnp.where(count > 0, count * x, 0.0), axis_name) / total

    means = {name: mean(x) for name, x in metrics.items() if name.startswith("episode_")}
    return metrics | {"episodes": total} | means
