"""Runs as pictures: learning curves with confidence bands, and what each hyperparameter does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.results import Result
from experiments.spec import show
from experiments.store import StoreError, make_folder, write_atomic
from jaxrl import stats

# Okabe and Ito (2008): told apart without colour vision; yellow is left out, too faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.labelcolor": "#262626",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 2.0,
    "figure.dpi": 100,
    "savefig.dpi": 160,
}


class _Curve(NamedTuple):
    """A line of a panel: what is drawn at each of P points for S seeds, and how good its last policy is."""

    label: str
    steps: np.ndarray
    values: np.ndarray
    score: float


def learning_curves(
    results: Sequence[Result], path: Path, metric: str | None = None, total: bool = False
) -> Path:
    """Draw evaluation return against environment steps into the PNG `path`, and return it.

    One panel an environment; one curve a configuration (at most as many as there are colours: those of the
    best return), the interquartile mean over seeds with its 95 % bootstrap band.

    Args:
      results: the runs.
      path: the picture.
      metric: a training metric to draw instead, its mean over seeds with Student's 95 % interval.
      total: sum the metric over the steps so far.

    Raises:
      StoreError: if there is nothing to draw, no such metric, or the file cannot be written.
    """
    if not results:
        raise StoreError("there is no run to plot")
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    worlds = list(dict.fromkeys(result.spec.env for result in results))
    panels = {world: _curves([r for r in results if r.spec.env == world], metric, total) for world in worlds}
    drawn = "evaluation return (IQM, 95 % interval)"
    if metric is not None:
        drawn = f"{'total ' if total else ''}{metric.replace('_', ' ')} (mean, 95 % interval)"
    columns = min(len(worlds), 3)
    lines = -(-len(worlds) // columns)
    below = max(_legend_rows(curves) for curves in panels.values())
    with matplotlib.rc_context(STYLE):
        size = (6.0 * columns if columns > 1 else 7.2, (4.2 + 0.24 * below) * lines)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).reshape(-1)
        for axis, (world, curves) in zip(axes, panels.items(), strict=False):
            shown = _best(curves, len(COLORS))
            for number, curve in enumerate(shown):
                average = _iqm_interval if metric is None else stats.mean_interval
                _draw_curve(axis, curve, average, COLORS[number], MARKERS[number])
            hidden = (
                f" (best {len(shown)} of {len(curves)} configurations)" if len(shown) < len(curves) else ""
            )
            axis.set_title(world + hidden, loc="left")
            axis.set_xlabel("environment steps per seed")
            axis.set_ylabel(drawn)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_major_locator(MaxNLocator(6))
            axis.set_xlim(left=0)
            axis.margins(x=0.02)
            if rows := _legend_rows(curves):
                place = {"loc": "upper left", "bbox_to_anchor": (0.0, -0.14), "ncols": -(-len(shown) // rows)}
            else:
                place = {"loc": "best"}
            axis.legend(handlelength=2.2, **place)
        for axis in axes[len(worlds) :]:
            axis.set_visible(False)
        return save(figure, path)


def hyperparameters(result: Result, path: Path) -> Path:
    """Draw the final return against the swept hyperparameters into the PNG `path`, and return it.

    One swept field: points with intervals. Two: a heat map. More: a panel a field, all others pooled.

    Raises:
      StoreError: if the run has no grid, or the file cannot be written.
    """
    grid = result.spec.grid
    if not grid:
        raise StoreError(f"{result.path} has no grid, so there is no hyperparameter to plot")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        if len(grid) == 2:
            rows, columns = (len(values) for values in grid.values())
            figure = Figure(figsize=(max(4.5, 1.9 + 1.15 * columns), max(3.8, 1.7 + 0.8 * rows)))
            figure.set_layout_engine("constrained")
            _heat_map(figure, result)
        else:
            figure = Figure(figsize=(max(5.6, 4.0 * len(grid)), 4.0), layout="constrained")
            for axis, name in zip(figure.subplots(1, len(grid), squeeze=False)[0], grid, strict=True):
                _marginal(axis, result, name)
        figure.suptitle(f"{result.spec.algorithm} on {result.spec.env}", x=0.02, ha="left", fontweight="bold")
        return save(figure, path)


def _curves(results: Sequence[Result], metric: str | None, total: bool) -> list[_Curve]:
    """Return the curve of every configuration, labels told apart."""
    several = len({(result.spec.algorithm, result.spec.name) for result in results}) > 1
    curves = []
    for result in results:
        prefix = result.spec.name if several else ""
        steps, values = result.steps, result.returns
        if metric is not None:
            steps, values = result.arrays["metric_steps"], result.metric(metric, total)
            known = ~np.isnan(values).all(axis=(0, 1))  # some are measured at evaluations alone
            steps, values = steps[known], values[:, :, known]
        for index, (rows, finite) in enumerate(zip(values, result.finite, strict=True)):
            own = result.label(index) if result.spec.grid or not prefix else ""
            label = ": ".join(part for part in (prefix, own) if part)
            alive = rows[finite]
            lost = f", {len(rows) - len(alive)} diverged" if len(alive) < len(rows) else ""
            score = float(stats.iqm(result.returns[index, finite, -1])) if len(alive) else -np.inf
            curves.append(_Curve(f"{label} (n={len(alive)}{lost})", steps, alive, score))
    return curves


def _legend_rows(curves: list[_Curve]) -> int:
    """Return how many rows a legend below the panel needs; none if it fits among the curves."""
    shown = _best(curves, len(COLORS))
    if len(shown) <= 4:
        return 0
    return len(shown) if max(len(curve.label) for curve in shown) > 30 else -(-len(shown) // 2)


def _best(curves: list[_Curve], count: int) -> list[_Curve]:
    if len(curves) <= count:
        return curves
    chosen = sorted(np.argsort([curve.score for curve in curves])[::-1][:count])
    return [curves[i] for i in chosen]


def _iqm_interval(values: np.ndarray) -> stats.Interval:
    return stats.stratified_bootstrap(values, reps=2000)


def _draw_curve(
    axis: Any, curve: _Curve, average: Callable[[np.ndarray], stats.Interval], color: str, marker: str
) -> None:
    label, steps, values, _ = curve
    if len(values) == 0:
        axis.plot([], [], color=color, marker=marker, label=label)
        return
    intervals = [average(values[:, e]) for e in range(len(steps))]
    axis.plot(
        steps,
        [interval.estimate for interval in intervals],
        color=color,
        marker=marker,
        markersize=5,
        markevery=max(1, len(steps) // 12),
        label=label,
    )
    if len(values) > 1:
        low, high = ([getattr(interval, side) for interval in intervals] for side in ("low", "high"))
        axis.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)


def _marginal(axis: Any, result: Result, name: str) -> None:
    values = sorted(result.spec.grid[name])
    position = np.arange(len(values))
    final = result.final_returns
    rows = [c[name] for c in result.spec.configurations()]
    for at, value in zip(position, values, strict=True):
        pooled = final[[row == value for row in rows]]
        finite = pooled[np.isfinite(pooled)]
        jitter = np.linspace(-0.12, 0.12, pooled.size) if pooled.size > 1 else np.zeros(1)
        axis.plot(
            at + jitter, pooled.reshape(-1), "o", color=COLORS[4], alpha=0.45, markersize=4, linestyle="none"
        )
        if finite.size:
            interval = stats.stratified_bootstrap(finite)
            error = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
            axis.errorbar(
                at,
                interval.estimate,
                yerr=error if np.isfinite(interval.low) else None,
                fmt="D",
                color=COLORS[0],
                markersize=7,
                capsize=5,
                elinewidth=2,
            )
        else:
            axis.annotate("diverged", (at, 0.5), xycoords=("data", "axes fraction"), ha="center", rotation=90)
    axis.set_xticks(position, [show(value) for value in values])
    axis.set_xlim(-0.5, len(values) - 0.5)
    axis.set_xlabel(name.replace("_", " "))
    axis.set_ylabel("final evaluation return")
    axis.grid(axis="x", visible=False)
    axis.plot([], [], "D", color=COLORS[0], label="IQM, 95 % interval")
    axis.plot([], [], "o", color=COLORS[4], alpha=0.6, markersize=4, label="single seed")
    axis.legend(loc="best")


def _heat_map(figure: Any, result: Result) -> None:
    import matplotlib

    (row_name, row_values), (column_name, column_values) = result.spec.grid.items()
    final = result.final_returns
    scores = np.array(
        [stats.iqm(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in final]
    )
    scores = scores.reshape(len(row_values), len(column_values))
    axis = figure.subplots()
    axis.grid(visible=False)
    colors = matplotlib.colormaps["cividis"].with_extremes(bad="#e6e6e6")
    image = axis.imshow(np.ma.masked_invalid(scores), cmap=colors, aspect="auto", origin="lower")
    for (row, column), score in np.ndenumerate(scores):
        dark = np.isfinite(score) and image.norm(score) < 0.5
        text = f"{score:.4g}" if np.isfinite(score) else "diverged"
        axis.annotate(text, (column, row), ha="center", va="center", color="white" if dark else "black")
    axis.set_xticks(range(len(column_values)), [show(value) for value in column_values])
    axis.set_yticks(range(len(row_values)), [show(value) for value in row_values])
    axis.set_xlabel(column_name.replace("_", " "))
    axis.set_ylabel(row_name.replace("_", " "))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, label=f"final return (IQM, n={final.shape[1]})")
    bar.outline.set_visible(False)


def save(figure: Any, path: Path) -> Path:
    """Write a matplotlib figure as the PNG `path`, whole or not at all, and return it.

    Raises:
      StoreError: if the file cannot be written.
    """
    import matplotlib

    path = Path(path)
    make_folder(path.parent)
    with matplotlib.rc_context(STYLE):
        write_atomic(path, lambda file: figure.savefig(file, format="png", facecolor="white"))
    return path
