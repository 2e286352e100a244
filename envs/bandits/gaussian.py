"""`GaussianBandit`: arms that pay a normal reward around a fixed mean."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct

from envs.bandits.arms import Pull, no_pull, regret_metrics
from envs.checks import check_finite, check_positive, check_size
from envs.core import Step
from envs.spaces import Discrete, as_action


@struct.dataclass
class GaussianBanditParams:
    """The arms; they are parameters, so they outlive the episodes.

    Attributes:
      means: `[A]` float32, the expected reward of each arm.
      scales: `[A]` float32, the standard deviation of each arm's reward.
      max_steps: `[]` int32, the pulls in an episode.
    """

    means: jax.Array
    scales: jax.Array
    max_steps: jax.Array


@dataclass(frozen=True)
class GaussianBandit:
    """Pull one of `num_arms` arms; the reward is normal around that arm's mean.

    An episode is `max_steps` pulls (100 by default) and is truncated, never terminated. The arms stay what
    they are across episodes. The 10-armed testbed of Sutton and Barto is `VecEnv(..., params_dist=env.draw)`
    with one run an episode.

    Metrics: `regret`, the best mean less the pulled arm's, and `optimal`, 1 where a best arm was pulled.

    Args:
      num_arms: the number of arms; their default means are evenly spaced from -1 to 1, their scales 1.

    Raises:
      ValueError: if there is no arm, a mean is not finite or a scale not positive.

    >>> env = GaussianBandit(num_arms=3)
    >>> env.default_params().means.tolist()
    [-1.0, 0.0, 1.0]

    Source: Sutton and Barto (2018), section 2.3.
    """

    id: str = "GaussianBandit-v1"
    num_arms: int = 10

    def __post_init__(self):
        check_size("num_arms", self.num_arms)

    def default_params(self) -> GaussianBanditParams:
        """Return means from -1 to 1, scales of 1 and 100 pulls an episode."""
        return GaussianBanditParams(
            means=jnp.linspace(-1.0, 1.0, self.num_arms, dtype=jnp.float32),
            scales=jnp.ones(self.num_arms, jnp.float32),
            max_steps=jnp.int32(100),
        )

    def draw(self, key: jax.Array, params: GaussianBanditParams) -> GaussianBanditParams:
        """Return `params` with standard normal means."""
        return replace(params, means=jax.random.normal(key, params.means.shape))

    def time_limit(self, params: GaussianBanditParams) -> jax.Array:
        """Return the pulls in an episode."""
        return params.max_steps

    def check_params(self, params: GaussianBanditParams) -> None:
        """Check shapes, and where they are concrete that means are finite and scales positive."""
        check_finite("means", params.means, (self.num_arms,))
        check_positive("scales", params.scales, (self.num_arms,))

    def reward_range(self, params: GaussianBanditParams) -> tuple[float, float]:
        """Return the bounds of the reward: there are none."""
        return -float("inf"), float("inf")

    def expected_rewards(self, state: Pull, params: GaussianBanditParams) -> jax.Array:
        """Return the expected reward of each arm, `[A]` float32."""
        return params.means

    def observation_space(self, params: GaussianBanditParams) -> Discrete:
        """Return the space of the one observation, 0."""
        return Discrete(1)

    def action_space(self, params: GaussianBanditParams) -> Discrete:
        """Return the arms."""
        return Discrete(self.num_arms)

    def reset(self, key: jax.Array, params: GaussianBanditParams) -> tuple[Pull, jax.Array]:
        """Return the first state and the constant observation; ignores `key`."""
        self.check_params(params)
        return no_pull(), jnp.int32(0)

    def step(
        self, key: jax.Array, state: Pull, action: jax.Array, params: GaussianBanditParams
    ) -> tuple[Pull, Step]:
        """Return what pulling arm `action` gave."""
        action = as_action(self.action_space(params), action)
        reward = params.means[action] + params.scales[action] * jax.random.normal(key)
        state = Pull(t=state.t + 1, arm=action, reward=reward)
        metrics = regret_metrics(params.means, action)
        return state, Step(jnp.int32(0), reward, jnp.bool_(False), state.t >= params.max_steps, metrics)

    def ascii(self, state: Pull, params: GaussianBanditParams) -> str:
        """Return the arms' means as text, the last pull in brackets with its reward."""
        return " ".join(
            f"[{float(mean):.2f}:{float(state.reward):.2f}]"
            if arm == int(state.arm)
            else f" {float(mean):.2f} "
            for arm, mean in enumerate(params.means)
        )
