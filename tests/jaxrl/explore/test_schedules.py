"""Schedules against hand numbers, optax where it has the same, and the promises that all of them make."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl.explore import schedules

COUNTS = jnp.arange(0, 250)


@pytest.mark.parametrize("kind", schedules.KINDS)
def test_starts_and_ends_where_it_says(kind):
    schedule = schedules.make(kind, 0.8, 0.2, 100)
    assert float(schedule(0)) == np.float32(0.8)
    np.testing.assert_allclose(schedule(100), 0.8 if kind == "constant" else 0.2, rtol=1e-6)
    values = schedule(COUNTS)
    assert values.shape == COUNTS.shape and values.dtype == jnp.float32
    assert np.all(np.diff(values) <= 0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.linear(0.8, 0.2, 100), optax.linear_schedule(0.8, 0.2, 100)),
        (schedules.cosine(0.8, 0.2, 100), optax.cosine_decay_schedule(0.8, 100, alpha=0.25)),
        (
            schedules.exponential(0.8, 0.2, 100),
            optax.exponential_decay(0.8, 100, decay_rate=0.25, end_value=0.2),
        ),
        (
            schedules.with_restarts(schedules.cosine(0.8, 0.2, 50), 50),
            optax.sgdr_schedule(
                [
                    {
                        "init_value": 0.8,
                        "peak_value": 0.8,
                        "decay_steps": 50,
                        "warmup_steps": 0,
                        "end_value": 0.2,
                    }
                ]
                * 5
            ),
        ),
    ],
    ids=["linear", "cosine", "exponential", "restarts"],
)
def test_agrees_with_optax(ours, theirs):
    np.testing.assert_allclose(ours(COUNTS), jax.jit(jax.vmap(theirs))(COUNTS), rtol=1e-5)


def test_harmonic_is_the_reciprocal_of_the_count():
    values = schedules.harmonic(1.0, 1 / 101, 100)(COUNTS)
    np.testing.assert_allclose(values, 1 / (1 + np.arange(250)), rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3, 1.5])
def test_restarts_at_every_round_however_long(factor):
    period, rounds = 6, 8
    restarted = schedules.with_restarts(schedules.linear(1.0, 0.0, period), period, factor)
    begins = np.cumsum([0, *(period * factor ** np.arange(rounds))])
    for begin, length in zip(begins, period * factor ** np.arange(rounds), strict=False):
        np.testing.assert_allclose(restarted(begin), 1.0, atol=1e-4)
        np.testing.assert_allclose(restarted(begin + length / 2), 0.5, atol=1e-4)


def test_numbers_may_be_traced():
    @jax.jit
    @jax.vmap
    def run(start, factor):
        schedule = schedules.with_restarts(schedules.make("exponential", start, 0.1, 10.0), 10.0, factor)
        return schedule(jnp.int32(15))

    start, factor = jnp.array([1.0, 0.5, 1.0]), jnp.array([1.0, 1.0, 2.0])
    expected = [np.sqrt(0.1), np.sqrt(0.05), 0.1**0.25]
    np.testing.assert_allclose(run(start, factor), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.make("linaer", 1, 0, 10), "unknown schedule 'linaer'; did you mean 'linear'"),
        (lambda: schedules.linear(1.0, 0.0, 0), "`steps` must be greater than 0, got 0"),
        (lambda: schedules.exponential(1.0, 0.0, 10), "`end` must be greater than 0, got 0.0"),
        (lambda: schedules.with_restarts(schedules.constant(1.0), -1), "`period` must be greater"),
        (lambda: schedules.with_restarts(schedules.constant(1.0), 1, 0.5), "`factor` must be at least 1"),
    ],
)
def test_refuses_what_makes_no_sense(call, message):
    with pytest.raises(ValueError, match=message):
        call()
