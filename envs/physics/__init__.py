"""Small robots; and what varies between robots, how it is proved to matter, and how fast it may grow."""

from envs.core import register
from envs.physics.curriculum import ADR, LEVEL, Curriculum, Expandable
from envs.physics.disturbances import DelayedAction, Pushed
from envs.physics.planar_hopper import PlanarHopper, PlanarHopperParams, PlanarHopperState
from envs.physics.point_robot import PointRobot, PointRobotParams, PointRobotState
from envs.physics.probing import probe
from envs.physics.randomization import Randomized
from envs.physics.reacher import Reacher, ReacherParams, ReacherState
from envs.physics.variation import Variation

__all__ = [
    "ADR",
    "LEVEL",
    "Curriculum",
    "DelayedAction",
    "Expandable",
    "PlanarHopper",
    "PlanarHopperParams",
    "PlanarHopperState",
    "PointRobot",
    "PointRobotParams",
    "PointRobotState",
    "Pushed",
    "Randomized",
    "Reacher",
    "ReacherParams",
    "ReacherState",
    "Variation",
    "probe",
]

for _world in (PlanarHopper, PointRobot, Reacher):
    register(_world.id, _world)
