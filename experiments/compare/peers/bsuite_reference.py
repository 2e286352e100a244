"""`python experiments/compare/peers/bsuite_reference.py`: what bsuite 0.3.6 itself does and scores, as JSON.

Run by the Python of an environment with `pip install --no-deps bsuite==0.3.6 dm_env` and
`pip install "pandas<2" "numpy<2" plotnine==0.12.4 immutabledict scikit-image absl-py six termcolor`. Writes
`tests/envs/bsuite_steps.json` (single steps from random states) and `tests/experiments/bsuite_scores.json`
(scores of the logs that `logs` makes), with which our environments and scores are tested.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
VARIANTS = 4
NUM_STEPS = 24
# What the mean over an episode of each logged sum is made of: (worst, best).
RANGES = {
    "bandit": (0.6, 0.0),
    "catch": (1.9, 0.0),
    "mnist": (1.9, 0.0),
    "umbrella": (1.4, 0.0),
    "memory": (1.0, 0.0),
    "deep_sea": (1.0, 0.2),
    "cartpole_swingup": (-50.0, 700.0),
    "cartpole": (20.0, 1001.0),
    "mountain_car": (-1000.0, -95.0),
    "discounting": (1.02, 1.12),
}


def log_episodes(num_episodes: int) -> list[int]:
    """Return the episodes after which bsuite logs, up to `num_episodes`.

    >>> log_episodes(25)
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25]
    """
    ratios = (10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90)
    marks = (ratio * 10**power for power in range(-1, 9) for ratio in ratios)
    return sorted({int(mark) for mark in marks if 1 <= mark <= num_episodes and mark == int(mark)})


def logs(experiment: str, num_settings: int, num_episodes: int, variant: int) -> list[dict[str, Any]]:
    """Return a made-up log of each setting: `episode` and `total` `[L]`, and `best`, the best episode.

    Learners of all qualities, a function of the arguments alone; variant 3 stops at 40 % of the episodes.
    """
    family = next(name for name in RANGES if experiment.startswith(name))
    worst, best = RANGES[family]
    episode = np.array(log_episodes(num_episodes if variant < 3 else int(0.4 * num_episodes)), float)
    made = []
    for i in range(num_settings):
        quality = (0.618034 * (i + 1) + 0.37 * variant + 0.11 * len(experiment)) % 1.0
        half = (0.02 + 0.3 * ((0.754878 * (i + 1) + 0.2 * variant) % 1.0)) * num_episodes
        learned = episode - half * np.log1p(episode / half)  # the integral of e / (e + half)
        total = worst * episode + (best - worst) * quality * learned
        made.append({"episode": episode, "total": total, "best": (1.4 * quality - 0.2) * max(abs(best), 1.0)})
    return made


def main() -> None:
    """Write both files."""
    (ROOT / "tests/experiments/bsuite_scores.json").write_text(json.dumps(_scores(), indent=1) + "\n")
    (ROOT / "tests/envs/bsuite_steps.json").write_text(json.dumps(_steps()) + "\n")


def _scores() -> dict[str, Any]:
    import pandas as pd
    from bsuite import sweep  # pyright: ignore
    from bsuite.experiments import summary_analysis  # pyright: ignore

    result: dict[str, Any] = {}
    for name, info in summary_analysis.BSUITE_INFO.items():
        ids = [i for i in sweep.SWEEP if i.split("/")[0] == name]
        scores: list[float | None] = []
        for variant in range(VARIANTS):
            rows = []
            for i, log in enumerate(logs(name, len(ids), info.episode, variant)):
                for episode, total in zip(log["episode"], log["total"], strict=True):
                    row = {"bsuite_id": ids[i], "bsuite_env": name, "episode": episode}
                    row |= dict(sweep.SETTINGS[ids[i]]) | _columns(name, episode, total, log["best"])
                    rows.append(row)
            score = float(info.score(pd.DataFrame(rows)))
            scores.append(None if np.isnan(score) else score)
        result[name] = {
            "episodes": info.episode,
            "tags": list(info.tags),
            "settings": [_settings(sweep.SETTINGS[i]) for i in ids],
            "scores": scores,
        }
    return result


def _settings(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if value is not None}


def _columns(name: str, episode: float, total: float, best: float) -> dict[str, float]:
    if name.startswith(("cartpole", "mountain_car", "discounting")):
        return {"raw_return": total, "total_return": total, "best_episode": best}
    if name.startswith("deep_sea"):
        return {"total_bad_episodes": total}
    if name.startswith("memory"):
        return {"total_perfect": episode - total / 2}
    return {"total_regret": total}


def _steps() -> dict[str, Any]:
    from bsuite.environments import bandit, cartpole, catch, deep_sea, mountain_car  # pyright: ignore
    from bsuite.experiments.cartpole_swingup import cartpole_swingup  # pyright: ignore

    rng = np.random.RandomState(0)
    out: dict[str, Any] = {"cartpole": [], "cartpole_swingup": [], "mountain_car": [], "catch": []}
    for i in range(NUM_STEPS):
        for name, env in (
            ("cartpole", cartpole.Cartpole()),
            (
                "cartpole_swingup",
                cartpole_swingup.CartpoleSwingup(height_threshold=0.2, x_reward_threshold=0.8),
            ),
        ):
            env.reset()
            angle = rng.uniform(-0.75, 0.75) if name == "cartpole" else rng.uniform(-3.1, 3.1)
            step = 999 + i % 2 if i < 4 else int(rng.randint(900))
            x, speed, spin = rng.uniform(-3.1, 3.1), rng.uniform(-2, 2), rng.uniform(-2, 2)
            x = x / 4 if i % 3 else x
            clock = float(np.add.reduce([0.01] * step)) if step < 2 else _clock(step)
            env._state = cartpole.CartpoleState(x, speed, angle, spin, clock)
            before = [x, speed, angle, spin, step]
            out[name].append(_record(env, before, int(rng.randint(3))))
        env = mountain_car.MountainCar()
        env.reset()
        env._position, env._velocity = rng.uniform(-1.2, 0.55), rng.uniform(-0.07, 0.07)
        if i < 4:
            env._position, env._velocity = (0.47, 0.05) if i % 2 else (-1.19, -0.06)
        env._timestep = 999 if i in (4, 5) else int(rng.randint(998))
        before = [env._position, env._velocity, env._timestep]
        out["mountain_car"].append(_record(env, before, int(rng.randint(3))))
        env = catch.Catch()
        env.reset()
        env._ball_x, env._paddle_x, env._ball_y = (
            int(rng.randint(5)),
            int(rng.randint(5)),
            int(rng.randint(9)),
        )
        env._ball_y = 8 if i % 2 else env._ball_y
        before = [env._ball_x, env._paddle_x, env._ball_y]
        out["catch"].append(_record(env, before, int(rng.randint(3))))
    out["bandit"] = [list(bandit.SimpleBandit(mapping_seed=seed)._rewards) for seed in range(4)]
    sea = deep_sea.DeepSea(size=10, mapping_seed=42)
    out["deep_sea_mapping"] = np.asarray(sea._action_mapping).tolist()
    out["deep_sea"] = [_dive(deep_sea.DeepSea(size=6, mapping_seed=42), seed) for seed in range(6)]
    return out


def _clock(step: int) -> float:
    total = 0.0
    for _ in range(step):
        total += 0.01
    return total


def _record(env: Any, before: Sequence[float], action: int) -> dict[str, Any]:
    step = env.step(action)
    return {
        "before": list(before),
        "action": action,
        "obs": np.asarray(step.observation, float).ravel().round(6).tolist(),
        "reward": float(step.reward),
        "last": bool(step.last()),
    }


def _dive(env: Any, seed: int) -> dict[str, Any]:
    rng = np.random.RandomState(seed)
    env.reset()
    actions, rewards, cells, step = [], [], [], None
    while step is None or not step.last():
        row, column = env._row, env._column
        right = int(env._action_mapping[row, column])
        actions.append(right if rng.rand() < 0.2 + 0.8 * (seed < 2) else int(rng.randint(2)))
        step = env.step(actions[-1])
        rewards.append(float(step.reward))
        cells.append([int(env._row), int(env._column)])
    bad = int(env.bsuite_info()["total_bad_episodes"])
    return {"actions": actions, "rewards": rewards, "cells": cells, "bad": bad}


if __name__ == "__main__":
    main()
