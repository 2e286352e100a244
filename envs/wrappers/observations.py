"""Wrappers that change what is observed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from envs.checks import as_number, check_size
from envs.core import Obs, Params, State, Step
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, flat_size
from envs.wrappers.wrapper import WrappedParams, WrappedState, Wrapper, check_ordered


@dataclass(frozen=True)
class ObservationWrapper(Wrapper):
    """A wrapper that maps each observation by itself: what those inherit."""

    def observe(self, obs: Obs, params: Params) -> Obs:
        """Return what is observed in place of `obs`."""
        raise NotImplementedError

    def reset(self, key: jax.Array, params: Params) -> tuple[State, Obs]:
        """Return a first state and its observation."""
        state, obs = self.env.reset(key, self.inner_params(params))
        return state, self.observe(obs, params)

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened."""
        state, step = self.env.step(key, state, action, self.inner_params(params))
        return state, step.replace(obs=self.observe(step.obs, params))


@dataclass(frozen=True)
class FlattenObservation(ObservationWrapper):
    """Observe one float32 vector: integers one-hot, arrays flattened, dictionaries joined in order of names.

    >>> import envs
    >>> env = FlattenObservation(envs.make("FrozenLake4x4-v1")[0])
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (16,)
    """

    def observation_space(self, params: Params) -> Box:
        """Return a `Box` of one axis."""
        inner = self.env.observation_space(params)
        low, high = _flat_bounds(inner)
        return Box(tuple(low), tuple(high), (flat_size(inner),))

    def observe(self, obs: Obs, params: Params) -> jax.Array:
        """Return the vector."""
        return _flat(self.env.observation_space(params), obs)


@dataclass(frozen=True)
class PartialObservation(ObservationWrapper):
    """Observe some entries of a vector only.

    Args:
      env: an environment with a `Box` `[O]` of observations.
      keep: which entries.

    Raises:
      ValueError: if the observations are no vector or `keep` does not fit it.

    >>> import envs
    >>> env = PartialObservation(envs.make("CartPole-v1")[0], keep=(0, 2))
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (2,)
    """

    keep: tuple[int, ...] = (0,)

    def __post_init__(self):
        super().__post_init__()
        size = _vector_size(self)
        object.__setattr__(self, "keep", _listed("keep", self.keep))
        if not self.keep or not all(isinstance(i, int | np.integer) and 0 <= i < size for i in self.keep):
            raise ValueError(f"`keep` must hold indices below {size}, got {self.keep}")

    def observation_space(self, params: Params) -> Box:
        """Return the bounds of the kept entries."""
        inner = self.env.observation_space(params)
        low, high = (tuple(bound[list(self.keep)]) for bound in inner.bounds())
        return Box(low, high, (len(self.keep),), inner.dtype)

    def observe(self, obs: jax.Array, params: Params) -> jax.Array:
        """Return the kept entries."""
        return obs[np.array(self.keep)]


@dataclass(frozen=True)
class DiscretiseObservation(ObservationWrapper):
    """Observe the number of the box that a vector falls into, so that tables can be learned.

    Entry i is cut into `bins[i]` parts of equal width between `low[i]` and `high[i]`; what lies beyond counts
    to the outermost part. The last entry varies fastest.

    Args:
      env: an environment with a `Box` `[O]` of observations.
      bins: how many parts for each entry.
      low: the lower ends, traced; None for the bounds of the space.
      high: the upper ends, likewise.

    Raises:
      ValueError: if the observations are no vector, the lengths differ, or an end is not finite.

    >>> import envs
    >>> env = DiscretiseObservation(
    ...     envs.make("CartPole-v1")[0], bins=(1, 1, 6, 3), low=(-2.4, -3, -0.2, -3), high=(2.4, 3, 0.2, 3)
    ... )
    >>> env.observation_space(env.default_params()).n
    18

    Source: Barto, Sutton and Anderson (1983), Neuronlike adaptive elements, section V ("boxes").
    """

    bins: tuple[int, ...] = ()
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    own: ClassVar[tuple[str, ...]] = ("low", "high")

    def __post_init__(self):
        super().__post_init__()
        size = _vector_size(self)
        bounds = self.env.observation_space(self.env.default_params()).bounds()
        object.__setattr__(self, "bins", _listed("bins", self.bins))
        if len(self.bins) != size:
            raise ValueError(f"`bins` must hold {size} positive numbers, one an entry, got {self.bins}")
        for number in self.bins:
            check_size("bins", number)
        for name, bound in zip(("low", "high"), bounds, strict=True):
            given = bound if getattr(self, name) is None else getattr(self, name)
            ends = tuple(as_number(f"an entry of `{name}`", x) for x in _listed(name, given))
            if len(ends) != size or not all(map(math.isfinite, ends)):
                raise ValueError(f"`{name}` must hold {size} finite numbers, one an entry, got {ends}")
            object.__setattr__(self, name, ends)
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):  # type: ignore[arg-type]
            raise ValueError(f"`low` must be less than `high`, got {self.low} and {self.high}")
        if (count := math.prod(self.bins)) > 2**31 - 1:
            raise ValueError(f"`bins` must make at most 2^31 - 1 boxes, got {self.bins}, {count:,} boxes")

    def check_values(self, params: WrappedParams) -> None:
        """Check that the lower ends lie below the upper ones; traced ones pass."""
        super().check_values(params)
        check_ordered(params.values, lambda low, high: low < high, "less than")

    def observation_space(self, params: Params) -> Discrete:
        """Return the numbers of the boxes."""
        return Discrete(math.prod(self.bins))

    def observe(self, obs: jax.Array, params: WrappedParams) -> jax.Array:
        """Return the number of the box, `[]` int32."""
        low, high, bins = params.values["low"], params.values["high"], jnp.asarray(self.bins)
        part = jnp.clip(jnp.floor((obs - low) / (high - low) * bins), 0, bins - 1).astype(jnp.int32)
        weight = np.append(np.cumprod(self.bins[:0:-1])[::-1], 1).astype(np.int32)
        return jnp.sum(part * weight, dtype=jnp.int32)


