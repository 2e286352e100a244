"""Bandits: one state, several arms."""

from envs.bandits.bernoulli import BanditParams, BanditState, BernoulliBandit
from envs.core import register

__all__ = ["BanditParams", "BanditState", "BernoulliBandit"]

register("BernoulliBandit-v1", BernoulliBandit)
