"""`PaddedDeepSea`: seas of several depths in one shape, so that depths can be mapped over."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.checks import check_size
from envs.core import Step
from envs.mdps.deep_sea import DeepSeaState
from envs.spaces import Box, Discrete, as_action

MAPPING_SEED = 42


@struct.dataclass
class PaddedDeepSeaParams:
    """The sea; every field may be traced and mapped over.

    Attributes:
      depth: `[]` int32, n: the rows and columns in use, from 2 to N.
      action_right: `[N, N]` int32, the action that moves right in each cell; the other one moves left.
      move_cost: `[]` float32, what n moves to the right cost together.
      treasure: `[]` float32, the reward for moving right in the last column.
      slip: `[]` float32, the probability that a move to the right fails.
      noise: `[]` float32, the standard deviation of the noise on the rewards of the two lower corners.
    """

    depth: jax.Array
    action_right: jax.Array
    move_cost: jax.Array
    treasure: jax.Array
    slip: jax.Array
    noise: jax.Array


@dataclass(frozen=True)
class PaddedDeepSea:
    """`envs.mdps.DeepSea` of a depth that is a parameter, in the upper left corner of an `[N, N]` picture.

    Observation, actions, rewards, ends and the metric `bad_episode` are those of `DeepSea` with images,
    padded with zeros.

    Args:
      size: N.

    Raises:
      ValueError: if `size` is less than 2.

    >>> env = PaddedDeepSea(size=5)
    >>> params = env.sea(depth=3)
    >>> state, _ = env.reset(jax.random.key(0), params)
    >>> _, out = env.step(jax.random.key(0), state.replace(row=jnp.int32(2)), 0, params)
    >>> out.obs.shape, bool(out.terminated)
    ((5, 5), True)

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/deep_sea.py`.
    """

    id: str = "PaddedDeepSea"
    size: int = 50

    def __post_init__(self):
        check_size("size", self.size, 2)

    def default_params(self) -> PaddedDeepSeaParams:
        """Return the deepest sea."""
        return self.sea(self.size)

    def sea(
        self, depth: int, stochastic: bool = False, mapping_seed: int = MAPPING_SEED
    ) -> PaddedDeepSeaParams:
        """Return the sea that bsuite makes of a depth and a mapping seed.

        Args:
          depth: n.
          stochastic: whether moves to the right fail once in n times and the lower corners are noisy.
          mapping_seed: decides which action moves right in each cell, as bsuite draws it.

        Raises:
          ValueError: if `depth` is not from 2 to N.
        """
        if not 2 <= depth <= self.size:
            raise ValueError(f"`depth` must be from 2 to {self.size}, got {depth}")
        mapping = np.zeros((self.size, self.size), np.int32)
        mapping[:depth, :depth] = np.random.RandomState(mapping_seed).binomial(1, 0.5, (depth, depth))
        return PaddedDeepSeaParams(
            depth=jnp.int32(depth),
            action_right=jnp.asarray(mapping),
            move_cost=jnp.float32(0.01),
            treasure=jnp.float32(1.0),
            slip=jnp.float32(1 / depth if stochastic else 0.0),
            noise=jnp.float32(1.0 if stochastic else 0.0),
        )

    def observation_space(self, params: PaddedDeepSeaParams) -> Box:
        """Return the padded picture."""
        return Box(0.0, 1.0, (self.size, self.size))

    def action_space(self, params: PaddedDeepSeaParams) -> Discrete:
        """Return two actions."""
        return Discrete(2)

    def reset(self, key: jax.Array, params: PaddedDeepSeaParams) -> tuple[DeepSeaState, jax.Array]:
        """Return the state at the surface, on the left; ignores `key`."""
        state = DeepSeaState(row=jnp.int32(0), column=jnp.int32(0), bad=jnp.bool_(False))
        return state, self._observe(state, params)

    def step(
        self, key: jax.Array, state: DeepSeaState, action: jax.Array, params: PaddedDeepSeaParams
    ) -> tuple[DeepSeaState, Step]:
        """Return the state one row deeper and what happened; at the end nothing happens."""
        action = as_action(self.action_space(params), action)
        key_slip, key_noise = jax.random.split(key)
        last = jnp.minimum(params.depth, self.size) - 1
        over, row, column = state.row > last, jnp.minimum(state.row, last), state.column
        right = (action == params.action_right[row, column]) & ~over
        slips = jax.random.uniform(key_slip) < params.slip
        found = jnp.where(column == last, params.treasure, 0.0)
        corner = (row == last) & ((column == 0) | (column == last)) & ~over
        reward = jnp.where(right, found - params.move_cost / params.depth, 0.0)
        reward += jnp.where(corner, params.noise * jax.random.normal(key_noise), 0.0)
        move = jnp.where(right, jnp.where(slips, 0, 1), -1)
        state = DeepSeaState(
            row=jnp.where(over, state.row, state.row + 1),
            column=jnp.where(over, column, jnp.clip(column + move, 0, last)),
            bad=state.bad | (~right & (row == column) & ~over),
        )
        terminated = state.row > last
        metrics = {"bad_episode": (state.bad & terminated).astype(jnp.float32)}
        return state, Step(self._observe(state, params), reward, terminated, jnp.bool_(False), metrics)

    def _observe(self, state: DeepSeaState, params: PaddedDeepSeaParams) -> jax.Array:
        row, column = jnp.arange(self.size)[:, None], jnp.arange(self.size)[None]
        here = (row == state.row) & (column == state.column) & (row < params.depth)
        return here.astype(jnp.float32)
