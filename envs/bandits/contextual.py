"""`ContextualBandit`: which of several items will this visitor click?"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.bandits.arms import Pull, no_pull, regret_metrics
from envs.checks import check_finite, check_size
from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class ContextualBanditParams:
    """How each arm appeals to each visitor; parameters, so that they outlive the episodes.

    Attributes:
      weights: `[A, D]` float32, of each feature in the logit of a click.
      biases: `[A]` float32, the logit of a click for an average visitor.
      interactions: `[A]` float32, the weight of the product of the first two features: what no linear model
        of the features can see.
      max_steps: `[]` int32, the visitors in an episode.
    """

    weights: jax.Array
    biases: jax.Array
    interactions: jax.Array
    max_steps: jax.Array


@struct.dataclass
class ContextualBanditState:
    """The last pull and the present visitor's features, `[D]` float32."""

    pull: Pull
    context: jax.Array


@dataclass(frozen=True)
class ContextualBandit:
    """See a visitor's features, show one of `num_arms` items; the reward is 1 for a click, else 0.

        P(click | x, a) = sigmoid(biases_a + weights_a . x + interactions_a * x_0 * x_1),   x ~ N(0, I)

    Every step is a new visitor, whatever was shown to the last. An episode is `max_steps` visitors (100 by
    default) and is truncated.

    Metrics: `regret`, the best item's probability for this visitor less the shown one's, and `optimal`.

    Args:
      num_arms: the number of items.
      num_features: D, at least 2.

    Raises:
      ValueError: if there is no arm or only one feature, or a parameter is not finite.

    >>> env = ContextualBandit(num_arms=3, num_features=4)
    >>> state, obs = env.reset(jax.random.key(0), env.default_params())
    >>> obs.shape
    (4,)

    Source: the logistic reward of the synthetic datasets of Saito et al. (2021), "Open Bandit Dataset and
    Pipeline", https://arxiv.org/abs/2008.07146.
    """

    id: str = "ContextualBandit-v1"
    num_arms: int = 5
    num_features: int = 5

    def __post_init__(self):
        check_size("num_arms", self.num_arms)
        check_size("num_features", self.num_features, 2)

    def default_params(self) -> ContextualBanditParams:
        """Return weights drawn once and for all from N(0, 1), clicks of one in four, no interaction."""
        # NumPy's legacy generator is frozen, so these numbers never change.
        weights = np.random.RandomState(0).normal(size=(self.num_arms, self.num_features))
        return ContextualBanditParams(
            weights=jnp.asarray(weights, jnp.float32),
            biases=jnp.full(self.num_arms, -1.0, jnp.float32),
            interactions=jnp.zeros(self.num_arms, jnp.float32),
            max_steps=jnp.int32(100),
        )

    def draw(self, key: jax.Array, params: ContextualBanditParams) -> ContextualBanditParams:
        """Return `params` with standard normal weights."""
        return replace(params, weights=jax.random.normal(key, params.weights.shape))

    def time_limit(self, params: ContextualBanditParams) -> jax.Array:
        """Return the visitors in an episode."""
        return params.max_steps

    def check_params(self, params: ContextualBanditParams) -> None:
        """Check shapes, and where they are concrete that all numbers are finite."""
        check_finite("weights", params.weights, (self.num_arms, self.num_features))
        check_finite("biases", params.biases, (self.num_arms,))
        check_finite("interactions", params.interactions, (self.num_arms,))

    def reward_range(self, params: ContextualBanditParams) -> tuple[float, float]:
        """Return the bounds of the reward, 0 and 1."""
        return 0.0, 1.0

    def expected_rewards(self, state: ContextualBanditState, params: ContextualBanditParams) -> jax.Array:
        """Return each item's probability of a click by the present visitor, `[A]` float32."""
        x = state.context
        return jax.nn.sigmoid(params.weights @ x + params.biases + params.interactions * (x[0] * x[1]))

    def observation_space(self, params: ContextualBanditParams) -> Box:
        """Return the space of a visitor's features."""
        return Box(-float("inf"), float("inf"), (self.num_features,))

    def action_space(self, params: ContextualBanditParams) -> Discrete:
        """Return the items."""
        return Discrete(self.num_arms)

    def reset(
        self, key: jax.Array, params: ContextualBanditParams
    ) -> tuple[ContextualBanditState, jax.Array]:
        """Return the first visitor."""
        self.check_params(params)
        context = jax.random.normal(key, (self.num_features,))
        return ContextualBanditState(pull=no_pull(), context=context), context

    def step(
        self, key: jax.Array, state: ContextualBanditState, action: jax.Array, params: ContextualBanditParams
    ) -> tuple[ContextualBanditState, Step]:
        """Return whether item `action` was clicked, and the next visitor."""
        action = as_action(self.action_space(params), action)
        key_click, key_context = jax.random.split(key)
        expected = self.expected_rewards(state, params)
        reward = (jax.random.uniform(key_click) < expected[action]).astype(jnp.float32)
        context = jax.random.normal(key_context, (self.num_features,))
        pull = Pull(t=state.pull.t + 1, arm=action, reward=reward)
        metrics = regret_metrics(expected, action)
        return ContextualBanditState(pull=pull, context=context), Step(
            context, reward, jnp.bool_(False), pull.t >= params.max_steps, metrics
        )

    def ascii(self, state: ContextualBanditState, params: ContextualBanditParams) -> str:
        """Return each item's probability for the present visitor, the item last shown in brackets."""
        return " ".join(
            f"[{float(chance):.2f}]" if arm == int(state.pull.arm) else f" {float(chance):.2f} "
            for arm, chance in enumerate(self.expected_rewards(state, params))
        )
