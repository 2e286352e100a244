"""`DriftingBandit`: arms whose means wander, or jump, while they are pulled."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from envs.bandits.arms import Pull, no_pull, regret_metrics
from envs.checks import check_finite, check_positive, check_probabilities, check_size
from envs.core import Step
from envs.spaces import Discrete, as_action


@struct.dataclass
class DriftingBanditParams:
    """Where the means start and how they change.

    Attributes:
      means: `[A]` float32, the expected rewards at the start of an episode.
      scale: `[]` float32, the standard deviation of a reward.
      drift: `[]` float32, the standard deviation of each mean's change at every pull.
      switch_probability: `[]` float32, the chance at every pull that all means are drawn anew.
      spread: `[]` float32, the standard deviation of the means so drawn.
      max_steps: `[]` int32, the pulls in an episode.
    """

    means: jax.Array
    scale: jax.Array
    drift: jax.Array
    switch_probability: jax.Array
    spread: jax.Array
    max_steps: jax.Array


@struct.dataclass
class DriftingBanditState:
    """The last pull and the present means, `[A]` float32."""

    pull: Pull
    means: jax.Array


@dataclass(frozen=True)
class DriftingBandit:
    """Pull one of `num_arms` arms whose means take a random walk, pulled or not, and may switch abruptly.

    An episode is `max_steps` pulls (1,000 by default) and is truncated; the next starts from the first means.
    The default is the nonstationary testbed of Sutton and Barto: equal means that wander by 0.01 a pull.

    Metrics: `regret`, the best of the present means less the pulled arm's, and `optimal`.

    Args:
      num_arms: the number of arms.

    Raises:
      ValueError: if there is no arm, or a parameter is out of its range.

    >>> env = DriftingBandit(num_arms=3)
    >>> params = env.default_params()
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> state, out = env.step(jax.random.key(1), state, 0, params)
    >>> bool(jnp.all(state.means != params.means))
    True

    Source: Sutton and Barto (2018), exercise 2.5; Garivier and Moulines (2008) for the switches.
    """

    id: str = "DriftingBandit-v1"
    num_arms: int = 10

    def __post_init__(self):
        check_size("num_arms", self.num_arms)

    def default_params(self) -> DriftingBanditParams:
        """Return equal means that wander by 0.01 a pull and never switch, and 1,000 pulls an episode."""
        return DriftingBanditParams(
            means=jnp.zeros(self.num_arms, jnp.float32),
            scale=jnp.float32(1.0),
            drift=jnp.float32(0.01),
            switch_probability=jnp.float32(0.0),
            spread=jnp.float32(1.0),
            max_steps=jnp.int32(1000),
        )

    def time_limit(self, params: DriftingBanditParams) -> jax.Array:
        """Return the pulls in an episode."""
        return params.max_steps

    def check_params(self, params: DriftingBanditParams) -> None:
        """Check shapes, and where they are concrete that each number is in its range."""
        check_finite("means", params.means, (self.num_arms,))
        check_positive("scale", params.scale, ())
        check_finite("drift", params.drift, ())
        check_finite("spread", params.spread, ())
        check_probabilities("switch_probability", params.switch_probability, ())

    def reward_range(self, params: DriftingBanditParams) -> tuple[float, float]:
        """Return the bounds of the reward: there are none."""
        return -float("inf"), float("inf")

    def expected_rewards(self, state: DriftingBanditState, params: DriftingBanditParams) -> jax.Array:
        """Return the present expected reward of each arm, `[A]` float32."""
        return state.means

    def observation_space(self, params: DriftingBanditParams) -> Discrete:
        """Return the space of the one observation, 0."""
        return Discrete(1)

    def action_space(self, params: DriftingBanditParams) -> Discrete:
        """Return the arms."""
        return Discrete(self.num_arms)

    def reset(self, key: jax.Array, params: DriftingBanditParams) -> tuple[DriftingBanditState, jax.Array]:
        """Return the first state and the constant observation; ignores `key`."""
        self.check_params(params)
        return DriftingBanditState(pull=no_pull(), means=params.means), jnp.int32(0)

    def step(
        self, key: jax.Array, state: DriftingBanditState, action: jax.Array, params: DriftingBanditParams
    ) -> tuple[DriftingBanditState, Step]:
        """Return what pulling arm `action` gave; then the means change."""
        action = as_action(self.action_space(params), action)
        key_normal, key_switch = jax.random.split(key)
        noise = jax.random.normal(key_normal, (1 + self.num_arms,))
        reward = state.means[action] + params.scale * noise[0]
        metrics = regret_metrics(state.means, action)
        switched = jax.random.uniform(key_switch) < params.switch_probability
        means = jnp.where(switched, params.spread * noise[1:], state.means + params.drift * noise[1:])
        pull = Pull(t=state.pull.t + 1, arm=action, reward=reward)
        truncated = pull.t >= params.max_steps
        return DriftingBanditState(pull=pull, means=means), Step(
            jnp.int32(0), reward, jnp.bool_(False), truncated, metrics
        )

    def ascii(self, state: DriftingBanditState, params: DriftingBanditParams) -> str:
        """Return the present means as text, the last pull in brackets with its reward."""
        return " ".join(
            f"[{float(mean):.2f}:{float(state.pull.reward):.2f}]"
            if arm == int(state.pull.arm)
            else f" {float(mean):.2f} "
            for arm, mean in enumerate(state.means)
        )
