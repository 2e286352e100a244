"""What a handful of runs says: robust means and honest intervals. NumPy only.

Scores are `[runs]`, or `[runs, tasks]` where the runs of each task are independent samples (strata).
A bootstrap interval from few runs is too narrow. Nominal 95 % intervals of normal scores covered the mean
(the IQM) in 74 % (73 %) of 3,000 trials with 3 runs, 85 % (90 %) with 5, 91 % (93 %) with 10 and 94 % (94 %)
with 30; so every `Interval` says from how many runs it comes and whether to trust it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

MIN_RUNS = 10
_MAX_CHUNK = 2**22

Statistic = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
      estimate: the statistic of the scores.
      low: lower bound; -inf from a single run.
      high: upper bound; inf from a single run.
      confidence: nominal coverage.
      num_runs: runs a task.
      method: "bootstrap" or "t".
      warning: why the interval should not be trusted, or None.

    >>> str(Interval(1.0, 0.5, 1.5, 0.95, 30, "t"))
    '1.00 [0.50, 1.50] (n=30)'
    """

    estimate: float
    low: float
    high: float
    confidence: float
    num_runs: int
    method: str
    warning: str | None = None

    def __str__(self) -> str:
        mark = "†" if self.warning else ""
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}] (n={self.num_runs}){mark}"


def iqm(scores: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Return the interquartile mean: the mean without the lowest and the highest quarter of the scores.

    Of N scores, floor(N / 4) are dropped on either side, as `scipy.stats.trim_mean(scores, 0.25)` does.

    Args:
      scores: any shape, float.
      axis: axes to reduce; all by default, so that runs and tasks are pooled.

    Returns:
      `scores` reduced over `axis`, float64.

    Raises:
      ValueError: if there is no score to average.

    >>> float(iqm(np.array([0.0, 1.0, 3.0, 100.0])))
    2.0

    Source: Agarwal et al. (2021), https://arxiv.org/abs/2108.13264, section 4.3.
    """
    scores = np.asarray(scores, np.float64)
    axes = tuple(range(scores.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    axes = tuple(a % scores.ndim for a in axes)
    kept = tuple(a for a in range(scores.ndim) if a not in axes)
    pooled = scores.transpose(*kept, *axes).reshape(*(scores.shape[a] for a in kept), -1)
    count = pooled.shape[-1]
    if count == 0:
        raise ValueError(f"`scores` must hold at least one score, got shape {scores.shape}")
    trim = count // 4
    if trim == 0:
        return pooled.mean(axis=-1)
    return np.partition(pooled, (trim, count - trim - 1), axis=-1)[..., trim : count - trim].mean(axis=-1)


def stratified_bootstrap(
    scores: np.ndarray,
    statistic: Statistic = iqm,
    confidence: float = 0.95,
    reps: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return a percentile bootstrap interval of a statistic, resampling the runs of each task on their own.

    Args:
      scores: `[runs]` or `[runs, tasks]`, finite.
      statistic: called as `statistic(resampled, axis=(1, 2))` on `[chunk, runs, tasks]`, and must return
        `[chunk]`; `iqm`, `np.mean` and `np.median` are such.
      confidence: nominal coverage, in (0, 1).
      reps: number of resamples.
      seed: of the resampling; the same scores give the same interval.

    Returns:
      An `Interval`, with a `warning` from fewer than 10 runs; without bounds from a single one.

    Raises:
      ValueError: if an argument is out of its range or a score is not finite.

    >>> interval = stratified_bootstrap(np.arange(20.0), np.mean)
    >>> interval.estimate, 6.5 < interval.low < 7.5, 11.5 < interval.high < 12.5
    (9.5, True, True)

    Source: Efron (1979); Agarwal et al. (2021), https://arxiv.org/abs/2108.13264, section 4.1.
    """
    scores = _check_scores(scores)
    _check_confidence(confidence)
    if reps < 1:
        raise ValueError(f"`reps` must be at least 1, got {reps}; 2000 or more give stable bounds")
    num_runs, num_tasks = scores.shape
    estimate = float(statistic(scores[None], axis=(1, 2))[0])
    if num_runs == 1:
        return Interval(estimate, -np.inf, np.inf, confidence, 1, "bootstrap", _warning(1))
    rng = np.random.default_rng(seed)
    chunk = max(1, min(reps, _MAX_CHUNK // scores.size))
    values = []
    for start in range(0, reps, chunk):
        size = min(chunk, reps - start)
        run = rng.integers(num_runs, size=(size, num_runs, num_tasks))
        values.append(statistic(scores[run, np.arange(num_tasks)], axis=(1, 2)))
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(np.concatenate(values), [tail, 1.0 - tail])
    return Interval(estimate, float(low), float(high), confidence, num_runs, "bootstrap", _warning(num_runs))


def mean_interval(scores: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the mean over tasks of the mean scores, with Student's t interval.

        se^2 = sum_k v_k,    v_k = variance_k / (runs * tasks^2)
        mean -+ t_{df} * se,    df = (sum_k v_k)^2 / sum_k (v_k^2 / (runs - 1))

    Exact for one task with normal scores, from two runs on: so it is the interval to use with few runs.

    Args:
      scores: `[runs]` or `[runs, tasks]`, finite.
      confidence: nominal coverage, in (0, 1).

    Returns:
      An `Interval`; without bounds from a single run.

    Raises:
      ValueError: if `confidence` is out of its range or a score is not finite.

    >>> interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.484, 4.484)

    Source: Student (1908); Satterthwaite (1946) for the degrees of freedom of several tasks.
    """
    scores = _check_scores(scores)
    _check_confidence(confidence)
    num_runs, num_tasks = scores.shape
    estimate = float(scores.mean())
    if num_runs == 1:
        return Interval(estimate, -np.inf, np.inf, confidence, 1, "t", _warning(1))
    variance = scores.var(axis=0, ddof=1) / (num_runs * num_tasks**2)
    if not np.any(variance > 0.0):
        return Interval(estimate, estimate, estimate, confidence, num_runs, "t")
    share = variance / variance.max()
    freedom = share.sum() ** 2 / (share**2).sum() * (num_runs - 1)
    width = float(special.stdtrit(freedom, 0.5 + 0.5 * confidence) * np.sqrt(variance.sum()))
    return Interval(estimate, estimate - width, estimate + width, confidence, num_runs, "t")


def _warning(num_runs: int) -> str | None:
    if num_runs >= MIN_RUNS:
        return None
    if num_runs == 1:
        return "one run gives no interval; use at least 10"
    return f"an interval from {num_runs} runs is too narrow; use {MIN_RUNS} or more, or `mean_interval`"


def _check_scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"`scores` must be [runs] or [runs, tasks] and not empty, got shape {scores.shape}")
    if not np.all(np.isfinite(scores)):
        bad = np.unique(np.nonzero(~np.isfinite(scores))[0]).tolist()
        raise ValueError(f"`scores` must be finite, got NaN or infinity in runs {bad}; leave those runs out")
    return scores


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"`confidence` must be between 0 and 1, got {confidence}; 0.95 is usual")
