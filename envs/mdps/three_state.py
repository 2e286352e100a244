"""A process of three states, small enough to solve by hand."""

from dataclasses import dataclass, field, replace

import jax.numpy as jnp
import numpy as np

from envs.mdps.explicit import ExplicitMDP, MDPParams

# State, action: the next states with their probabilities and rewards.
RULES = {
    (0, 0): {0: (0.9, 10.0), 1: (0.1, 0.0)},
    (0, 1): {0: (0.5, 0.0), 1: (0.5, 0.0)},
    (1, 0): {0: (0.8, 0.0), 1: (0.2, 0.0)},
    (1, 1): {1: (0.3, -5.0), 2: (0.7, -5.0)},
    (2, 0): {2: (0.9, 30.0), 0: (0.1, 0.0)},
    (2, 1): {0: (1.0, 0.0)},
}


@dataclass(frozen=True)
class ThreeState(ExplicitMDP):
    """Three states and two actions: stay where it pays 10, or go through a cost to where it pays 30.

    What is best depends on the discount: up to 0.83 to stay in state 0 (action 0), from 0.84 on to leave
    it (action 1) for state 2. At 0.9 the optimal values are 142.35, 173.98 and 209.53. It never terminates;
    episodes start in state 0 and are truncated after 100 steps.

    >>> ThreeState().default_params().P[0, 0].tolist() == [jnp.float32(0.9), jnp.float32(0.1), 0.0]
    True

    Source: a classroom example of value iteration (state 0), completed here.
    """

    id: str = "ThreeState-v1"
    num_states: int = field(default=3, init=False)
    num_actions: int = field(default=2, init=False)
    random_start: bool = field(default=False, init=False)

    def default_params(self) -> MDPParams:
        """Return the numbers of `RULES`."""
        P, R = np.zeros((2, 3, 2, 3), np.float32)
        for (state, action), branches in RULES.items():
            for following, (probability, reward) in branches.items():
                P[state, action, following] = probability
                R[state, action, following] = reward
        return replace(
            super().default_params(),
            P=jnp.asarray(P),
            R=jnp.asarray(R),
            start=jnp.asarray([1.0, 0.0, 0.0], jnp.float32),
        )
