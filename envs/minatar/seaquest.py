"""MinAtar's Seaquest.

Everything that swims is kept as bits, not as a list of objects, so that any number of things moves, and meets
any number of others, in a few operations. A sea of nine rows is `[3]` int32, "words" of three rows each: the
cell in row y, column x is bit 10 (y mod 3) + x of word y div 3. Two facts make this exact. All enemies in a
row move the same way. And of two enemies of a kind in one cell, the older always moves first; so an enemy is
a bit in the plane of the number of steps until it moves, and the older of two is in the lower plane.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from envs.minatar.game import DOWN, FIRE, LEFT, RIGHT, SIZE, UP, MinAtar, MinAtarParams, cell, picture

_ROWS_PER_WORD = 3
_WORDS = 3
_ROW = (1 << SIZE) - 1
_LEFT_EDGE = 1 | 1 << SIZE | 1 << 2 * SIZE
_RIGHT_EDGE = _LEFT_EDGE << (SIZE - 1)

_OXYGEN = 200
_MAX_DIVERS = 6
_SPAWN_PERIOD = 20
_MOVE_PERIOD, _LEAST_MOVE_PERIOD = 5, 2
_SHOT_PERIOD = 5
_PLANES = _MOVE_PERIOD + 1
_ENEMY_SHOT_CYCLE = 11
_DIVER_SPAWN_PERIOD, _DIVER_CYCLE = 30, 6


@struct.dataclass
class Divers:
    """The two divers that there can be at once, the newer first; every leaf `[2]`.

    Attributes:
      x: int32, columns.
      y: int32, rows.
      right: bool, whether each swims right.
      there: bool, whether each is in the sea.
    """

    x: jax.Array
    y: jax.Array
    right: jax.Array
    there: jax.Array


@struct.dataclass
class SeaquestState:
    """The submarine, the sea, and the timers.

    Attributes:
      x: `[]` int32, the column of the submarine's front.
      y: `[]` int32, its row, 0 at the surface.
      right: `[]` bool, whether it faces right.
      oxygen: `[]` int32.
      rescued: `[]` int32, divers on board; -1 or less after six were brought home, as in MinAtar.
      surfaced: `[]` bool, whether the surface was reached already and not left since.
      shots_right: `[3]` int32 words, the submarine's bullets that fly right.
      shots_left: `[3]` int32 words, those that fly left.
      bombs_right: `[3]` int32 words, the enemies' bullets that fly right.
      bombs_left: `[3]` int32 words, those that fly left.
      rightward: `[3]` int32 words, whole rows: where enemies move right.
      fish: `[6, 3]` int32 words, fish by the steps until they move.
      subs: `[11, 6, 3]` int32 words, enemy submarines by the step (mod 11) at which they shoot, and by the
        steps until they move.
      divers: those in the sea.
      spawn_wait: `[]` int32, steps until an enemy comes.
      spawn_period: `[]` int32, steps between two.
      move_period: `[]` int32, steps that an enemy waits between two moves.
      shot_wait: `[]` int32, steps until the submarine can shoot.
      level: `[]` int32, how often the game got harder.
    """

    x: jax.Array
    y: jax.Array
    right: jax.Array
    oxygen: jax.Array
    rescued: jax.Array
    surfaced: jax.Array
    shots_right: jax.Array
    shots_left: jax.Array
    bombs_right: jax.Array
    bombs_left: jax.Array
    rightward: jax.Array
    fish: jax.Array
    subs: jax.Array
    divers: Divers
    spawn_wait: jax.Array
    spawn_period: jax.Array
    move_period: jax.Array
    shot_wait: jax.Array
    level: jax.Array


class SeaquestDraws(NamedTuple):
    """What chance decides: an enemy's direction, kind and row (1 to 8), a diver's direction and row."""

    right: jax.Array
    is_sub: jax.Array
    row: jax.Array
    diver_right: jax.Array
    diver_row: jax.Array


@dataclass(frozen=True)
class Seaquest(MinAtar):
    """Shoot fish and submarines, each worth 1, and bring divers to the surface before the oxygen is gone.

    Six divers brought home at once are worth up to 10, a tenth of the bar of oxygen each. Fewer only buy new
    oxygen, for one of them. To surface without any, to run out of oxygen, or to be hit ends the game. As it
    ramps up, with each surfacing, enemies come and move faster. See `MinAtar` for actions, sticking, and
    limits.

    >>> env = Seaquest()
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape, int(state.game.oxygen)
    ((10, 10, 10), 200)

    Source: Young and Tian (2019), MinAtar; `minatar/environments/seaquest.py` of MinAtar 1.0.15.
    """

    id: str = "MinAtar-Seaquest-v1"

    channels: ClassVar[dict[str, str]] = {
        "sub_front": "A",
        "sub_back": "a",
        "friendly_bullet": "'",
        "trail": "-",
        "enemy_bullet": "*",
        "enemy_fish": "F",
        "enemy_sub": "S",
        "oxygen_gauge": "o",
        "diver_gauge": "d",
        "diver": "D",
    }
    useful: ClassVar[tuple[int, ...]] = tuple(range(6))
    step_words: ClassVar[int] = 3

    def start(self, words: jax.Array) -> SeaquestState:
        """Return the submarine at the surface of an empty sea."""
        empty = jnp.zeros(_WORDS, jnp.int32)
        return SeaquestState(
            x=jnp.int32(5),
            y=jnp.int32(0),
            right=jnp.bool_(False),
            oxygen=jnp.int32(_OXYGEN),
            rescued=jnp.int32(0),
            surfaced=jnp.bool_(True),
            shots_right=empty,
            shots_left=empty,
            bombs_right=empty,
            bombs_left=empty,
            rightward=empty,
            fish=jnp.zeros((_PLANES, _WORDS), jnp.int32),
            subs=jnp.zeros((_ENEMY_SHOT_CYCLE, _PLANES, _WORDS), jnp.int32),
            divers=Divers(
                x=jnp.zeros(2, jnp.int32),
                y=jnp.zeros(2, jnp.int32),
                right=jnp.zeros(2, bool),
                there=jnp.zeros(2, bool),
            ),
            spawn_wait=jnp.int32(_SPAWN_PERIOD),
            spawn_period=jnp.int32(_SPAWN_PERIOD),
            move_period=jnp.int32(_MOVE_PERIOD),
            shot_wait=jnp.int32(0),
            level=jnp.int32(0),
        )

    def draw(self, words: jax.Array) -> SeaquestDraws:
        """Return who is to come: from either side and in any row alike, one enemy in three a submarine."""
        lanes = (words[:2] >> 28).astype(jnp.int32)
        return SeaquestDraws(
            right=lanes[0] >= 8,
            is_sub=words[2] % 3 == 0,
            row=1 + lanes[0] % 8,
            diver_right=lanes[1] >= 8,
            diver_row=1 + lanes[1] % 8,
        )

    def advance(
        self,
        game: SeaquestState,
        action: jax.Array,
        draws: SeaquestDraws,
        t: jax.Array,
        params: MinAtarParams,
    ) -> tuple[SeaquestState, jax.Array, jax.Array]:
        """Return the game one step later, the reward and whether it is over."""
        fish, subs, rightward = _spawn(game, draws, t)
        x = jnp.clip(game.x - (action == LEFT) + (action == RIGHT), 0, SIZE - 1)
        y = jnp.clip(game.y - (action == UP) + (action == DOWN), 0, SIZE - 2)
        right = (game.right | (action == RIGHT)) & (action != LEFT)
        shoots = (action == FIRE) & (game.shot_wait == 0)
        here = _word(y, x)

        # The submarine's bullets fly, and hit fish before submarines, older ones first.
        shot = jnp.where(shoots, here, 0)
        flying = jnp.stack(
            [game.shots_right | jnp.where(right, shot, 0), game.shots_left | jnp.where(right, 0, shot)]
        )
        flying = jnp.stack([_to_right(flying[0]), _to_left(flying[1])])
        shots = flying[0] | flying[1]
        fish_hit = _oldest(fish, shots)
        shots_left_over = shots & ~_any(fish_hit)
        subs_hit = _oldest(_any(subs), shots_left_over)
        shots_left_over &= ~_any(subs_hit)
        fish, subs = fish & ~fish_hit, subs & ~subs_hit[None]

        divers, rescued = _move_divers(game, draws, x, y, t)

        # Enemy submarines move into what is left of the bullets, and shoot, even if they were hit just now.
        over = (_any(_any(subs)) | _any(fish)) & here
        moving = _ahead(subs[:, 0], rightward)
        sub_cells = _any(moving)
        run_into = sub_cells & shots_left_over & ~here
        shots_left_over &= ~run_into
        shooting = (jnp.arange(_ENEMY_SHOT_CYCLE, dtype=jnp.int32) == t % _ENEMY_SHOT_CYCLE)[:, None]
        bombs = _any(jnp.where(shooting, moving | _any(jnp.moveaxis(subs[:, 1:], 1, 0)), 0))
        subs = _requeue(subs, moving & ~run_into[None], game.move_period)
        bombs_right, bombs_left = game.bombs_right | bombs & rightward, game.bombs_left | bombs & ~rightward
        over |= (sub_cells | bombs_right | bombs_left) & here
        bombs_right, bombs_left = _to_right(bombs_right), _to_left(bombs_left)
        over |= (bombs_right | bombs_left) & here

        swimming = _ahead(fish[0], rightward)
        fish_run_into = swimming & shots_left_over & ~here
        shots_left_over &= ~fish_run_into
        fish = _requeue(fish, swimming & ~fish_run_into, game.move_period)
        over |= swimming & here
        hits = _count(shots & ~shots_left_over)

        # The surface.
        under = y > 0
        arrives = ~under & ~game.surfaced
        goes_home = arrives & (rescued != 0)
        full = rescued == _MAX_DIVERS
        bonus = jnp.where(goes_home & full, game.oxygen * 10 // _OXYGEN, 0)
        ramps = (
            goes_home & params.ramping & ((game.spawn_period > 1) | (game.move_period > _LEAST_MOVE_PERIOD))
        )
        faster = ramps & (game.move_period > _LEAST_MOVE_PERIOD) & (game.level % 2 == 1)
        spawn_wait = jnp.where(game.spawn_wait == 0, game.spawn_period, game.spawn_wait)
        after = SeaquestState(
            x=x,
            y=y,
            right=right,
            oxygen=jnp.where(goes_home, _OXYGEN, game.oxygen - under),
            rescued=jnp.where(goes_home, jnp.where(full, 0, rescued) - 1, rescued),
            surfaced=~under & (game.surfaced | goes_home),
            shots_right=flying[0] & shots_left_over,
            shots_left=flying[1] & shots_left_over,
            bombs_right=bombs_right,
            bombs_left=bombs_left,
            rightward=rightward,
            fish=fish,
            subs=subs,
            divers=divers,
            spawn_wait=jnp.maximum(spawn_wait - 1, 0),
            spawn_period=game.spawn_period - (ramps & (game.spawn_period > 1)),
            move_period=game.move_period - faster,
            shot_wait=jnp.maximum(jnp.where(shoots, _SHOT_PERIOD, game.shot_wait) - 1, 0),
            level=game.level + ramps,
        )
        over = (over != 0).any() | (game.oxygen <= 0) | (arrives & (rescued == 0))
        return after, hits + bonus, over

    def observe(self, game: SeaquestState) -> jax.Array:
        """Return submarine, bullets, trails, enemies, both gauges, and divers."""
        fish, subs = _any(game.fish), _any(_any(game.subs))
        divers = game.divers
        diver_cells, diver_trails = (
            _any(jnp.where(divers.there[:, None] & inside[:, None], jax.vmap(_word)(divers.y, x), 0))
            for x, inside in _with_trail(divers)
        )
        trails = _behind(fish | subs, game.rightward) | diver_trails
        bottom = jnp.arange(SIZE, dtype=jnp.int32) == SIZE - 1
        oxygen = (jnp.int32(1) << (jnp.maximum(game.oxygen, 0) * 10 // _OXYGEN)) - 1
        diver_gauge = (_ROW >> 1) & ~((jnp.int32(1) << (SIZE - 1 - jnp.maximum(game.rescued, 0))) - 1)
        return picture(
            [
                cell(game.y, game.x),
                cell(game.y, game.x + jnp.where(game.right, -1, 1)),
                _rows(game.shots_right | game.shots_left),
                _rows(trails),
                _rows(game.bombs_right | game.bombs_left),
                _rows(fish),
                _rows(subs),
                jnp.where(bottom, oxygen, 0),
                jnp.where(bottom, diver_gauge, 0),
                _rows(diver_cells),
            ]
        )


def _spawn(game: SeaquestState, draws: SeaquestDraws, t: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return fish, submarines and directions with an enemy if due, unless its row moves the other way."""
    words = jnp.arange(_WORDS, dtype=jnp.int32)
    row = jnp.where(words == draws.row // _ROWS_PER_WORD, _ROW << SIZE * (draws.row % _ROWS_PER_WORD), 0)
    taken = ((_any(game.fish) | _any(_any(game.subs))) & row != 0).any()
    agrees = ((game.rightward & row) != 0).any() == draws.right
    comes = (game.spawn_wait == 0) & (~taken | agrees)
    rightward = jnp.where(comes, game.rightward & ~row | jnp.where(draws.right, row, 0), game.rightward)
    place = jnp.where(comes, _word(draws.row, jnp.where(draws.right, 0, SIZE - 1)), 0)
    plane = (jnp.arange(_PLANES, dtype=jnp.int32) == game.move_period)[:, None]
    last = (t + _ENEMY_SHOT_CYCLE - 1) % _ENEMY_SHOT_CYCLE
    cycle = (jnp.arange(_ENEMY_SHOT_CYCLE, dtype=jnp.int32) == last)[:, None, None]
    fish = game.fish | jnp.where(plane & ~draws.is_sub, place[None], 0)
    subs = game.subs | jnp.where(cycle & plane[None] & draws.is_sub, place[None, None], 0)
    return fish, subs, rightward


def _move_divers(
    game: SeaquestState, draws: SeaquestDraws, x: jax.Array, y: jax.Array, t: jax.Array
) -> tuple[Divers, jax.Array]:
    """Return the divers one step later, and how many are on board of the submarine at `x`, `y`."""
    due = (t > 0) & (t % _DIVER_SPAWN_PERIOD == 0)
    new = Divers(
        x=jnp.where(draws.diver_right, 0, SIZE - 1).astype(jnp.int32),
        y=draws.diver_row,
        right=draws.diver_right,
        there=jnp.bool_(True),
    )
    divers = jax.tree.map(lambda old, new: jnp.where(due, jnp.stack([new, old[0]]), old), game.divers, new)
    # All divers swim together: they come every 30 steps, and swim on every 6.
    swims = t % _DIVER_CYCLE == _DIVER_CYCLE - 1
    rescued, moved = game.rescued, []
    for i in range(2):
        diver = jax.tree.map(lambda leaf, i=i: leaf[i], divers)
        met = diver.there & (diver.x == x) & (diver.y == y) & (rescued < _MAX_DIVERS)
        rescued += met
        diver_x = diver.x + jnp.where(swims, jnp.where(diver.right, 1, -1), 0)
        there = diver.there & ~met & (diver_x >= 0) & (diver_x < SIZE)
        met = there & swims & (diver_x == x) & (diver.y == y) & (rescued < _MAX_DIVERS)
        rescued += met
        moved.append(diver.replace(x=diver_x, there=there & ~met))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *moved), rescued


