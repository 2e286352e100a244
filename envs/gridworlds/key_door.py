"""A maze whose goal lies behind a locked door, the key on this side of it."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Step
from envs.gridworlds.grid import FLOOR, GOAL, WALL, cells_that_reach_a_goal, map_rows
from envs.mdps.exact import ExactState, ExactWorld
from envs.spaces import Box, Discrete, Space
from envs.tabular import Outcomes

KEY, DOOR = 4, 5
MAP = ("...#...", "...#...", ".K.D...", "S..#..G", "...#...")
_LETTERS = {".": FLOOR, "S": FLOOR, "#": WALL, "G": GOAL, "K": KEY, "D": DOOR}


@struct.dataclass
class KeyDoorParams:
    """What the maze holds and pays; every field may be traced and mapped over.

    Attributes:
      cells: `[H, W]` int32: FLOOR 0, WALL 1, GOAL 3, KEY 4 or DOOR 5.
      start: `[]` int32, the first cell, row * W + column.
      step_reward: `[]` float32, for a step that is paid nothing else.
      key_reward: `[]` float32, for taking the key.
      goal_reward: `[]` float32, for entering the goal, which ends the episode.
      max_steps: `[]` int32, the step at which an episode is truncated.
    """

    cells: jax.Array
    start: jax.Array
    step_reward: jax.Array
    key_reward: jax.Array
    goal_reward: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class KeyDoor(ExactWorld):
    """Fetch the key, go through the door, reach the goal: +1 there, 0 elsewhere.

    Actions: 0 left, 1 down, 2 right, 3 up. The key is taken by stepping on it; without it a door is a wall.
    The state's number is has_key * H * W + cell. The default map takes 8 steps; truncated after 200. `draw`
    makes other mazes of a size.

    Args:
      map: rows of equal length: `S` start (one), `.` floor, `#` wall, `K` key, `D` door, `G` goal.
      observation: "index" for the state's number, or "image" for `[H, W, 6]` zeros and ones: agent, walls,
        goal, key (where it lies), doors, and a plane of ones if the agent has the key.

    Raises:
      ValueError: if the map is not a rectangle of known letters with one start, or no goal can be reached.

    >>> env = KeyDoor()
    >>> params = env.default_params()
    >>> env.ascii(env.reset(jax.random.key(0), params)[0], params).splitlines()[2:4]
    ['.K.D...', 'A..#..G']

    Source: own; the idea of MiniGrid's DoorKey, with an exact model.
    """

    id: str = "KeyDoor-v1"
    map: tuple[str, ...] = MAP
    observation: str = "index"
    random_start: bool = False

    def __post_init__(self):
        rows = map_rows(self.map)
        object.__setattr__(self, "map", rows)
        if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
            raise ValueError(f"`map` must hold rows of one positive length, got {rows}")
        if unknown := set("".join(rows)) - set(_LETTERS):
            raise ValueError(f"`map` must hold only {''.join(_LETTERS)!r}, got {''.join(sorted(unknown))!r}")
        if "".join(rows).count("S") != 1:
            raise ValueError(f"`map` must hold one start 'S', got {rows}")
        if self.observation not in ("index", "image"):
            raise ValueError(f"`observation` must be 'index' or 'image', got {self.observation!r}")
        if not _is_solvable(_cells(rows), "".join(rows).index("S")):
            raise ValueError(
                f"`map` must hold a goal 'G' that can be reached, through doors only with a key, got {rows}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return len(self.map), len(self.map[0])

    @property
    def num_states(self) -> int:  # type: ignore[override]
        """Every cell, without and with the key."""
        return 2 * self.shape[0] * self.shape[1]

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        """Four."""
        return 4

    def default_params(self) -> KeyDoorParams:
        """Return the map's contents."""
        return KeyDoorParams(
            cells=jnp.asarray(_cells(self.map)),
            start=jnp.int32("".join(self.map).index("S")),
            step_reward=jnp.float32(0.0),
            key_reward=jnp.float32(0.0),
            goal_reward=jnp.float32(1.0),
            max_steps=jnp.int32(200),
        )

    def check_params(self, params: KeyDoorParams) -> None:
        """Check concrete parameters: shape and kinds of cells, and that the goal can be reached.

        Raises:
          ValueError: naming the field that makes no sense.

        >>> env = KeyDoor()
        >>> params = env.default_params()
        >>> env.check_params(params.replace(start=jnp.int32(3)))
        Traceback (most recent call last):
        ...
        ValueError: `start` must be the number of a floor cell, got 3
        """
        cells, start = np.asarray(params.cells), np.asarray(params.start)
        if cells.shape != self.shape or not np.issubdtype(cells.dtype, np.integer):
            raise ValueError(
                f"`cells` must be integers {list(self.shape)}, as the environment's map is, got {cells.dtype}"
                f"{list(cells.shape)}; another size is another environment, made with `map`"
            )
        if not np.isin(cells, list(_LETTERS.values())).all():
            raise ValueError(f"`cells` must be FLOOR, WALL, GOAL, KEY or DOOR, got {np.unique(cells)}")
        if start.shape != () or not 0 <= start < cells.size or cells.ravel()[start] != FLOOR:
            raise ValueError(f"`start` must be the number of a floor cell, got {start}")
        if not _is_solvable(cells, int(start)):
            raise ValueError(
                "`cells` must hold a goal that can be reached, through doors only with a key, got\n"
                + self.ascii(None, params)
            )

    def draw(self, key: jax.Array, params: KeyDoorParams) -> KeyDoorParams:
        """Return `params` with a random maze: a wall with a door; key and start left of it, goal right.

        >>> env = KeyDoor()
        >>> int((env.draw(jax.random.key(0), env.default_params()).cells == KEY).sum())
        1
        """
        height, width = self.shape
        if height < 2 or width < 3:
            raise ValueError(f"`map` must be 2x3 or larger to draw mazes, got {height}x{width}")
        key_wall, key_door, key_left, key_goal = jax.random.split(key, 4)
        wall = jax.random.randint(key_wall, (), 1, width - 1)
        row, column = jnp.divmod(jnp.arange(height * width), width)
        door = (column == wall) & (row == jax.random.randint(key_door, (), 0, height))
        # The first two cells in a random order of the left part, which has two at least.
        left = jnp.where(column < wall, jax.random.uniform(key_left, column.shape), 2.0)
        first = jnp.argmin(left)
        second = jnp.argmin(left.at[first].set(2.0))
        goal = jnp.argmin(jnp.where(column > wall, jax.random.uniform(key_goal, column.shape), 2.0))
        cells = jnp.where(column == wall, jnp.where(door, DOOR, WALL), FLOOR)
        cells = cells.at[first].set(KEY).at[goal].set(GOAL).astype(jnp.int32)
        return replace(params, cells=cells.reshape(height, width), start=second.astype(jnp.int32))

    def observation_space(self, params: KeyDoorParams) -> Space:
        """Return `Discrete(2 * H * W)`, or a `Box` `[H, W, 6]` for images."""
        if self.observation == "image":
            return Box(0.0, 1.0, (*self.shape, 6))
        return Discrete(self.num_states)

    def reset(self, key: jax.Array, params: KeyDoorParams) -> tuple[ExactState, jax.Array]:
        """Return the first state and its observation; ignores `key`."""
        state, _ = super().reset(key, params)
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: ExactState, action: jax.Array, params: KeyDoorParams
    ) -> tuple[ExactState, Step]:
        """Return the next state and what happened."""
        state, step = super().step(key, state, action, params)
        return state, step.replace(obs=self._observe(state, params))  # type: ignore[attr-defined]

    def start_distribution(self, params: KeyDoorParams) -> jax.Array:
        """Return certainty of the start, without the key."""
        return (jnp.arange(self.num_states) == params.start).astype(jnp.float32)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: KeyDoorParams) -> Outcomes:
        """Return what follows: K = 1."""
        height, width = self.shape
        kinds = params.cells.ravel()
        has_key, cell = jnp.divmod(jnp.asarray(state_index, jnp.int32), height * width)
        down = jnp.asarray((0, 1, 0, -1), jnp.int32)[action]
        right = jnp.asarray((-1, 0, 1, 0), jnp.int32)[action]
        row = jnp.clip(cell // width + down, 0, height - 1)
        to = row * width + jnp.clip(cell % width + right, 0, width - 1)
        over = kinds[cell] == GOAL
        shut = (kinds[to] == WALL) | ((kinds[to] == DOOR) & (has_key == 0))
        to = jnp.where(shut | over, cell, to)
        takes = (kinds[to] == KEY) & (has_key == 0)
        reward = jnp.where(takes, params.key_reward, params.step_reward)
        reward = jnp.where(kinds[to] == GOAL, params.goal_reward, reward)
        following = (has_key | takes) * (height * width) + to
        return Outcomes(
            probability=jnp.ones(1, jnp.float32),
            next_state=following[None].astype(jnp.int32),
            reward=jnp.where(over, 0.0, reward)[None],
            terminated=(kinds[to] == GOAL)[None],
        )

    def ascii(self, state: ExactState | None, params: KeyDoorParams) -> str:
        """Return the maze as text, the agent as `A`, or `a` with the key."""
        rows = np.array(list(".# GKD"))[np.asarray(params.cells)]
        if state is not None:
            has_key, cell = divmod(int(state.index), rows.size)
            if has_key:
                rows[rows == "K"] = "."
            rows.ravel()[cell] = "a" if has_key else "A"
        return "\n".join("".join(row) for row in rows)

    def frame(self, state: ExactState | None, params: KeyDoorParams) -> np.ndarray:
        """Return a picture of the maze, `[height, width, 3]` uint8; a key taken is carried."""
        from envs import render

        gold = (222, 170, 40)
        key, carried = render.Tile(None, "diamond", gold), render.Tile(None, "K", render.PAPER)
        legend = (
            *render.GRID_TILES,
            render.Tile(render.FLOOR_BLUE),
            render.Tile((150, 105, 70), "brick", (170, 125, 88)),
        )
        cells = np.asarray(params.cells)
        has_key, cell = (0, None) if state is None else divmod(int(state.index), cells.size)
        sprites = [] if has_key else [(*at, key) for at in np.argwhere(cells == KEY)]
        if cell is not None:
            at = divmod(cell, self.shape[1])
            sprites += [(*at, render.AGENT)] + [(*at, carried)] * has_key
        return render.tiles(cells, legend, sprites)

    def _observe(self, state: ExactState, params: KeyDoorParams) -> jax.Array:
        if self.observation == "index":
            return state.index
        size = self.shape[0] * self.shape[1]
        has_key = state.index >= size
        agent = (jnp.arange(size) == state.index % size).reshape(self.shape)
        kinds = [params.cells == kind for kind in (WALL, GOAL, KEY, DOOR)]
        kinds[2] = kinds[2] & ~has_key
        planes = [agent, *kinds, jnp.broadcast_to(has_key, self.shape)]
        return jnp.stack(planes, axis=-1).astype(jnp.float32)


def _cells(rows: tuple[str, ...]) -> np.ndarray:
    return np.array([[_LETTERS[letter] for letter in row] for row in rows], np.int32)


def _is_solvable(cells: np.ndarray, start: int) -> bool:
    """Return whether a goal can be reached from cell `start`, through doors only with a key."""

    def reaching(cells: np.ndarray) -> np.ndarray:
        return cells_that_reach_a_goal(cells, starts=cells == FLOOR, wind=None, pits_restart=False)

    with_key = reaching(np.where(np.isin(cells, (KEY, DOOR)), FLOOR, cells))
    # Without it a door is a wall, and a key that opens the way to a goal is as good as one.
    key = np.where(with_key, GOAL, FLOOR)
    without = np.where(cells == KEY, key, np.where(cells == DOOR, WALL, cells))
    return bool(reaching(without).ravel()[start])
