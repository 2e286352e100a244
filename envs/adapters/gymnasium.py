"""Any Gymnasium environment behind our protocol, stepped on the host: slow, where there is nothing else.

Every step leaves the program for Python (`jax.pure_callback`): one callback a batch, then one environment
after the other. Prefer a native world or another suite where there is one.

A state is a handle: the hash of the episode's seed and of all actions so far. The host keeps an environment
object for the newest state of each episode, and the actions that lead to it. So a step from an older state,
or two steps from one state, are right as well: the episode is played again from its seed, slower still.
This makes the adapter a pure function for `jit`, `vmap`, `scan` and `VecEnv`, given that

- the environment is deterministic once `reset(seed=...)` was called, as Gymnasium demands;
- states are stepped in the process that made them, and soon: a checkpoint cannot be resumed, programs cannot
  be exported or span several processes, and of the oldest states only `MAX_POINTS` are kept.

Infos, rendering, and parameters other than the time limit do not come through.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.adapters.conversion import sorted_options
from envs.core import Obs, Step, require
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, as_action

# None is listed: any id that `gymnasium.make` knows is accepted.
NAMES = ()
OPEN = True

MAX_POINTS = 65_536

FIDELITY: dict[str, tuple[str, ...]] = {
    "*": (
        "float64 becomes float32 and int64 int32",
        "metrics are empty: what is in `info` does not come through",
    )
}


@struct.dataclass
class GymnasiumParams:
    """`max_steps` `[]` int32, the limit in steps; None for environments registered without one."""

    max_steps: jax.Array | None


@struct.dataclass
class GymnasiumState:
    """The handle `[2]` uint32 of a state on the host, the steps taken, whether it is over, what it shows."""

    handle: jax.Array
    t: jax.Array
    over: jax.Array
    obs: Any


@dataclass(frozen=True)
class Gymnasium:
    """A Gymnasium environment without time limit as an `envs.Environment`; `make` builds it.

    Attributes:
      name: Gymnasium's id.
      options: what `gymnasium.make` takes, as sorted pairs.
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """The id that `envs.make` knows."""
        return f"gymnasium/{self.name}"

    def default_params(self) -> GymnasiumParams:
        """Return the limit that the environment was registered with."""
        limit = _host(self).max_steps
        return GymnasiumParams(None if limit is None else jnp.int32(limit))

    def observation_space(self, params: GymnasiumParams) -> Space:
        """Return the space of observations; a tuple becomes a dictionary with the keys "0", "1", ..."""
        return _host(self).observation_space

    def action_space(self, params: GymnasiumParams) -> Space:
        """Return the space of actions."""
        return _host(self).action_space

    def reset(self, key: jax.Array, params: GymnasiumParams) -> tuple[GymnasiumState, Obs]:
        """Return a first state and its observation; a seed for the episode is drawn from `key`."""
        seed = jax.random.bits(key, (2,), jnp.uint32)
        host = _host(self)
        obs = jax.pure_callback(host.reset, host.obs_types, seed, vmap_method="broadcast_all")
        return GymnasiumState(seed, jnp.int32(0), jnp.zeros((), bool), obs), obs

    def step(
        self, key: jax.Array, state: GymnasiumState, action: Any, params: GymnasiumParams
    ) -> tuple[GymnasiumState, Step]:
        """Return the next state and what happened; ignores `key`. Nothing happens after the end."""
        host = _host(self)
        action = as_action(host.action_space, action)
        handle, obs, reward, terminated, truncated = jax.pure_callback(
            host.step, host.step_types, state.handle, state.over, action, vmap_method="broadcast_all"
        )
        obs = jax.tree.map(lambda old, new: jnp.where(state.over, old, new), state.obs, obs)
        t = state.t + 1
        if params.max_steps is not None:
            truncated = (truncated | (t >= params.max_steps)) & ~terminated
        over = state.over | terminated
        return GymnasiumState(handle, t, over, obs), Step(obs, reward, terminated | state.over, truncated)