def _with_trail(divers: Divers) -> tuple[tuple[jax.Array, jax.Array], ...]:
    behind = divers.x + jnp.where(divers.right, -1, 1)
    return (divers.x, jnp.ones(2, bool)), (behind, (behind >= 0) & (behind < SIZE))


def _requeue(planes: jax.Array, moved: jax.Array, period: jax.Array) -> jax.Array:
    """Return planes `[..., 6, 3]` a step later; those that `moved` `[..., 3]` wait for `period` steps."""
    nearer = jnp.concatenate([planes[..., 1:, :], jnp.zeros_like(planes[..., :1, :])], axis=-2)
    wait = jnp.arange(_PLANES, dtype=jnp.int32) == period
    wait = wait.reshape((1,) * (planes.ndim - 2) + (_PLANES, 1))
    return nearer | jnp.where(wait, moved[..., None, :], 0)


def _oldest(planes: jax.Array, shots: jax.Array) -> jax.Array:
    """Return of the planes `[6, 3]` those bits that meet a shot, of several in a cell the lowest plane's."""
    hits = []
    for plane in planes:
        hits.append(plane & shots)
        shots = shots & ~plane
    return jnp.stack(hits)


def _any(words: jax.Array) -> jax.Array:
    return jnp.bitwise_or.reduce(words, axis=0)


