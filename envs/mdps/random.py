"""Random Markov decision processes, drawn by key."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp

from envs.checks import check_size
from envs.mdps.explicit import ExplicitMDP, MDPParams


@dataclass(frozen=True)
class RandomMDP(ExplicitMDP):
    """A process drawn at random: rows of P uniform over the simplex, rewards R[s, a] uniform in [0, 1).

    It never terminates; episodes start anywhere and are truncated after 100 steps. The default parameters are
    one fixed draw; `draw` makes others, for `VecEnv(..., params_dist=env.draw)` or to map over processes.

    Args:
      num_states: how many states.
      num_actions: how many actions.
      branching: how many states may follow a state and action, drawn anew for each; None for all.

    Raises:
      ValueError: if a number is not positive or `branching` exceeds `num_states`.

    >>> env = RandomMDP(num_states=20, num_actions=2, branching=3)
    >>> keys = jax.random.split(jax.random.key(1), 8)
    >>> many = jax.vmap(env.draw, (0, None))(keys, env.default_params())
    >>> many.P.shape, int((many.P[0, 0, 0] > 0).sum())
    ((8, 20, 2, 20), 3)

    Source: Archibald, McKinnon and Thomas (1995), On the generation of Markov decision processes ("Garnet").
    """

    id: str = "RandomMDP-v1"
    num_states: int = 10
    num_actions: int = 4
    branching: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.branching is not None:
            check_size("branching", self.branching)
            if self.branching > self.num_states:
                raise ValueError(
                    f"`branching` must lie in 1..num_states = {self.num_states}, got {self.branching}"
                )

    def default_params(self) -> MDPParams:
        """Return the process of key 0."""
        return self.draw(jax.random.key(0), super().default_params())

    @partial(jax.jit, static_argnums=0)
    def draw(self, key: jax.Array, params: MDPParams) -> MDPParams:
        """Return `params` with transition probabilities and rewards drawn anew."""
        key_weights, key_successors, key_rewards = jax.random.split(key, 3)
        shape = (self.num_states, self.num_actions, self.num_states)
        # Independent exponential numbers over their sum are uniform on the simplex.
        weights = jax.random.exponential(key_weights, shape)
        if self.branching is not None:
            order = jax.random.uniform(key_successors, shape)
            least = jax.lax.top_k(order, self.branching)[0][..., -1:]
            weights = jnp.where(order >= least, weights, 0.0)
        rewards = jax.random.uniform(key_rewards, (*shape[:2], 1))
        return replace(
            params,
            P=weights / jnp.sum(weights, axis=-1, keepdims=True),
            R=jnp.broadcast_to(rewards, shape),
        )
