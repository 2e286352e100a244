"""What the five MinAtar games share: actions that stick, the clock, boards kept as bits, and pictures.

A row of ten cells is the low ten bits of an int32, cell x at bit x; a board is `[10]` of them, row 0 on top.
So a whole board moves by one shift, and meets another by one "and": no loop over objects, no gather.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_probabilities
from envs.core import Step
from envs.spaces import Box, Discrete, as_action

SIZE = 10
NOTHING, LEFT, UP, RIGHT, DOWN, FIRE = range(6)


@struct.dataclass
class MinAtarParams:
    """What can be varied in a MinAtar game.

    Attributes:
      sticky_action_prob: `[]` float32, the probability that the action before is done again (published: 0.1).
      ramping: `[]` bool, whether the game gets harder as it goes on (published: it does). Breakout and
        Freeway have no such ramp.
      max_steps: `[]` int32, the step at which an episode is truncated (Freeway: at which the game is over).
    """

    sticky_action_prob: jax.Array
    ramping: jax.Array
    max_steps: jax.Array


@struct.dataclass
class MinAtarState:
    """A game's own state, the action done last, and the clock.

    Attributes:
      game: the game's own state.
      last_action: `[]` int32, of the six of the joystick.
      t: `[]` int32, steps taken.
    """

    game: Any
    last_action: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class MinAtar:
    """A MinAtar game: six actions, 10 x 10 cells, one boolean channel for each kind of thing.

    Actions: 0 nothing, 1 left, 2 up, 3 right, 4 down, 5 fire. An action sticks: with probability 0.1 the one
    done before, at first 0, is done instead. (MinAtar's own program also remembers it from one episode to the
    next.) The observation is `[10, 10, channels]` bool. Episodes are truncated after 2,500 steps, a limit
    that MinAtar leaves to the caller. A game adds `start`, `draw`, `advance` and `observe`: `advance` is
    deterministic, so that it can be compared with another implementation under the same draws.

    Args:
      minimal_actions: offer only the actions that do something in this game, in the order above.
    """

    id: str = ""
    minimal_actions: bool = False

    # The channels' names with a letter for each, the useful actions, and how many random words are needed.
    channels: ClassVar[dict[str, str]] = {}
    useful: ClassVar[tuple[int, ...]] = ()
    start_words: ClassVar[int] = 0
    step_words: ClassVar[int] = 0
    default_limit: ClassVar[int] = 2500
    limit_terminates: ClassVar[bool] = False

    def start(self, words: jax.Array) -> Any:
        """Return the game's first state, given `[start_words]` random uint32."""
        raise NotImplementedError

    def draw(self, words: jax.Array) -> Any:
        """Return what chance decides in one step, given `[step_words]` random uint32."""
        return ()

    def advance(
        self, game: Any, action: jax.Array, draws: Any, t: jax.Array, params: MinAtarParams
    ) -> tuple[Any, jax.Array, jax.Array]:
        """Return the game one step later, the reward (`[]` int32) and whether the game is over (`[]` bool).

        Args:
          game: the game's state.
          action: `[]` int32, of the six, as done.
          draws: what chance decided, as from `draw`.
          t: `[]` int32, the number of steps before this one.
          params: the parameters.
        """
        raise NotImplementedError

    def observe(self, game: Any) -> jax.Array:
        """Return the `[10, 10, channels]` bool observation of a game's state."""
        raise NotImplementedError

    def default_params(self) -> MinAtarParams:
        """Return the published settings."""
        return MinAtarParams(
            sticky_action_prob=jnp.float32(0.1),
            ramping=jnp.bool_(True),
            max_steps=jnp.int32(self.default_limit),
        )

    def check_params(self, params: MinAtarParams) -> None:
        """Check that actions stick with a probability.

        Raises:
          ValueError: if they do not.
        """
        check_probabilities("sticky_action_prob", params.sticky_action_prob, ())

    def time_limit(self, params: MinAtarParams) -> jax.Array:
        """Return the step at which episodes end at the latest."""
        return params.max_steps

    def observation_space(self, params: MinAtarParams) -> Box:
        """Return `[10, 10, channels]` of booleans."""
        return Box(False, True, (SIZE, SIZE, len(self.channels)), bool)

    def action_space(self, params: MinAtarParams) -> Discrete:
        """Return the joystick's six actions, or the useful ones."""
        return Discrete(len(self.useful) if self.minimal_actions else 6)

    def reset(self, key: jax.Array, params: MinAtarParams) -> tuple[MinAtarState, jax.Array]:
        """Return the start of a game and its observation."""
        words = jax.random.bits(key, (self.start_words,), jnp.uint32) if self.start_words else jnp.zeros(0)
        game = self.start(words)
        return MinAtarState(game=game, last_action=jnp.int32(0), t=jnp.int32(0)), self.observe(game)

    def step(
        self, key: jax.Array, state: MinAtarState, action: jax.Array, params: MinAtarParams
    ) -> tuple[MinAtarState, Step]:
        """Return the state one frame later and what happened."""
        action = as_action(self.action_space(params), action)
        words = jax.random.bits(key, (1 + self.step_words,), jnp.uint32)
        if self.minimal_actions:
            action = one_of(self.useful, action)
        sticks = (words[0] >> 8).astype(jnp.float32) * 2.0**-24 < params.sticky_action_prob
        action = jnp.where(sticks, state.last_action, action)
        game, reward, over = self.advance(state.game, action, self.draw(words[1:]), state.t, params)
        t = state.t + 1
        late = t >= params.max_steps
        over = over | late if self.limit_terminates else over
        return MinAtarState(game=game, last_action=action, t=t), Step(
            obs=self.observe(game),
            reward=reward.astype(jnp.float32),
            terminated=over,
            truncated=late & ~over,
        )

    def ascii(self, state: MinAtarState, params: MinAtarParams) -> str:
        """Return the board as text, a letter for the first channel of a cell."""
        letters = np.array([".", *self.channels.values()])
        seen = np.asarray(self.observe(state.game))
        first = np.where(seen.any(-1), seen.argmax(-1) + 1, 0)
        return "\n".join("".join(row) for row in letters[first])

    def frame(self, state: MinAtarState, params: MinAtarParams) -> np.ndarray:
        """Return a picture of the board, one colour a channel, `[480, 480, 3]` uint8."""
        from envs import render

        return render.observation_frame(self.observe(state.game))


