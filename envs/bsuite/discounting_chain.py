"""`DiscountingChain`: the first action chooses when to be paid, and the latest pay may be the best."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Step
from envs.spaces import Box, Discrete, as_action

PAY_STEPS = (1, 3, 10, 30, 100)


@struct.dataclass
class DiscountingChainParams:
    """`rewards`, `[5]` float32: what each chain pays."""

    rewards: jax.Array


@struct.dataclass
class DiscountingChainState:
    """The chosen chain, -1 before the first action, and the clock `t`; both `[]` int32."""

    chain: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class DiscountingChain:
    """Choose one of five chains with the first action: they pay after 1, 3, 10, 30 and 100 steps.

    Each pays 1, but one of them (`bonus`) pays 1.1, the best return. Later actions have no effect; the
    episode terminates after 100 steps. The observation is `[2]` float32: the chain, -1 at the beginning, and
    the share of the time that is over. `reset` and `step` ignore their keys.

    >>> env = DiscountingChain()
    >>> params = env.bonus(env.default_params(), mapping_seed=2)
    >>> at_9 = DiscountingChainState(chain=jnp.int32(2), t=jnp.int32(9))
    >>> round(float(env.step(jax.random.key(0), at_9, 0, params)[1].reward), 1)
    1.1

    Source: Osband et al. (2020), Behaviour suite for reinforcement learning,
    `environments/discounting_chain.py`.
    """

    id: str = "DiscountingChain-bsuite-v1"

    def default_params(self) -> DiscountingChainParams:
        """Return the bonus in the first chain."""
        return self.bonus(DiscountingChainParams(rewards=jnp.ones(len(PAY_STEPS), jnp.float32)), 0)

    def bonus(self, params: DiscountingChainParams, mapping_seed: int) -> DiscountingChainParams:
        """Return `params` with the bonus in chain `mapping_seed` modulo 5, as in bsuite."""
        chosen = jnp.arange(len(PAY_STEPS)) == mapping_seed % len(PAY_STEPS)
        return replace(params, rewards=jnp.where(chosen, jnp.float32(1.1), 1.0))

    def time_limit(self, params: DiscountingChainParams) -> jax.Array:
        """Return 100, the length of every episode."""
        return jnp.int32(PAY_STEPS[-1])

    def observation_space(self, params: DiscountingChainParams) -> Box:
        """Return the bounds of chain and time."""
        return Box((-1.0, 0.0), (len(PAY_STEPS) - 1.0, 1.0), (2,))

    def action_space(self, params: DiscountingChainParams) -> Discrete:
        """Return the chains."""
        return Discrete(len(PAY_STEPS))

    def reset(
        self, key: jax.Array, params: DiscountingChainParams
    ) -> tuple[DiscountingChainState, jax.Array]:
        """Return the state before the choice, and its observation; ignores `key`."""
        state = DiscountingChainState(chain=jnp.int32(-1), t=jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: jax.Array, state: DiscountingChainState, action: jax.Array, params: DiscountingChainParams
    ) -> tuple[DiscountingChainState, Step]:
        """Return the next state and what happened; ignores `key`."""
        action = as_action(self.action_space(params), action)
        chain = jnp.where(state.t == 0, action, state.chain)
        state = DiscountingChainState(chain=chain, t=state.t + 1)
        paid = state.t == jnp.asarray(PAY_STEPS)[chain]
        reward = jnp.where(paid, params.rewards[chain], 0.0)
        terminated = state.t >= PAY_STEPS[-1]
        return state, Step(self._observe(state), reward, terminated, jnp.bool_(False))

    def ascii(self, state: DiscountingChainState, params: DiscountingChainParams) -> str:
        """Return chain and clock as text."""
        chain = int(state.chain)
        chosen = (
            "no chain yet" if chain < 0 else f"paid {float(params.rewards[chain]):.1f} at {PAY_STEPS[chain]}"
        )
        return f"{chosen}, step {int(state.t)} of {PAY_STEPS[-1]}"

    def _observe(self, state: DiscountingChainState) -> jax.Array:
        return jnp.stack([state.chain.astype(jnp.float32), state.t / PAY_STEPS[-1]])
