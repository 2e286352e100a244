"""DeepSea: a treasure that only one of 2^N ways reaches."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, Space, as_action
from envs.tabular import Outcomes


@struct.dataclass
class DeepSeaParams:
    """What the sea holds; every field may be traced and mapped over.

    Attributes:
      action_right: `[N, N]` int32, the action that moves right in each cell; the other one moves left.
      move_cost: `[]` float32, what N moves to the right cost together.
      treasure: `[]` float32, the reward for moving right in the last column.
      slip: `[]` float32, the probability that a move to the right fails.
      noise: `[]` float32, the standard deviation of the noise on the rewards of the two lower corners.
    """

    action_right: jax.Array
    move_cost: jax.Array
    treasure: jax.Array
    slip: jax.Array
    noise: jax.Array


@struct.dataclass
class DeepSeaState:
    """`row` and `column`, `[]` int32, and `bad`, `[]` bool: whether the way to the treasure has been left."""

    row: jax.Array
    column: jax.Array
    bad: jax.Array


@dataclass(frozen=True)
class DeepSea:
    """Dive N rows deep, one a step, and move left or right on the way: a treasure lies beyond the corner.

    Each move to the right costs 0.01 / N, the treasure pays 1: the best return is 0.99, random diving finds
    it once in 2^N episodes. Which action moves right differs from cell to cell; the default is one fixed
    draw, `draw` makes others. bsuite's stochastic version is `slip` = 1 / N with `noise` = 1 (see
    `stochastic`). Every episode terminates after N steps. Metric: `bad_episode`, 1 at the end of an episode
    that left the way to the treasure.

    Args:
      size: N.
      observation: "index" for row * N + column, and N * N at the end; "image" for `[N, N]`, one-hot, zeros at
        the end, as in bsuite.

    Raises:
      ValueError: if `size` is less than 2 or `observation` another word.

    >>> env = DeepSea(size=3)
    >>> params = env.default_params()
    >>> state, _ = env.reset(jax.random.key(0), params)
    >>> state, out = env.step(jax.random.key(0), state, params.action_right[0, 0], params)
    >>> env.ascii(state, params).splitlines()
    ['...', '.A.', '..$']

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/deep_sea.py`.
    """

    id: str = "DeepSea-v1"
    size: int = 10
    observation: str = "index"

    def __post_init__(self):
        check_size("size", self.size, 2)
        if self.observation not in ("index", "image"):
            raise ValueError(f"`observation` must be 'index' or 'image', got {self.observation!r}")

    @property
    def num_states(self) -> int:
        """The number of cells, and one for the end."""
        return self.size**2 + 1

    def default_params(self) -> DeepSeaParams:
        """Return bsuite's numbers with the action mapping of key 0."""
        return self.draw(
            jax.random.key(0),
            DeepSeaParams(
                action_right=jnp.zeros((self.size, self.size), jnp.int32),
                move_cost=jnp.float32(0.01),
                treasure=jnp.float32(1.0),
                slip=jnp.float32(0.0),
                noise=jnp.float32(0.0),
            ),
        )

    @partial(jax.jit, static_argnums=0)
    def draw(self, key: jax.Array, params: DeepSeaParams) -> DeepSeaParams:
        """Return `params` with another action mapping."""
        return replace(
            params, action_right=jax.random.bernoulli(key, shape=(self.size, self.size)).astype(jnp.int32)
        )

    def stochastic(self, params: DeepSeaParams) -> DeepSeaParams:
        """Return `params` with the slip and the noise of bsuite's `deep_sea_stochastic`."""
        return replace(params, slip=jnp.float32(1 / self.size), noise=jnp.float32(1.0))

    def check_params(self, params: DeepSeaParams) -> None:
        """Check that one of the two actions moves right in each cell, and that the slip is a probability.

        Raises:
          ValueError: naming the field that makes no sense.
        """
        right, slip = np.asarray(params.action_right), np.asarray(params.slip)
        if right.shape != (self.size, self.size) or not np.isin(right, (0, 1)).all():
            raise ValueError(
                f"`action_right` must be [{self.size}, {self.size}] of 0 and 1, got {list(right.shape)} of "
                f"{np.unique(right)}"
            )
        if slip.shape != () or not 0 <= slip <= 1:
            raise ValueError(f"`slip` must lie in [0, 1], got {slip}")

    def time_limit(self, params: DeepSeaParams) -> jax.Array:
        """Return N, the length of every episode."""
        return jnp.int32(self.size)

    def observation_space(self, params: DeepSeaParams) -> Space:
        """Return `Discrete(N * N + 1)`, or a `Box` `[N, N]` for images."""
        if self.observation == "image":
            return Box(0.0, 1.0, (self.size, self.size))
        return Discrete(self.num_states)

    def action_space(self, params: DeepSeaParams) -> Discrete:
        """Return two actions."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: DeepSeaParams) -> tuple[DeepSeaState, jax.Array]:
        """Return the state at the surface, on the left; ignores `key`."""
        state = DeepSeaState(row=jnp.int32(0), column=jnp.int32(0), bad=jnp.bool_(False))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: DeepSeaState, action: jax.Array, params: DeepSeaParams
    ) -> tuple[DeepSeaState, Step]:
        """Return the state one row deeper and what happened; at the end nothing happens."""
        action = as_action(self.action_space(params), action)
        # As data, for where params differ the branch becomes a choice, which would count as another use.
        data, kind = jax.random.key_data(key), jax.random.key_impl(key)

        def chance():
            key_slip, key_noise = jax.random.split(jax.random.wrap_key_data(data, impl=kind))
            slips = jax.random.uniform(key_slip) < params.slip
            return slips, params.noise * jax.random.normal(key_noise)

        # Most seas leave nothing to chance, and where environments share their params this stays a branch.
        is_random = (params.slip > 0) | (params.noise != 0)
        slips, noise = jax.lax.cond(is_random, chance, lambda: (jnp.bool_(False), jnp.float32(0.0)))
        over = state.row >= self.size
        row = jnp.minimum(state.row, self.size - 1)
        right = (action == params.action_right[row, state.column]) & ~over
        moved = right & ~slips
        corner = (row == self.size - 1) & ((state.column == 0) | (state.column == self.size - 1))
        reward = self._reward(state.column, right, params) + jnp.where(corner & ~over, noise, 0.0)
        column = jnp.where(right, state.column + moved, state.column - 1)
        wrong = ~right & (row == state.column)
        state = DeepSeaState(
            row=jnp.minimum(state.row + 1, self.size),
            column=jnp.where(over, state.column, jnp.clip(column, 0, self.size - 1)),
            bad=state.bad | (wrong & ~over),
        )
        terminated = state.row >= self.size
        metrics = {"bad_episode": (state.bad & terminated).astype(jnp.float32)}
        return state, Step(self._observe(state), reward, terminated, jnp.bool_(False), metrics)

    def state_index(self, state: DeepSeaState, params: DeepSeaParams) -> jax.Array:
        """Return row * N + column, or N * N at the end."""
        return jnp.where(state.row >= self.size, self.size**2, state.row * self.size + state.column)

    def state_at(self, index: jax.Array, params: DeepSeaParams) -> DeepSeaState:
        """Return the state of number `index`."""
        row, column = jnp.divmod(jnp.asarray(index, jnp.int32), self.size)
        return DeepSeaState(row=row, column=column, bad=jnp.bool_(False))

    def start_distribution(self, params: DeepSeaParams) -> jax.Array:
        """Return certainty of the first cell."""
        return (jnp.arange(self.num_states) == 0).astype(jnp.float32)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: DeepSeaParams) -> Outcomes:
        """Return the move and its failure: K = 2; the rewards are without their noise."""
        state = self.state_at(state_index, params)
        over = state.row >= self.size
        right = (action == params.action_right[jnp.minimum(state.row, self.size - 1), state.column]) & ~over
        step = jnp.stack([jnp.where(right, 1, -1), jnp.where(right, 0, -1)])
        following = (state.row + 1) * self.size + jnp.clip(state.column + step, 0, self.size - 1)
        ends = over | (state.row == self.size - 1)
        slip = jnp.where(right, params.slip, 0.0)
        return Outcomes(
            probability=jnp.stack([1 - slip, slip]),
            next_state=jnp.where(ends, self.size**2, following).astype(jnp.int32),
            reward=jnp.broadcast_to(self._reward(state.column, right, params), (2,)),
            terminated=jnp.broadcast_to(ends, (2,)),
        )

    def ascii(self, state: DeepSeaState | None, params: DeepSeaParams) -> str:
        """Return the sea as text, the diver as `A`, the treasure as `$`."""
        rows = np.full((self.size, self.size), ".")
        rows[-1, -1] = "$"
        if state is not None and int(state.row) < self.size:
            rows[int(state.row), int(state.column)] = "A"
        return "\n".join("".join(row) for row in rows)

    def frame(self, state: DeepSeaState | None, params: DeepSeaParams) -> np.ndarray:
        """Return a picture of the sea, the way to the treasure lighter, `[size, size, 3]` uint8."""
        from envs import render

        legend = (render.Tile((120, 160, 205)), render.Tile((190, 214, 238)))
        sprites = [(self.size - 1, self.size - 1, render.Tile(None, "diamond", (240, 200, 60)))]
        if state is not None and int(state.row) < self.size:
            sprites.append((int(state.row), int(state.column), render.AGENT))
        return render.tiles(np.eye(self.size, dtype=int), legend, sprites)

    def _reward(self, column: jax.Array, right: jax.Array, params: DeepSeaParams) -> jax.Array:
        found = jnp.where(column == self.size - 1, params.treasure, 0.0)
        return jnp.where(right, found - params.move_cost / self.size, 0.0)

    def _observe(self, state: DeepSeaState) -> jax.Array:
        if self.observation == "image":
            cells = jnp.arange(self.size**2) == state.row * self.size + state.column
            return cells.reshape(self.size, self.size).astype(jnp.float32)
        return jnp.where(state.row >= self.size, self.size**2, state.row * self.size + state.column)