@dataclass(frozen=True)
class NormaliseObservation(ObservationWrapper):
    """Observe clip((obs - mean) / scale, -bound, bound): fixed, traced statistics of an array.

    PPO normalises by running statistics of its own; this one is for numbers that are known beforehand, such
    as those of a data set, and gives every agent and every evaluation the same view.

    Args:
      env: an environment with a `Box` of observations.
      mean: one number, or one for each entry of a vector.
      scale: the standard deviation, likewise; positive.
      bound: the largest absolute value that is shown.

    Raises:
      ValueError: if the observations are no `Box`, a length differs, or a number is not finite or positive.

    >>> import envs
    >>> env = NormaliseObservation(envs.make("CartPole-v1")[0], scale=(2.4, 3.0, 0.2, 3.0), bound=2.0)
    >>> env.observation_space(env.default_params())
    Box(low=-2.0, high=2.0, shape=(4,), dtype=dtype('float32'))
    """

    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    bound: float = 10.0

    own: ClassVar[tuple[str, ...]] = ("mean", "scale", "bound")

    def __post_init__(self):
        super().__post_init__()
        space = self.env.observation_space(self.env.default_params())
        if not isinstance(space, Box):
            raise ValueError(
                f"`env` must have a Box of observations, got {space}; FlattenObservation makes one"
            )
        for name in ("mean", "scale"):
            given = getattr(self, name)
            if np.ndim(given):
                given = [as_number(f"an entry of `{name}`", x) for x in given]
            given = np.asarray(given if isinstance(given, list) else as_number(f"`{name}`", given))
            if given.shape not in ((), space.shape[-1:]) or not np.isfinite(given).all():
                raise ValueError(
                    f"`{name}` must be one finite number or one an entry of {space.shape}, got {given}"
                )
            object.__setattr__(self, name, tuple(given.tolist()) if given.ndim else float(given))
        if not np.all(np.asarray(self.scale) > 0):
            raise ValueError(f"`scale` must be positive, got {self.scale}")
        if not as_number("`bound`", self.bound) > 0:
            raise ValueError(f"`bound` must be positive, got {self.bound}")

    def check_values(self, params: WrappedParams) -> None:
        """Check that no number is NaN and that scale and bound are positive; traced ones pass."""
        super().check_values(params)
        for name in ("scale", "bound"):
            value = params.values[name]
            if not isinstance(value, Tracer) and not np.all(np.asarray(value) > 0):
                raise ValueError(f"`{name}` must be positive, got {np.asarray(value)}")

    def observation_space(self, params: WrappedParams) -> Box:
        """Return a `Box` of float32 with the bound that this wrapper was made with."""
        return Box(-self.bound, self.bound, self.env.observation_space(params.env).shape)

    def observe(self, obs: jax.Array, params: WrappedParams) -> jax.Array:
        """Return the normalised array, float32."""
        values = params.values
        dims = range(obs.ndim - values["mean"].ndim), range(obs.ndim - values["scale"].ndim)
        mean, scale = (
            jnp.expand_dims(values[n], tuple(d)) for n, d in zip(("mean", "scale"), dims, strict=True)
        )
        bound = jnp.minimum(values["bound"], self.bound)
        return jnp.clip((obs.astype(jnp.float32) - mean) / scale, -bound, bound)


