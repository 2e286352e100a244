"""Wrappers: environments made from an environment, each changing one thing.

A wrapper is an environment like any other. What it keeps in its state lies around the inner state, and its
numbers lie around the inner params (`WrappedParams`), so that they are traced and mapped over like others.
Optional members (`time_limit`, `check_params`, `draw`, `action_mask`, `ascii`, `frame`, and what
`envs.testing` asks for) are there if the inner environment has them; the exact model is, unless the wrapper
changes what a state is. A wrapper with numbers of its own always has `check_params`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import check_params, check_size
from envs.core import Obs, Params, State, Step, unknown
from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, as_action, flat_size
from envs.tabular import Outcomes

_MODEL = ("num_states", "state_index", "state_at", "start_distribution", "outcomes")
_SAID = ("num_states", "limit_terminates", "shows_past")
_PASSED = (*_MODEL, *_SAID, "time_limit", "check_params", "draw", "action_mask", "ascii", "frame")


@struct.dataclass
class WrappedParams:
    """The inner environment's params, `env`, and the wrapper's own numbers by name, `values`."""

    env: Params
    values: dict[str, jax.Array]


@struct.dataclass
class WrappedState:
    """The inner environment's state, `env`, and what the wrapper keeps, `kept`."""

    env: State
    kept: Any


@dataclass(frozen=True)
class Wrapper:
    """An environment that behaves like `env`: what all wrappers inherit.

    Class attributes of a wrapper say how it nests: `own` names the fields that become traced `values` of its
    params, `has_state` says whether it keeps something in its state, `keeps_model` whether the inner
    environment's exact model still holds.

    >>> import envs
    >>> env = TransformReward(envs.make("FrozenLake4x4-v1")[0], scale=2.0)
    >>> env.id, envs.time_limit(env), hasattr(env, "action_mask")
    ('TransformReward(FrozenLake4x4-v1, scale=2.0)', 100, False)
    """

    env: Any

    own: ClassVar[tuple[str, ...]] = ()
    has_state: ClassVar[bool] = False
    keeps_model: ClassVar[bool] = True

    @property
    def id(self) -> str:
        """The wrapper's name around the inner id, with the options that are not default."""
        options = [
            f"{field.name}={getattr(value, '__name__', repr(value))}"
            for field in fields(self)[1:]
            if (value := getattr(self, field.name)) != field.default
        ]
        return f"{type(self).__name__}({', '.join([self.env.id, *options])})"

    def default_params(self) -> Params:
        """Return the inner params, with the wrapper's numbers around them if it has any."""
        return self.wrap_params(self.env.default_params())

    def wrap_params(self, params: Params) -> Params:
        """Return `params` of the inner environment as params of this one."""
        if not self.own:
            return params
        return WrappedParams(
            params, {name: jnp.asarray(getattr(self, name), jnp.float32) for name in self.own}
        )

    def inner_params(self, params: Params) -> Params:
        """Return the params of the inner environment."""
        return params.env if self.own else params

    def _with_inner(self, params: Params, inner: Params) -> Params:
        return replace(params, env=inner) if self.own else inner

    def inner_state(self, state: State) -> State:
        """Return the state of the inner environment."""
        return state.env if self.has_state else state

    def observation_space(self, params: Params) -> Space:
        """Return the space of observations."""
        return self.env.observation_space(self.inner_params(params))

    def action_space(self, params: Params) -> Space:
        """Return the space of actions."""
        return self.env.action_space(self.inner_params(params))

    def reset(self, key: jax.Array, params: Params) -> tuple[State, Obs]:
        """Return a first state and its observation."""
        return self.env.reset(key, self.inner_params(params))

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the next state and what happened."""
        return self.env.step(key, state, action, self.inner_params(params))

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values each of the wrapper's numbers makes sense; any number where none is said."""
        return {}

    def check_values(self, params: WrappedParams) -> None:
        """Check the wrapper's own numbers in `params`; traced ones pass.

        Raises:
          ValueError: naming the number and what would be accepted, or `params` that are not this wrapper's.
        """
        self._check_wrapped(params)
        for name, value in params.values.items():
            if name in self.bounds and np.shape(value):
                raise ValueError(f"`{name}` must be one number, got an array of shape {np.shape(value)}")
            if isinstance(value, Tracer):
                continue
            numbers = np.ravel(np.asarray(value, np.float32))
            if name not in self.bounds:
                good, rule = ~np.isnan(numbers), "no NaN"
            else:
                low, high = self.bounds[name]
                good = (numbers >= low) & (numbers <= high) & np.isfinite(numbers)
                least = "finite" if low == -math.inf else f"at least {low:g} and finite"
                rule = least if high == math.inf else f"from {low:g} to {high:g}"
            if not good.all():
                raise ValueError(f"`{name}` must be {rule}, got {float(numbers[~good][0]):g}")

    def _check_wrapped(self, params: Any) -> None:
        if isinstance(params, WrappedParams) and set(params.values) == set(self.own):
            return
        got = type(params).__name__
        if isinstance(params, WrappedParams):
            got += f" with {', '.join(sorted(params.values))}"
        raise ValueError(
            f"`params` must be those of {self.id}, WrappedParams with {', '.join(self.own)} as "
            f"`default_params` or `wrap_params` make them, got {got}"
        )

    def _check_params(self, params: WrappedParams) -> None:
        self.check_values(params)
        check_params(self.env, params.env)

    def __getattr__(self, name: str) -> Any:
        if name == "check_params" and self.own:
            return self._check_params
        hidden = (name in _MODEL and not self.keeps_model) or (name == "state_at" and self.has_state)
        if name not in _PASSED or hidden:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        member = getattr(self.env, name)
        if name in _SAID:
            return member
        if name == "draw":
            return lambda key, params: self._with_inner(params, member(key, self.inner_params(params)))
        if name in ("time_limit", "check_params", "start_distribution"):
            return lambda params: member(self.inner_params(params))
        if name in ("outcomes", "state_at"):
            return lambda *args: member(*args[:-1], self.inner_params(args[-1]))

        def of_state(state: State, params: Params, *args: Any, **options: Any) -> Any:
            inner = None if state is None else self.inner_state(state)
            return member(inner, self.inner_params(params), *args, **options)

        return of_state


