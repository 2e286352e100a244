"""A ring of the latest steps of N environments, each observation stored once.

The observation that follows a step is the one stored with the next step of the same environment. Only where
the clock ended the episode is that one not s' but the first of a new episode; there the true last observation
is kept in a side store, of which a few slots an environment suffice. After a termination s' is worth nothing,
so nothing is kept.

The write position follows from the number of steps written, which is the iteration counter's and the same for
all seeds: under `vmap` a write stays the copy of a slice.
"""

import math
import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

Scalar = float | jax.Array


@struct.dataclass
class Step:
    """What is kept of a step; leaves `[T, N, ...]` where they are written, `[R, N, ...]` in the ring.

    Attributes:
      obs: s, in the type the environment gives it.
      action: what was done.
      reward: float32.
      terminated: bool, the process ended.
      truncated: bool, the clock ended it.
      extras: anything else that belongs to the step, such as a recurrent policy's memory before it, or `()`.
    """

    obs: Any
    action: Any
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    extras: Any = ()


@struct.dataclass
class RingState:
    """The contents of a `Ring`.

    Attributes:
      steps: `[R, N, ...]`.
      final_obs: `[F, N, ...]`, the true last observations of the latest truncated episodes.
      serial: `[R, N]` int32, for a truncated step, which of its environment's truncations it was.
      truncations: `[N]` int32, how many each environment has had.
    """

    steps: Step
    final_obs: Any
    serial: jax.Array
    truncations: jax.Array


@struct.dataclass
class Transition:
    """From s over up to n steps to s'; leaves `[B, ...]`.

    Attributes:
      obs: s.
      action: the first one.
      reward: float32, the discounted sum of the rewards on the way.
      discount: float32, what the value of `next_obs` counts: gamma^m, or 0 after a termination.
      next_obs: the true s', also where the clock ended the episode.
      extras: of the first step.
      valid: float32, 0 where s' is no longer known (see `Ring.num_finals`), else 1.
    """

    obs: Any
    action: Any
    reward: jax.Array
    discount: jax.Array
    next_obs: Any
    extras: Any
    valid: jax.Array


@struct.dataclass
class Sequence:
    """T steps of one environment in a row, which may belong to several episodes; leaves `[B, T, ...]`.

    Attributes:
      steps: as they were written.
      next_obs: the true s' of each.
      valid: float32, 0 where that is no longer known.
    """

    steps: Step
    next_obs: Any
    valid: jax.Array