@dataclass(frozen=True)
class NoisyObservation(Wrapper):
    """Observe an array with independent normal noise of standard deviation `noise`, a traced number.

    Raises:
      ValueError: if the observations are no `Box` of float32 or `noise` is negative.

    >>> import envs
    >>> env = NoisyObservation(envs.make("CartPole-v1")[0], noise=0.1)
    >>> env.default_params().values
    {'noise': Array(0.1, dtype=float32)}
    """

    noise: float = 0.1

    own: ClassVar[tuple[str, ...]] = ("noise",)

    def __post_init__(self):
        super().__post_init__()
        space = self.env.observation_space(self.env.default_params())
        if not isinstance(space, Box) or space.dtype != np.float32:
            raise ValueError(f"`env` must have a Box of float32 observations, got {space}")
        if not 0 <= as_number("`noise`", self.noise) < math.inf:
            raise ValueError(f"`noise` must be at least 0 and finite, got {self.noise}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values the number makes sense."""
        return {"noise": (0.0, math.inf)}

    def observation_space(self, params: WrappedParams) -> Box:
        """Return an unbounded `Box`."""
        return Box(-math.inf, math.inf, self.env.observation_space(params.env).shape)

    def reset(self, key: jax.Array, params: WrappedParams) -> tuple[State, jax.Array]:
        """Return a first state and a noisy observation of it."""
        key, key_noise = jax.random.split(key)
        state, obs = self.env.reset(key, params.env)
        return state, self._blur(key_noise, obs, params)

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        key, key_noise = jax.random.split(key)
        state, step = self.env.step(key, state, action, params.env)
        return state, step.replace(obs=self._blur(key_noise, step.obs, params))

    def _blur(self, key: jax.Array, obs: jax.Array, params: WrappedParams) -> jax.Array:
        return obs + params.values["noise"] * jax.random.normal(key, obs.shape)


@dataclass(frozen=True)
class FrameStack(Wrapper):
    """Observe the last `count` observations at once, joined along the last axis, the oldest first.

    Vectors `[O]` become `[O * count]`, images `[H, W, C]` become `[H, W, C * count]`. The first observation
    of an episode fills the places of those before it.

    Args:
      env: an environment with a `Box` of at least one axis.
      count: how many.

    Raises:
      ValueError: if the observations are no such `Box` or `count` is not positive.

    >>> import envs
    >>> env = FrameStack(envs.make("CartPole-v1")[0], count=3)
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (12,)

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, methods.
    """

    count: int = 4

    has_state: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        space = self.env.observation_space(self.env.default_params())
        if not isinstance(space, Box) or not space.shape:
            raise ValueError(f"`env` must have arrays to stack, got {space}; FlattenObservation makes some")
        check_size("count", self.count)

    def observation_space(self, params: Params) -> Box:
        """Return the bounds, repeated."""
        inner = self.env.observation_space(params)
        low, high = (np.concatenate([bound] * self.count, axis=-1) for bound in inner.bounds())
        return Box(low, high, low.shape, inner.dtype)  # type: ignore[arg-type]

    def reset(self, key: jax.Array, params: Params) -> tuple[WrappedState, jax.Array]:
        """Return a first state and its observation, repeated."""
        state, obs = self.env.reset(key, params)
        frames = jnp.concatenate([obs] * self.count, axis=-1)
        return WrappedState(state, frames), frames

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: Params
    ) -> tuple[WrappedState, Step]:
        """Return the next state and what happened, the oldest observation replaced by the newest."""
        inner, step = self.env.step(key, state.env, action, params)
        frames = jnp.concatenate([state.kept[..., step.obs.shape[-1] :], step.obs], axis=-1)
        return WrappedState(inner, frames), step.replace(obs=frames)


