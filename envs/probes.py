"""Five probe environments with known values, each of which isolates one part of a learner.

If a learner fails a probe and passes the ones before it, the fault is known: the value loss, the
use of observations, discounting, the policy update, or the two together. Every episode of the
first four is at most two steps long; all observations are `[1]` float32.

Source: Andy Jones, "Debugging RL, without the agonizing pain" (2021), section "Probe environments".
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Step
from envs.spaces import Box, Discrete, as_action


@struct.dataclass
class ProbeParams:
    """The size of the rewards: `scale`, `[]` float32."""

    scale: jax.Array


@struct.dataclass
class ProbeState:
    """What is seen, `signal` `[]` float32 in {-1, 0, 1}, and the clock, `t` `[]` int32."""

    signal: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Probe:
    """A probe environment.

    Attributes:
      id: its name.
      num_actions: how many actions there are.
      num_steps: the length of an episode.
      random: whether the observation is drawn from {-1, 1} (else it is 0, then 1 at the second step).
      reward: "constant" (1 at the last step), "signal" (the observation), "action" (1 for action 1, -1 for
        0), or "match" (1 if the action is 1 where the observation is 1 and 0 where it is -1, else -1).
    """

    id: str
    num_actions: int
    num_steps: int
    random: bool
    reward: str

    def default_params(self) -> ProbeParams:
        """Return rewards of size 1."""
        return ProbeParams(scale=jnp.float32(1.0))

    def reset(self, key, params):
        """Return the first state and observation."""
        signal = jnp.where(jax.random.bernoulli(key), 1.0, -1.0) if self.random else jnp.zeros(())
        state = ProbeState(signal=signal.astype(jnp.float32), t=jnp.int32(0))
        return state, state.signal[None]

    def step(self, key, state, action, params):
        """Return the next state and what happened."""
        t = state.t + 1
        last = t >= self.num_steps
        signed = jnp.where(as_action(self.action_space(params), action) == 1, 1.0, -1.0)
        reward = {
            "constant": 1.0 * last,
            "signal": state.signal,
            "action": signed,
            "match": signed * state.signal,
        }[self.reward]
        signal = state.signal if self.random else jnp.ones_like(state.signal)
        state = ProbeState(signal=signal, t=t)
        step = Step(
            obs=signal[None],
            reward=(params.scale * reward).astype(jnp.float32),
            terminated=last,
            truncated=jnp.zeros((), bool),
        )
        return state, step

    def observation_space(self, params) -> Box:
        """Return the space of observations."""
        return Box(-1.0, 1.0, (1,))

    def action_space(self, params) -> Discrete:
        """Return the space of actions."""
        return Discrete(self.num_actions)

    def time_limit(self, params) -> int:
        """Return the length of an episode."""
        return self.num_steps


# V(0) = 1: the value loss and the optimiser.
CONSTANT_REWARD = Probe("ConstantReward", 1, 1, random=False, reward="constant")
# V(o) = o: the observation reaches the value network.
REWARD_BY_OBSERVATION = Probe("RewardByObservation", 1, 1, random=True, reward="signal")
# V(0) = gamma, V(1) = 1: discounting and bootstrapping.
DELAYED_REWARD = Probe("DelayedReward", 1, 2, random=False, reward="constant")
# V(0) = 1 under the optimal policy, action 1: the policy update.
ACTION_MATTERS = Probe("ActionMatters", 2, 1, random=False, reward="action")
# V(o) = 1 under the optimal policy, the action that matches the observation: everything together.
ACTION_BY_OBSERVATION = Probe("ActionByObservation", 2, 1, random=True, reward="match")

ALL = (CONSTANT_REWARD, REWARD_BY_OBSERVATION, DELAYED_REWARD, ACTION_MATTERS, ACTION_BY_OBSERVATION)
