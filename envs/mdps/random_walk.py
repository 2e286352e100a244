"""The random walk on which Sutton and Barto compare prediction methods."""

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from envs.checks import check_size
from envs.mdps.exact import ExactState
from envs.mdps.explicit import ExplicitMDP, MDPParams


@dataclass(frozen=True)
class RandomWalk(ExplicitMDP):
    """A walk left or right by chance, from the middle of a line to either end; there is one action.

    The states are 0, ..., `num_states` - 1, both ends included: 7 for the book's five-state walk
    (`RandomWalk-v1`, which pays 0 at the left and 1 at the right end, so that state s has the value s / 6)
    and 21 for its 19-state walk (`RandomWalk19-v1`, which pays -1 and 1: value s / 10 - 1). Undiscounted.
    Episodes are truncated after 1,000 steps, which in these two happens less than once in 100,000.

    Args:
      num_states: an odd number, at least 3.
      ends: the rewards for entering the left and the right end.

    Raises:
      ValueError: if `num_states` is not such a number.

    >>> RandomWalk().ascii(None, RandomWalk().default_params())
    '* 1 2 3 4 5 *'

    Source: Sutton and Barto, Reinforcement Learning, 2nd edition, examples 6.2 and 7.1.
    """

    id: str = "RandomWalk-v1"
    num_states: int = 7
    num_actions: int = field(default=1, init=False)
    random_start: bool = field(default=False, init=False)
    ends: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self):
        object.__setattr__(self, "ends", tuple(map(float, self.ends)))
        check_size("num_states", self.num_states)
        if self.num_states < 3 or self.num_states % 2 == 0:
            raise ValueError(f"`num_states` must be odd and at least 3, got {self.num_states}")

    def default_params(self) -> MDPParams:
        """Return the walk that goes either way with probability 1/2."""
        last = self.num_states - 1
        P = (np.eye(self.num_states, k=1) + np.eye(self.num_states, k=-1)) / 2
        P[[0, last]] = np.eye(self.num_states)[[0, last]]
        R = np.zeros_like(P)
        R[1, 0], R[last - 1, last] = self.ends
        return replace(
            super().default_params(),
            P=jnp.asarray(P[:, None], jnp.float32),
            R=jnp.asarray(R[:, None], jnp.float32),
            terminal=jnp.asarray(np.isin(np.arange(self.num_states), (0, last))),
            start=jnp.asarray(np.arange(self.num_states) == last // 2, jnp.float32),
            max_steps=jnp.int32(1000),
        )

    def frame(self, state: ExactState | None, params: MDPParams) -> np.ndarray:
        """Return the states on a line, the current one in orange, `[140, width, 3]` uint8."""
        from envs.mdps.drawing import graph

        here = None if state is None else int(state.index)
        return graph(np.asarray(params.P), np.asarray(params.terminal), here, line=True)
