"""Learning curves by episode: what each step ended, put in the order of the episodes.

`jaxrl.train` reports means over many steps, whose size does not grow with the training; where every single
episode is wanted, as in the figures of textbooks, these do it for small problems.
"""

import jax
import jax.numpy as jnp

from jaxrl.algorithm import Algorithm, Metrics, State


def record(
    algorithm: Algorithm, state: State, num_steps: int, start: int | jax.Array = 0
) -> tuple[State, Metrics]:
    """Return the state after `num_steps` environment steps, and the metrics of each, `[num_steps]`.

    Where `metrics["episodes"]` is 1 an episode ended, with `episode_return` and `episode_length`.

    Args:
      algorithm: of one environment step an iteration (`num_steps=1` in its config).
      state: as `algorithm.init` or this function returned it.
      num_steps: T.
      start: `[]` int, environment steps done before.

    Raises:
      ValueError: if an iteration has more steps than one.

    >>> import envs
    >>> from jaxrl.tabular.control import sarsa
    >>> algorithm = sarsa.make(*envs.make("FrozenLake4x4-v1"), sarsa.Config(num_steps=1))
    >>> state, metrics = record(algorithm, algorithm.init(jax.random.key(0)), 100)
    >>> metrics["episode_return"].shape
    (100,)
    """
    if algorithm.steps_per_iteration != 1:
        raise ValueError(
            "`algorithm` must have one environment step an iteration, got "
            f"{algorithm.steps_per_iteration}; set num_steps=1 in its config"
        )
    return jax.lax.scan(algorithm.step, state, start + jnp.arange(num_steps, dtype=jnp.int32))


def at_ends(done: jax.Array, values: jax.Array, num_episodes: int) -> jax.Array:
    """Return `values` where the first episodes ended, `[num_episodes, ...]`.

    Args:
      done: `[T]` bool or float, whether an episode ended with the step.
      values: `[T, ...]` float.
      num_episodes: how many; NaN from the first one on that had not ended.

    >>> at_ends(jnp.array([False, True, True]), jnp.array([1.0, 2.0, 3.0]), 3).tolist()
    [2.0, 3.0, nan]
    """
    ended = jnp.cumsum(done != 0, dtype=jnp.int32)
    episode = jnp.arange(1, num_episodes + 1, dtype=jnp.int32)
    index = jnp.searchsorted(ended, episode)
    there = (episode <= ended[-1]).reshape((-1,) + (1,) * (values.ndim - 1))
    return jnp.where(there, values[jnp.minimum(index, len(ended) - 1)], jnp.nan)
