"""`RawReturn`: what an episode paid before any wrapper outside changes the rewards, as metrics."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from envs.core import Obs, State, Step
from envs.wrappers import WrappedParams, WrappedState, Wrapper


@dataclass(frozen=True)
class RawReturn(Wrapper):
    """Add the metrics `raw_return`, this step's reward, and `good_episode`.

    The latter is 1 at the end of an episode that paid more than `good`, a traced number, else 0.

    >>> import envs
    >>> env = RawReturn(envs.make("Catch-bsuite-v1")[0])
    >>> params = env.default_params()
    >>> state, _ = env.reset(jax.random.key(0), params)
    >>> sorted(env.step(jax.random.key(0), state, 1, params)[1].metrics)
    ['good_episode', 'raw_return', 'regret']
    """

    good: float = 0.0

    own: ClassVar[tuple[str, ...]] = ("good",)
    has_state: ClassVar[bool] = True

    def reset(self, key: jax.Array, params: WrappedParams) -> tuple[WrappedState, Obs]:
        """Return a first state and its observation."""
        state, obs = self.env.reset(key, params.env)
        return WrappedState(state, jnp.float32(0.0)), obs

    def step(
        self, key: jax.Array, state: WrappedState, action: Any, params: WrappedParams
    ) -> tuple[State, Step]:
        """Return the next state and what happened."""
        inner, step = self.env.step(key, state.env, action, params.env)
        paid = state.kept + step.reward
        good = (step.terminated | step.truncated) & (paid > params.values["good"])
        metrics = {"raw_return": step.reward, "good_episode": good.astype(jnp.float32)}
        return WrappedState(inner, paid), step.replace(metrics=step.metrics | metrics)
