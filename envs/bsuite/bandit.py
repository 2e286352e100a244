"""`SimpleBandit`: arms that always pay the same, in an order that a seed decides."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.bandits.arms import Pull, no_pull, regret_metrics
from envs.checks import check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class SimpleBanditParams:
    """`rewards`, `[A]` float32: what each arm pays."""

    rewards: jax.Array


@dataclass(frozen=True)
class SimpleBandit:
    """Pull one of `num_arms` arms, which pay 0, 0.1, ..., 1 in a shuffled order: one pull an episode.

    The observation is always `[1.0]`. Every pull terminates. The order is a parameter, so it outlives the
    episodes. Metrics: `regret`, the best reward less this one, and `optimal`, 1 for a best arm.

    Args:
      num_arms: A; their rewards are evenly spaced from 0 to 1.

    Raises:
      ValueError: if there are fewer than two arms.

    >>> env = SimpleBandit(num_arms=3)
    >>> sorted(env.default_params().rewards.tolist())
    [0.0, 0.5, 1.0]

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning, `environments/bandit.py`.
    """

    id: str = "SimpleBandit-bsuite-v1"
    num_arms: int = 11

    def __post_init__(self):
        check_size("num_arms", self.num_arms, 2)

    def default_params(self) -> SimpleBanditParams:
        """Return the rewards of mapping seed 0."""
        return self.shuffle(SimpleBanditParams(rewards=jnp.zeros(self.num_arms, jnp.float32)), 0)

    def shuffle(self, params: SimpleBanditParams, mapping_seed: int) -> SimpleBanditParams:
        """Return `params` with the order of rewards that bsuite draws from `mapping_seed` (a Python int)."""
        order = np.random.RandomState(mapping_seed).permutation(self.num_arms)
        rewards = np.linspace(0, 1, self.num_arms)[order]
        return replace(params, rewards=jnp.asarray(rewards, jnp.float32))

    def time_limit(self, params: SimpleBanditParams) -> jax.Array:
        """Return 1, the length of every episode."""
        return jnp.int32(1)

    def reward_range(self, params: SimpleBanditParams) -> tuple[float, float]:
        """Return the bounds of the reward."""
        return 0.0, 1.0

    def expected_rewards(self, state: Pull, params: SimpleBanditParams) -> jax.Array:
        """Return what each arm pays, `[A]` float32."""
        return params.rewards

    def observation_space(self, params: SimpleBanditParams) -> Box:
        """Return the space of the one observation, 1."""
        return Box(0.0, 1.0, (1,))

    def action_space(self, params: SimpleBanditParams) -> Discrete:
        """Return the arms."""
        return Discrete(self.num_arms)

    def reset(self, key: jax.Array, params: SimpleBanditParams) -> tuple[Pull, jax.Array]:
        """Return the first state and the constant observation; ignores `key`."""
        return no_pull(), jnp.ones(1, jnp.float32)

    def step(
        self, key: jax.Array, state: Pull, action: jax.Array, params: SimpleBanditParams
    ) -> tuple[Pull, Step]:
        """Return what pulling arm `action` gave; ignores `key`."""
        action = as_action(self.action_space(params), action)
        reward = params.rewards[action]
        state = Pull(t=state.t + 1, arm=action, reward=reward)
        metrics = regret_metrics(params.rewards, action)
        return state, Step(jnp.ones(1, jnp.float32), reward, jnp.bool_(True), jnp.bool_(False), metrics)

    def ascii(self, state: Pull, params: SimpleBanditParams) -> str:
        """Return the arms' rewards as text, the last pull in brackets."""
        return " ".join(
            f"[{float(reward):.1f}]" if arm == int(state.arm) else f" {float(reward):.1f} "
            for arm, reward in enumerate(params.rewards)
        )
