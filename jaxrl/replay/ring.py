"""A ring of the latest steps of N environments, each observation stored once.

The observation that follows a step is the one stored with the next step of the same environment. Only where
the clock ended the episode is that one not s' but the first of a new episode; there the true last observation
is kept in a side store, of which a few slots an environment suffice. After a termination s' is worth nothing,
so nothing is kept.

The write position follows from the number of steps written, which is the iteration counter's and the same for
all seeds: under `vmap` a write stays the copy of a slice. An environment's steps lie side by side, record by
record, so that a transition is one place in memory and not one a field.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxrl.replay import records
from jaxrl.replay.records import Records

# In the order in which they lie; what is looked up together is side by side.
_FIELDS = ("obs", "action", "reward", "ending", "extras")

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
      records: `[N, R]`, an environment's steps in a row: fields `obs`, `action`, `reward`, `ending` and
        `extras`. `ending` is int32, twice the number of the truncation that ended the episode, counted by
        environment from one, or 0, plus one if the process ended.
      final_obs: `[F, N, ...]`, the true last observations of the latest truncated episodes.
      truncations: `[N]` int32, how many each environment has had.
    """

    records: Records
    final_obs: Any
    truncations: jax.Array

    @property
    def steps(self) -> Step:
        """All of them, leaves `[R, N, ...]`."""
        fields = self.records.read((), *_FIELDS)
        return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), _to_step(fields))


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
        one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), step)
        example = {
            "obs": one.obs,
            "action": one.action,
            "reward": one.reward,
            "ending": jax.ShapeDtypeStruct((), jnp.int32),
            "extras": one.extras,
        }
        return RingState(
            records=records.empty(example, (self.num_envs, self.rows)),
            final_obs=jax.tree.map(lambda x: jnp.zeros((self.num_finals, *x.shape), x.dtype), step.obs),
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
            number = truncations + truncated
            return (final_obs, number), jnp.where(truncated, number, 0)

        (final_obs, truncations), number = lax.scan(
            keep, (state.final_obs, state.truncations), (steps.truncated, next_obs)
        )
        values = {
            "obs": steps.obs,
            "action": steps.action,
            "reward": steps.reward,
            "ending": 2 * number + steps.terminated,
            "extras": steps.extras,
        }
        by_env = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), values)
        return RingState(
            records=state.records.write(by_env, position, axis=1),
            final_obs=final_obs,
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
        first = state.records.read((env, row), *_FIELDS)
        rows = _following(row, n) % self.rows
        reward, ending = first["reward"][:, None], first["ending"][:, None]
        if n > 1:
            envs = jnp.broadcast_to(env[:, None], (len(env), n - 1))
            later = state.records.read((envs, rows[:, 1:]), "reward", "ending")
            reward = jnp.concatenate([reward, later["reward"]], axis=1)
            ending = jnp.concatenate([ending, later["ending"]], axis=1)
        ended = ending != 0
        reached = jnp.cumsum(ended, axis=1) - ended == 0
        weight = jnp.where(reached, jnp.power(gamma, jnp.arange(n, dtype=jnp.float32))[None], 0.0)
        is_last = jnp.arange(1, n + 1)[None] == jnp.sum(reached, axis=1)[:, None]

        def of_last(x):
            return jnp.sum(jnp.where(is_last, x, 0), axis=1, dtype=x.dtype)

        last_ending = of_last(ending)
        next_obs, valid = self._next_obs(state, of_last(rows), env, last_ending)
        return Transition(
            obs=first["obs"],
            action=first["action"],
            reward=jnp.sum(weight * reward, axis=1),
            discount=jnp.where(last_ending % 2 == 1, 0.0, gamma * of_last(weight)),
            next_obs=next_obs,
            extras=first["extras"],
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
        fields = state.records.read((env, rows), *_FIELDS)
        next_obs, valid = self._next_obs(state, rows, env, fields["ending"])
        return Sequence(steps=_to_step(fields), next_obs=next_obs, valid=valid.astype(jnp.float32))

    def _next_obs(
        self, state: RingState, row: jax.Array, env: jax.Array, ending: jax.Array
    ) -> tuple[Any, jax.Array]:
        """Return what followed these steps, and whether it is known."""
        after = state.records.read((env, (row + 1) % self.rows), "obs")["obs"]
        number = ending // 2
        slot = (number - 1) % self.num_finals

        def choose(after, final):
            last = final.at[slot, env].get(mode="promise_in_bounds")
            truncated = (number > 0).reshape(number.shape + (1,) * (after.ndim - row.ndim))
            return jnp.where(truncated, last, after)

        lost = (number > 0) & (state.truncations[env] - number >= self.num_finals)
        return jax.tree.map(choose, after, state.final_obs), ~lost


def _to_step(fields: dict[str, Any]) -> Step:
    return Step(
        obs=fields["obs"],
        action=fields["action"],
        reward=fields["reward"],
        terminated=fields["ending"] % 2 == 1,
        truncated=fields["ending"] > 1,
        extras=fields["extras"],
    )


def _following(row: jax.Array, length: int) -> jax.Array:
    return row[:, None] + jnp.arange(length, dtype=jnp.int32)[None]
