"""MinAtar's Space Invaders."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.minatar.game import FIRE, LEFT, NOTHING, RIGHT, SIZE, MinAtar, MinAtarParams, cell, count, picture

_BOTTOM = SIZE - 1
_WAVE = np.array([0b0011111100] * 4 + [0] * 6, np.int32)
_WAVE_SIZE = 24
_SHOT_PERIOD = 5
_ALIEN_SHOT_PERIOD = 10
_SLOWEST, _FASTEST = 12, 6


@struct.dataclass
class SpaceInvadersState:
    """The cannon, three boards of bits, and the timers.

    Attributes:
      x: `[]` int32, the cannon's column.
      shots: `[10]` int32 board of the cannon's bullets.
      bombs: `[10]` int32 board of the aliens' bullets.
      aliens: `[10]` int32 board.
      remaining: `[]` int32, how many aliens there are.
      right: `[]` bool, whether the aliens move right.
      move_period: `[]` int32, steps between two moves of a full wave.
      move_wait: `[]` int32, steps until the aliens move.
      bomb_wait: `[]` int32, steps until one of them shoots.
      shot_wait: `[]` int32, steps until the cannon can shoot.
      level: `[]` int32, how often a new wave was faster.
    """

    x: jax.Array
    shots: jax.Array
    bombs: jax.Array
    aliens: jax.Array
    remaining: jax.Array
    right: jax.Array
    move_period: jax.Array
    move_wait: jax.Array
    bomb_wait: jax.Array
    shot_wait: jax.Array
    level: jax.Array


@dataclass(frozen=True)
class SpaceInvaders(MinAtar):
    """Shoot aliens, each worth 1, before they land, and stay clear of their bullets.

    The fewer aliens are left, the faster they move; as the game ramps up, each wave moves faster than the one
    before. Nothing but a sticking action is left to chance. See `MinAtar` for actions, sticking, and limits.

    >>> env = SpaceInvaders()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, int(count(state.game.aliens))
    ((10, 10, 6), 24)

    Source: Young and Tian (2019), MinAtar; `minatar/environments/space_invaders.py` of MinAtar 1.0.15.
    """

    id: str = "MinAtar-SpaceInvaders-v1"

    channels: ClassVar[dict[str, str]] = {
        "cannon": "A",
        "alien": "W",
        "alien_left": "<",
        "alien_right": ">",
        "friendly_bullet": "'",
        "enemy_bullet": "*",
    }
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, RIGHT, FIRE)

    def start(self, words: jax.Array) -> SpaceInvadersState:
        """Return a full wave above the cannon."""
        return SpaceInvadersState(
            x=jnp.int32(5),
            shots=jnp.zeros(SIZE, jnp.int32),
            bombs=jnp.zeros(SIZE, jnp.int32),
            aliens=jnp.asarray(_WAVE),
            remaining=jnp.int32(_WAVE_SIZE),
            right=jnp.bool_(False),
            move_period=jnp.int32(_SLOWEST),
            move_wait=jnp.int32(_SLOWEST),
            bomb_wait=jnp.int32(_ALIEN_SHOT_PERIOD),
            shot_wait=jnp.int32(0),
            level=jnp.int32(0),
        )

    def advance(
        self, game: SpaceInvadersState, action: jax.Array, draws: tuple, t: jax.Array, params: MinAtarParams
    ) -> tuple[SpaceInvadersState, jax.Array, jax.Array]:
        """Return the game one step later, the reward and whether the cannon is hit or aliens have landed."""
        none = jnp.zeros(1, jnp.int32)
        shoots = (action == FIRE) & (game.shot_wait == 0)
        x = jnp.clip(game.x - (action == LEFT) + (action == RIGHT), 0, _BOTTOM)
        here = jnp.int32(1) << x
        shots = jnp.concatenate([game.shots[1:], none]) | jnp.where(
            shoots, cell(jnp.int32(_BOTTOM - 1), x), 0
        )
        bombs = jnp.concatenate([none, game.bombs[:-1]])
        over = ((bombs | game.aliens)[_BOTTOM] & here) != 0

        moves = game.move_wait == 0
        columns = jnp.bitwise_or.reduce(game.aliens)
        turns = moves & jnp.where(game.right, columns >> _BOTTOM == 1, columns & 1 == 1)
        over |= turns & (game.aliens[_BOTTOM] != 0)
        left_or_right = jnp.where(game.right, game.aliens << 1, game.aliens >> 1)
        lower = jnp.concatenate([game.aliens[-1:], game.aliens[:-1]])
        aliens = jnp.where(turns, lower, jnp.where(moves, left_or_right, game.aliens))
        right = game.right ^ turns
        columns = jnp.where(moves & ~turns, jnp.where(right, columns << 1, columns >> 1), columns)
        over |= moves & (aliens[_BOTTOM] & here != 0)

        bombs_due = game.bomb_wait == 0
        bombs |= jnp.where(bombs_due, _shooter(aliens, columns, x), 0)
        killed = aliens & shots
        reward = count(killed)
        remaining = game.remaining - reward
        cleared = remaining == 0
        ramps = cleared & params.ramping & (game.move_period > _FASTEST)
        game = SpaceInvadersState(
            x=x,
            shots=shots & ~killed,
            bombs=bombs,
            aliens=jnp.where(cleared, _WAVE, aliens & ~killed),
            remaining=jnp.where(cleared, _WAVE_SIZE, remaining),
            right=right,
            move_period=game.move_period - ramps,
            move_wait=jnp.where(moves, jnp.minimum(game.remaining, game.move_period), game.move_wait) - 1,
            bomb_wait=jnp.where(bombs_due, _ALIEN_SHOT_PERIOD, game.bomb_wait) - 1,
            shot_wait=jnp.maximum(jnp.where(shoots, _SHOT_PERIOD, game.shot_wait) - 1, 0),
            level=game.level + ramps,
        )
        return game, reward, over

    def observe(self, game: SpaceInvadersState) -> jax.Array:
        """Return cannon, aliens (again in the channel of their direction), and both sides' bullets."""
        moves_left, moves_right = jnp.where(game.right, 0, game.aliens), jnp.where(game.right, game.aliens, 0)
        cannon = cell(jnp.int32(_BOTTOM), game.x)
        return picture([cannon, game.aliens, moves_left, moves_right, game.shots, game.bombs])


def _shooter(aliens: jax.Array, columns: jax.Array, x: jax.Array) -> jax.Array:
    """Return the board with the lowest alien of the column nearest to `x`, of two the left one.

    Bit i of `columns` `[]` int32 says whether column i holds an alien.
    """
    up_to_here = (jnp.int32(2) << x) - 1
    left, right = columns & up_to_here, columns & ~up_to_here
    left_x, right_x = 31 - jax.lax.clz(left), 31 - jax.lax.clz(right & -right)
    is_left = (left != 0) & ((right == 0) | (x - left_x <= right_x - x))
    in_column = aliens & (jnp.int32(1) << jnp.where(is_left, left_x, right_x))
    rows = jnp.where(in_column != 0, jnp.arange(SIZE, dtype=jnp.int32), -1)
    return jnp.where(rows == rows.max(), in_column, 0)
