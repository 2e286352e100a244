"""`GridWorld`: any map with walls, pits, goals, slippery ground and wind.

The map's size is static; what lies on it is an array of `GridParams`. So maps of one size share a
compiled program, and a map can be drawn anew for every episode.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Step
from envs.mdps.exact import sample_index
from envs.spaces import Box, Discrete, Space, as_action
from envs.tabular import Outcomes

FLOOR, WALL, PIT, GOAL = range(4)
_LETTERS = {".": FLOOR, " ": FLOOR, "F": FLOOR, "S": FLOOR, "#": WALL, "H": PIT, "G": GOAL}

# Russell and Norvig's 4x3 world; its slip and rewards are the defaults of `GridWorld`.
MAP_4X3 = ("...G", ".#.H", "S...")


@struct.dataclass
class GridParams:
    """What a grid world holds and pays; every field may be traced and mapped over.

    Attributes:
      cells: `[H, W]` int32, FLOOR, WALL, PIT or GOAL. Pits and goals end the episode.
      start: `[H * W]` float32, the probabilities of the first cell.
      slip: `[]` float32 in [0, 1], the probability that another direction than the chosen one is taken.
      step_reward: `[]` float32, for a step that ends on the floor (bumping into a wall included).
      goal_reward: `[]` float32, for entering a goal.
      pit_reward: `[]` float32, for entering a pit.
      max_steps: `[]` int32, the step at which an episode is truncated.
      wind: `[H, W, 2]` int32, rows and columns by which a move that leaves the cell is shifted; or None.
    """

    cells: jax.Array
    start: jax.Array
    slip: jax.Array
    step_reward: jax.Array
    goal_reward: jax.Array
    pit_reward: jax.Array
    max_steps: jax.Array
    wind: jax.Array | None = None


@struct.dataclass
class GridState:
    """Where the agent is: `position` `[]` int32 = row * W + column; `t` `[]` int32, steps taken."""

    position: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class GridWorld:
    """A walker on a map. Actions, and directions: 0 left, 1 down, 2 right, 3 up.

    The direction taken is the chosen one plus a turn, modulo 4: turn 0 with probability 1 - slip, and the
    other `turns` share the slip equally. Walls and the border stop a move. Wind then shifts the walker; a
    shift into a wall has no effect. The defaults are the 4x3 world of Russell and Norvig.

    Args:
      map: rows of equal length, as a tuple or as lines of one string. `S` start, `.` floor, `#` wall,
        `H` pit, `G` goal. Without an `S`, every floor cell is an equally likely start.
      wind: per column, the number of cells by which the wind shifts upwards.
      turns: the directions that may be taken, relative to the chosen one; 0 must be among them.
      directions: the direction of each action, for worlds that number their actions otherwise.
      pits_restart: entering a pit leads back to the likeliest start instead of ending the episode.
      random_start: draw the first cell from `params.start`; if false, it is the likeliest cell and
        `reset` ignores its key. By default true unless the map has exactly one `S`.
      observation: "index" for the cell's number, a `Discrete`; "image" for `[H, W, 4]` zeros and ones:
        agent, walls, pits, goals.

    Raises:
      ValueError: if the map is not a rectangle of known letters with a goal and a start, if a goal cannot be
        reached from every start, or if an option does not fit the map.

    >>> env = GridWorld(map=("S.G",))
    >>> params = env.default_params().replace(slip=jnp.float32(0))
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> print(env.ascii(state, params))
    A.G
    >>> state, out = env.step(jax.random.key(1), state, 2, params)
    >>> int(out.obs), round(float(out.reward), 2), bool(out.terminated)
    (1, -0.04, False)

    Source: Russell and Norvig, Artificial Intelligence: A Modern Approach, 3rd edition, section 17.1.
    """

    draws_goal: ClassVar[bool] = False

    id: str = "GridWorld-v1"
    map: tuple[str, ...] = MAP_4X3
    wind: tuple[int, ...] | None = None
    turns: tuple[int, ...] = (-1, 0, 1)
    directions: tuple[int, ...] = (0, 1, 2, 3)
    pits_restart: bool = False
    random_start: bool | None = None
    observation: str = "index"

    def __post_init__(self):
        rows = map_rows(self.map)
        object.__setattr__(self, "map", rows)
        object.__setattr__(self, "turns", tuple(self.turns))
        object.__setattr__(self, "directions", tuple(self.directions))
        _check_map(rows)
        if self.wind is not None:
            object.__setattr__(self, "wind", tuple(int(w) for w in self.wind))
            if len(self.wind) != self.shape[1]:
                raise ValueError(f"`wind` must have one entry a column = {self.shape[1]}, got {self.wind}")
        if self.turns.count(0) != 1 or len({turn % 4 for turn in self.turns}) != len(self.turns):
            raise ValueError(f"`turns` must hold 0 and otherwise distinct turns modulo 4, got {self.turns}")
        if sorted(self.directions) != [0, 1, 2, 3]:
            raise ValueError(f"`directions` must hold 0, 1, 2 and 3 once each, got {self.directions}")
        if self.observation not in ("index", "image"):
            raise ValueError(f"`observation` must be 'index' or 'image', got {self.observation!r}")
        if not self.draws_goal:
            _check_solvable(rows, self.wind, self.pits_restart)
        if self.random_start is None:
            object.__setattr__(self, "random_start", "".join(rows).count("S") != 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return len(self.map), len(self.map[0])

    @property
    def num_states(self) -> int:
        """The number of cells, walls included."""
        return self.shape[0] * self.shape[1]

    def default_params(self) -> GridParams:
        """Return the map's contents with the rewards and the slip of Russell and Norvig."""
        cells, start = parse_map(self.map)
        return GridParams(
            cells=cells,
            start=start,
            slip=jnp.float32(0.2),
            step_reward=jnp.float32(-0.04),
            goal_reward=jnp.float32(1.0),
            pit_reward=jnp.float32(-1.0),
            max_steps=jnp.int32(100),
            wind=None if self.wind is None else upward_wind(self.wind, self.shape[0]),
        )

    def time_limit(self, params: GridParams) -> jax.Array:
        """Return the step at which episodes are truncated."""
        return params.max_steps

    def check_params(self, params: GridParams) -> None:
        """Check concrete parameters: shapes, kinds of cells, probabilities, and that goals can be reached.

        Raises:
          ValueError: naming the field that makes no sense.

        >>> env = GridWorld()
        >>> params = env.default_params()
        >>> env.check_params(params.replace(slip=jnp.float32(1.5)))
        Traceback (most recent call last):
        ...
        ValueError: `slip` must lie in [0, 1], got 1.5
        """
        cells, start, slip = (np.asarray(x) for x in (params.cells, params.start, params.slip))
        if cells.shape != self.shape or not np.issubdtype(cells.dtype, np.integer):
            raise ValueError(
                f"`cells` must be integers {list(self.shape)}, as the environment's map is, got {cells.dtype}"
                f"{list(cells.shape)}; another size is another environment, made with `map`"
            )
        if not np.isin(cells, (FLOOR, WALL, PIT, GOAL)).all():
            raise ValueError(f"`cells` must be FLOOR, WALL, PIT or GOAL, 0 to 3, got {np.unique(cells)}")
        if start.shape != (self.num_states,) or not (start >= 0).all() or not start.sum() > 0:
            raise ValueError(
                f"`start` must be [{self.num_states}] probabilities, not all 0, got {list(start.shape)} with "
                f"the sum {start.sum():g}"
            )
        if slip.shape != () or not 0 <= slip <= 1:
            raise ValueError(f"`slip` must lie in [0, 1], got {slip}")
        if len(ends := np.flatnonzero((start > 0) & np.isin(cells.ravel(), (PIT, GOAL)))):
            row, column = divmod(int(ends[0]), self.shape[1])
            raise ValueError(f"`start` must not lie in a pit or a goal, got row {row}, column {column}")
        if params.wind is not None:
            wind = np.asarray(params.wind)
            if wind.shape != (*self.shape, 2) or not np.issubdtype(wind.dtype, np.integer):
                raise ValueError(
                    f"`wind` must be integers {[*self.shape, 2]}, rows and columns to shift by in each cell, "
                    f"got {wind.dtype}{list(wind.shape)}"
                )
        if not is_solvable(params, self.pits_restart):
            raise ValueError(
                "`cells` must hold a goal that can be reached from every start, got\n"
                + self.ascii(None, params)
            )

    def observation_space(self, params: GridParams) -> Space:
        """Return `Discrete(H * W)`, or a `Box` `[H, W, 4]` for images."""
        if self.observation == "image":
            return Box(0.0, 1.0, (*self.shape, 4))
        return Discrete(self.num_states)

    def action_space(self, params: GridParams) -> Discrete:
        """Return the four directions: left, down, right, up."""
        return Discrete(4)

    def reset(self, key: jax.Array, params: GridParams) -> tuple[GridState, jax.Array]:
        """Return a first state and its observation; ignores `key` unless `random_start`."""
        position = sample_index(key, params.start) if self.random_start else jnp.argmax(params.start)
        state = GridState(position=position.astype(jnp.int32), t=jnp.int32(0))
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: GridState, action: jax.Array, params: GridParams
    ) -> tuple[GridState, Step]:
        """Return the next state and what happened; a walker in a pit or on a goal stays there."""
        action = as_action(self.action_space(params), action)
        direction = self._direction(action) + self._turn(jax.random.uniform(key), params)
        position, reward, terminated = self._move(state.position, direction, params)
        state = GridState(position=position, t=state.t + 1)
        truncated = (state.t >= params.max_steps) & ~terminated
        return state, Step(self._observe(state, params), reward, terminated, truncated)

    def state_index(self, state: GridState, params: GridParams) -> jax.Array:
        """Return the number of the agent's cell, row by row."""
        return state.position

    def state_at(self, index: jax.Array, params: GridParams) -> GridState:
        """Return the state with the agent in cell `index` and a fresh clock."""
        return GridState(position=jnp.asarray(index, jnp.int32), t=jnp.int32(0))

    def start_distribution(self, params: GridParams) -> jax.Array:
        """Return the `[H * W]` probabilities of the first cell."""
        if self.random_start:
            return params.start / jnp.sum(params.start)
        return jax.nn.one_hot(jnp.argmax(params.start), self.num_states, dtype=jnp.float32)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: GridParams) -> Outcomes:
        """Return what may follow: K = `len(turns)` branches in the order of `turns`."""
        directions = self._direction(action) + jnp.asarray(self.turns, jnp.int32)
        following = jax.vmap(self._move, in_axes=(None, 0, None))(state_index, directions, params)
        ended = self._is_end(params.cells.ravel()[state_index])
        intended = jnp.asarray([turn == 0 for turn in self.turns], jnp.float32)
        return Outcomes(jnp.where(ended, intended, jnp.stack(self._turn_probabilities(params))), *following)

    def ascii(self, state: GridState | None, params: GridParams, policy: Any = None) -> str:
        """Return the map as text, the agent as `A`; with a `policy` `[H * W]`, the floor as arrows."""
        cells = np.asarray(params.cells)
        rows = np.array(list(".#HG"))[cells]
        if (start := _only_start(params)) is not None:
            rows[start] = "S"
        if policy is not None:
            arrows = np.array(list("<v>^"))[np.array(self.directions)[np.asarray(policy)]]
            rows = np.where(cells == FLOOR, arrows.reshape(self.shape), rows)
        if state is not None:
            rows[divmod(int(state.position), self.shape[1])] = "A"
        return "\n".join("".join(row) for row in rows)

    def frame(self, state: GridState | None, params: GridParams, **known: Any) -> np.ndarray:
        """Return a picture of the map, `[height, width, 3]` uint8.

        Args:
          state: where to draw the agent, or None.
          params: the map.
          **known: what to show of the floor: `values`, `policy`, `visits` or `q`, as `envs.render.overlay`
            takes them.
        """
        from envs import render

        cells = np.asarray(params.cells)
        floor = cells == FLOOR
        size = render.tile_size(*self.shape)
        sprites: list[Any] = []
        if (start := _only_start(params)) is not None:
            sprites.append((*start, render.START))
        if params.wind is not None:
            sprites += [
                (r, c, render.WIND[_heading(push)])
                for (r, c), push in zip(np.argwhere(floor), np.asarray(params.wind)[floor], strict=True)
                if push.any()
            ]
        shown = render.overlay(floor, **known, headings=self.directions, size=size)
        sprites += shown.sprites
        if state is not None:
            sprites.append((*divmod(int(state.position), self.shape[1]), render.AGENT))
        return render.tiles(cells, render.GRID_TILES, sprites, shown.shade, size)

    def _turn(self, draw: jax.Array, params: GridParams) -> jax.Array:
        """Return the turn that a number in [0, 1) stands for: a chain of choices, which is one kernel."""
        chance = self._turn_probabilities(params)
        edge, turn = chance[0], jnp.int32(self.turns[0])
        for following, width in zip(self.turns[1:], chance[1:], strict=True):
            turn = jnp.where(draw < edge, turn, following)
            edge = edge + width
        return turn

    def _turn_probabilities(self, params: GridParams) -> list[jax.Array]:
        others = max(len(self.turns) - 1, 1)
        slip = params.slip if len(self.turns) > 1 else jnp.zeros_like(params.slip)
        return [slip / others if turn else 1 - slip for turn in self.turns]

    def _direction(self, action: jax.Array) -> jax.Array:
        if self.directions == (0, 1, 2, 3):
            return jnp.asarray(action, jnp.int32)
        return jnp.asarray(self.directions, jnp.int32)[action]

    def _is_end(self, kind: jax.Array) -> jax.Array:
        return (kind != FLOOR) & (kind != PIT) if self.pits_restart else kind != FLOOR

    def _move(
        self, position: jax.Array, direction: jax.Array, params: GridParams
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        kinds = params.cells.ravel()
        direction = direction % 4
        down = (direction == 1).astype(jnp.int32) - (direction == 3)
        right = (direction == 2).astype(jnp.int32) - (direction == 0)
        target = self._shift(position, down, right, kinds)
        if params.wind is not None:
            push = params.wind.reshape(-1, 2)[position]
            target = self._shift(target, push[0], push[1], kinds)
        ended = self._is_end(kinds[position])
        target = jnp.where(ended, position, target)
        kind = kinds[target]
        reward = jnp.where(kind == GOAL, params.goal_reward, params.step_reward)
        reward = jnp.where(kind == PIT, params.pit_reward, reward)
        if self.pits_restart:
            target = jnp.where(kind == PIT, jnp.argmax(params.start).astype(target.dtype), target)
        return target, jnp.where(ended, 0.0, reward), self._is_end(kind)

    def _shift(self, position: jax.Array, down: jax.Array, right: jax.Array, kinds: jax.Array) -> jax.Array:
        height, width = self.shape
        row = jnp.clip(position // width + down, 0, height - 1)
        column = jnp.clip(position % width + right, 0, width - 1)
        target = row * width + column
        return jnp.where(kinds[target] == WALL, position, target)

    def _observe(self, state: GridState, params: GridParams) -> jax.Array:
        if self.observation == "index":
            return state.position
        agent = (jnp.arange(self.num_states) == state.position).reshape(self.shape)
        kinds = [params.cells == kind for kind in (WALL, PIT, GOAL)]
        return jnp.stack([agent, *kinds], axis=-1).astype(jnp.float32)


def parse_map(map: tuple[str, ...]) -> tuple[jax.Array, jax.Array]:
    """Return `(cells, start)` of a map: `[H, W]` int32 and `[H * W]` float32, as `GridParams` holds them.

    >>> cells, start = parse_map(("S#", ".G"))
    >>> cells.tolist(), start.tolist()
    ([[0, 1], [0, 3]], [1.0, 0.0, 0.0, 0.0])
    """
    _check_map(map)
    cells, starts = _cells_and_starts(map)
    return jnp.asarray(cells), jnp.asarray((starts / starts.sum()).ravel(), jnp.float32)


def upward_wind(strength: tuple[int, ...], height: int) -> jax.Array:
    """Return `[height, W, 2]` int32 for a wind that shifts column w upwards by `strength[w]` cells."""
    up = np.broadcast_to(-np.array(strength, np.int32), (height, len(strength)))
    return jnp.asarray(np.stack([up, np.zeros_like(up)], axis=-1))


def is_solvable(params: GridParams, pits_restart: bool = False) -> bool:
    """Return whether a goal can be reached from every possible first cell, by whatever luck.

    For maps that are drawn or built as parameters; `GridWorld` checks its own map itself.

    >>> params = GridWorld(map=("S.G",)).default_params()
    >>> walled = params.replace(cells=params.cells.at[0, 1].set(WALL))
    >>> is_solvable(params), is_solvable(walled)
    (True, False)
    """
    wind = None if params.wind is None else np.asarray(params.wind)
    starts = np.asarray(params.start).reshape(params.cells.shape) > 0
    reaching = cells_that_reach_a_goal(np.asarray(params.cells), starts, wind, pits_restart)
    return bool(starts.any() and reaching[starts].all())


def place_goal(params: GridParams, position: jax.Array) -> GridParams:
    """Return `params` with one goal, in cell `position`, and an equally likely start on every floor cell.

    >>> params = place_goal(GridWorld().default_params(), jnp.int32(0))
    >>> params.cells[0].tolist()
    [3, 0, 0, 0]
    """
    kinds = jnp.where(params.cells.ravel() == GOAL, FLOOR, params.cells.ravel()).at[position].set(GOAL)
    floor = (kinds == FLOOR).astype(jnp.float32)
    return replace(params, cells=kinds.reshape(params.cells.shape), start=floor / jnp.sum(floor))


def map_rows(map: Any) -> tuple[str, ...]:
    r"""Return the rows of a map that may be given as lines of one string.

    >>> map_rows("S.\n.G")
    ('S.', '.G')
    """
    if isinstance(map, str):
        return tuple(map.strip("\n").splitlines())
    if not isinstance(map, list | tuple) or not all(isinstance(row, str) for row in map):
        raise ValueError(
            f"`map` must be rows of letters such as ('S.', '.G'), got {map!r}; cells as numbers are "
            "parameters: `params.replace(cells=...)`"
        )
    return tuple(map)


def _cells_and_starts(map: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    cells = np.array([[_LETTERS[letter] for letter in row] for row in map], np.int32)
    starts = np.array([[letter == "S" for letter in row] for row in map])
    return cells, starts if starts.any() else cells == FLOOR


def _check_solvable(map: tuple[str, ...], wind: tuple[int, ...] | None, pits_restart: bool) -> None:
    if "G" not in "".join(map):
        raise ValueError(f"`map` must hold a goal 'G', got {map}")
    cells, starts = _cells_and_starts(map)
    blowing = None
    if wind is not None:
        blowing = np.broadcast_to(
            np.stack([-np.array(wind), np.zeros(len(wind), int)], -1), (*cells.shape, 2)
        )
    stuck = np.argwhere(starts & ~cells_that_reach_a_goal(cells, starts, blowing, pits_restart))
    if len(stuck):
        row, column = stuck[0].tolist()
        raise ValueError(
            f"`map` must let every start reach a goal, got {map}, where the one in row {row}, "
            f"column {column} cannot; open a way, or mark fewer starts with 'S'"
        )


def cells_that_reach_a_goal(
    cells: np.ndarray, starts: np.ndarray, wind: np.ndarray | None, pits_restart: bool
) -> np.ndarray:
    """Return `[H, W]` bool: the floor cells from which some moves, blown by the wind, enter a goal."""
    height, width = cells.shape
    place = np.indices(cells.shape).reshape(2, -1).T
    kinds = cells.ravel()

    def shift(place: np.ndarray, push: np.ndarray) -> np.ndarray:
        target = np.clip(place + push, 0, (height - 1, width - 1))
        walled = cells[tuple(target.T)] == WALL
        return np.where(walled[:, None], place, target)

    following = []
    for push in ((0, -1), (1, 0), (0, 1), (-1, 0)):
        target = shift(place, np.array(push))
        if wind is not None:
            target = shift(target, wind.reshape(-1, 2))
        following.append(target[:, 0] * width + target[:, 1])
    if pits_restart:
        following = [np.where(kinds[n] == PIT, np.argmax(starts), n) for n in following]
    reaching, before = kinds == GOAL, -1
    while reaching.sum() > before:
        before = reaching.sum()
        reaching = reaching | ((kinds == FLOOR) & np.any([reaching[n] for n in following], axis=0))
    return reaching.reshape(cells.shape)


def _check_map(map: tuple[str, ...]) -> None:
    if not map or not map[0] or len({len(row) for row in map}) != 1:
        raise ValueError(f"`map` must hold rows of one positive length, got {map}")
    if unknown := set("".join(map)) - set(_LETTERS):
        raise ValueError(f"`map` must hold only {''.join(_LETTERS)!r}, got {''.join(sorted(unknown))!r}")
    if not set("".join(map)) & set(". FS"):
        raise ValueError(f"`map` must hold a start 'S' or a floor cell '.', got {map}")


def _only_start(params: GridParams) -> tuple[int, int] | None:
    cells = np.flatnonzero(np.asarray(params.start))
    return divmod(int(cells[0]), params.cells.shape[1]) if len(cells) == 1 else None


def _heading(push: np.ndarray) -> int:
    down, right = int(push[0]), int(push[1])
    return (1 if down > 0 else 3) if abs(down) >= abs(right) else (2 if right > 0 else 0)
