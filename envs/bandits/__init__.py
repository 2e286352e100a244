"""Bandits: rewards depend on the arm pulled, and never on the arms pulled before."""

from envs.bandits.bernoulli import BanditParams, BanditState, BernoulliBandit
from envs.bandits.contextual import ContextualBandit, ContextualBanditParams
from envs.bandits.drifting import DriftingBandit, DriftingBanditParams
from envs.bandits.gaussian import GaussianBandit, GaussianBanditParams
from envs.bandits.slate import SlateBandit, SlateBanditParams
from envs.core import register

__all__ = [
    "BanditParams",
    "BanditState",
    "BernoulliBandit",
    "ContextualBandit",
    "ContextualBanditParams",
    "DriftingBandit",
    "DriftingBanditParams",
    "GaussianBandit",
    "GaussianBanditParams",
    "SlateBandit",
    "SlateBanditParams",
]

register("BernoulliBandit-v1", BernoulliBandit)
register("ContextualBandit-v1", ContextualBandit)
register("DriftingBandit-v1", DriftingBandit)
register("GaussianBandit-v1", GaussianBandit)
register("SlateBandit-v1", SlateBandit)
