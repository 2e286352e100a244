"""Road traffic."""

from envs.core import register
from envs.traffic.intersection import (
    REWARDS,
    TERMS,
    Intersection,
    IntersectionParams,
    IntersectionState,
    RewardWeights,
    trip_left,
    weights,
)

__all__ = [
    "REWARDS",
    "TERMS",
    "Intersection",
    "IntersectionParams",
    "IntersectionState",
    "RewardWeights",
    "trip_left",
    "weights",
]

register("Intersection-v1", Intersection)