# Observations --------------------------------------------------------------------------------------------


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
        size = _vector_size(self)
        object.__setattr__(self, "keep", tuple(self.keep))
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
        size = _vector_size(self)
        bounds = self.env.observation_space(self.env.default_params()).bounds()
        object.__setattr__(self, "bins", tuple(self.bins))
        if len(self.bins) != size or min(self.bins) < 1:
            raise ValueError(f"`bins` must hold {size} positive numbers, one an entry, got {self.bins}")
        for number in self.bins:
            check_size("bins", number)
        for name, bound in zip(("low", "high"), bounds, strict=True):
            given = bound if getattr(self, name) is None else getattr(self, name)
            ends = tuple(float(x) for x in given)
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
        _check_ordered(params.values, lambda low, high: low < high, "less than")

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
        space = self.env.observation_space(self.env.default_params())
        if not isinstance(space, Box):
            raise ValueError(
                f"`env` must have a Box of observations, got {space}; FlattenObservation makes one"
            )
        for name in ("mean", "scale"):
            given = np.asarray(getattr(self, name), float)
            if given.shape not in ((), space.shape[-1:]) or not np.isfinite(given).all():
                raise ValueError(
                    f"`{name}` must be one finite number or one an entry of {space.shape}, got {given}"
                )
            object.__setattr__(self, name, tuple(given.tolist()) if given.ndim else float(given))
        if not np.all(np.asarray(self.scale) > 0):
            raise ValueError(f"`scale` must be positive, got {self.scale}")
        if not self.bound > 0:
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
        space = self.env.observation_space(self.env.default_params())
        if not isinstance(space, Box) or space.dtype != np.float32:
            raise ValueError(f"`env` must have a Box of float32 observations, got {space}")
        if not 0 <= self.noise < math.inf:
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


