"""MinAtar's Breakout."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from envs.minatar.game import LEFT, NOTHING, RIGHT, SIZE, MinAtar, MinAtarParams, cell, picture

_WALL = (1 << 30) - 1


@struct.dataclass
class BreakoutState:
    """The ball with its direction, the paddle, and three rows of bricks.

    Attributes:
      x: `[]` int32, the ball's column.
      y: `[]` int32, its row.
      last_x: `[]` int32, where it was a step before.
      last_y: `[]` int32.
      right: `[]` bool, whether it moves right.
      down: `[]` bool, whether it moves down.
      paddle: `[]` int32, the paddle's column.
      bricks: `[]` int32; the brick in row 1 + r, column x is bit 10 r + x.
      struck: `[]` bool, whether the step before met a brick; then the ball passes the next one.
    """

    x: jax.Array
    y: jax.Array
    last_x: jax.Array
    last_y: jax.Array
    right: jax.Array
    down: jax.Array
    paddle: jax.Array
    bricks: jax.Array
    struck: jax.Array


@dataclass(frozen=True)
class Breakout(MinAtar):
    """Keep a ball in play with a paddle; each of the 30 bricks that it meets is worth 1.

    The ball flies diagonally; the side of the paddle that it meets decides where it goes. Once all bricks are
    gone, a new wall stands when the ball comes down. The game ends when the ball passes the paddle. It starts
    on either side, by chance. See `MinAtar` for actions, sticking, and limits.

    >>> env = Breakout()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, obs.dtype
    ((10, 10, 4), dtype('bool'))

    Source: Young and Tian (2019), MinAtar; `minatar/environments/breakout.py` of MinAtar 1.0.15.
    """

    id: str = "MinAtar-Breakout-v1"

    channels: ClassVar[dict[str, str]] = {"paddle": "A", "ball": "o", "trail": "'", "brick": "#"}
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, RIGHT)
    start_words: ClassVar[int] = 1

    def start(self, words: jax.Array) -> BreakoutState:
        """Return a full wall and the ball on one side of it."""
        on_right = words[0] >> 31 == 1
        x = jnp.where(on_right, SIZE - 1, 0).astype(jnp.int32)
        return BreakoutState(
            x=x,
            y=jnp.int32(3),
            last_x=x,
            last_y=jnp.int32(3),
            right=~on_right,
            down=jnp.bool_(True),
            paddle=jnp.int32(4),
            bricks=jnp.int32(_WALL),
            struck=jnp.bool_(False),
        )

    def advance(
        self, game: BreakoutState, action: jax.Array, draws: tuple, t: jax.Array, params: MinAtarParams
    ) -> tuple[BreakoutState, jax.Array, jax.Array]:
        """Return the game one step later, the reward and whether the ball is lost."""
        paddle = game.paddle - (action == LEFT) + (action == RIGHT)
        paddle = jnp.clip(paddle, 0, SIZE - 1)
        x = game.x + jnp.where(game.right, 1, -1)
        y = game.y + jnp.where(game.down, 1, -1)
        right = game.right ^ (x < 0) ^ (x >= SIZE)
        x = jnp.clip(x, 0, SIZE - 1)

        ceiling = y < 0
        brick = jnp.where((y >= 1) & (y <= 3), jnp.int32(1) << (jnp.clip(y - 1, 0, 2) * SIZE + x), 0)
        meets = game.bricks & brick != 0
        breaks = meets & ~game.struck
        bricks = jnp.where(breaks, game.bricks & ~brick, game.bricks)

        low = y == SIZE - 1
        bricks = jnp.where(low & (bricks == 0), jnp.int32(_WALL), bricks)
        straight = low & (game.x == paddle)
        aslant = low & ~straight & (x == paddle)
        bounces = ceiling | breaks | straight | aslant
        game = BreakoutState(
            x=x,
            y=jnp.where(ceiling, 0, jnp.where(bounces, game.y, y)),
            last_x=game.x,
            last_y=game.y,
            right=right ^ aslant,
            down=game.down ^ bounces,
            paddle=paddle,
            bricks=bricks,
            struck=meets,
        )
        return game, breaks.astype(jnp.int32), low & ~straight & ~aslant

    def observe(self, game: BreakoutState) -> jax.Array:
        """Return paddle, ball, its trail, and bricks."""
        rows = jnp.arange(SIZE, dtype=jnp.int32)
        bricks = (game.bricks >> (jnp.clip(rows - 1, 0, 2) * SIZE)) & ((1 << SIZE) - 1)
        paddle = cell(jnp.int32(SIZE - 1), game.paddle)
        bricks = jnp.where((rows >= 1) & (rows <= 3), bricks, 0)
        return picture([paddle, cell(game.y, game.x), cell(game.last_y, game.last_x), bricks])
