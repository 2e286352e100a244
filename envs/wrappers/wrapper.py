"""What all wrappers inherit: how their numbers and states lie around those of the inner environment."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from envs.checks import check_env_like, check_params
from envs.core import Obs, Params, State, Step
from envs.spaces import Space

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
    >>> env = envs.wrappers.TransformReward(envs.make("FrozenLake4x4-v1")[0], scale=2.0)
    >>> env.id, envs.time_limit(env), hasattr(env, "action_mask")
    ('TransformReward(FrozenLake4x4-v1, scale=2.0)', 100, False)
    """

    env: Any

    own: ClassVar[tuple[str, ...]] = ()
    has_state: ClassVar[bool] = False
    keeps_model: ClassVar[bool] = True

    def __post_init__(self):
        check_env_like(self.env)

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


def check_ordered(
    values: dict[str, jax.Array], is_good: Callable[[np.ndarray, np.ndarray], Any], rule: str
) -> None:
    """Check the order of the numbers "low" and "high"; traced ones pass.

    Args:
      values: with both.
      is_good: `(low, high) -> bool`, of each pair.
      rule: what `low` must be, as the error says it.

    Raises:
      ValueError: if they are in another order.
    """
    ends = values["low"], values["high"]
    if any(isinstance(x, Tracer) for x in ends):
        return
    low, high = (np.asarray(x) for x in ends)
    if not np.all(is_good(low, high)):
        raise ValueError(f"`low` must be {rule} `high`, got {low} and {high}")