def _word(y: jax.Array, x: jax.Array) -> jax.Array:
    """Return the `[3]` words with one cell set; a cell outside of the columns sets others."""
    bit = jnp.int32(1) << (y % _ROWS_PER_WORD * SIZE + x)
    return jnp.where(jnp.arange(_WORDS, dtype=jnp.int32) == y // _ROWS_PER_WORD, bit, 0)


def _to_right(words: jax.Array) -> jax.Array:
    return (words & ~_RIGHT_EDGE) << 1


def _to_left(words: jax.Array) -> jax.Array:
    return (words & ~_LEFT_EDGE) >> 1


def _ahead(words: jax.Array, rightward: jax.Array) -> jax.Array:
    rightward = jnp.broadcast_to(rightward, words.shape)
    return _to_right(words & rightward) | _to_left(words & ~rightward)


def _behind(words: jax.Array, rightward: jax.Array) -> jax.Array:
    return _to_left(words & rightward) | _to_right(words & ~rightward)


def _rows(words: jax.Array) -> jax.Array:
    """Return the board `[10]` int32 of a sea: nine rows, and an empty one below."""
    rows = (words[:, None] >> (SIZE * jnp.arange(_ROWS_PER_WORD, dtype=jnp.int32))[None]) & _ROW
    return jnp.pad(rows.reshape(-1), (0, 1))


def _count(words: jax.Array) -> jax.Array:
    return jax.lax.population_count(words).sum(dtype=jnp.int32)
