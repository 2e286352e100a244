"""Worlds: jittable environments behind one small protocol, batched by `VecEnv`."""

from envs import (  # noqa: F401  (they register their worlds)
    bandits,
    bsuite,
    classic,
    gridworlds,
    mdps,
    memory,
    minatar,
    physics,
    traffic,
)
from envs.core import Environment, Step, make, names, register, time_limit
from envs.vector import EpisodeStats, VecEnv, VecState, VecStep

__all__ = [
    "Environment",
    "EpisodeStats",
    "Step",
    "VecEnv",
    "VecState",
    "VecStep",
    "make",
    "names",
    "register",
    "time_limit",
]
