"""Wrappers that change what is done."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from envs.checks import as_number, check_size
from envs.core import Obs, Params, State, Step
from envs.spaces import as_action
from envs.wrappers.wrapper import WrappedParams, WrappedState, Wrapper


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
        super().__post_init__()
        if not 0 <= as_number("`probability`", self.probability) <= 1:
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
        super().__post_init__()
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


def _choose(condition: jax.Array, a: Any, b: Any) -> Any:
    return jnp.where(condition, a, b)
