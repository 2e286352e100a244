"""Running statistics against NumPy in float64, also after a hundred million samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxrl import normalize

update = jax.jit(normalize.update)


def test_batches_of_any_size_give_the_statistics_of_all_samples():
    rng = np.random.default_rng(0)
    statistics, seen = normalize.init((3,)), []
    for size in (1, 1, 7, 100, 3):
        batch = np.float32(rng.normal([0.0, 5.0, -3.0], [1.0, 0.1, 20.0], size=(size, 3)))
        statistics, seen = update(statistics, batch), [*seen, batch]
        everything = np.concatenate(seen).astype(np.float64)
        assert int(statistics.count) == len(everything)
        np.testing.assert_allclose(statistics.mean, everything.mean(0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(statistics.variance, everything.var(0), rtol=1e-5, atol=1e-7)


def test_the_batch_may_have_several_axes_and_the_samples_none_or_many():
    rng = np.random.default_rng(0)
    for shape in ((), (2,), (2, 3, 1)):
        batch = np.float32(rng.normal(size=(4, 5, *shape)))
        statistics = normalize.update(normalize.init(shape), batch)
        np.testing.assert_allclose(statistics.mean, batch.mean((0, 1)), atol=1e-6)
        np.testing.assert_allclose(statistics.variance, batch.var((0, 1)), rtol=1e-5)
        x = np.float32(rng.normal(size=(3, *shape)))
        expected = (x - batch.mean((0, 1))) / np.sqrt(batch.var((0, 1)) + 1e-8)
        np.testing.assert_allclose(normalize.normalize(statistics, x), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(normalize.normalize(statistics, x[0]), expected[0], rtol=1e-4, atol=1e-5)


def test_a_large_offset_does_not_cancel():
    """The mean of squares less the square of the mean would give a variance of -16 to 48 here."""
    batches = np.float32(np.random.default_rng(0).normal(1e4, 0.5, size=(50, 8)))
    statistics = normalize.init(())
    for batch in batches:
        statistics = update(statistics, batch)
    exact = batches.astype(np.float64)
    np.testing.assert_allclose(statistics.mean, exact.mean(), rtol=1e-7)
    np.testing.assert_allclose(statistics.variance, exact.var(), rtol=1e-4)


def test_nothing_stalls_after_a_hundred_million_samples():
    """Small batches behind a large count: float32 alone would lose every single update.

    After 10^8 samples of mean 1 and variance 4 come 10^7 of mean 3 and variance 1, four at a time in
    their exact proportions (2, 2, 4, 4), so that the float64 answer is known in closed form.
    """
    old = jnp.float32(1e8)
    statistics = normalize.RunningStatistics(
        old.astype(jnp.int32), jnp.float32(1), jnp.float32(4), jnp.float32(0), jnp.float32(0)
    )
    batch = jnp.array([2.0, 2.0, 4.0, 4.0])
    num_batches = 250_000

    @jax.jit
    def run(statistics):
        return lax.fori_loop(0, num_batches, lambda _, s: normalize.update(s, batch), statistics)

    statistics = run(statistics)
    n, m = 1e8, 4.0 * num_batches
    weight = m / (n + m)
    mean, variance = 1 + 2 * weight, 4 + weight * (1 - 4) + weight * (1 - weight) * 4
    assert int(statistics.count) == int(n + m)
    assert float(statistics.mean) == pytest.approx(mean, abs=2e-7)
    assert float(statistics.variance) == pytest.approx(variance, rel=2e-7)

    def naive(_, carry):
        mean, count = carry
        count = count + 4.0
        return mean + (4.0 / count) * (3.0 - mean), count

    stalled, _ = jax.jit(lambda c: lax.fori_loop(0, 1000, naive, c))((jnp.float32(1), old))
    assert float(stalled - 1.0) / (2 * 4000 / (n + 4000)) > 1.2  # 20 % too far: what compensation is for


def test_the_count_stops_at_its_largest_value():
    full = normalize.init(()).replace(count=jnp.int32(2**31 - 3))
    for _ in range(3):
        full = update(full, jnp.ones(4))
    assert int(full.count) == 2**31 - 1
    assert jnp.isfinite(full.mean) and float(full.mean) > 0


def test_a_mapped_axis_counts_as_one_batch():
    rng = np.random.default_rng(0)
    start = normalize.update(normalize.init((2,)), np.float32(rng.normal(size=(5, 2))))
    batch = np.float32(rng.normal(2.0, 3.0, size=(4, 6, 2)))
    split = jax.vmap(
        functools.partial(normalize.update, axis_name="data"), in_axes=(None, 0), axis_name="data"
    )(start, batch)
    whole = normalize.update(start, batch)
    assert split.count.tolist() == [29] * 4
    for device in range(4):
        np.testing.assert_allclose(split.mean[device], whole.mean, rtol=1e-5)
        np.testing.assert_allclose(split.variance[device], whole.variance, rtol=1e-5)


def test_normalize_clips_and_is_the_identity_before_the_first_sample():
    statistics = normalize.init((2,))
    np.testing.assert_allclose(normalize.normalize(statistics, jnp.array([0.5, -3.0])), [0.5, -3.0])
    assert normalize.normalize(statistics, jnp.array([50.0, -50.0])).tolist() == [10.0, -10.0]
    assert normalize.normalize(statistics, jnp.array([50.0, -50.0]), clip=5.0).tolist() == [5.0, -5.0]
    constant = normalize.update(statistics, jnp.full((9, 2), 3.0))
    assert normalize.normalize(constant, jnp.full(2, 3.0)).tolist() == [0.0, 0.0]


def test_no_gradient_flows_into_the_statistics():
    statistics = normalize.update(normalize.init(()), jnp.array([1.0, 3.0]))
    gradient = jax.grad(lambda s: normalize.normalize(s, jnp.float32(2.5)), allow_int=True)(statistics)
    assert gradient.mean == 0.0 and gradient.variance == 0.0


def test_the_state_keeps_its_types_and_integers_become_float32():
    start = normalize.init((2,))
    for batch in (jnp.ones((3, 2)), jnp.ones((3, 2), jnp.uint8), jnp.ones((3, 2), bool)):
        result = normalize.update(start, batch)
        for before, after in zip(jax.tree.leaves(start), jax.tree.leaves(result), strict=True):
            assert before.dtype == after.dtype and not after.weak_type
    assert normalize.normalize(start, jnp.ones(2, jnp.uint8)).dtype == jnp.float32


def test_wrong_shapes_are_refused():
    start = normalize.init((2, 3))
    with pytest.raises(ValueError, match=r"`samples` must end with .* \(2, 3\), got \(4, 3\)"):
        normalize.update(start, jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"`x` must end with .* \(2, 3\), got \(3,\)"):
        normalize.normalize(start, jnp.ones(3))
    with pytest.raises(ValueError, match="`samples` must hold at least one sample"):
        normalize.update(start, jnp.ones((0, 2, 3)))


def test_rewards_are_divided_by_the_spread_of_discounted_returns():
    """Two rollouts against a loop over environments in float64; ends begin a new sum, and signs stay."""
    rng = np.random.default_rng(0)
    scale, sums, totals = normalize.init_rewards(3), np.zeros(3), []
    for _ in range(2):
        reward = np.float32(rng.normal(2.0, 5.0, size=(20, 3)))
        done = rng.random((20, 3)) < 0.2
        scale, scaled = jax.jit(normalize.scale_rewards)(scale, reward, done, 0.9)
        for r, d in zip(reward.astype(np.float64), done, strict=True):
            sums = 0.9 * sums + r
            totals.append(sums)
            sums = np.where(d, 0.0, sums)
        deviation = np.std(totals)
        np.testing.assert_allclose(normalize.reward_deviation(scale), deviation, rtol=1e-5)
        np.testing.assert_allclose(scaled, reward / deviation, rtol=1e-4)
        np.testing.assert_allclose(scale.running, sums, rtol=1e-4, atol=1e-5)
    # The scale is given: gradients of what is scaled are those of the rewards, divided.
    gradient = jax.grad(lambda r: normalize.scale_rewards(scale, r, done, 0.9)[1].sum())(reward)
    deviation = normalize.reward_deviation(normalize.scale_rewards(scale, reward, done, 0.9)[0])
    np.testing.assert_allclose(gradient, 1.0 / deviation, rtol=1e-5)
    _, clipped = normalize.scale_rewards(scale, jnp.full((1, 3), -1e9), jnp.zeros((1, 3), bool), 0.9)
    assert (clipped >= -10.0).all() and int(scale.statistics.count) == 120
