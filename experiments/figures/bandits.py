"""`python -m experiments.figures.bandits [--out PNG]`: the regret of bandit policies, 1,000 runs each.

Left the mean regret over 10,000 pulls with its 95 % interval, beside the bound of Lai and Robbins and equal
allocation; right how often the best arm is pulled.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare.bandits import RATES, Curves, play
from experiments.plots import COLORS, STYLE
from experiments.startup import prepare_jax

SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "Thompson sampling": ("thompson", {}),
    "KL-UCB": ("kl_ucb", {}),
    "UCB1": ("ucb1", {}),
    "epsilon-greedy, 0.1": ("epsilon_greedy", {}),
    "epsilon-greedy, harmonic": (
        "epsilon_greedy",
        {"epsilon_start": 1.0, "epsilon_end": 0.01, "schedule": "harmonic"},
    ),
    "EXP3": ("exp3", {}),
    "A/B test of 3,000": ("ab_test", {}),
}


def main() -> int:
    """Play, draw, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("runs/figures/bandits.png"))
    args = parser.parse_args()
    prepare_jax()
    curves = {label: play(name, fields, args.runs, args.steps) for label, (name, fields) in SHOWN.items()}
    print(draw(curves, args.out))
    return 0


def draw(curves: dict[str, Curves], path: Path) -> Path:
    """Draw regret and the share of the best arm into the PNG `path`, and return it."""
    import matplotlib
    from matplotlib.figure import Figure

    from jaxrl.bandits.bounds import lai_robbins

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.0, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for color, (label, curve) in zip(COLORS, curves.items(), strict=False):
            mean, width = interval(curve.regret)
            left.plot(curve.pulls, mean, color=color, label=label)
            left.fill_between(curve.pulls, mean - width, mean + width, color=color, alpha=0.2, linewidth=0)
            mean, width = interval(curve.optimal)
            right.plot(curve.pulls, mean, color=color, label=label)
            right.fill_between(curve.pulls, mean - width, mean + width, color=color, alpha=0.2, linewidth=0)
        pulls = next(iter(curves.values())).pulls
        fine = np.linspace(1, pulls[-1], 500)
        left.plot(
            fine, lai_robbins(RATES) * np.log(fine), "k--", linewidth=1.5, label="Lai and Robbins: C ln n"
        )
        uniform = max(RATES) - float(np.mean(RATES))
        left.plot(
            fine, uniform * fine, color="#7F7F7F", linestyle=":", linewidth=1.5, label="equal allocation"
        )
        left.set_ylim(0, 1.08 * max(curve.regret[:, -1].mean() for curve in curves.values()))
        left.set_title(f"Regret, arms of {', '.join(f'{rate:.0%}' for rate in RATES)}", loc="left")
        left.set_ylabel("cumulative regret (clicks lost), 95 % interval")
        right.set_title("Share of the best arm", loc="left")
        right.set_ylim(0, 1)
        for axis in (left, right):
            axis.set_xlabel(f"pulls ({len(next(iter(curves.values())).regret):,} runs)")
            axis.set_xlim(0, pulls[-1])
        left.legend(loc="upper left", ncols=2)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor="white")
    return path


def interval(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over runs `[R, P]` and half the width of its 95 % interval (normal, for many runs)."""
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return runs.mean(axis=0), 1.96 * error


if __name__ == "__main__":
    raise SystemExit(main())
