"""Worlds on a grid: one engine (`GridWorld`), several maps and rules."""

from functools import partial

from envs.core import register
from envs.gridworlds.cliff import CliffWalking
from envs.gridworlds.four_rooms import FourRooms
from envs.gridworlds.frozen_lake import MAP_4X4, MAP_8X8, FrozenLake, random_lake
from envs.gridworlds.grid import (
    FLOOR,
    GOAL,
    PIT,
    WALL,
    GridParams,
    GridState,
    GridWorld,
    is_solvable,
    place_goal,
)
from envs.gridworlds.key_door import KeyDoor, KeyDoorParams
from envs.gridworlds.maze import BLOCKING_MAZE, DYNA_MAZE, SHORTCUT_MAZE, DynaMaze
from envs.gridworlds.multi_room import MultiRoom
from envs.gridworlds.taxi import Taxi, TaxiParams
from envs.gridworlds.windy import WindyGridWorld

__all__ = [
    "BLOCKING_MAZE",
    "DYNA_MAZE",
    "FLOOR",
    "GOAL",
    "PIT",
    "SHORTCUT_MAZE",
    "WALL",
    "CliffWalking",
    "DynaMaze",
    "FourRooms",
    "FrozenLake",
    "GridParams",
    "GridState",
    "GridWorld",
    "KeyDoor",
    "KeyDoorParams",
    "MultiRoom",
    "Taxi",
    "TaxiParams",
    "WindyGridWorld",
    "is_solvable",
    "place_goal",
    "random_lake",
]

register("GridWorld-v1", GridWorld)
register("WindyGridWorld-v1", WindyGridWorld)
register("FrozenLake4x4-v1", partial(FrozenLake, id="FrozenLake4x4-v1", map=MAP_4X4))
register("FrozenLake8x8-v1", partial(FrozenLake, id="FrozenLake8x8-v1", map=MAP_8X8))
register("FourRooms-v1", FourRooms)
register("CliffWalking-v1", CliffWalking)
register("CliffWalkingSlippery-v1", partial(CliffWalking, id="CliffWalkingSlippery-v1", slippery=True))
register("DynaMaze-v1", DynaMaze)
register("Taxi-v1", Taxi)
register("KeyDoor-v1", KeyDoor)
register("MultiRoom-v1", MultiRoom)
