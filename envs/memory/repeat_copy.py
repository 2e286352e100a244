"""RepeatCopy: read symbols, then write them down, several times over."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class RepeatCopyParams:
    """`repeats`, `[]` int32: how many times the symbols are to be written; at least 1."""

    repeats: jax.Array


@struct.dataclass
class RepeatCopyState:
    """The symbols, `[length]` int32, and the clock, `t` `[]` int32."""

    symbols: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class RepeatCopy:
    """Read `length` symbols, one a step, then write all of them, in order, `repeats` times (2 by default).

    The observation is `[num_symbols + 1]` float32: the symbol, one-hot, while reading; then only a 1 in the
    last place, which says that it is time to write. What is written while reading does not count. A right
    symbol pays 1 / (length * repeats), a wrong one costs as much: the best return is 1. Terminates after the
    last one.

    Args:
      length: how many symbols.
      num_symbols: how many kinds of them; the actions are the symbols.

    Raises:
      ValueError: if `length` is not positive or `num_symbols` is less than 2.

    >>> env = RepeatCopy(length=3)
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> int(obs.argmax()) == int(state.symbols[0])
    True

    Source: Graves, Wayne and Danihelka (2014), Neural Turing machines, section 4.2, as a task for an agent.
    """

    id: str = "RepeatCopy-v1"
    length: int = 5
    num_symbols: int = 4

    def __post_init__(self):
        check_size("length", self.length)
        check_size("num_symbols", self.num_symbols, 2)

    def default_params(self) -> RepeatCopyParams:
        """Return two repetitions."""
        return RepeatCopyParams(repeats=jnp.int32(2))

    def check_params(self, params: RepeatCopyParams) -> None:
        """Check that something is to be written.

        Raises:
          ValueError: if it is not.
        """
        if int(params.repeats) < 1:
            raise ValueError(f"`repeats` must be at least 1, got {int(params.repeats)}")

    def time_limit(self, params: RepeatCopyParams) -> jax.Array:
        """Return the steps of every episode."""
        return self.length * (1 + params.repeats)

    def observation_space(self, params: RepeatCopyParams) -> Box:
        """Return zeros and ones."""
        return Box(0.0, 1.0, (self.num_symbols + 1,))

    def action_space(self, params: RepeatCopyParams) -> Discrete:
        """Return the symbols."""
        return Discrete(self.num_symbols)

    def reset(self, key: jax.Array, params: RepeatCopyParams) -> tuple[RepeatCopyState, jax.Array]:
        """Return new symbols and the observation of the first."""
        symbols = jax.random.randint(key, (self.length,), 0, self.num_symbols, jnp.int32)
        state = RepeatCopyState(symbols=symbols, t=jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: RepeatCopyState, action: jax.Array, params: RepeatCopyParams
    ) -> tuple[RepeatCopyState, Step]:
        """Return the next state and what happened; ignores `key`."""
        action = as_action(self.action_space(params), action)
        steps = self.time_limit(params)
        writes = (state.t >= self.length) & (state.t < steps)
        right = action == state.symbols[state.t % self.length]
        worth = 1 / (self.length * params.repeats).astype(jnp.float32)
        reward = jnp.where(writes, jnp.where(right, worth, -worth), 0.0)
        state = RepeatCopyState(symbols=state.symbols, t=state.t + 1)
        return state, Step(self._observe(state), reward, state.t >= steps, jnp.bool_(False))

    def ascii(self, state: RepeatCopyState, params: RepeatCopyParams) -> str:
        """Return the symbols as letters, the one to read or write in brackets."""
        at = int(state.t) % self.length
        letters = [chr(ord("a") + int(symbol)) for symbol in np.asarray(state.symbols)]
        tape = "".join(f"[{letter}]" if i == at else letter for i, letter in enumerate(letters))
        return f"{'read' if int(state.t) < self.length else 'write'} {tape}"

    def frame(self, state: RepeatCopyState, params: RepeatCopyParams) -> np.ndarray:
        """Return the symbols as coloured cells, a ring on the one to write, `[size, length * size, 3]`."""
        from envs import render

        legend = tuple(render.Tile(color) for color in render.CHANNELS)
        cells = np.asarray(state.symbols)[None] % len(legend)
        reading = int(state.t) < self.length
        mark = render.Tile(None, "disc" if reading else "ring", render.INK)
        return render.tiles(cells, legend, [(0, int(state.t) % self.length, mark)])

    def _observe(self, state: RepeatCopyState) -> jax.Array:
        shown = jnp.where(state.t < self.length, state.symbols[state.t % self.length], self.num_symbols)
        return jax.nn.one_hot(shown, self.num_symbols + 1, dtype=jnp.float32)
