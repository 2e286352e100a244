"""`UmbrellaChain`: the first action decides the last reward, and all between is noise."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class UmbrellaChainParams:
    """What may be mapped over; both `[]` int32.

    Attributes:
      length: the steps of an episode, at least 1.
      num_distractors: how many of the distractors there are; the entries of the others are 0.
    """

    length: jax.Array
    num_distractors: jax.Array


@struct.dataclass
class UmbrellaChainState:
    """Whether an umbrella is needed, whether one was taken (both `[]` int32, 0 or 1), the clock `t`."""

    need: jax.Array
    has: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class UmbrellaChain:
    """Take an umbrella (1) or not (0) with the first action; only at the end it shows whether that was right.

    The last reward is 1 if umbrella and need agree and -1 if not; all others are 1 or -1 at random. Later
    actions have no effect. After `length` steps (a parameter, 20 by default) the episode terminates. The
    observation is `[3 + max_distractors]` float32: the need, the umbrella (random before the first action),
    the share of the time that is left, and random bits. The best expected return is 1. Metric: `regret`, 2
    for the wrong choice.

    Args:
      max_distractors: the size of the observation's random part; how many are in use is a parameter, so that
        numbers of distractors can be mapped over. By default all are.

    Raises:
      ValueError: if it is negative.

    >>> env = UmbrellaChain(max_distractors=2)
    >>> env.reset(jax.random.key(0), env.default_params())[1].shape
    (5,)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning,
    `environments/umbrella_chain.py`.
    """

    id: str = "UmbrellaChain-bsuite-v1"
    max_distractors: int = 20

    limit_terminates = True

    def __post_init__(self):
        check_size("max_distractors", self.max_distractors, 0)

    def default_params(self) -> UmbrellaChainParams:
        """Return 20 steps, with all distractors in use."""
        return UmbrellaChainParams(length=jnp.int32(20), num_distractors=jnp.int32(self.max_distractors))

    def time_limit(self, params: UmbrellaChainParams) -> jax.Array:
        """Return the steps of every episode."""
        return params.length

    def observation_space(self, params: UmbrellaChainParams) -> Box:
        """Return numbers between 0 and 1."""
        return Box(0.0, 1.0, (3 + self.max_distractors,))

    def action_space(self, params: UmbrellaChainParams) -> Discrete:
        """Return no umbrella (0) and umbrella (1)."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: UmbrellaChainParams) -> tuple[UmbrellaChainState, jax.Array]:
        """Return a random need and a random umbrella, and the observation of them."""
        key_need, key_obs = jax.random.split(key)
        need, has = jax.random.bernoulli(key_need, shape=(2,)).astype(jnp.int32)
        state = UmbrellaChainState(need=need, has=has, t=jnp.int32(0))
        return state, self._observe(key_obs, state, params)

    def step(
        self, key: jax.Array, state: UmbrellaChainState, action: jax.Array, params: UmbrellaChainParams
    ) -> tuple[UmbrellaChainState, Step]:
        """Return the next state and what happened."""
        action = as_action(self.action_space(params), action)
        key_reward, key_obs = jax.random.split(key)
        has = jnp.where(state.t == 0, action, state.has)
        state = UmbrellaChainState(need=state.need, has=has, t=state.t + 1)
        terminated = state.t >= params.length
        good = jnp.where(terminated, has == state.need, jax.random.bernoulli(key_reward))
        reward = jnp.where(good, jnp.float32(1.0), -1.0)
        metrics = {"regret": jnp.where(terminated & ~good, jnp.float32(2.0), 0.0)}
        obs = self._observe(key_obs, state, params)
        return state, Step(obs, reward, terminated, jnp.bool_(False), metrics)

    def ascii(self, state: UmbrellaChainState, params: UmbrellaChainParams) -> str:
        """Return need, umbrella and clock as text."""
        need = "rain" if np.asarray(state.need) else "sun"
        has = "umbrella" if np.asarray(state.has) else "no umbrella"
        return f"{need}, {has}, step {int(state.t)} of {int(params.length)}"

    def _observe(self, key: jax.Array, state: UmbrellaChainState, params: UmbrellaChainParams) -> jax.Array:
        bits = jax.random.bernoulli(key, shape=(self.max_distractors,))
        bits &= jnp.arange(self.max_distractors) < params.num_distractors
        left = jnp.maximum(1 - state.t / params.length, 0.0)
        known = jnp.stack([state.need.astype(jnp.float32), state.has.astype(jnp.float32), left])
        return jnp.concatenate([known, bits.astype(jnp.float32)])
