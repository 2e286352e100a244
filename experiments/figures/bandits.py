"""The regret of bandit policies on three arms, clicked 5, 8 and 12 % of the time; 1,000 runs each.

Left the mean regret over 10,000 pulls with its 95 % interval, beside the bound of Lai and Robbins and equal
allocation; right how often the best arm is pulled. The regret of Thompson sampling and KL-UCB flattens like
the bound, which holds for ever longer runs and may be undercut in these; that of epsilon-greedy ends as a
line.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import plots
from experiments.compare.bandits import RATES, Curves, play

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


def draw(path: Path, quick: bool = False) -> Path:
    """Play, draw regret and the share of the best arm into the PNG `path`, and return it."""
    runs, steps = (20, 1_000) if quick else (1_000, 10_000)
    return plots.save(figure({label: play(*shown, runs, steps) for label, shown in SHOWN.items()}), path)


def figure(curves: dict[str, Curves]) -> Any:
    """Return the matplotlib figure of regret and of the share of the best arm."""
    import matplotlib
    from matplotlib.figure import Figure

    from jaxrl.bandits.bounds import lai_robbins

    with matplotlib.rc_context(plots.STYLE):
        drawn = Figure(figsize=(12.0, 5.2), layout="constrained")
        left, right = drawn.subplots(1, 2)
        for color, (label, curve) in zip(plots.COLORS, curves.items(), strict=False):
            for axis, runs in ((left, curve.regret), (right, curve.optimal)):
                mean, width = interval(runs)
                axis.plot(curve.pulls, mean, color=color, label=label)
                axis.fill_between(
                    curve.pulls, mean - width, mean + width, color=color, alpha=0.2, linewidth=0
                )
        pulls = next(iter(curves.values())).pulls
        fine = np.linspace(1, pulls[-1], 500)
        bound = lai_robbins(RATES) * np.log(fine)
        left.plot(fine, bound, "k--", linewidth=1.5, label="Lai and Robbins: C ln n")
        uniform = max(RATES) - float(np.mean(RATES))
        left.plot(fine, uniform * fine, color="black", linestyle=":", linewidth=1.5, label="equal allocation")
        left.set_ylim(0, 1.08 * max(curve.regret[:, -1].mean() for curve in curves.values()))
        left.set_title(f"Regret, arms of {', '.join(f'{rate:.0%}' for rate in RATES)}", loc="left")
        left.set_ylabel("cumulative regret (clicks lost), 95 % interval")
        right.set_title("Share of the best arm", loc="left")
        right.set_ylim(0, 1)
        for axis in (left, right):
            axis.set_xlabel(f"pulls ({len(next(iter(curves.values())).regret):,} runs)")
            axis.set_xlim(0, pulls[-1])
        drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return drawn


def interval(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over runs `[R, P]` and half the width of its 95 % interval (normal, for many runs)."""
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return runs.mean(axis=0), 1.96 * error
