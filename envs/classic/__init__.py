"""Classic control. `Masked...` are the same worlds without velocities in their observations."""

from functools import partial

from envs.classic.acrobot import Acrobot, AcrobotParams, AcrobotState
from envs.classic.cartpole import CartPole, CartPoleParams, CartPoleState
from envs.classic.cartpole_swing_up import CartPoleSwingUp, SwingUpParams
from envs.classic.mountain_car import (
    MountainCar,
    MountainCarContinuous,
    MountainCarParams,
    MountainCarState,
)
from envs.classic.pendulum import Pendulum, PendulumParams, PendulumState
from envs.core import register

__all__ = [
    "Acrobot",
    "AcrobotParams",
    "AcrobotState",
    "CartPole",
    "CartPoleParams",
    "CartPoleState",
    "CartPoleSwingUp",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarParams",
    "MountainCarState",
    "Pendulum",
    "PendulumParams",
    "PendulumState",
    "SwingUpParams",
]

for _world in (Acrobot, CartPole, CartPoleSwingUp, MountainCar, MountainCarContinuous, Pendulum):
    register(_world.id, _world)
    register(f"Masked{_world.id}", partial(_world, id=f"Masked{_world.id}", velocities=False))
