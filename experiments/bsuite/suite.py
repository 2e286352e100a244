"""What bsuite is: experiments, settings, numbers of episodes and tags, and the world of each setting.

Settings and tags are those of bsuite 0.3.6. Experiments that share an environment share a program: noise and
scale are wrappers whose numbers are traced, and the base experiment has noise 0 and scale 1. Where settings
differ in shape (the depth of the sea, numbers of bits and of distractors), observations are padded with
zeros to the largest of the settings that are run: worlds and scores stay what they are, but a network's first
layer is as wide as the largest needs, and so is drawn with other weights than one of the setting's own width.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from envs import bsuite
from envs.bsuite.deep_sea import MAPPING_SEED
from envs.core import Environment, Params, unknown
from envs.memory import MemoryChain
from envs.wrappers import TransformReward

TAGS = ("basic", "noise", "scale", "exploration", "credit_assignment", "generalization", "memory")
_NOISE = (0.1, 0.3, 1.0, 3.0, 10.0)
_SCALE = (0.001, 0.03, 1.0, 30.0, 1000.0)
_SIZES = (*range(1, 11), 12, 14, 17, 20, 25)
_LENGTHS = (*_SIZES, *range(30, 101, 10))

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One of the 23 experiments.

    Attributes:
      name: as bsuite calls it.
      tags: what its score counts to.
      episodes: how many each setting is trained for.
      settings: what varies, as bsuite's constructors call it; empty where only the seed does.
      measure: the metric whose sum is logged and scored: "regret", "raw_return" or "bad_episode".
      good: an episode with a greater raw return counts as good (cart-poles only).
      quick: the settings of the quick profile, as indices.
      quick_episodes: how many episodes each of these is trained for.
    """

    name: str
    tags: tuple[str, ...]
    episodes: int
    settings: tuple[Setting, ...]
    measure: str
    good: float
    quick: tuple[int, ...]
    quick_episodes: int

    @property
    def family(self) -> str:
        """The name without "_noise" and "_scale"."""
        return self.name.removesuffix("_noise").removesuffix("_scale")


@dataclass(frozen=True)
class Cell:
    """One setting to train on.

    Attributes:
      experiment: it belongs to.
      index: of the setting in `experiment.settings`, as in bsuite's ids ("catch/3").
      episodes: how many it is trained for.
      params: of the environment, which it shares with its group.
      horizon: the most steps an episode can have.
    """

    experiment: Experiment
    index: int
    episodes: int
    params: Params
    horizon: int


@dataclass(frozen=True)
class Group:
    """Cells that differ in numbers only, so that one program trains them all."""

    env: Environment
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Images:
    """Pictures and labels for `mnist`, and what they are: "mnist" or "digits"."""

    name: str
    images: Any
    labels: Any


def _experiment(
    name: str,
    tags: str,
    episodes: int,
    settings: Sequence[Setting],
    measure: str,
    quick: Sequence[int],
    quick_episodes: int,
    good: float = 0.0,
) -> Experiment:
    return Experiment(
        name, tuple(tags.split()), episodes, tuple(settings), measure, good, tuple(quick), quick_episodes
    )


def _variants(
    name: str,
    tags: str,
    variant_tags: str,
    episodes: int,
    base: Sequence[Setting],
    measure: str,
    quick_episodes: int,
    good: float = 0.0,
) -> list[Experiment]:
    """Return an experiment with its noise and its scale variant: five levels, four settings of each."""
    made = [_experiment(name, tags, episodes, base, measure, range(4), quick_episodes, good)]
    for tag, field, levels in (("noise", "noise_scale", _NOISE), ("scale", "reward_scale", _SCALE)):
        settings = [{field: level, **one} for level in levels for one in base[:4]]
        all_tags = f"{tag} {variant_tags}"
        quick = range(0, 20, 4)
        made.append(
            _experiment(f"{name}_{tag}", all_tags, episodes, settings, measure, quick, quick_episodes, good)
        )
    return made


