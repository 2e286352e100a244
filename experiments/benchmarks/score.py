"""What one run scores: both figures of a table's row with their intervals, as plain data for JSON."""

import dataclasses
from typing import Any

import numpy as np

from experiments.benchmarks.spec import Entry
from experiments.results import Result
from jaxrl import stats

Row = dict[str, Any]


def row(entry: Entry, result: Result, training_episodes: int) -> Row:
    """Return what the finished run `result` of `entry` scored.

    The figure "training" is the mean over seeds of `training_returns`, "training_iqm" their interquartile
    mean; "evaluation" the interquartile mean of the greedy policy's mean return in the last evaluation. Seeds
    that have diverged are left out of them, and counted. What is wanted is "met" by the mean ("yes"), by the
    interquartile mean alone ("IQM"), or not ("no").

    Args:
      entry: a row of a benchmark.
      result: its run.
      training_episodes: see `training_returns`.
    """
    manifest, spec = result.manifest, result.spec
    training, first = training_returns(result, training_episodes)
    kept = result.finite[0] & np.isfinite(training)
    figures = {
        "training": _figure(stats.mean_interval, training[kept]),
        "training_iqm": _figure(stats.stratified_bootstrap, training[kept]),
        "evaluation": _figure(stats.stratified_bootstrap, result.final_returns[0][kept]),
    }
    scores = {"training": training[kept], "evaluation": result.final_returns[0][kept]}
    return {
        "algorithm": entry.label,
        "env": spec.env,
        "id": entry.spec.hash(),
        "config": entry.spec.to_dict()["config"],
        "steps": int(result.steps[-1]),
        "seeds": len(spec.seeds),
        "diverged": int((~kept).sum()),
        **figures,
        "scores": {name: [_short(x) for x in values] for name, values in scores.items()},
        "training_from_step": first,
        "curve": _curve(result, kept),
        "wanted": entry.wanted,
        "published": entry.published,
        "met": _met(entry.wanted, figures),
        "run_seconds": manifest["run_seconds"],
        "compile_seconds": round(manifest["trace_seconds"] + manifest["compile_seconds"], 1),
        "run": spec.hash(),
        "begun": manifest["created"],
        "commit": manifest["git"] and manifest["git"]["commit"][:7],
        "devices": f"{manifest['devices']['count']} x {manifest['devices']['kind']}",
    }


def training_returns(result: Result, episodes: int) -> tuple[np.ndarray, int]:
    """Return each seed's mean training return at the end, `[S]`, and the first step that counts.

    Of each seed as few of the last log intervals count as hold at least so many episodes; NaN where none
    has ended in the whole training.

    Args:
      result: a run without a grid.
      episodes: how many are wanted.
    """
    count = np.nan_to_num(result.metric("episodes")[0])
    mean = np.where(count > 0, result.metric("episode_return")[0], 0.0)
    later = np.cumsum(count[:, ::-1], axis=1)[:, ::-1] - count
    taken = np.where(later < episodes, count, 0.0)
    total = taken.sum(axis=1)
    returns = np.divide((mean * taken).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    first = int(np.argmax((later < episodes).any(axis=0)))
    return returns, int(result.arrays["metric_steps"][first - 1]) if first else 0


def _curve(result: Result, kept: np.ndarray) -> dict[str, list[float]]:
    """Return the interquartile mean of every evaluation with its interval."""
    intervals = [stats.stratified_bootstrap(x) for x in result.returns[0][kept].T] if kept.any() else []
    curve = {name: [_short(getattr(i, name)) for i in intervals] for name in ("estimate", "low", "high")}
    return {"steps": result.steps.tolist()} | curve


def _met(wanted: float | None, figures: dict[str, dict[str, Any] | None]) -> str | None:
    if wanted is None:
        return None
    reached = [
        (x := figures[name]) is not None and x["estimate"] >= wanted for name in ("training", "training_iqm")
    ]
    return "yes" if reached[0] else "IQM" if reached[1] else "no"


def _figure(average: Any, scores: np.ndarray) -> dict[str, Any] | None:
    if not scores.size:
        return None
    interval = dataclasses.asdict(average(scores))
    return {name: _short(x) if isinstance(x, float) else x for name, x in interval.items()}


def _short(value: Any) -> float:
    return round(float(value), 4)
