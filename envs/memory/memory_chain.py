"""MemoryChain: bits are shown at the beginning, and one of them is asked for at the end."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class MemoryChainParams:
    """What may be mapped over.

    Attributes:
      length: `[]` int32, for how many steps the bits have to be remembered; at least 1.
      in_use: `[]` int32, how many of the bits there are; the others are never shown and never asked for.
    """

    length: jax.Array
    in_use: jax.Array


@struct.dataclass
class MemoryChainState:
    """The bits, `[num_bits]` int32; which one is asked for, `query` `[]` int32; the clock `t` `[]` int32."""

    bits: jax.Array
    query: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class MemoryChain:
    """Remember `num_bits` bits for `length` steps, then do the one that is asked for: 1 if right, -1 if not.

    The observation is `[2 + num_bits]` float32: the share of the time that is left, the number of the bit
    that is asked for (at the end only), and the bits as -1 and 1 (at the beginning only; as in bsuite, also
    after the first step). Actions before the last have no effect; after `length` + 1 steps the episode
    terminates. The length is a parameter (10 by default), and so is how many of the bits are in use (all by
    default), so both can be mapped over. Without memory the expected return is 0. Metric: `regret`, 2 for a
    wrong answer.

    Args:
      num_bits: how many bits.

    Raises:
      ValueError: if it is not positive.

    >>> env = MemoryChain(num_bits=3)
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, bool(jnp.all(obs[2:] == 2 * state.bits - 1))
    ((5,), True)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/memory_chain.py`.
    """

    id: str = "MemoryChain-v1"
    num_bits: int = 1

    def __post_init__(self):
        check_size("num_bits", self.num_bits)

    def default_params(self) -> MemoryChainParams:
        """Return a length of 10 steps, with all bits in use."""
        return MemoryChainParams(length=jnp.int32(10), in_use=jnp.int32(self.num_bits))

    def check_params(self, params: MemoryChainParams) -> None:
        """Check that there is something to remember, and that the bits in use exist.

        Raises:
          ValueError: naming the field that makes no sense.
        """
        if int(params.length) < 1:
            raise ValueError(f"`length` must be at least 1, got {int(params.length)}")
        if not 1 <= int(params.in_use) <= self.num_bits:
            raise ValueError(f"`in_use` must lie in 1..num_bits = {self.num_bits}, got {int(params.in_use)}")

    def time_limit(self, params: MemoryChainParams) -> jax.Array:
        """Return length + 1, the steps of every episode."""
        return params.length + 1

    def observation_space(self, params: MemoryChainParams) -> Box:
        """Return the bounds of time, query and bits."""
        low = (0.0, 0.0) + (-1.0,) * self.num_bits
        return Box(low, (1.0, float(self.num_bits - 1)) + (1.0,) * self.num_bits, (2 + self.num_bits,))

    def action_space(self, params: MemoryChainParams) -> Discrete:
        """Return the two values of a bit."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: MemoryChainParams) -> tuple[MemoryChainState, jax.Array]:
        """Return new bits and a new query, and the observation of the bits."""
        words = jax.random.bits(key, (1 + self.num_bits,), jnp.uint32)
        state = MemoryChainState(
            bits=(words[1:] >> 31).astype(jnp.int32),
            query=(words[0] % jnp.clip(params.in_use, 1, self.num_bits).astype(jnp.uint32)).astype(jnp.int32),
            t=jnp.int32(0),
        )
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: MemoryChainState, action: jax.Array, params: MemoryChainParams
    ) -> tuple[MemoryChainState, Step]:
        """Return the next state and what happened; ignores `key`."""
        action = as_action(self.action_space(params), action)
        obs = self._observe(state, params)
        terminated = state.t >= params.length
        asked = state.t == params.length
        right = action == state.bits[state.query]
        reward = jnp.where(asked, jnp.where(right, 1.0, -1.0), jnp.float32(0.0))
        metrics = {"regret": jnp.where(asked & ~right, jnp.float32(2.0), 0.0)}
        state = MemoryChainState(bits=state.bits, query=state.query, t=state.t + 1)
        return state, Step(obs, reward, terminated, jnp.bool_(False), metrics)

    def ascii(self, state: MemoryChainState, params: MemoryChainParams) -> str:
        """Return bits, query and clock as text."""
        bits = "".join(map(str, np.asarray(state.bits[: int(params.in_use)])))
        return f"bits {bits}, asked for {int(state.query)}, step {int(state.t)} of {int(params.length) + 1}"

    def frame(self, state: MemoryChainState, params: MemoryChainParams) -> np.ndarray:
        """Return a picture of the bits (the one asked for in colour) over the time, `[140, 480, 3]` uint8."""
        from envs import render

        canvas = render.Canvas(480, 140, (0, self.num_bits), (0, self.num_bits * 140 / 480))
        height = self.num_bits * 140 / 480
        for bit, value in enumerate(np.asarray(state.bits)):
            color = render.ORANGE if bit == int(state.query) else render.INK
            canvas.text((bit + 0.5, 0.6 * height), str(value), min(64, 300 / self.num_bits), color)
        share = min(int(state.t) / (int(params.length) + 1), 1.0)
        canvas.line((0, 0.12 * height), (self.num_bits, 0.12 * height), 8, render.GREY)
        canvas.line((0, 0.12 * height), (share * self.num_bits, 0.12 * height), 8, render.GREEN)
        return canvas.array()

    def _observe(self, state: MemoryChainState, params: MemoryChainParams) -> jax.Array:
        left = jnp.maximum(1 - state.t / params.length, 0.0)
        query = jnp.where(state.t == params.length - 1, state.query, 0)
        shown = (state.t == 0) & (jnp.arange(self.num_bits) < params.in_use)
        bits = jnp.where(shown, 2 * state.bits - 1, 0)
        return jnp.concatenate([jnp.stack([left, query.astype(jnp.float32)]), bits.astype(jnp.float32)])
