"""DDPG: the deterministic policy gradient with one critic; TD3 with its three additions off.

A composition, not an algorithm of its own: the fields of `jaxrl.agents.td3.Config` with other defaults.

Source: Lillicrap et al. (2016), https://arxiv.org/abs/1509.02971, algorithm 1, with Gaussian instead of
Ornstein-Uhlenbeck noise; the defaults are those of CleanRL's ddpg_continuous_action_jax.py, which updates the
policy and the target networks after every second update of the critic.
"""

from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import td3
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced


@struct.dataclass
class Config(td3.Config):
    """Hyperparameters of DDPG."""

    target_noise: float = traced(0.0, ge=0)
    """Standard deviation of the noise added to the actions in targets."""
    num_critics: int = static(1, ge=1)
    """Critics that are trained."""
    num_target_critics: int = static(1, ge=1)
    """How many of them, drawn anew for each gradient step if not all, a target takes the least value of."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return DDPG on `env`, whose actions must be a bounded `Box`; see `jaxrl.agents.td3.make`."""
    return td3.make(env, params, config)