def one_of(table: tuple[int, ...], index: jax.Array) -> jax.Array:
    """Return the entry of a short table of integers, without a gather; 0 for an index outside of it."""
    return sum((jnp.where(index == i, value, 0) for i, value in enumerate(table)), jnp.int32(0))


def cell(y: jax.Array, x: jax.Array) -> jax.Array:
    """Return the `[10]` int32 board with the cell in row `y`, column `x` set; empty for a row outside.

    >>> cell(jnp.int32(1), jnp.int32(3))[:3].tolist()
    [0, 8, 0]
    """
    return jnp.where(jnp.arange(SIZE, dtype=jnp.int32) == y, jnp.int32(1) << x, 0)


def picture(boards: list[jax.Array]) -> jax.Array:
    """Return `[10, 10, C]` bool from `C` boards of `[10]` int32.

    >>> picture([cell(jnp.int32(1), jnp.int32(3))]).nonzero()[1].tolist()
    [3]
    """
    columns = jnp.arange(SIZE, dtype=jnp.int32)[None, :, None]
    return (jnp.stack(boards, axis=-1)[:, None, :] >> columns) & 1 != 0


def count(board: jax.Array) -> jax.Array:
    """Return how many cells of a board are set, `[]` int32."""
    return jax.lax.population_count(board).sum(dtype=jnp.int32)
