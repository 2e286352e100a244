"""Rainbow: C51 with double targets, dueling streams, prioritised replay, three steps and noisy layers.

A composition, not an algorithm of its own: the fields of `jaxrl.agents.c51.Config` with other defaults.

Source: Hessel et al. (2018), https://arxiv.org/abs/1710.02298, table 1 for what it combines; learning rate,
replay and period of the target network are C51's here, since the paper's are for 200 million frames.
"""

from flax import struct

from envs.core import Environment, Params
from jaxrl.agents import c51
from jaxrl.algorithm import Algorithm
from jaxrl.config import static, traced


@struct.dataclass
class Config(c51.Config):
    """Hyperparameters of Rainbow."""

    epsilon_start: float = traced(0.0, ge=0, le=1)
    """Chance of a random action at the start; the noisy layers explore."""
    epsilon_end: float = traced(0.0, ge=0, le=1)
    """Chance of a random action once exploration has ended."""
    priority_exponent: float = traced(0.5, ge=0, le=1)
    """How much errors decide what is replayed (prioritized); 0 is uniform."""
    num_atoms: int = static(51, ge=2)
    """Values that the return may take, evenly spaced."""
    n_step: int = static(3, ge=1)
    """Rewards that a target sums before it bootstraps."""
    double: bool = static(True)
    """Whether the online network chooses the action whose distribution the target network predicts."""
    dueling: bool = static(True)
    """Whether the network splits into a value and advantages."""
    noisy: bool = static(True)
    """Whether the dense layers have learned noise to explore with."""
    prioritized: bool = static(True)
    """Whether transitions are replayed in proportion to their errors."""


def make(env: Environment, params: Params, config: Config) -> Algorithm:
    """Return Rainbow on `env`, whose actions must be `Discrete`; see `jaxrl.agents.c51.make`."""
    return c51.make(env, params, config)
