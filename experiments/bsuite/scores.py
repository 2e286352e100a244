"""bsuite's scores: from the logs of an experiment's settings to a number between 0 and 1.

They are those of bsuite 0.3.6, `experiments/*/analysis.py`. A run that ended early is scored at its last
logged episode.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from experiments.bsuite.suite import EXPERIMENTS, TAGS, Experiment

_LOG_RATIOS = (10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90)


@dataclass(frozen=True)
class Log:
    """What training on one setting logged; L points in time.

    Attributes:
      index: of the setting.
      setting: itself.
      episode: `[L]` int, the number of episodes done.
      total: `[L]` float, the sum of the experiment's measure over these.
      good: whether any episode paid more than `Experiment.good`.
    """

    index: int
    setting: Mapping[str, Any]
    episode: np.ndarray
    total: np.ndarray
    good: bool = False


def log_episodes(num_episodes: int) -> np.ndarray:
    """Return the episodes after which bsuite logs, `[L]` int: about 13 for each power of ten.

    >>> log_episodes(25).tolist()
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25]
    """
    powers = 10 ** np.arange(int(np.log10(max(num_episodes, 1))) + 1)
    tenths = np.outer(powers, _LOG_RATIOS).ravel()
    episodes = tenths[tenths % 10 == 0] // 10
    return episodes[episodes <= num_episodes]


def score(experiment: Experiment, logs: Sequence[Log]) -> float:
    """Return the score of an experiment.

    Args:
      experiment: which.
      logs: one or more of its settings.

    Raises:
      ValueError: if there is no log.
    """
    if not logs:
        raise ValueError(f"`logs` must hold at least one setting of {experiment.name}, got none")
    kind = experiment.name.removeprefix(experiment.family).removeprefix("_")
    of_family = partial(_FAMILIES[experiment.family], episodes=experiment.episodes)
    if not kind:
        return float(of_family(logs))
    level = "noise_scale" if kind == "noise" else "reward_scale"
    scores = [of_family(part) for part in _by(logs, level)]
    mean, deviation = np.mean(scores), np.std(scores)
    return float(0.5 * (np.clip(mean, 0, 1) + np.clip(mean - deviation, 0, 1)))


def tag_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the mean score of each tag's experiments, those that are in `scores`; NaN for a tag without.

    >>> tag_scores({"bandit": 1.0, "catch": 0.5})["basic"]
    0.75
    """
    by_tag = {tag: [value for name, value in scores.items() if tag in EXPERIMENTS[name].tags] for tag in TAGS}
    return {tag: float(np.mean(values)) if values else float("nan") for tag, values in by_tag.items()}


def _end(logs: Sequence[Log], episodes: int) -> int:
    return min(max(int(log.episode.max()) for log in logs), episodes)


def _mean_at_end(logs: Sequence[Log], episodes: int) -> tuple[float, int]:
    """Return the mean over settings of what was summed up to the end, and the end in episodes."""
    end = _end(logs, episodes)
    return float(
        np.mean([log.total[log.episode == end][0] for log in logs if (log.episode == end).any()])
    ), end


def _regret_score(logs: Sequence[Log], baseline: float, episodes: int) -> float:
    total, end = _mean_at_end(logs, episodes)
    return float(np.clip((baseline - total / end) / baseline, 0, 1))


def _return_score(logs: Sequence[Log], best: float, baseline: float, episodes: int) -> float:
    total, end = _mean_at_end(logs, episodes)
    return float(np.clip((baseline - (best - total / end)) / baseline, 0, 1))


def _with_good(logs: Sequence[Log], best: float, episodes: int) -> float:
    good = float(np.mean([log.good for log in logs]))
    return 0.5 * (_return_score(logs, best, best, episodes) + good)


def _swing_up(logs: Sequence[Log], episodes: int) -> float:
    return float(np.mean([_with_good(part, 700, episodes) for part in _by(logs, "height_threshold")]))


def _mnist(logs: Sequence[Log], episodes: int) -> float:
    """Half the regret, half the accuracy over the last tenth of the episodes."""
    accuracy = []
    for log in logs:
        late = log.episode > 0.9 * min(int(log.episode.max()), episodes)
        regret = np.diff(log.total) / np.diff(log.episode)
        accuracy += [1 - 0.5 * rate for rate in regret[late[1:]]]
    return 0.5 * (_regret_score(logs, 1.8, episodes) + float(np.mean(accuracy)))


def _solved(logs: Sequence[Log], threshold: float, first: int, episodes: int) -> float:
    """The share of seas where less than `threshold` of the episodes were bad before 2^n + 100 episodes."""
    beaten = []
    for log in logs:
        counted = (log.episode >= first) & (log.episode <= episodes)
        solved = log.episode[counted & (log.total < threshold * log.episode)]
        beaten.append(solved.size > 0 and solved[0] < 2.0 ** log.setting["size"] + 100)
    return float(np.mean(beaten))


def _share_below(logs: Sequence[Log], threshold: float, level: str, episodes: int) -> float:
    """The share of levels whose mean per episode ended below `threshold`."""
    ends = (_mean_at_end(part, episodes) for part in _by(logs, level))
    return float(np.mean([total / end < threshold for total, end in ends]))


def _discounting(logs: Sequence[Log], episodes: int) -> float:
    total, end = _mean_at_end(logs, episodes)
    return float(np.clip(1 - 10 * (1.1 - total / end), 0, 1))


def _by(logs: Sequence[Log], level: str) -> Iterable[list[Log]]:
    levels = sorted({log.setting[level] for log in logs})
    return ([log for log in logs if log.setting[level] == value] for value in levels)


_FAMILIES: dict[str, Callable[..., float]] = {
    "bandit": partial(_regret_score, baseline=0.5),
    "catch": partial(_regret_score, baseline=1.6),
    "mnist": _mnist,
    "cartpole": partial(_with_good, best=1000.0),
    "cartpole_swingup": _swing_up,
    "mountain_car": partial(_return_score, best=-100.0, baseline=1000.0),
    "deep_sea": partial(_solved, threshold=0.9, first=1),
    "deep_sea_stochastic": partial(_solved, threshold=0.8, first=100),
    "discounting_chain": _discounting,
    # A wrong answer is a regret of 2, and half of all answers at random are wrong: 0.75 times 0.5 times 2.
    "memory_len": partial(_share_below, threshold=0.75, level="memory_length"),
    "memory_size": partial(_share_below, threshold=0.75, level="num_bits"),
    "umbrella_length": partial(_share_below, threshold=0.5, level="chain_length"),
    "umbrella_distract": partial(_share_below, threshold=0.5, level="n_distractor"),
}
