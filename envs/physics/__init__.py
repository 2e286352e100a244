"""What varies between robots, how it is proved to matter, and how fast it may grow."""

from envs.physics.curriculum import ADR, LEVEL, Curriculum, Expandable
from envs.physics.disturbances import DelayedAction, Pushed
from envs.physics.randomization import Randomized, Variation, probe

__all__ = [
    "ADR",
    "LEVEL",
    "Curriculum",
    "DelayedAction",
    "Expandable",
    "Pushed",
    "Randomized",
    "Variation",
    "probe",
]