class LimitedGymnasium(Gymnasium):
    """A Gymnasium environment with a time limit."""

    def time_limit(self, params: GymnasiumParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps  # type: ignore[return-value]


def make(name: str, **options: Any) -> Gymnasium:
    """Return Gymnasium's environment called `name`.

    Args:
      name: an id of `gymnasium.make`.
      **options: what `gymnasium.make` takes; must be hashable.

    Raises:
      ImportError: if Gymnasium is not installed.
      ValueError: if there is no such environment, or a space has no counterpart here.

    >>> import envs
    >>> env, params = envs.make("gymnasium/CartPole-v1")
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> state, out = env.step(jax.random.key(0), state, 1, params)
    >>> float(out.reward), envs.time_limit(env, params)
    (1.0, 500)
    """
    require("gymnasium", "gymnasium")
    env = Gymnasium(name, sorted_options(options, f"gymnasium/{name}"))
    return env if _host(env).max_steps is None else LimitedGymnasium(env.name, env.options)


@dataclass
class _Point:
    """A state on the host: how it was reached, what was seen there, and (while newest) the object itself."""

    seed: int
    parent: "_Point | None"
    action: Any
    seen: Any
    env: Any = None


class _Host:
    """The environment objects of one adapter, and the states that they are in."""

    def __init__(self, name: str, options: dict[str, Any]):
        import gymnasium

        # The clock is ours.
        self._make = partial(
            gymnasium.make, name, **{"disable_env_checker": True, **options, "max_episode_steps": -1}
        )
        try:
            spec = gymnasium.spec(name)
            first = self._make()
        except gymnasium.error.Error as error:
            raise ValueError(f"gymnasium cannot make {name!r}: {error}") from error
        self.max_steps = options.get("max_episode_steps", spec.max_episode_steps)
        self._observed, self._accepted = first.observation_space, first.action_space
        self.observation_space = from_gymnasium(self._observed)
        self.action_space = from_gymnasium(self._accepted)
        self._free, self._points = [first], OrderedDict()
        self._lock = threading.Lock()
        flag = jax.ShapeDtypeStruct((), bool)
        self.obs_types = jax.eval_shape(lambda: self.observation_space.sample(jax.random.key(0)))
        self.step_types = (
            jax.ShapeDtypeStruct((2,), jnp.uint32),
            self.obs_types,
            jax.ShapeDtypeStruct((), jnp.float32),
            flag,
            flag,
        )

    def reset(self, seeds: Any) -> Any:
        """Return the first observations of episodes with these seeds, `[..., 2]` uint32."""
        seeds = np.asarray(seeds)
        with self._lock:
            return self._batched([self._first(_number(seed)) for seed in seeds.reshape(-1, 2)], seeds.shape)

    def step(self, handles: Any, over: Any, actions: Any) -> Any:
        """Return handles, observations, rewards and flags after one step of each."""
        handles, over = np.asarray(handles), np.asarray(over)
        rows = jax.tree.map(lambda x: np.asarray(x).reshape((over.size, *x.shape[over.ndim :])), actions)
        results = []
        with self._lock:
            for i, handle in enumerate(handles.reshape(-1, 2)):
                if over.flat[i]:
                    empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), self.obs_types)
                    results.append((handle, empty, np.float32(0), np.False_, np.False_))
                else:
                    results.append(self._next(_number(handle), jax.tree.map(lambda x, i=i: x[i], rows)))
        return self._batched(results, handles.shape)

    def _batched(self, rows: list[Any], shape: tuple[int, ...]) -> Any:
        return jax.tree.map(lambda *xs: np.stack(xs).reshape((*shape[:-1], *np.shape(xs[0]))), *rows)

    def _first(self, seed: int) -> Any:
        point = self._points.get(seed)
        if point is None:
            env = self._take()
            obs, _ = env.reset(seed=seed)
            self._free.append(env)
            point = _Point(seed, None, None, _ours(self._observed, self.observation_space, obs))
            self._keep(seed, point)
        return point.seen

    def _next(self, number: int, action: Any) -> Any:
        leaves = [np.ascontiguousarray(x) for x in jax.tree.leaves(action)]
        content = number.to_bytes(8, "little") + b"".join(x.tobytes() for x in leaves)
        after = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
        if after in self._points:
            return self._points[after].seen
        before = self._points.get(number)
        if before is None:
            raise RuntimeError(
                "a state of the gymnasium adapter is unknown to this process: it was made elsewhere, or "
                f"more than {MAX_POINTS:,} steps ago"
            )
        env, before.env = before.env or self._replay(before), None
        obs, reward, terminated, truncated, _ = env.step(_theirs(self._accepted, action))
        handle = np.frombuffer(after.to_bytes(8, "little"), np.uint32)
        flags = np.bool_(terminated), np.bool_(truncated and not terminated)
        seen = (handle, _ours(self._observed, self.observation_space, obs), np.float32(reward), *flags)
        point = _Point(before.seed, before, action, seen, env)
        if terminated:
            point.env = None
            self._free.append(env)
        self._keep(after, point)
        return seen

    def _replay(self, point: _Point) -> Any:
        actions: list[Any] = []
        while point.parent is not None:
            actions.append(point.action)
            point = point.parent
        env = self._take()
        env.reset(seed=point.seed)
        for action in reversed(actions):
            env.step(_theirs(self._accepted, action))
        return env

    def _take(self) -> Any:
        return self._free.pop() if self._free else self._make()

    def _keep(self, number: int, point: _Point) -> None:
        self._points[number] = point
        if len(self._points) > MAX_POINTS:
            _, oldest = self._points.popitem(last=False)
            if oldest.env is not None:
                self._free.append(oldest.env)
            oldest.env = oldest.seen = None