# Actions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StickyActions(Wrapper):
    """Do, with `probability` (a traced number), what was done the step before instead of what is chosen.

    Before an episode's first action the action done is 0. What is repeated is what was done, not what had
    been chosen.

    Raises:
      ValueError: if `probability` lies outside [0, 1].

    >>> import envs
    >>> env = StickyActions(envs.make("MountainCar-v1")[0])
    >>> float(env.default_params().values["probability"])
    0.25

    Source: Machado et al. (2018), Revisiting the Arcade Learning Environment, section 5.2.
    """

    probability: float = 0.25

    own: ClassVar[tuple[str, ...]] = ("probability",)
    has_state: ClassVar[bool] = True
    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        if not 0 <= self.probability <= 1:
            raise ValueError(f"`probability` must lie in [0, 1], got {self.probability}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values the number makes sense."""
        return {"probability": (0.0, 1.0)}

    def reset(self, key: jax.Array, params: WrappedParams) -> tuple[WrappedState, Obs]:
        """Return a first state and its observation."""
        state, obs = self.env.reset(key, params.env)
        action = jax.eval_shape(self.env.action_space(params.env).sample, key)
        return WrappedState(state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), action)), obs

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: WrappedParams
    ) -> tuple[WrappedState, Step]:
        """Return the next state and what happened."""
        key, key_stick = jax.random.split(key)
        sticks = jax.random.uniform(key_stick) < params.values["probability"]
        action = as_action(self.env.action_space(params.env), action)
        done = jax.tree.map(partial(_choose, sticks), state.kept, action)
        inner, step = self.env.step(key, state.env, done, params.env)
        return WrappedState(inner, done), step


