"""`SlateBandit`: fill the slots of a page; every slot may be clicked."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct

from envs.checks import check_probabilities, check_size
from envs.core import Step
from envs.spaces import Box, MultiDiscrete, as_action


@struct.dataclass
class SlateBanditParams:
    """How likely items are liked and slots are looked at.

    Attributes:
      attraction: `[I]` float32, the chance that an item is clicked if looked at.
      examination: `[K]` float32, the chance that a slot is looked at.
      max_steps: `[]` int32, the slates in an episode.
    """

    attraction: jax.Array
    examination: jax.Array
    max_steps: jax.Array


@struct.dataclass
class SlateBanditState:
    """The clock `t`, `[]` int32, the last slate `[K]` int32 (-1 before it), and its clicks `[K]` float32."""

    t: jax.Array
    slate: jax.Array
    clicks: jax.Array


@dataclass(frozen=True)
class SlateBandit:
    """Put one of `num_items` items into each of `num_slots` slots; the reward is the number of clicks.

        P(click on slot k) = examination_k * attraction_(item in k); 0 where a slot above shows the item too

    The position-based click model. The observation tells which slots of the last slate were clicked. An
    episode is `max_steps` slates (100 by default) and is truncated, never terminated.

    Metrics: `regret`, the expected clicks of the best slate less those of this one, and `optimal`.

    Args:
      num_items: I.
      num_slots: K, at most I.

    Raises:
      ValueError: if the sizes do not fit, or a probability lies outside [0, 1].

    >>> env = SlateBandit(num_items=4, num_slots=2)
    >>> params = env.default_params()
    >>> state, obs = env.reset(jax.random.key(0), params)
    >>> best = jnp.argsort(-params.attraction)[:2]
    >>> float(env.step(jax.random.key(1), state, best, params)[1].metrics["regret"])
    0.0

    Source: Richardson et al. (2007) and Craswell et al. (2008) for the click model; Lagrée et al. (2016),
    https://arxiv.org/abs/1606.02448, for the bandit.
    """

    id: str = "SlateBandit-v1"
    num_items: int = 10
    num_slots: int = 3

    def __post_init__(self):
        check_size("num_items", self.num_items)
        check_size("num_slots", self.num_slots)
        if self.num_slots > self.num_items:
            most = f"at most num_items = {self.num_items}"
            raise ValueError(f"`num_slots` must be at least 1 and {most}, got {self.num_slots}")

    def default_params(self) -> SlateBanditParams:
        """Return attractions from 0.1 to 0.9, slots looked at 1, 1/2, 1/3, ... of the time, 100 slates."""
        return SlateBanditParams(
            attraction=jnp.linspace(0.1, 0.9, self.num_items, dtype=jnp.float32),
            examination=1.0 / jnp.arange(1, self.num_slots + 1, dtype=jnp.float32),
            max_steps=jnp.int32(100),
        )

    def draw(self, key: jax.Array, params: SlateBanditParams) -> SlateBanditParams:
        """Return `params` with attractions drawn uniformly from [0, 1)."""
        return replace(params, attraction=jax.random.uniform(key, params.attraction.shape))

    def time_limit(self, params: SlateBanditParams) -> jax.Array:
        """Return the slates in an episode."""
        return params.max_steps

    def check_params(self, params: SlateBanditParams) -> None:
        """Check shapes, and where they are concrete that the probabilities are some."""
        check_probabilities("attraction", params.attraction, (self.num_items,))
        check_probabilities("examination", params.examination, (self.num_slots,))

    def reward_range(self, params: SlateBanditParams) -> tuple[float, float]:
        """Return the bounds of the reward: 0 and the number of slots."""
        return 0.0, float(self.num_slots)

    def click_probabilities(self, slate: jax.Array, params: SlateBanditParams) -> jax.Array:
        """Return the chance of a click on each slot of `slate` `[K]` int32, `[K]` float32."""
        slot = jnp.arange(self.num_slots)
        repeated = jnp.any((slate[:, None] == slate[None]) & (slot[None] < slot[:, None]), axis=1)
        return jnp.where(repeated, 0.0, params.examination * params.attraction[slate])

    def observation_space(self, params: SlateBanditParams) -> Box:
        """Return the space of the last slate's clicks, 0 or 1 a slot."""
        return Box(0.0, 1.0, (self.num_slots,))

    def action_space(self, params: SlateBanditParams) -> MultiDiscrete:
        """Return an item for each slot."""
        return MultiDiscrete((self.num_items,) * self.num_slots)

    def reset(self, key: jax.Array, params: SlateBanditParams) -> tuple[SlateBanditState, jax.Array]:
        """Return the first state, no click yet; ignores `key`."""
        self.check_params(params)
        clicks = jnp.zeros(self.num_slots, jnp.float32)
        return SlateBanditState(
            t=jnp.int32(0), slate=jnp.full(self.num_slots, -1, jnp.int32), clicks=clicks
        ), clicks

    def step(
        self, key: jax.Array, state: SlateBanditState, action: jax.Array, params: SlateBanditParams
    ) -> tuple[SlateBanditState, Step]:
        """Return what was clicked on the slate `action`."""
        slate = as_action(self.action_space(params), action)
        chance = self.click_probabilities(slate, params)
        clicks = (jax.random.uniform(key, (self.num_slots,)) < chance).astype(jnp.float32)
        # The best slate puts the most attractive items where most is looked at.
        best = jnp.sum(jnp.sort(params.examination) * jnp.sort(params.attraction)[-self.num_slots :])
        regret = jnp.maximum(best - jnp.sum(chance), 0.0)
        metrics = {"regret": regret, "optimal": (regret < 1e-6).astype(jnp.float32)}
        state = SlateBanditState(t=state.t + 1, slate=slate, clicks=clicks)
        return state, Step(clicks, jnp.sum(clicks), jnp.bool_(False), state.t >= params.max_steps, metrics)

    def ascii(self, state: SlateBanditState, params: SlateBanditParams) -> str:
        """Return the last slate, an item a slot, `*` where it was clicked."""
        slots = zip(state.slate.tolist(), state.clicks.tolist(), strict=True)
        return " ".join(f"[{'-' if item < 0 else item}{'*' if click else ' '}]" for item, click in slots)