@dataclass(frozen=True)
class TimeAwareObservation(Wrapper):
    """Observe, beside a vector, the share of the time limit that is over: its last entry, from 0 to 1.

    Args:
      env: an environment with a time limit and a `Box` `[O]` of observations.

    Raises:
      ValueError: if it has not.

    >>> import envs
    >>> env = TimeAwareObservation(envs.make("CartPole-v1")[0])
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> _, out = env.step(jax.random.key(0), state, 0, env.default_params())
    >>> obs.shape, round(float(out.obs[-1]), 4)
    ((5,), 0.002)

    Source: Pardo et al. (2018), Time limits in reinforcement learning, section 3.
    """

    has_state: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        _vector_size(self)
        if not hasattr(self.env, "time_limit"):
            raise ValueError(f"`env` must have a time limit, got {self.env.id!r} without one")

    def observation_space(self, params: Params) -> Box:
        """Return the bounds with those of the time at the end."""
        low, high = self.env.observation_space(params).bounds()
        return Box((*low, 0.0), (*high, 1.0), (len(low) + 1,))

    def reset(self, key: jax.Array, params: Params) -> tuple[WrappedState, jax.Array]:
        """Return a first state and its observation."""
        state, obs = self.env.reset(key, params)
        return WrappedState(state, jnp.int32(0)), self._observe(obs, jnp.int32(0), params)

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: Params
    ) -> tuple[WrappedState, Step]:
        """Return the next state and what happened."""
        inner, step = self.env.step(key, state.env, action, params)
        t = state.kept + 1
        return WrappedState(inner, t), step.replace(obs=self._observe(step.obs, t, params))

    def _observe(self, obs: jax.Array, t: jax.Array, params: Params) -> jax.Array:
        share = jnp.minimum(t / self.env.time_limit(params), 1.0)
        return jnp.append(obs.astype(jnp.float32), share.astype(jnp.float32))


@dataclass(frozen=True)
class ActionMaskObservation(Wrapper):
    """Observe, beside what there is, which actions are allowed: a `Dict` with a further entry "action_mask".

    Policy-gradient agents never take an action that this entry forbids. An observation that is no `Dict`
    becomes its entry "obs".

    Args:
      env: an environment with an `action_mask` and `Discrete` or `MultiDiscrete` actions.

    Raises:
      ValueError: if it has not.

    >>> import envs
    >>> env = ActionMaskObservation(envs.make("Taxi-v1")[0])
    >>> _, obs = env.reset(jax.random.key(0), env.default_params())
    >>> sorted(obs), obs["action_mask"].shape
    (['action_mask', 'obs'], (6,))
    """

    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        if not hasattr(self.env, "action_mask"):
            raise ValueError(f"`env` must have an action mask, got {self.env.id!r} without one")
        actions = self.env.action_space(self.env.default_params())
        if not isinstance(actions, Discrete | MultiDiscrete):
            raise ValueError(f"`env` must have Discrete or MultiDiscrete actions, got {actions}")

    def observation_space(self, params: Params) -> Dict:
        """Return the inner space with that of the mask, a bool a value of an action."""
        inner = self.env.observation_space(params)
        mask = Box(False, True, (flat_size(self.env.action_space(params)),), jnp.bool_)
        return Dict({**(inner.spaces if isinstance(inner, Dict) else {"obs": inner}), "action_mask": mask})

    def reset(self, key: jax.Array, params: Params) -> tuple[State, dict[str, Any]]:
        """Return a first state and its observation."""
        state, obs = self.env.reset(key, params)
        return state, self._observe(obs, state, params)

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened."""
        state, step = self.env.step(key, state, action, params)
        return state, step.replace(obs=self._observe(step.obs, state, params))

    def _observe(self, obs: Obs, state: State, params: Params) -> dict[str, Any]:
        mask = self.env.action_mask(state, params)
        return {**(obs if isinstance(obs, dict) else {"obs": obs}), "action_mask": mask}


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray | jax.Array):
        raise ValueError(f"`{name}` must be a tuple, got {value!r}")
    return tuple(value)


def _vector_size(wrapper: Wrapper) -> int:
    space = wrapper.env.observation_space(wrapper.env.default_params())
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(
            f"`env` must have a vector of observations, got {space}; FlattenObservation makes one"
        )
    return space.shape[0]


def _flat(space: Space, value: Any) -> jax.Array:
    match space:
        case Discrete():
            return jax.nn.one_hot(value, space.n, dtype=jnp.float32)
        case MultiDiscrete():
            parts = [jax.nn.one_hot(value[i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
            return jnp.concatenate(parts)
        case Box():
            return jnp.ravel(value).astype(jnp.float32)
        case Dict():
            return jnp.concatenate([_flat(part, value[name]) for name, part in space.spaces.items()])


def _flat_bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    match space:
        case Box():
            low, high = space.bounds()
            return low.ravel().astype(np.float32), high.ravel().astype(np.float32)
        case Dict():
            low, high = zip(*map(_flat_bounds, space.spaces.values()), strict=True)
            return np.concatenate(low), np.concatenate(high)
    return np.zeros(flat_size(space), np.float32), np.ones(flat_size(space), np.float32)
