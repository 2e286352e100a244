"""Classic control."""

from envs.classic.cartpole import CartPole, CartPoleParams, CartPoleState
from envs.core import register

__all__ = ["CartPole", "CartPoleParams", "CartPoleState"]

register("CartPole-v1", CartPole)
