"""Estimates against SciPy, intervals against a slow loop and by their coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxrl import stats


@pytest.mark.parametrize("count", range(1, 14))
def test_iqm_matches_scipys_trimmed_mean(count):
    scores = np.random.default_rng(count).normal(size=count)
    assert stats.iqm(scores) == pytest.approx(scipy_stats.trim_mean(scores, 0.25), rel=1e-12)


def test_iqm_pools_axes():
    scores = np.random.default_rng(0).normal(size=(6, 5, 4))
    assert stats.iqm(scores) == pytest.approx(scipy_stats.trim_mean(scores, 0.25, axis=None))
    expected = scipy_stats.trim_mean(scores.reshape(6, 20), 0.25, axis=1)
    np.testing.assert_allclose(stats.iqm(scores, axis=(1, 2)), expected)
    np.testing.assert_allclose(stats.iqm(scores, axis=-1), scipy_stats.trim_mean(scores, 0.25, axis=-1))
    expected = scipy_stats.trim_mean(scores.transpose(1, 0, 2).reshape(5, 24), 0.25, axis=1)
    np.testing.assert_allclose(stats.iqm(scores, axis=(0, 2)), expected)
    with pytest.raises(ValueError, match=r"`scores` must hold at least one score, got shape \(0, 3\)"):
        stats.iqm(np.zeros((0, 3)))


def test_iqm_ignores_outliers_and_keeps_its_argument():
    scores = np.array([500.0, 1e9, 500.0, -1e9, 500.0, 500.0])
    before = scores.copy()
    assert stats.iqm(scores) == 500.0
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("num_tasks", [1, 3])
@pytest.mark.parametrize("statistic", [stats.iqm, np.mean, np.median])
def test_bootstrap_agrees_with_a_slow_loop_that_resamples_each_task_on_its_own(statistic, num_tasks):
    scores = np.random.default_rng(0).normal(size=(12, num_tasks)) + 10 * np.arange(num_tasks)
    rng = np.random.default_rng(123)
    values = []
    for _ in range(4000):
        columns = [rng.choice(scores[:, k], size=12, replace=True) for k in range(num_tasks)]
        values.append(statistic(np.stack(columns, axis=1)))
    low, high = np.percentile(values, [2.5, 97.5])
    interval = stats.stratified_bootstrap(scores, statistic, reps=8000)
    width = high - low
    assert interval.estimate == pytest.approx(statistic(scores))
    assert interval.low == pytest.approx(low, abs=0.06 * width)
    assert interval.high == pytest.approx(high, abs=0.06 * width)


def test_strata_are_the_tasks():
    """Runs that differ by task only have no spread: resampling tasks would invent one."""
    scores = np.broadcast_to(np.array([1.0, 100.0]), (12, 2))
    interval = stats.stratified_bootstrap(scores, np.mean)
    assert interval.low == interval.high == interval.estimate == 50.5
    by_run = np.arange(12.0)[:, None] * np.array([1.0, -1.0])  # what one run gains, the other task loses
    assert np.ptp(by_run.mean(axis=1)) == 0.0  # so that resampling rows would find no spread at all
    interval = stats.stratified_bootstrap(by_run, np.mean)
    assert interval.high - interval.low > 1.0


def test_bootstrap_is_reproducible_and_chunks_do_not_matter(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(10, 2))
    first = stats.stratified_bootstrap(scores, reps=1000, seed=1)
    assert first == stats.stratified_bootstrap(scores, reps=1000, seed=1)
    assert first != stats.stratified_bootstrap(scores, reps=1000, seed=2)
    monkeypatch.setattr(stats, "_MAX_CHUNK", 100)
    assert first == stats.stratified_bootstrap(scores, reps=1000, seed=1)


def coverage(interval, num_runs):
    """The share of a thousand trials, known to about 1 %, in which the interval holds the truth."""
    rng, truth = np.random.default_rng(0), 5.0
    intervals = [interval(rng.normal(truth, 2.0, size=num_runs)) for _ in range(1000)]
    return np.mean([i.low <= truth <= i.high for i in intervals])


def bootstrap_mean(scores):
    return stats.stratified_bootstrap(scores, np.mean, reps=300)


def test_coverage_is_what_the_documentation_says():
    assert coverage(bootstrap_mean, 3) == pytest.approx(0.74, abs=0.04)
    assert coverage(bootstrap_mean, 10) == pytest.approx(0.91, abs=0.04)
    assert coverage(bootstrap_mean, 30) == pytest.approx(0.94, abs=0.03)
    assert coverage(stats.mean_interval, 3) == pytest.approx(0.95, abs=0.03)
    assert coverage(stats.mean_interval, 10) == pytest.approx(0.95, abs=0.03)


def test_mean_interval_matches_scipy():
    scores = np.random.default_rng(0).normal(size=7)
    interval = stats.mean_interval(scores, confidence=0.9)
    expected = scipy_stats.ttest_1samp(scores, 0.0).confidence_interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.estimate == pytest.approx(scores.mean())


def test_mean_interval_over_two_tasks_matches_welchs():
    """The mean of two tasks a and -b is half of the difference a - b, whose interval SciPy knows."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(3.0, 1.0, 8), rng.normal(1.0, 5.0, 8)
    expected = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    interval = stats.mean_interval(np.stack([a, -b], axis=1))
    assert (2 * interval.low, 2 * interval.high) == pytest.approx((expected.low, expected.high))


def test_few_runs_are_marked():
    scores = np.random.default_rng(0).normal(size=10)
    assert stats.stratified_bootstrap(scores, reps=100).warning is None
    few = stats.stratified_bootstrap(scores[:9], reps=100)
    assert "9 runs" in few.warning and str(few).endswith("(n=9)†")
    assert stats.mean_interval(scores[:9]).warning is None
    for interval in (stats.stratified_bootstrap(scores[:1]), stats.mean_interval(scores[:1])):
        assert (interval.low, interval.high) == (-np.inf, np.inf)
        assert interval.warning and interval.num_runs == 1


def test_equal_scores_give_a_point():
    for interval in (stats.stratified_bootstrap(np.full(12, 500.0)), stats.mean_interval(np.full(12, 500.0))):
        assert interval.low == interval.high == interval.estimate == 500.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scores": np.array([1.0, np.nan, 2.0])},
            r"`scores` must be finite, got NaN or infinity in runs \[1\]",
        ),
        ({"scores": np.zeros((2, 2, 2))}, r"`scores` must be \[runs\] or \[runs, tasks\]"),
        ({"scores": np.zeros(0)}, "and not empty"),
        ({"confidence": 95}, "`confidence` must be between 0 and 1, got 95"),
        ({"reps": 0}, "`reps` must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        stats.stratified_bootstrap(**{"scores": np.arange(10.0), **arguments})
    if "reps" not in arguments:
        with pytest.raises(ValueError, match=message):
            stats.mean_interval(**{"scores": np.arange(10.0), **arguments})
