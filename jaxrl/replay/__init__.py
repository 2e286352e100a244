"""Memories of past steps: pure, of fixed size, with a write pointer that all seeds share.

A `Ring` keeps the latest steps of N environments side by side, each observation once. What is drawn from
it, single transitions over n steps or stretches of a trajectory, is looked up when it is drawn, so n, the
discount and the length are not stored. `uniform` and `prioritized` say which are drawn; `reservoir` keeps
a uniform sample of everything ever seen instead of the latest.
"""

from jaxrl.replay import prioritized, reservoir, uniform
from jaxrl.replay.ring import Ring, RingState, Sequence, Step, Transition

__all__ = [
    "Ring",
    "RingState",
    "Sequence",
    "Step",
    "Transition",
    "prioritized",
    "reservoir",
    "uniform",
]
