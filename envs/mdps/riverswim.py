"""RiverSwim: the reward lies upstream, and the current is against the swimmer."""

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from envs.checks import check_size
from envs.mdps.exact import ExactState
from envs.mdps.explicit import ExplicitMDP, MDPParams


@dataclass(frozen=True)
class RiverSwim(ExplicitMDP):
    """Swim left (0) with the current or right (1) against it, along a line of states.

    Left always succeeds. Right moves on with probability 0.35, stays with 0.6 and is swept back with 0.05;
    at the left bank it moves on with 0.6, at the right bank it is swept back with 0.4. Left at the left bank
    pays 0.005, right at the right bank pays 1. The swimmer starts at the left bank; episodes are truncated
    after 20 steps. Random swimming hardly ever reaches the right bank.

    Args:
      num_states: the length of the line, at least 2.

    Raises:
      ValueError: if it is shorter.

    >>> env = RiverSwim()
    >>> [round(float(p), 2) for p in env.default_params().P[2, 1]]
    [0.0, 0.05, 0.6, 0.35, 0.0, 0.0]

    Source: Strehl and Littman (2008), An analysis of model-based interval estimation for Markov decision
    processes; the numbers of Osband, Van Roy and Russo (2013), (More) efficient reinforcement learning via
    posterior sampling, figure 2.
    """

    id: str = "RiverSwim-v1"
    num_states: int = 6
    num_actions: int = field(default=2, init=False)
    random_start: bool = field(default=False, init=False)

    def __post_init__(self):
        check_size("num_states", self.num_states, 2)

    def default_params(self) -> MDPParams:
        """Return the published numbers."""
        S = self.num_states
        left = np.eye(S, k=-1)
        left[0, 0] = 1.0
        right = 0.05 * np.eye(S, k=-1) + 0.6 * np.eye(S) + 0.35 * np.eye(S, k=1)
        right[0, :2] = 0.4, 0.6
        right[-1, -2:] = 0.4, 0.6
        R = np.zeros((S, 2, S))
        R[0, 0], R[-1, 1] = 0.005, 1.0
        return replace(
            super().default_params(),
            P=jnp.asarray(np.stack([left, right], axis=1), jnp.float32),
            R=jnp.asarray(R, jnp.float32),
            start=jnp.asarray(np.arange(S) == 0, jnp.float32),
            max_steps=jnp.int32(20),
        )

    def frame(self, state: ExactState | None, params: MDPParams) -> np.ndarray:
        """Return the states on a line, the current one in orange, `[140, width, 3]` uint8."""
        from envs.mdps.drawing import graph

        here = None if state is None else int(state.index)
        return graph(np.asarray(params.P), np.asarray(params.terminal), here, line=True)
