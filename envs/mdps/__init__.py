"""Worlds with small exact models that are no maps: explicit arrays, chains, DeepSea, Blackjack."""

from functools import partial

from envs.core import register
from envs.mdps.blackjack import Blackjack, BlackjackParams, BlackjackState, dealer_results, hand_index
from envs.mdps.deep_sea import DeepSea, DeepSeaParams, DeepSeaState
from envs.mdps.exact import ExactState, ExactWorld, sample_index
from envs.mdps.explicit import ExplicitMDP, MDPParams, explicit
from envs.mdps.random import RandomMDP
from envs.mdps.random_walk import RandomWalk
from envs.mdps.riverswim import RiverSwim
from envs.mdps.three_state import ThreeState

__all__ = [
    "Blackjack",
    "BlackjackParams",
    "BlackjackState",
    "DeepSea",
    "DeepSeaParams",
    "DeepSeaState",
    "ExactState",
    "ExactWorld",
    "ExplicitMDP",
    "MDPParams",
    "RandomMDP",
    "RandomWalk",
    "RiverSwim",
    "ThreeState",
    "dealer_results",
    "explicit",
    "hand_index",
    "sample_index",
]

register("RandomMDP-v1", RandomMDP)
register("RandomWalk-v1", RandomWalk)
register("RandomWalk19-v1", partial(RandomWalk, id="RandomWalk19-v1", num_states=21, ends=(-1.0, 1.0)))
register("RiverSwim-v1", RiverSwim)
register("ThreeState-v1", ThreeState)
register("DeepSea-v1", DeepSea)
register("Blackjack-v1", Blackjack)
