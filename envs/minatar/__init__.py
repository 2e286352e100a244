"""The five MinAtar games (Young and Tian 2019), step by step as MinAtar 1.0.15 takes them."""

from envs.core import register
from envs.minatar.asterix import Asterix, AsterixState
from envs.minatar.breakout import Breakout, BreakoutState
from envs.minatar.freeway import Freeway, FreewayState
from envs.minatar.game import MinAtar, MinAtarParams, MinAtarState
from envs.minatar.seaquest import Seaquest, SeaquestState
from envs.minatar.space_invaders import SpaceInvaders, SpaceInvadersState

__all__ = [
    "Asterix",
    "AsterixState",
    "Breakout",
    "BreakoutState",
    "Freeway",
    "FreewayState",
    "MinAtar",
    "MinAtarParams",
    "MinAtarState",
    "Seaquest",
    "SeaquestState",
    "SpaceInvaders",
    "SpaceInvadersState",
]

for _game in (Asterix, Breakout, Freeway, Seaquest, SpaceInvaders):
    register(_game.id, _game)
