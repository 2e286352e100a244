"""`VecEnv`: the only place that batches, auto-resets, limits time and keeps episode statistics."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import struct
from jax.interpreters import partial_eval

from envs.checks import check_env_like, check_size
from envs.core import Environment, Obs, Params, State, time_limit
from envs.spaces import Space

# The pool holds POOL_BLOCKS blocks of num_envs / POOL_BLOCKS starts, one of which is redrawn at every step.
# So environments that end together get distinct starts, and episodes of POOL_BLOCKS steps or more new ones.
POOL_BLOCKS = 16

ResetMode = Literal["auto", "fresh", "pool", "first"]


@struct.dataclass
class EpisodeStats:
    """Running statistics of the current episode, complete where `done`; every leaf `[N]`.

    Attributes:
      done: bool; the episode ended with this step.
      return_: float32 sum of rewards, undiscounted.
      length: int32 number of steps.
      metrics: the sum over the episode of each of the environment's metrics.
    """

    done: jax.Array
    return_: jax.Array
    length: jax.Array
    metrics: dict[str, jax.Array]


@struct.dataclass
class VecStep:
    """One step of N environments; every leaf `[N, ...]`.

    Attributes:
      obs: what the policy acts on next; after a reset, the new episode's first observation.
      next_obs: the true s', before any reset: the only thing a value target may use.
      reward: float32.
      terminated: bool, the process ended.
      truncated: bool, the clock ended it; never together with `terminated`.
      episode: statistics of the episode that this step belongs to.
    """

    obs: Obs
    next_obs: Obs
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    episode: EpisodeStats


@struct.dataclass
class Start:
    """First states of episodes, with their observations and (if drawn per episode) parameters."""

    state: State
    obs: Obs
    params: Params


@struct.dataclass
class VecState:
    """The state of N environments.

    Attributes:
      state: the environments' states, `[N, ...]`.
      params: each environment's parameters `[N, ...]`, or None if all share the caller's.
      episode: running statistics of the current episodes.
      starts: stored starts, `[P, ...]` in mode "pool", `[N, ...]` in mode "first", else None.
      dealt: `[]` int32, the pool entry to deal next.
      block: `[]` int32, the pool's block to redraw next.
    """

    state: State
    params: Params
    episode: EpisodeStats
    starts: Start | None
    dealt: jax.Array
    block: jax.Array


@dataclass(frozen=True, init=False)
class VecEnv:
    """N copies of an environment that restart when an episode ends.

    Args:
      env: the environment.
      num_envs: N.
      reset: where a new episode's first state comes from.
        "fresh": `env.reset` for every environment at every step, used where an episode ended.
        "pool": a rolling pool of at least N independent starts, 1/16 of which are redrawn at every step;
        starts repeat only where episodes are shorter than 16 steps on average.
        "first": each environment's own very first start, for ever (cheapest; as Brax does).
        "auto": "fresh" if the reset ignores its key (then it costs nothing), if a time limit is below 16
        steps (then a pool would repeat itself) or if N is 1 (then a pool would draw as many), else "pool".
      time_limit: truncate episodes after so many steps, if the environment has not before.
      params_dist: `(key, params) -> params` draws the parameters of each episode.

    >>> env, params = __import__("envs").make("CartPole-v1")
    >>> vec = VecEnv(env, num_envs=4)
    >>> state, obs = vec.reset(jax.random.key(0), params)
    >>> obs.shape
    (4, 4)
    """

    env: Environment
    num_envs: int
    reset_mode: ResetMode
    time_limit: int | None
    params_dist: Callable[[jax.Array, Params], Params] | None

    def __init__(
        self,
        env: Environment,
        num_envs: int,
        reset: ResetMode = "auto",
        time_limit: int | None = None,
        params_dist: Callable[[jax.Array, Params], Params] | None = None,
    ):
        if reset not in get_args(ResetMode):
            raise ValueError(f"`reset` must be one of {get_args(ResetMode)}, got {reset!r}")
        check_env_like(env)
        check_size("num_envs", num_envs)
        if time_limit is not None and time_limit < 1:
            raise ValueError(f"`time_limit` must be at least 1 step or None, got {time_limit}")
        fields = {"env": env, "num_envs": num_envs, "reset_mode": reset}
        fields |= {"time_limit": time_limit, "params_dist": params_dist}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def mode(self) -> str:
        """The reset mode that "auto" stands for, or the one chosen."""
        if self.reset_mode != "auto":
            return self.reset_mode
        if self.params_dist is None and not reset_uses_key(self.env):
            return "fresh"
        shortest = min(time_limit(self.env), self.time_limit or POOL_BLOCKS)
        return "fresh" if shortest < POOL_BLOCKS or self.num_envs == 1 else "pool"

    def observation_space(self, params: Params) -> Space:
        """Return the space of a single environment's observations."""
        return self.env.observation_space(params)

    def action_space(self, params: Params) -> Space:
        """Return the space of a single environment's actions."""
        return self.env.action_space(params)

    def reset(self, key: jax.Array, params: Params) -> tuple[VecState, Obs]:
        """Return the state of N new episodes and their first observations `[N, ...]`."""
        pool_size = self._pool_size if self.mode == "pool" else 0
        drawn = self._draw(jax.random.split(key, self.num_envs + pool_size), params)
        start = jax.tree.map(lambda x: x[: self.num_envs], drawn)
        starts = start if self.mode == "first" else None
        if pool_size:
            starts = jax.tree.map(lambda x: x[self.num_envs :], drawn)
        zeros = jnp.zeros(self.num_envs, jnp.float32)
        episode = EpisodeStats(
            done=jnp.zeros(self.num_envs, bool),
            return_=zeros,
            length=jnp.zeros(self.num_envs, jnp.int32),
            metrics=dict.fromkeys(metric_names(self.env, params), zeros),
        )
        vec_state = VecState(
            state=start.state,
            params=start.params,
            episode=episode,
            starts=starts,
            dealt=jnp.int32(0),
            block=jnp.int32(0),
        )
        return vec_state, start.obs

    def step(
        self, key: jax.Array, vec_state: VecState, action: Any, params: Params
    ) -> tuple[VecState, VecStep]:
        """Return the next state and what happened; where an episode ends, a new one begins.

        Args:
          key: one key.
          vec_state: as `reset` or `step` returned it.
          action: `[N, ...]`.
          params: one set of parameters, shared by all (with `params_dist`: what it draws from).

        Raises:
          ValueError: if there is not one action for each environment.
        """
        for shape in map(jnp.shape, jax.tree.leaves(action)):
            if shape[:1] != (self.num_envs,):
                raise ValueError(f"`action` must hold one for each of {self.num_envs}, got {list(shape)}")
        keys, keys_drawn = self._keys(key)
        drawn = self.params_dist is not None
        state, step = jax.vmap(self.env.step, in_axes=(0, 0, 0, 0 if drawn else None))(
            keys,
            vec_state.state,
            action,
            vec_state.params if drawn else params,
        )
        before = vec_state.episode
        length = before.length + 1
        truncated = step.truncated
        if self.time_limit is not None:
            truncated = (truncated | (length >= self.time_limit)) & ~step.terminated
        done = step.terminated | truncated
        episode = EpisodeStats(
            done=done,
            return_=before.return_ + step.reward,
            length=length,
            metrics={name: before.metrics[name] + value for name, value in step.metrics.items()},
        )
        start, vec_state = self._restart(keys_drawn, vec_state, params, done)
        going = Start(state=state, obs=step.obs, params=vec_state.params)
        current = where(done, start, going)
        vec_state = replace(
            vec_state,
            state=current.state,
            params=current.params,
            episode=jax.tree.map(lambda x: where(done, jnp.zeros_like(x), x), episode),
        )
        return vec_state, VecStep(
            obs=current.obs,
            next_obs=step.obs,
            reward=step.reward,
            terminated=step.terminated,
            truncated=truncated,
            episode=episode,
        )

    @property
    def _block_size(self) -> int:
        return -(-self.num_envs // POOL_BLOCKS)

    @property
    def _pool_size(self) -> int:
        return POOL_BLOCKS * self._block_size

    @property
    def _num_drawn(self) -> int:
        """How many starts are drawn at every step."""
        return {"fresh": self.num_envs, "pool": self._block_size, "first": 0}[self.mode]

    def _keys(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the environments' keys for a step, and those of the starts drawn at it.

        One split for all: on a CPU the number of calls counts, not that of the keys. And none where none is
        needed: a reset that ignores its key gets the step's, and a single environment then `key` itself.
        """
        ignored = self.mode == "fresh" and self.params_dist is None and not reset_uses_key(self.env)
        num_keys = self.num_envs + (0 if ignored else self._num_drawn)
        keys = jax.random.split(key, num_keys) if num_keys > 1 else key[None]
        return keys[: self.num_envs], keys if ignored else keys[self.num_envs :]

    def _draw(self, keys: jax.Array, params: Params) -> Start:
        def draw(key):
            own = None
            if self.params_dist is not None:
                # A reset that ignores its key leaves it to the parameters: a split less, at every step.
                key_params, key = jax.random.split(key) if reset_uses_key(self.env) else (key, key)
                own = self.params_dist(key_params, params)
            state, obs = self.env.reset(key, params if own is None else own)
            return Start(state=state, obs=obs, params=own)

        return jax.vmap(draw)(keys)

    def _restart(
        self, keys: jax.Array, vec_state: VecState, params: Params, done: jax.Array
    ) -> tuple[Start, VecState]:
        """Return a start for each environment, used where `done`, and the state without those dealt."""
        if self.mode == "fresh":
            return self._draw(keys, params), vec_state
        if self.mode == "first":
            return vec_state.starts, vec_state  # type: ignore[return-value]
        ended = jnp.cumsum(done, dtype=jnp.int32)
        chosen = (vec_state.dealt + ended - 1) % self._pool_size
        start = jax.tree.map(lambda x: x[chosen], vec_state.starts)
        # An elementwise choice of the block to redraw: a write at a batched index would become a scatter.
        due = jnp.arange(POOL_BLOCKS) == vec_state.block
        new = self._draw(keys, params)

        def redraw(pool, new):
            blocks = pool.reshape((POOL_BLOCKS, self._block_size, *pool.shape[1:]))
            return where(due, jnp.broadcast_to(new[None], blocks.shape), blocks).reshape(pool.shape)

        return start, replace(
            vec_state,
            starts=jax.tree.map(redraw, vec_state.starts, new),
            dealt=(vec_state.dealt + ended[-1]) % self._pool_size,
            block=(vec_state.block + 1) % POOL_BLOCKS,
        )


def where(condition: jax.Array, chosen: Any, other: Any) -> Any:
    """Return a pytree that holds `chosen`'s rows where `condition` `[N]` and `other`'s elsewhere."""

    def select(a, b):
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - condition.ndim)), a, b)

    return jax.tree.map(select, chosen, other)


@lru_cache(maxsize=256)
def reset_uses_key(env: Environment) -> bool:
    """Return whether the first state or observation depends on the key, read off the traced program."""
    jaxpr = jax.make_jaxpr(lambda key: env.reset(key, env.default_params()))(jax.random.key(0)).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return any(used)


def metric_names(env: Environment, params: Params) -> list[str]:
    """Return the names of the metrics that a step of `env` reports, without running it."""

    def step(key, params):
        key_reset, key_action, key_step = jax.random.split(key, 3)
        state, _ = env.reset(key_reset, params)
        action = env.action_space(params).sample(key_action)
        return env.step(key_step, state, action, params)[1].metrics

    return list(jax.eval_shape(step, jax.random.key(0), params))