_SEEDS: list[Setting] = [{}] * 20
_MAPPINGS: list[Setting] = [{"mapping_seed": seed} for seed in range(20)]
_SEAS: list[Setting] = [{"size": size, "mapping_seed": MAPPING_SEED} for size in range(10, 51, 2)]

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *_variants("bandit", "basic", "", 10_000, _MAPPINGS, "regret", 10_000),
        *_variants("mnist", "basic generalization", "generalization", 10_000, _SEEDS, "regret", 10_000),
        *_variants("catch", "basic credit_assignment", "credit_assignment", 10_000, _SEEDS, "regret", 10_000),
        *_variants(
            "mountain_car", "basic generalization", "generalization", 1_000, _SEEDS, "raw_return", 300
        ),
        *_variants(
            "cartpole",
            "basic credit_assignment generalization",
            "generalization",
            1_000,
            _SEEDS,
            "raw_return",
            300,
            good=500.0,
        ),
        _experiment("deep_sea", "exploration", 10_000, _SEAS, "bad_episode", (0, 2, 5), 10_000),
        _experiment(
            "deep_sea_stochastic", "exploration noise", 10_000, _SEAS, "bad_episode", (0, 2, 5), 10_000
        ),
        _experiment(
            "cartpole_swingup",
            "exploration generalization",
            1_000,
            [{"height_threshold": n / 20, "x_reward_threshold": 1 - n / 20} for n in range(20)],
            "raw_return",
            (0, 5, 10, 15),
            300,
            good=100.0,
        ),
        _experiment(
            "umbrella_length",
            "credit_assignment noise",
            10_000,
            [{"chain_length": n, "n_distractor": 20} for n in _LENGTHS],
            "regret",
            (0, 4, 9, 13),
            10_000,
        ),
        _experiment(
            "umbrella_distract",
            "credit_assignment noise",
            10_000,
            [{"n_distractor": n} for n in _LENGTHS],
            "regret",
            (0, 9, 15, 22),
            10_000,
        ),
        _experiment(
            "discounting_chain", "credit_assignment", 1_000, _MAPPINGS, "raw_return", range(5), 1_000
        ),
        _experiment(
            "memory_len",
            "memory",
            10_000,
            [{"memory_length": n} for n in _LENGTHS],
            "regret",
            (0, 1, 2, 9, 13),
            10_000,
        ),
        _experiment(
            "memory_size",
            "memory",
            10_000,
            [{"num_bits": n} for n in (*_SIZES, 30, 40)],
            "regret",
            (0, 1, 4, 9, 16),
            10_000,
        ),
    )
}


def groups(
    names: Sequence[str], profile: str, images: Images | None = None, episodes: int | None = None
) -> list[Group]:
    """Return what is to be trained, in as few groups as there are environments.

    Args:
      names: of experiments.
      profile: "full" for the published settings and numbers of episodes, "quick" for a part of them.
      images: for `mnist` and its variants, which are left out without.
      episodes: at most so many for each setting.

    Raises:
      ValueError: for an unknown experiment or profile.

    >>> [len(group.cells) for group in groups(["bandit", "bandit_noise", "umbrella_length"], "full")]
    [40, 23]
    """
    if profile not in ("quick", "full"):
        raise ValueError(f"`profile` must be 'quick' or 'full', got {profile!r}")
    for name in names:
        if name not in EXPERIMENTS:
            raise ValueError(unknown("experiment", name, list(EXPERIMENTS)))
    cells: dict[Environment, list[Cell]] = {}
    for experiment in EXPERIMENTS.values():
        if experiment.name not in names or (experiment.family == "mnist" and images is None):
            continue
        chosen = experiment.quick if profile == "quick" else range(len(experiment.settings))
        count = experiment.quick_episodes if profile == "quick" else experiment.episodes
        env, made = worlds(experiment, [experiment.settings[i] for i in chosen], images)
        count = count if episodes is None else min(count, episodes)
        for index, (params, horizon) in zip(chosen, made, strict=True):
            cells.setdefault(env, []).append(Cell(experiment, index, count, params, horizon))
    return [Group(env, tuple(members)) for env, members in cells.items()]


