"""`Catch`: a ball falls, and a paddle has to be under it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class CatchParams:
    """`reward`, `[]` float32: what catching the ball pays and missing it costs."""

    reward: jax.Array


@struct.dataclass
class CatchState:
    """The columns of ball and paddle and the row of the ball, all `[]` int32."""

    ball: jax.Array
    paddle: jax.Array
    row: jax.Array


@dataclass(frozen=True)
class Catch:
    """Move the paddle in the last row left (0), not at all (1) or right (2) to catch a falling ball.

    The ball starts in a random column of the first row and falls one row a step. When it reaches the last
    row the episode terminates with 1 if it is caught and -1 if not; all other rewards are 0. The observation
    is `[rows, columns]` float32: 1 where the ball or the paddle is. The paddle reaches every column in time,
    so the best return is 1. Metric: `regret`, 2 for a missed ball.

    Args:
      rows: of the board.
      columns: of the board.

    Raises:
      ValueError: if there are fewer than 2 rows or no column.

    >>> env = Catch()
    >>> params = env.default_params()
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> obs.shape, float(obs.sum())
    ((10, 5), 2.0)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/catch.py`.
    """

    id: str = "Catch-bsuite-v1"
    rows: int = 10
    columns: int = 5

    def __post_init__(self):
        check_size("rows", self.rows, 2)
        check_size("columns", self.columns)

    def default_params(self) -> CatchParams:
        """Return a reward of 1."""
        return CatchParams(reward=jnp.float32(1.0))

    def time_limit(self, params: CatchParams) -> jax.Array:
        """Return the steps that the ball falls, the length of every episode."""
        return jnp.int32(self.rows - 1)

    def observation_space(self, params: CatchParams) -> Box:
        """Return the board."""
        return Box(0.0, 1.0, (self.rows, self.columns))

    def action_space(self, params: CatchParams) -> Discrete:
        """Return left (0), nothing (1) and right (2)."""
        return Discrete(3)

    def reset(self, key: jax.Array, params: CatchParams) -> tuple[CatchState, jax.Array]:
        """Return a ball in a random column, the paddle in the middle, and the board."""
        # `randint` would take five times as many random bits, at every step of a batch of environments.
        ball = (jax.random.bits(key, (), jnp.uint32) % self.columns).astype(jnp.int32)
        state = CatchState(ball=ball, paddle=jnp.int32(self.columns // 2), row=jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: CatchState, action: jax.Array, params: CatchParams
    ) -> tuple[CatchState, Step]:
        """Return the next state and what happened; ignores `key`."""
        action = as_action(self.action_space(params), action)
        paddle = jnp.clip(state.paddle + action - 1, 0, self.columns - 1)
        row = jnp.minimum(state.row + 1, self.rows - 1)
        state = CatchState(ball=state.ball, paddle=paddle, row=row)
        terminated = row == self.rows - 1
        missed = terminated & (paddle != state.ball)
        reward = jnp.where(terminated, jnp.where(missed, -params.reward, params.reward), 0.0)
        metrics = {"regret": jnp.where(missed, 2 * params.reward, 0.0)}
        return state, Step(self._observe(state), reward, terminated, jnp.bool_(False), metrics)

    def ascii(self, state: CatchState, params: CatchParams) -> str:
        """Return the board as text, the ball as `o`, the paddle as `=`."""
        board = np.full((self.rows, self.columns), ".")
        board[-1, int(state.paddle)] = "="
        board[int(state.row), int(state.ball)] = "o"
        return "\n".join("".join(row) for row in board)

    def frame(self, state: CatchState, params: CatchParams) -> np.ndarray:
        """Return a picture of the board, `[H, W, 3]` uint8."""
        from envs import render

        paddle = (self.rows - 1, int(state.paddle), render.Tile(render.GREY))
        ball = (int(state.row), int(state.ball), render.AGENT)
        return render.tiles(np.zeros((self.rows, self.columns), int), render.GRID_TILES, [paddle, ball])

    def _observe(self, state: CatchState) -> jax.Array:
        row, column = jnp.arange(self.rows)[:, None], jnp.arange(self.columns)[None]
        ball = (row == state.row) & (column == state.ball)
        paddle = (row == self.rows - 1) & (column == state.paddle)
        return (ball | paddle).astype(jnp.float32)