@dataclass(frozen=True)
class Ring:
    """Shapes of a ring: R rows of N environments, written `block` rows at a time.

    Args:
      capacity: steps in all, R * N.
      num_envs: N; must divide `capacity`.
      block: rows of a write; must divide R, so that no write wraps around.
      lookahead: n, steps that a transition spans, or those after the first of a sequence; the newest
        `lookahead` rows cannot be drawn, since what follows them is not known yet.
      num_finals: F, truncations an environment whose last observation is kept. An episode lasts at least a
        step, so R is always enough, and R / (time limit) + 2 where all episodes that are truncated are as
        long as the limit; where it is not enough, transitions come out with `valid` 0.

    Raises:
      ValueError: if the sizes do not divide or leave nothing to draw.

    >>> ring = Ring(capacity=8, num_envs=2)
    >>> step = Step(obs=jnp.zeros((2, 3)), action=jnp.zeros(2, jnp.int32), reward=jnp.zeros(2),
    ...             terminated=jnp.zeros(2, bool), truncated=jnp.zeros(2, bool))
    >>> ring.init(step).steps.obs.shape
    (4, 2, 3)
    """

    capacity: int
    num_envs: int
    block: int = 1
    lookahead: int = 1
    num_finals: int = 1

    def __post_init__(self):
        """Check the sizes."""
        for name in ("capacity", "num_envs", "block", "lookahead", "num_finals"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        unit = self.num_envs * self.block
        if self.capacity % unit:
            near = max(round(self.capacity / unit), 1) * unit
            raise ValueError(
                f"`buffer_size` must be a multiple of num_envs * num_steps = {unit}, got {self.capacity}; "
                f"try {near}"
            )
        if self.rows <= self.lookahead:
            raise ValueError(
                f"`buffer_size` must hold more than {self.lookahead} steps of each of {self.num_envs} "
                f"environments, got {self.capacity}; try {unit * (self.lookahead // self.block + 2)}"
            )

    @property
    def rows(self) -> int:
        """R, steps of each environment."""
        return self.capacity // self.num_envs

    def init(self, step: Step) -> RingState:
        """Return an empty ring for steps like `step`, leaves `[N, ...]`, arrays or their shapes."""

        def empty(x, count):
            return jnp.zeros((count, *x.shape), x.dtype)

        return RingState(
            steps=jax.tree.map(lambda x: empty(x, self.rows), step),
            final_obs=jax.tree.map(lambda x: empty(x, self.num_finals), step.obs),
            serial=jnp.zeros((self.rows, self.num_envs), jnp.int32),
            truncations=jnp.zeros(self.num_envs, jnp.int32),
        )

    def add(self, state: RingState, steps: Step, next_obs: Any, written: jax.Array) -> RingState:
        """Return the ring with `block` more rows.

        Args:
          state: before.
          steps: `[block, N, ...]`.
          next_obs: `[block, N, ...]`, the true s' of each.
          written: `[]` int32, rows written before; shared by all seeds.
        """
        position = written % self.rows
        envs = jnp.arange(self.num_envs)

        def keep(carry, at):
            final_obs, truncations = carry
            truncated, last = at
            # Out of range, so dropped, where the step is not truncated.
            slot = jnp.where(truncated, truncations % self.num_finals, self.num_finals)
            final_obs = jax.tree.map(lambda x, o: x.at[slot, envs].set(o, mode="drop"), final_obs, last)
            return (final_obs, truncations + truncated), truncations

        (final_obs, truncations), serial = lax.scan(
            keep, (state.final_obs, state.truncations), (steps.truncated, next_obs)
        )

        def write(ring, rows):
            return lax.dynamic_update_slice_in_dim(ring, rows.astype(ring.dtype), position, axis=0)

        return RingState(
            steps=jax.tree.map(write, state.steps, steps),
            final_obs=final_obs,
            serial=write(state.serial, serial),
            truncations=truncations,
        )

    def drawable(self, written: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the oldest row, and how many from there on can be drawn, `[]` int32 each."""
        oldest = jnp.where(written > self.rows, written % self.rows, 0)
        return oldest, jnp.maximum(jnp.minimum(written, self.rows) - self.lookahead, 0)

    def transitions(
        self, state: RingState, row: jax.Array, env: jax.Array, gamma: Scalar, n: int = 1
    ) -> Transition:
        """Return the transitions over n steps that begin in these places; shorter where an episode ends.

            R = r_1 + ... + gamma^{m-1} r_m,    discount = gamma^m * (1 - terminated_m)

        Args:
          state: the contents.
          row: `[B]` int32, drawable.
          env: `[B]` int32.
          gamma: `[]` float in [0, 1].
          n: at most `lookahead`.

        Source: Sutton and Barto (2018), equation 7.1.
        """
        rows = _following(row, n) % self.rows
        steps, envs = state.steps, jnp.broadcast_to(env[:, None], rows.shape)
        reward, terminated, truncated = (
            x[rows, envs] for x in (steps.reward, steps.terminated, steps.truncated)
        )
        ended = terminated | truncated
        reached = jnp.cumsum(ended, axis=1) - ended == 0
        weight = jnp.where(reached, jnp.power(gamma, jnp.arange(n, dtype=jnp.float32))[None], 0.0)
        last = jnp.sum(reached, axis=1) - 1

        def of_last(x):
            return jnp.take_along_axis(x, last[:, None], axis=1)[:, 0]

        next_obs, valid = self._next_obs(state, of_last(rows), env, of_last(truncated))
        return Transition(
            obs=jax.tree.map(lambda x: x[row, env], steps.obs),
            action=jax.tree.map(lambda x: x[row, env], steps.action),
            reward=jnp.sum(weight * reward, axis=1),
            discount=jnp.where(of_last(terminated), 0.0, gamma * of_last(weight)),
            next_obs=next_obs,
            extras=jax.tree.map(lambda x: x[row, env], steps.extras),
            valid=valid.astype(jnp.float32),
        )

    def sequences(self, state: RingState, row: jax.Array, env: jax.Array, length: int) -> Sequence:
        """Return the `length` steps from each of these places on, at most `lookahead` of them.

        Args:
          state: the contents.
          row: `[B]` int32, drawable.
          env: `[B]` int32.
          length: T.
        """
        rows = _following(row, length) % self.rows
        env = jnp.broadcast_to(env[:, None], rows.shape)
        steps = jax.tree.map(lambda x: x[rows, env], state.steps)
        next_obs, valid = self._next_obs(state, rows, env, steps.truncated)
        return Sequence(steps=steps, next_obs=next_obs, valid=valid.astype(jnp.float32))

    def _next_obs(
        self, state: RingState, row: jax.Array, env: jax.Array, truncated: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Return what followed these steps, and whether it is known."""
        serial = state.serial[row, env]
        following = (row + 1) % self.rows

        def choose(obs, final):
            after, last = obs[following, env], final[serial % self.num_finals, env]
            return jnp.where(truncated.reshape(truncated.shape + (1,) * (after.ndim - row.ndim)), last, after)

        lost = truncated & (state.truncations[env] - serial > self.num_finals)
        return jax.tree.map(choose, state.steps.obs, state.final_obs), ~lost


def _following(row: jax.Array, length: int) -> jax.Array:
    return row[:, None] + jnp.arange(length, dtype=jnp.int32)[None]


def num_bytes(state: Any) -> int:
    """Return the bytes that a replay's state takes, also of shapes alone as `jax.eval_shape` gives them.

    >>> num_bytes(jnp.zeros((10, 2), jnp.uint8))
    20
    """
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(state))


def check_memory(name: str, size: int, state: Any) -> None:
    """Check that a replay fits in the memory of this machine, before anything is allocated.

    Args:
      name: of the argument that decides on its size.
      size: that argument.
      state: the replay's state, or its shapes.

    Raises:
      ValueError: with the predicted bytes, and how large it may be.
    """
    available = _memory_bytes()
    needed = num_bytes(state)
    if available is not None and needed > available:
        raise ValueError(
            f"`{name}` must fit in memory: {size:,} transitions take {needed / 2**30:,.1f} GiB of "
            f"{available / 2**30:,.1f} GiB; at most {int(size * available / needed):,} fit"
        )


def _memory_bytes() -> int | None:
    """Return the memory of the first device, or of the host if that is where arrays live, if it is known."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