def worlds(
    experiment: Experiment, settings: Sequence[Setting], images: Images | None = None
) -> tuple[Environment, list[tuple[Params, int]]]:
    """Return the environment of an experiment, and for each setting its params and longest episode.

    The environment is as large as the largest of `settings` needs; the params of the others pad it.
    """
    base, inner = _base(experiment, settings, images)
    raw = bsuite.RawReturn(base, good=experiment.good)
    env = TransformReward(raw) if experiment.family in _VARIED else raw
    made = []
    for setting, (params, horizon) in zip(settings, inner, strict=True):
        params = raw.wrap_params(params)
        if isinstance(env, TransformReward):
            params = env.wrap_params(params)
            changes = {"scale": setting.get("reward_scale", 1.0), "noise": setting.get("noise_scale", 0.0)}
            values = {name: jnp.float32(value) for name, value in changes.items()}
            params = replace(params, values=params.values | values)
        made.append((params, horizon))
    return env, made


_VARIED = ("bandit", "mnist", "catch", "mountain_car", "cartpole")


def _base(
    experiment: Experiment, settings: Sequence[Setting], images: Images | None
) -> tuple[Any, list[tuple[Params, int]]]:
    match experiment.family:
        case "bandit":
            env = bsuite.SimpleBandit()
            return env, [(env.shuffle(env.default_params(), s["mapping_seed"]), 1) for s in settings]
        case "mnist":
            if images is None:
                raise ValueError(f"`images` must be given for {experiment.name}")
            env = bsuite.ImageBandit(height=images.images.shape[1], width=images.images.shape[2])
            return env, [(env.with_images(images.images, images.labels), 1)] * len(settings)
        case "catch":
            env = bsuite.Catch()
            return env, [(env.default_params(), env.rows - 1)] * len(settings)
        case "mountain_car":
            env = bsuite.TimedMountainCar()
            return env, [(env.default_params(), 1000)] * len(settings)
        case "cartpole":
            env = bsuite.TimedCartPole()
            return env, [(env.default_params(), 1001)] * len(settings)
        case "cartpole_swingup":
            env = bsuite.TimedSwingUp()
            default = env.default_params()
            return env, [
                (
                    replace(
                        default,
                        height=jnp.float32(s["height_threshold"]),
                        near=jnp.float32(s["x_reward_threshold"]),
                    ),
                    1001,
                )
                for s in settings
            ]
        case "deep_sea" | "deep_sea_stochastic":
            env = bsuite.PaddedDeepSea(size=max(s["size"] for s in settings))
            stochastic = experiment.family == "deep_sea_stochastic"
            return env, [(env.sea(s["size"], stochastic, s["mapping_seed"]), s["size"]) for s in settings]
        case "umbrella_length" | "umbrella_distract":
            env = bsuite.UmbrellaChain(max_distractors=max(s["n_distractor"] for s in settings))
            lengths = [s.get("chain_length", 20) for s in settings]
            return env, [
                (bsuite.UmbrellaChainParams(jnp.int32(length), jnp.int32(s["n_distractor"])), length)
                for s, length in zip(settings, lengths, strict=True)
            ]
        case "discounting_chain":
            env = bsuite.DiscountingChain()
            return env, [(env.bonus(env.default_params(), s["mapping_seed"]), 100) for s in settings]
        case "memory_len" | "memory_size":
            env = MemoryChain(num_bits=max(s.get("num_bits", 1) for s in settings))
            default, made = env.default_params(), []
            for s in settings:
                length = s.get("memory_length", 2)
                bits = jnp.int32(s.get("num_bits", 1))
                made.append((replace(default, length=jnp.int32(length), in_use=bits), length + 1))
            return env, made
    raise ValueError(unknown("experiment", experiment.name, list(EXPERIMENTS)))


def images(source: str) -> Images | None:
    """Return the pictures that `mnist` is to be run with, or None.

    Args:
      source: a folder with MNIST's files; "digits" for scikit-learn's, which are no MNIST; "none"; or "auto"
        for the digits if scikit-learn is installed.

    Raises:
      ValueError: if the folder does not hold the files.
      ImportError: if scikit-learn is asked for and not installed.
    """
    if source == "none" or (source == "auto" and importlib.util.find_spec("sklearn") is None):
        return None
    if source in ("auto", "digits"):
        return Images("digits", *bsuite.load_digits())
    return Images("mnist", *bsuite.load_mnist(Path(source)))
