"""`ExactWorld`: what an environment needs no more than its exact model for."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Step
from envs.spaces import Discrete, Space, as_action
from envs.tabular import Outcomes


@struct.dataclass
class ExactState:
    """Which state it is, `index` `[]` int32, and the clock, `t` `[]` int32."""

    index: jax.Array
    t: jax.Array


class ExactWorld:
    """A world whose `step` draws from its own model, so that the two cannot differ.

    A subclass is a frozen dataclass with `id`, `num_states`, `num_actions`, `default_params`, `outcomes` and
    `start_distribution`; its params have a leaf `max_steps`. The observation is the state's number. If not
    `random_start`, the first state is the likeliest and `reset` ignores its key.

    >>> from envs.mdps import ThreeState
    >>> env = ThreeState()
    >>> state, out = env.step(jax.random.key(1), env.state_at(2, None), 0, env.default_params())
    >>> int(out.obs), float(out.reward)
    (2, 30.0)
    """

    num_states: int
    num_actions: int
    random_start: bool = True

    def start_distribution(self, params: Any) -> jax.Array:
        """Return the `[S]` probabilities of the first state."""
        raise NotImplementedError

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: Any) -> Outcomes:
        """Return what may follow one state and action."""
        raise NotImplementedError

    def time_limit(self, params: Any) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def observation_space(self, params: Any) -> Space:
        """Return the numbers of the states."""
        return Discrete(self.num_states)

    def action_space(self, params: Any) -> Discrete:
        """Return the actions."""
        return Discrete(self.num_actions)

    def reset(self, key: jax.Array, params: Any) -> tuple[ExactState, jax.Array]:
        """Return a first state and its number."""
        start = self.start_distribution(params)
        index = sample_index(key, start) if self.random_start else jnp.argmax(start).astype(jnp.int32)
        return ExactState(index=index, t=jnp.int32(0)), index

    def step(
        self, key: jax.Array, state: ExactState, action: jax.Array, params: Any
    ) -> tuple[ExactState, Step]:
        """Return the next state and what happened, drawn from `outcomes`."""
        action = as_action(self.action_space(params), action)
        following = self.outcomes(state.index, action, params)
        branch = sample_index(key, following.probability)
        index, terminated = following.next_state[branch], following.terminated[branch]
        state = ExactState(index=index, t=state.t + 1)
        truncated = (state.t >= self.time_limit(params)) & ~terminated
        return state, Step(index, following.reward[branch], terminated, truncated)

    def state_index(self, state: ExactState, params: Any) -> jax.Array:
        """Return the number of `state`."""
        return state.index

    def state_at(self, index: jax.Array, params: Any) -> ExactState:
        """Return the state of number `index` with a fresh clock."""
        return ExactState(index=jnp.asarray(index, jnp.int32), t=jnp.int32(0))


def sample_index(key: jax.Array, weights: jax.Array) -> jax.Array:
    """Return a draw of 0, ..., K - 1, `[]` int32, in proportion to `weights` `[K]`, never one of weight 0.

    >>> int(sample_index(jax.random.key(0), jnp.array([0.0, 0.3, 0.0])))
    1
    """
    # Inverse distribution function; 1 - u lies in (0, 1]. A count is a faster reduction than `argmax`.
    cumulative = jnp.cumsum(weights)
    below = cumulative < cumulative[-1] * (1 - jax.random.uniform(key))
    # The last is never counted, for with weights that make no sense (a negative sum) it could be below.
    return jnp.sum(below[:-1], dtype=jnp.int32)
