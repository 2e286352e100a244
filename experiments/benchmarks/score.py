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

    The figure "evaluation" is the interquartile mean over seeds of the greedy policy's mean return in the
    last evaluation; "training" the mean over seeds of `training_returns`. Seeds that have diverged are left
    out of both, and counted.

    Args:
      entry: a row of a benchmark.
      result: its run.
      training_episodes: see `training_returns`.
    """
    manifest, spec = result.manifest, result.spec
    training, first = training_returns(result, training_episodes)
    kept = result.finite[0] & np.isfinite(training)
    figures = {
        "evaluation": _figure(stats.stratified_bootstrap, result.final_returns[0][kept]),
        "training": _figure(stats.mean_interval, training[kept]),
    }
    reached = figures[entry.figure]
    met = None
    if entry.wanted is not None:
        met = reached is not None and reached["estimate"] >= entry.wanted
    return {
        "algorithm": entry.label or spec.algorithm,
        "env": spec.env,
        "id": entry.spec.hash(),
        "config": entry.spec.to_dict()["config"],
        "steps": int(result.steps[-1]),
        "seeds": len(spec.seeds),
        "diverged": int((~kept).sum()),
        **figures,
        "training_from_step": first,
        "curve": _curve(result, kept),
        "figure": entry.figure,
        "wanted": entry.wanted,
        "published": entry.published,
        "met": met,
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


def _figure(average: Any, scores: np.ndarray) -> dict[str, Any] | None:
    if not scores.size:
        return None
    interval = dataclasses.asdict(average(scores))
    rounded = {name: _short(x) if isinstance(x, float) else x for name, x in interval.items()}
    return rounded | {"scores": [_short(x) for x in scores]}


def _short(value: Any) -> float:
    return round(float(value), 4)
