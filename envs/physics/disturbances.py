"""What disturbs a robot beside its own constants: late actions and pushes, with traced magnitudes.

Sensor noise is `envs.wrappers.NoisyObservation`. Each is a wrapper whose numbers a `Variation` can name
("latency", "push", "sensor_noise"), so that they are drawn per episode like a mass.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from envs.checks import as_number, check_size
from envs.core import Obs, State, Step, unknown
from envs.physics import fields
from envs.spaces import as_action
from envs.wrappers import WrappedParams, WrappedState, Wrapper


@dataclass(frozen=True)
class DelayedAction(Wrapper):
    """Do what was chosen `latency` steps ago, a traced number.

    Between two whole numbers a continuous action is the mean of both neighbours, weighted by their share of
    the step, which is what a motor does on average; a discrete one is that of the nearest whole number.
    Before the first choice arrives the action is 0.

    Args:
      env: an environment.
      latency: in steps, from 0 to `max_latency`.
      max_latency: how many actions are kept.

    Raises:
      ValueError: if `env` is no environment, `max_latency` is not positive, or `latency` is no number from 0
        to it.

    >>> import envs
    >>> env = DelayedAction(envs.make("Pendulum-v1")[0], latency=1.0)
    >>> state, _ = env.reset(jax.random.key(0), env.default_params())
    >>> state, _ = env.step(jax.random.key(0), state, jnp.array([2.0]), env.default_params())
    >>> float(state.kept[0, 0])
    2.0
    """

    latency: float = 0.0
    max_latency: int = 4

    own: ClassVar[tuple[str, ...]] = ("latency",)
    has_state: ClassVar[bool] = True
    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        check_size("max_latency", self.max_latency)
        if not 0 <= as_number("`latency`", self.latency) <= self.max_latency:
            raise ValueError(
                f"`latency` must be from 0 to max_latency = {self.max_latency}, got {self.latency}"
            )

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values the number makes sense."""
        return {"latency": (0.0, float(self.max_latency))}

    def reset(self, key: jax.Array, params: WrappedParams) -> tuple[WrappedState, Obs]:
        """Return a first state, with no action under way, and its observation."""
        state, obs = self.env.reset(key, params.env)
        action = jax.eval_shape(self.env.action_space(params.env).sample, key)
        return WrappedState(state, jnp.zeros((self.max_latency + 1, *action.shape), action.dtype)), obs

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: WrappedParams
    ) -> tuple[WrappedState, Step]:
        """Return the next state and what happened."""
        chosen = as_action(self.action_space(params), action).astype(state.kept.dtype)
        queue = jnp.concatenate([chosen[None], state.kept[:-1]])  # the newest first
        latency = jnp.clip(params.values["latency"], 0, self.max_latency)
        continuous = jnp.issubdtype(queue.dtype, jnp.floating)
        latency = latency if continuous else jnp.round(latency)
        age = jnp.arange(self.max_latency + 1, dtype=jnp.float32)
        weight = jnp.maximum(1.0 - jnp.abs(age - latency), 0.0)
        done = jnp.tensordot(weight, queue.astype(jnp.float32), axes=1).astype(queue.dtype)
        inner, step = self.env.step(key, state.env, done, params.env)
        return WrappedState(inner, queue), step


@dataclass(frozen=True)
class Pushed(Wrapper):
    """Kick the robot now and then: with `probability` a step begins with another velocity.

        velocity <- velocity + push * e,   e ~ N(0, 1)

    Args:
      env: an environment.
      push: the standard deviation of a kick, in the unit of the velocity, traced.
      probability: of a kick at each step, traced.
      where: paths of the velocities in the state; by default those of `envs.physics.fields.VELOCITIES`.

    Raises:
      ValueError: if `env` is no environment, `push` is no number or negative, `probability` lies outside
        [0, 1], `where` is no sequence of paths to arrays of floats in the state, or the world's velocities
        are not known.

    >>> import envs
    >>> env = Pushed(envs.make("Pendulum-v1")[0], push=1.0, probability=0.1)
    >>> sorted(env.default_params().values)
    ['probability', 'push']

    Source: Rudin et al. (2021), https://arxiv.org/abs/2109.11978, section 3.3, for pushes in training.
    """

    push: float = 0.0
    probability: float = 0.02
    where: tuple[str, ...] = ()

    own: ClassVar[tuple[str, ...]] = ("push", "probability")
    keeps_model: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= as_number("`push`", self.push) < math.inf:
            raise ValueError(f"`push` must be at least 0 and finite, got {self.push}")
        if not 0 <= as_number("`probability`", self.probability) <= 1:
            raise ValueError(f"`probability` must lie in [0, 1], got {self.probability}")
        object.__setattr__(self, "where", _velocities(self.env, self.where))
        world = fields.world(self.env)
        if not self.where and world not in fields.VELOCITIES:
            known = unknown("world", world, list(fields.VELOCITIES))
            raise ValueError(f"`where` must name the velocities in the state, for {known}")

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Between which values each number makes sense."""
        return {"push": (0.0, math.inf), "probability": (0.0, 1.0)}

    def step(self, key: jax.Array, state: State, action: Any, params: WrappedParams) -> tuple[State, Step]:
        """Return the next state and what happened."""
        key, key_when, *keys = jax.random.split(key, 2 + len(self._paths))
        kick = params.values["push"] * (jax.random.uniform(key_when) < params.values["probability"])
        for path, key_kick in zip(self._paths, keys, strict=True):
            velocity = fields.read(state, path)
            shared = velocity.shape[-1:]  # the links of a body move together
            change = kick * jax.random.normal(key_kick, shared)
            state = fields.write(state, path, velocity + jnp.broadcast_to(change, velocity.shape))
        return self.env.step(key, state, action, params.env)

    @property
    def _paths(self) -> tuple[str, ...]:
        if self.where:
            return self.where
        prefix, env = "", self.env
        while isinstance(env, Wrapper):
            prefix, env = prefix + "env." * env.has_state, env.env
        return tuple(prefix + path for path in fields.VELOCITIES[fields.world(env)])


def _velocities(env: Any, where: Any) -> tuple[str, ...]:
    """Return the paths `where` in the state of `env` as a tuple, each of them checked."""
    if not isinstance(where, tuple | list) or not all(isinstance(path, str) for path in where):
        raise ValueError(
            "`where` must be a sequence of paths of velocities in the state, for instance ('velocity',), "
            f"got {where!r}"
        )
    if where:
        state, _ = jax.eval_shape(env.reset, jax.random.key(0), env.default_params())
        for path in where:
            if (wrong := fields.wrong(state, path)) is not None:
                raise ValueError(f"`where` must hold paths in the state of {env.id}, but {wrong}")
            if not jnp.issubdtype(jax.eval_shape(partial(fields.read, path=path), state).dtype, jnp.floating):
                raise ValueError(f"`where` must hold paths of arrays of floats, got {path!r}")
    return tuple(where)
