"""MinAtar's Asterix."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from envs.minatar.game import DOWN, LEFT, NOTHING, RIGHT, SIZE, UP, MinAtar, MinAtarParams, cell, picture

_LANES = 8
_RAMP_PERIOD = 100


@struct.dataclass
class AsterixState:
    """The player, at most one thing in each of eight lanes (lane i is row 1 + i), and the timers.

    Attributes:
      x: `[]` int32, the player's column.
      y: `[]` int32, the player's row, 1 to 8.
      thing_x: `[8]` int32, columns of the things.
      right: `[8]` bool, whether each moves right.
      gold: `[8]` bool, whether each is gold, not an enemy.
      there: `[8]` bool, whether a lane holds anything.
      spawn_wait: `[]` int32, steps until a thing comes.
      spawn_period: `[]` int32, steps between two.
      move_wait: `[]` int32, steps until the things move.
      move_period: `[]` int32, steps between two moves.
      ramp_wait: `[]` int32, steps until the game gets faster.
      level: `[]` int32, how often it has.
    """

    x: jax.Array
    y: jax.Array
    thing_x: jax.Array
    right: jax.Array
    gold: jax.Array
    there: jax.Array
    spawn_wait: jax.Array
    spawn_period: jax.Array
    move_wait: jax.Array
    move_period: jax.Array
    ramp_wait: jax.Array
    level: jax.Array


class AsterixDraws(NamedTuple):
    """What chance decides: a new thing's direction and kind, and a uint32 that picks a free lane."""

    right: jax.Array
    gold: jax.Array
    lane: jax.Array


@dataclass(frozen=True)
class Asterix(MinAtar):
    """Collect gold, worth 1, and touch no enemy: that ends the game.

    Things cross the board in eight lanes, from either side; one in three is gold. As the game ramps up, every
    102 steps, they come and move faster. See `MinAtar` for actions, sticking, and limits.

    >>> env = Asterix()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, (int(state.game.x), int(state.game.y))
    ((10, 10, 4), (5, 5))

    Source: Young and Tian (2019), MinAtar; `minatar/environments/asterix.py` of MinAtar 1.0.15.
    """

    id: str = "MinAtar-Asterix-v1"

    channels: ClassVar[dict[str, str]] = {"player": "A", "enemy": "E", "trail": "-", "gold": "$"}
    useful: ClassVar[tuple[int, ...]] = (NOTHING, LEFT, UP, RIGHT, DOWN)
    step_words: ClassVar[int] = 2

    def start(self, words: jax.Array) -> AsterixState:
        """Return the player in the middle of an empty board."""
        return AsterixState(
            x=jnp.int32(5),
            y=jnp.int32(5),
            thing_x=jnp.zeros(_LANES, jnp.int32),
            right=jnp.zeros(_LANES, bool),
            gold=jnp.zeros(_LANES, bool),
            there=jnp.zeros(_LANES, bool),
            spawn_wait=jnp.int32(10),
            spawn_period=jnp.int32(10),
            move_wait=jnp.int32(5),
            move_period=jnp.int32(5),
            ramp_wait=jnp.int32(_RAMP_PERIOD),
            level=jnp.int32(0),
        )

    def draw(self, words: jax.Array) -> AsterixDraws:
        """Return a thing to come: from either side alike, one in three gold, in any free lane alike."""
        kind = words[0] % 6
        return AsterixDraws(right=kind >= 3, gold=kind % 3 == 0, lane=words[1])

    def advance(
        self, game: AsterixState, action: jax.Array, draws: AsterixDraws, t: jax.Array, params: MinAtarParams
    ) -> tuple[AsterixState, jax.Array, jax.Array]:
        """Return the game one step later, the reward and whether an enemy was touched."""
        due = game.spawn_wait == 0
        free = ~game.there
        rank = jnp.cumsum(free, dtype=jnp.int32)
        chosen = (draws.lane % jnp.maximum(rank[-1], 1).astype(jnp.uint32)).astype(jnp.int32)
        new = free & (rank - 1 == chosen) & due
        right = jnp.where(new, draws.right, game.right)
        gold = jnp.where(new, draws.gold, game.gold)
        before = jnp.where(new, jnp.where(draws.right, 0, SIZE - 1), game.thing_x)
        there = game.there | new
        spawn_wait = jnp.where(due, game.spawn_period, game.spawn_wait)

        x = jnp.clip(game.x - (action == LEFT) + (action == RIGHT), 0, SIZE - 1)
        y = jnp.clip(game.y - (action == UP) + (action == DOWN), 1, _LANES)
        in_lane = jnp.arange(1, _LANES + 1, dtype=jnp.int32) == y
        met = there & in_lane & (before == x)
        there = there & ~(met & gold)
        moves = game.move_wait == 0
        after = before + jnp.where(moves, jnp.where(right, 1, -1), 0)
        there = there & (after >= 0) & (after < SIZE)
        met_later = there & in_lane & (after == x) & moves
        there = there & ~(met_later & gold)
        reward = ((met | met_later) & gold).any().astype(jnp.int32)
        over = ((met | met_later) & ~gold).any()

        can_ramp = params.ramping & ((game.spawn_period > 1) | (game.move_period > 1))
        ramps = can_ramp & (game.ramp_wait < 0)
        faster = ramps & (game.move_period > 1) & (game.level % 2 == 1)
        game = AsterixState(
            x=x,
            y=y,
            thing_x=jnp.clip(after, 0, SIZE - 1),
            right=right,
            gold=gold,
            there=there,
            spawn_wait=spawn_wait - 1,
            spawn_period=game.spawn_period - (ramps & (game.spawn_period > 1)),
            move_wait=jnp.where(moves, game.move_period, game.move_wait) - 1,
            move_period=game.move_period - faster,
            ramp_wait=jnp.where(ramps, _RAMP_PERIOD, game.ramp_wait - can_ramp),
            level=game.level + ramps,
        )
        return game, reward, over

    def observe(self, game: AsterixState) -> jax.Array:
        """Return player, enemies, the trails behind all things, and gold."""
        behind = game.thing_x + jnp.where(game.right, -1, 1)
        trail = jnp.where((behind >= 0) & (behind < SIZE), jnp.int32(1) << jnp.clip(behind, 0, SIZE - 1), 0)
        thing = jnp.int32(1) << game.thing_x
        enemies, trails, gold = (
            jnp.pad(jnp.where(game.there & shown, bits, 0), 1)
            for shown, bits in ((~game.gold, thing), (True, trail), (game.gold, thing))
        )
        return picture([cell(game.y, game.x), enemies, trails, gold])