@dataclass(frozen=True)
class ActionRepeat(Wrapper):
    """Do each action `count` times, or until the episode ends; rewards and metrics are summed.

    An end on the way ends the step: nothing after it happens, and its observation is the one returned. The
    time limit counts steps of this world, so it is the inner one over `count`, rounded up.

    Raises:
      ValueError: if `count` is not positive.

    >>> import envs
    >>> env = ActionRepeat(envs.make("CartPole-v1")[0], count=4)
    >>> state, _ = env.reset(jax.random.key(0), env.default_params())
    >>> _, out = env.step(jax.random.key(0), state, 0, env.default_params())
    >>> float(out.reward), envs.time_limit(env)
    (4.0, 125)

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning, methods.
    """

    count: int = 4

    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        check_size("count", self.count)

    def __getattr__(self, name: str) -> Any:
        if name == "time_limit":
            limit = self.env.time_limit
            return lambda params: -(-limit(params) // self.count)
        return super().__getattr__(name)

    def step(self, key: jax.Array, state: State, action: Any, params: Params) -> tuple[State, Step]:
        """Return the state after the repetitions and what they gave together."""
        keys = jax.random.split(key, self.count)
        state, step = self.env.step(keys[0], state, action, params)

        def again(carry: tuple[State, Step], key: jax.Array) -> tuple[tuple[State, Step], None]:
            state, before = carry
            over = before.terminated | before.truncated
            after, step = self.env.step(key, state, action, params)
            step = step.replace(
                reward=before.reward + step.reward,
                metrics=jax.tree.map(jnp.add, before.metrics, step.metrics),
            )
            return jax.tree.map(partial(_choose, over), (state, before), (after, step)), None

        return jax.lax.scan(again, (state, step), keys[1:])[0]


# Rewards -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformReward(Wrapper):
    """Pay clip(scale * reward + noise * e, low, high), with e normal; all four are traced numbers.

    The exact model has the transformed rewards of each branch (without the noise).

    Raises:
      ValueError: if `low` exceeds `high`, `noise` is negative or `scale` not finite.

    >>> import envs
    >>> env = TransformReward(envs.make("CliffWalking-v1")[0], scale=0.1, low=-1.0)
    >>> [float(r) for r in env.outcomes(36, 1, env.default_params()).reward]
    [-0.1..., -1.0, -0.1...]

    Source: Mnih et al. (2015) for clipping; Osband et al. (2020) for scale and noise.
    """

    scale: float = 1.0
    noise: float = 0.0
    low: float = -math.inf
    high: float = math.inf

    own: ClassVar[tuple[str, ...]] = ("scale", "noise", "low", "high")

    def __post_init__(self):
        if not self.low <= self.high:
            raise ValueError(f"`low` must be at most `high`, got {self.low} and {self.high}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"`noise` must be at least 0 and finite, got {self.noise}")
        if not math.isfinite(self.scale):
            raise ValueError(f"`scale` must be finite, got {self.scale}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values two of the numbers make sense; the clipping may be at infinity."""
        return {"scale": (-math.inf, math.inf), "noise": (0.0, math.inf)}

    def check_values(self, params: WrappedParams) -> None:
        """Check scale and noise, and that `low` is at most `high`; traced ones pass."""
        super().check_values(params)
        _check_ordered(params.values, lambda low, high: low <= high, "at most")

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        return self._outcomes if name == "outcomes" else member

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        key, key_noise = jax.random.split(key)
        state, step = self.env.step(key, state, action, params.env)
        noise = params.values["noise"] * jax.random.normal(key_noise)
        return state, step.replace(reward=self._transform(step.reward, noise, params))

    def _outcomes(self, state_index: jax.Array, action: jax.Array, params: WrappedParams) -> Outcomes:
        out = self.env.outcomes(state_index, action, params.env)
        return out._replace(reward=self._transform(out.reward, jnp.float32(0), params))

    def _transform(self, reward: jax.Array, noise: jax.Array, params: WrappedParams) -> jax.Array:
        values = params.values
        return jnp.clip(values["scale"] * reward + noise, values["low"], values["high"])


@dataclass(frozen=True)
class PotentialShaping(Wrapper):
    """Add gamma * potential(s') - potential(s) to the reward, which leaves every optimal policy optimal.

    The potential of a state that ends the episode counts as 0; without that, which end is best could change.
    If `gamma` (a traced number) is the learner's discount, the optimal action values are those of the inner
    world less the potential of the state. Metric: `performance`, the reward without the addition, unless the
    inner world already reports one.

    Args:
      env: an environment.
      potential: `(state, params) -> []` float32, of the inner environment's state and params.
      gamma: the discount.

    Raises:
      ValueError: if `gamma` lies outside [0, 1] or there is no potential.

    >>> import envs
    >>> lake, _ = envs.make("FrozenLake4x4-v1")
    >>> env = PotentialShaping(lake, potential=lambda state, params: state.position / 15, gamma=0.9)
    >>> out = env.outcomes(0, 2, env.default_params())  # to the right: from cell 0 to cell 1
    >>> round(float(out.reward[1]), 3)
    0.06

    Source: Ng, Harada and Russell (1999), Policy invariance under reward transformations, theorem 1; Grzes
    (2017), Reward shaping in episodic reinforcement learning, section 4, for the ends.
    """

    potential: Callable[[State, Params], jax.Array] | None = None
    gamma: float = 0.99

    own: ClassVar[tuple[str, ...]] = ("gamma",)

    def __post_init__(self):
        if not callable(self.potential):
            raise ValueError(f"`potential` must be a function of state and params, got {self.potential!r}")
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"`gamma` must lie in [0, 1], got {self.gamma}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values the number makes sense."""
        return {"gamma": (0.0, 1.0)}

    def __getattr__(self, name: str) -> Any:
        # To know the potential of a state, the model needs the state of a number.
        member = super().__getattr__("state_at" if name == "outcomes" else name)
        return self._outcomes if name == "outcomes" else member

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        after, step = self.env.step(key, state, action, params.env)
        added = self._added(state, after, step.terminated, params)
        return after, step.replace(
            reward=step.reward + added, metrics={"performance": step.reward} | step.metrics
        )

    def _outcomes(self, state_index: jax.Array, action: jax.Array, params: WrappedParams) -> Outcomes:
        out = self.env.outcomes(state_index, action, params.env)
        state = self.env.state_at(state_index, params.env)

        def added(index: jax.Array, terminated: jax.Array) -> jax.Array:
            return self._added(state, self.env.state_at(index, params.env), terminated, params)

        # A state that is over pays nothing, and has no potential to lose.
        over = (out.next_state == state_index) & out.terminated
        more = jax.vmap(added)(out.next_state, out.terminated)
        return out._replace(reward=out.reward + jnp.where(over, 0.0, more))

    def _added(self, state: State, after: State, terminated: jax.Array, params: WrappedParams) -> jax.Array:
        def potential(state: State) -> jax.Array:
            return jnp.asarray(self.potential(state, params.env), jnp.float32)  # type: ignore[misc]

        return params.values["gamma"] * jnp.where(terminated, 0.0, potential(after)) - potential(state)


# By name -------------------------------------------------------------------------------------------------

WRAPPERS: dict[str, type[Wrapper]] = {
    "action_mask_observation": ActionMaskObservation,
    "action_repeat": ActionRepeat,
    "discretise_observation": DiscretiseObservation,
    "flatten_observation": FlattenObservation,
    "frame_stack": FrameStack,
    "noisy_observation": NoisyObservation,
    "normalise_observation": NormaliseObservation,
    "partial_observation": PartialObservation,
    "potential_shaping": PotentialShaping,
    "sticky_actions": StickyActions,
    "time_aware_observation": TimeAwareObservation,
    "transform_reward": TransformReward,
}


def wrap(env: Any, params: Params, name: str, **options: Any) -> tuple[Wrapper, Params]:
    """Return the wrapper called `name` around `env`, and `params` as its params.

    Args:
      env: an environment.
      params: its parameters, which are kept.
      name: a key of `WRAPPERS`.
      **options: as the wrapper's constructor takes them.

    Raises:
      ValueError: if there is no such wrapper, or it does not take the options.

    >>> import envs
    >>> env, params = wrap(*envs.make("CartPole-v1"), "frame_stack", count=2)
    >>> env.id
    'FrameStack(CartPole-v1, count=2)'
    """
    if isinstance(env, type) or not hasattr(env, "observation_space"):
        raise ValueError(f"`env` must be an environment, the first that `envs.make` returns, got {env!r}")
    if not isinstance(name, str) or name not in WRAPPERS:
        raise ValueError(unknown("wrapper", str(name), list(WRAPPERS)))
    try:
        wrapped = WRAPPERS[name](env, **options)
    except TypeError as error:
        raise ValueError(f"wrapper {name!r} does not take the options {sorted(options)}: {error}") from error
    return wrapped, wrapped.wrap_params(params)


def _vector_size(wrapper: Wrapper) -> int:
    space = wrapper.env.observation_space(wrapper.env.default_params())
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError(
            f"`env` must have a vector of observations, got {space}; FlattenObservation makes one"
        )
    return space.shape[0]


def _check_ordered(
    values: dict[str, jax.Array], is_good: Callable[[np.ndarray, np.ndarray], Any], rule: str
) -> None:
    ends = values["low"], values["high"]
    if any(isinstance(x, Tracer) for x in ends):
        return
    low, high = (np.asarray(x) for x in ends)
    if not np.all(is_good(low, high)):
        raise ValueError(f"`low` must be {rule} `high`, got {low} and {high}")


def _choose(condition: jax.Array, a: Any, b: Any) -> Any:
    return jnp.where(condition, a, b)


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