@lru_cache(maxsize=64)
def _host_of(name: str, options: tuple[tuple[str, Any], ...]) -> _Host:
    with jax.ensure_compile_time_eval():
        return _Host(name, dict(options))


def _host(env: Gymnasium) -> _Host:
    """Return the host's side; equal environments share it."""
    return _host_of(env.name, env.options)


def from_gymnasium(space: Any) -> Space:
    """Return a Gymnasium space as one of ours, in 32 bits.

    Raises:
      ValueError: if there is no counterpart (texts, graphs, sequences, boxes of other numbers).

    >>> from gymnasium import spaces
    >>> from_gymnasium(spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2))))  # doctest: +ELLIPSIS
    Dict(spaces={'0': Discrete(n=3, ...), '1': Box(low=0, high=1, shape=(2,), dtype=dtype('int8'))})
    """
    from gymnasium import spaces

    match space:
        case spaces.Discrete():
            return Discrete(int(space.n))
        case spaces.MultiDiscrete() if space.nvec.ndim == 1 and not space.start.any():
            return MultiDiscrete(tuple(space.nvec.tolist()))
        case spaces.MultiBinary():
            return Box(0, 1, tuple(space.shape), np.int8)
        case spaces.Box() if space.dtype.kind in "biuf":
            narrow = {"float64": np.float32, "int64": np.int32, "uint64": np.uint32, "float16": np.float32}
            dtype = np.dtype(narrow.get(space.dtype.name, space.dtype))
            low, high = space.low, space.high
            if dtype != space.dtype and dtype.kind in "iu":
                limits = np.iinfo(dtype)
                low, high = np.clip(low, limits.min, limits.max), np.clip(high, limits.min, limits.max)
            # Rounded outwards, so that the bounds hold what they held.
            if dtype != space.dtype and dtype.kind == "f":
                low = np.where(low.astype(dtype) > low, np.nextafter(low.astype(dtype), -np.inf), low)
                high = np.where(high.astype(dtype) < high, np.nextafter(high.astype(dtype), np.inf), high)
            return Box(_bound(low.astype(dtype)), _bound(high.astype(dtype)), tuple(space.shape), dtype)
        case spaces.Dict():
            return Dict({name: from_gymnasium(part) for name, part in space.spaces.items()})
        case spaces.Tuple():
            return Dict({str(i): from_gymnasium(part) for i, part in enumerate(space.spaces)})
    raise ValueError(f"Gymnasium's space {space} has no counterpart here")


def _bound(bound: np.ndarray) -> Any:
    return bound.flat[0].item() if bound.size == 0 or np.all(bound == bound.flat[0]) else bound.tolist()


def _ours(theirs: Any, ours: Space, value: Any) -> Any:
    """Return a value of Gymnasium's space `theirs` as one of `ours`."""
    if isinstance(ours, Dict):
        parts = theirs.spaces.items() if hasattr(theirs.spaces, "items") else enumerate(theirs.spaces)
        return {str(name): _ours(part, ours.spaces[str(name)], value[name]) for name, part in parts}
    if isinstance(ours, Discrete):
        return np.asarray(value - theirs.start, ours.dtype)
    return np.asarray(value, ours.dtype)


def _theirs(theirs: Any, value: Any) -> Any:
    """Return one of our values as one of Gymnasium's space `theirs`."""
    if isinstance(value, dict):
        if hasattr(theirs.spaces, "items"):
            return {name: _theirs(part, value[name]) for name, part in theirs.spaces.items()}
        return tuple(_theirs(part, value[str(i)]) for i, part in enumerate(theirs.spaces))
    if hasattr(theirs, "n") and hasattr(theirs, "start"):
        return int(value) + int(theirs.start)
    return np.asarray(value, theirs.dtype)


def _number(words: np.ndarray) -> int:
    return int.from_bytes(np.ascontiguousarray(words, np.uint32).tobytes(), "little")
