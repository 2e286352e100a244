"""A trained policy as a moving picture."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from envs import render
from envs.core import Environment, Params, time_limit
from experiments.store import StoreError
from jaxrl.algorithm import Policy


def record(
    policy: Policy,
    env: Environment,
    params: Params,
    path: Path,
    *,
    seed: int = 0,
    max_steps: int = 500,
    fps: float = 30,
) -> tuple[Path, float, int]:
    """Write one episode of `policy` to `path` and return `(path, return, length)`.

    Args:
      policy: how to act.
      env: the environment, and `params`, its parameters.
      path: where to; the suffix (.gif, .html, .png) chooses the format.
      seed: of the episode.
      max_steps: where to cut an episode that is longer.
      fps: frames a second.

    Raises:
      StoreError: if the file cannot be written.
    """
    states, observations, rewards = episode(policy, env, params, seed, max_steps)
    frames = [render.frame(env, state, params, obs) for state, obs in zip(states, observations, strict=True)]
    try:
        return render.save(frames, path, fps), float(np.sum(rewards)), len(rewards)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def episode(
    policy: Policy, env: Environment, params: Params, seed: int, max_steps: int
) -> tuple[list[Any], list[Any], np.ndarray]:
    """Return the `n + 1` states and observations of one episode of n steps and its `[n]` rewards."""
    horizon = min(max_steps, time_limit(env, params))

    @jax.jit
    def unroll(key):
        key_reset, key_steps = jax.random.split(key)
        state, obs = env.reset(key_reset, params)

        def step(loop, key):
            state, obs, carry = loop
            key_act, key_step = jax.random.split(key)
            action, carry = policy.act(obs, carry, key_act)
            state, out = env.step(key_step, state, action, params)
            return (state, out.obs, carry), (state, out.obs, out.reward, out.terminated | out.truncated)

        _, rest = jax.lax.scan(step, (state, obs, policy.init()), jax.random.split(key_steps, horizon))
        return (state, obs), rest

    first, (states, observations, rewards, ends) = jax.device_get(unroll(jax.random.key(seed)))
    length = int(np.argmax(ends)) + 1 if ends.any() else horizon

    def row(index: int) -> Any:
        return jax.tree.map(lambda x: x[index], (states, observations))

    steps = [first, *(row(i) for i in range(length))]
    return [state for state, _ in steps], [obs for _, obs in steps], rewards[:length]
