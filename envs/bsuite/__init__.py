"""The worlds of bsuite (Osband et al. 2020) that are nowhere else in `envs`, faithful to its version 0.3.6.

`memory_len` and `memory_size` are `envs.memory.MemoryChain`; a sea of one depth is `envs.mdps.DeepSea` with
images. Vectors come without bsuite's leading axis of 1. The experiments, with their settings and scores, are
in `experiments.bsuite`.
"""

from envs.bsuite.bandit import SimpleBandit, SimpleBanditParams
from envs.bsuite.cartpole import TimedCartPole, TimedSwingUp
from envs.bsuite.catch import Catch, CatchParams, CatchState
from envs.bsuite.deep_sea import PaddedDeepSea, PaddedDeepSeaParams
from envs.bsuite.discounting_chain import DiscountingChain, DiscountingChainParams, DiscountingChainState
from envs.bsuite.image_bandit import (
    ImageBandit,
    ImageBanditParams,
    ImageBanditState,
    load_digits,
    load_mnist,
)
from envs.bsuite.mountain_car import TimedMountainCar
from envs.bsuite.raw_return import RawReturn
from envs.bsuite.umbrella_chain import UmbrellaChain, UmbrellaChainParams, UmbrellaChainState
from envs.core import register

__all__ = [
    "Catch",
    "CatchParams",
    "CatchState",
    "DiscountingChain",
    "DiscountingChainParams",
    "DiscountingChainState",
    "ImageBandit",
    "ImageBanditParams",
    "ImageBanditState",
    "PaddedDeepSea",
    "PaddedDeepSeaParams",
    "RawReturn",
    "SimpleBandit",
    "SimpleBanditParams",
    "TimedCartPole",
    "TimedMountainCar",
    "TimedSwingUp",
    "UmbrellaChain",
    "UmbrellaChainParams",
    "UmbrellaChainState",
    "load_digits",
    "load_mnist",
]

for _world in (
    Catch,
    DiscountingChain,
    SimpleBandit,
    TimedCartPole,
    TimedMountainCar,
    TimedSwingUp,
    UmbrellaChain,
):
    register(_world.id, _world)
