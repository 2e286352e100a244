"""`BernoulliBandit`: arms that pay 1 with a fixed probability, and the regret of pulling them."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.bandits.arms import Pull, no_pull, regret_metrics
from envs.checks import check_probabilities, check_size
from envs.core import Step
from envs.spaces import Discrete, as_action
from envs.tabular import Outcomes


@struct.dataclass
class BanditParams:
    """The arms; they are parameters, so they outlive the episodes.

    Attributes:
      probabilities: `[A]` float32, the chance of each arm to pay 1.
      max_steps: `[]` int32, the pulls in an episode.
    """

    probabilities: jax.Array
    max_steps: jax.Array


# The clock and the last pull are all there is to it.
BanditState = Pull


@dataclass(frozen=True)
class BernoulliBandit:
    """Pull one of `num_arms` arms; the reward is 1 with that arm's probability, else 0.

    A bandit has no end of its own: an episode is `max_steps` pulls (100 by default) and is truncated, never
    terminated. Set `max_steps` to 1 for one pull an episode. The arms stay what they are across episodes;
    draw them per episode with `VecEnv(..., params_dist=env.draw)`.

    Metrics: `regret`, the best arm's probability less the pulled arm's (not the noisy rewards'), and
    `optimal`, 1 where a best arm was pulled.

    Args:
      num_arms: the number of arms; their default probabilities are evenly spaced from 0.1 to 0.9.

    Raises:
      ValueError: if there is no arm, there is not one probability for each, or one lies outside [0, 1].

    >>> env = BernoulliBandit(num_arms=3)
    >>> params = env.default_params().replace(probabilities=jnp.array([0.05, 0.08, 0.12]))
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> state, out = env.step(jax.random.key(1), state, 0, params)
    >>> round(float(out.metrics["regret"]), 2), float(out.metrics["optimal"])
    (0.07, 0.0)

    Source: Lattimore and Szepesvari (2020), Bandit Algorithms, section 4.5 for the regret.
    """

    id: str = "BernoulliBandit-v1"
    num_arms: int = 10

    def __post_init__(self):
        check_size("num_arms", self.num_arms)

    @property
    def num_states(self) -> int:
        """There is one state."""
        return 1

    def default_params(self) -> BanditParams:
        """Return arms from 0.1 to 0.9 and 100 pulls an episode."""
        return BanditParams(
            probabilities=jnp.linspace(0.1, 0.9, self.num_arms, dtype=jnp.float32), max_steps=jnp.int32(100)
        )

    def draw(self, key: jax.Array, params: BanditParams) -> BanditParams:
        """Return `params` with probabilities drawn uniformly from [0, 1)."""
        return replace(params, probabilities=jax.random.uniform(key, params.probabilities.shape))

    def time_limit(self, params: BanditParams) -> jax.Array:
        """Return the pulls in an episode."""
        return params.max_steps

    def check_params(self, params: BanditParams) -> None:
        """Check shapes, and where they are concrete that the probabilities are some."""
        check_probabilities("probabilities", params.probabilities, (self.num_arms,))

    def reward_range(self, params: BanditParams) -> tuple[float, float]:
        """Return the bounds of the reward, 0 and 1."""
        return 0.0, 1.0

    def expected_rewards(self, state: BanditState, params: BanditParams) -> jax.Array:
        """Return the expected reward of each arm, `[A]` float32."""
        return params.probabilities

    def observation_space(self, params: BanditParams) -> Discrete:
        """Return the space of the one observation, 0."""
        return Discrete(1)

    def action_space(self, params: BanditParams) -> Discrete:
        """Return the arms."""
        return Discrete(self.num_arms)

    def reset(self, key: jax.Array, params: BanditParams) -> tuple[BanditState, jax.Array]:
        """Return the first state and the constant observation; ignores `key`."""
        self.check_params(params)
        return no_pull(), jnp.int32(0)

    def step(
        self, key: jax.Array, state: BanditState, action: jax.Array, params: BanditParams
    ) -> tuple[BanditState, Step]:
        """Return what pulling arm `action` gave."""
        action = as_action(self.action_space(params), action)
        reward = (jax.random.uniform(key) < params.probabilities[action]).astype(jnp.float32)
        state = Pull(t=state.t + 1, arm=action, reward=reward)
        metrics = regret_metrics(params.probabilities, action)
        return state, Step(jnp.int32(0), reward, jnp.bool_(False), state.t >= params.max_steps, metrics)

    def state_index(self, state: BanditState, params: BanditParams) -> jax.Array:
        """Return 0."""
        return jnp.int32(0)

    def start_distribution(self, params: BanditParams) -> jax.Array:
        """Return the one state's probability."""
        return jnp.ones(1, jnp.float32)

    def outcomes(self, state_index: jax.Array, action: jax.Array, params: BanditParams) -> Outcomes:
        """Return the two branches of a pull: paid nothing, paid 1."""
        chance = params.probabilities[action]
        return Outcomes(
            probability=jnp.stack([1 - chance, chance]),
            next_state=jnp.zeros(2, jnp.int32),
            reward=jnp.array([0.0, 1.0], jnp.float32),
            terminated=jnp.zeros(2, bool),
        )

    def ascii(self, state: BanditState, params: BanditParams) -> str:
        """Return the arms' probabilities as text, the last pull in brackets with its reward."""
        chances = np.asarray(params.probabilities)
        return " ".join(
            f"[{p:.2f}:{int(state.reward)}]" if arm == int(state.arm) else f" {p:.2f}   "
            for arm, p in enumerate(chances)
        )

    def frame(self, state: BanditState, params: BanditParams) -> np.ndarray:
        """Return the arms as bars, the last pull in colour (green if it paid), `[240, width, 3]` uint8."""
        from envs import render

        chances = np.asarray(params.probabilities)
        canvas = render.Canvas(max(160, 40 * self.num_arms), 240, (0, self.num_arms), (-0.08, 1.05))
        for arm, chance in enumerate(chances):
            color = render.GREY
            if arm == int(state.arm):
                color = render.GREEN if float(state.reward) else render.ORANGE
            box = [(arm + 0.15, 0), (arm + 0.85, 0), (arm + 0.85, chance), (arm + 0.15, chance)]
            canvas.polygon(box, color)
        canvas.line((0, 0), (self.num_arms, 0), 2, render.INK)
        return canvas.array()
