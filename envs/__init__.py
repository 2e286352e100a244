"""Worlds: jittable environments behind one small protocol, batched by `VecEnv`."""

from envs import bandits, classic, gridworlds, mdps, memory  # noqa: F401  (they register their worlds)
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
