"""Beta draws: the whole distribution against SciPy's, at concentrations from 0.05 to a million."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl.ops import beta as beta_module
from jaxrl.ops.beta import beta, beta_noise, beta_of_noise

NUM = 100_000
# One chance in a million each that an exact sampler is refused.
CRITICAL = stats.kstwo.isf(1e-6, NUM)
SHAPES = [(1, 1), (1, 7), (2, 1), (3, 20), (40, 2), (6, 90), (501, 4001), (1e5, 2e5), (3.0, 1e6)]
SMALL = [(0.5, 0.5), (0.05, 2.0), (0.3, 0.05), (0.9, 30.0)]


@pytest.fixture(scope="module")
def draws():
    a, b = (jnp.asarray(column, jnp.float32) for column in zip(*SHAPES, *SMALL, strict=True))
    keys = jax.random.split(jax.random.key(0), NUM)
    return np.asarray(jax.jit(jax.vmap(lambda key: beta(key, a, b)))(keys), np.float64)


def distance(seen, cdf):
    """Return the Kolmogorov-Smirnov distance, taken where a float32 resolves the distribution."""
    x = np.sort(seen)
    above, below = np.arange(1, len(x) + 1) / len(x) - cdf(x), cdf(x) - np.arange(len(x)) / len(x)
    return np.max(np.maximum(above, below)[(x > 1e-30) & (x < 1 - 1e-5)])


@pytest.mark.parametrize("index", range(len(SHAPES + SMALL)), ids=lambda i: str((SHAPES + SMALL)[i]))
def test_the_distribution_is_scipys(draws, index):
    seen = draws[:, index]
    assert np.all((seen >= 0) & (seen <= 1))
    assert distance(seen, stats.beta(*(SHAPES + SMALL)[index]).cdf) < CRITICAL


def test_elements_are_independent(draws):
    correlation = np.corrcoef(stats.rankdata(draws, axis=0), rowvar=False)
    assert np.max(np.abs(correlation - np.eye(len(correlation)))) < 5.5 / np.sqrt(NUM)


def test_a_wrong_sampler_would_be_seen():
    """The same test refuses Beta draws whose concentration is off by 2 %: it has the power it is used for."""
    a, b = 6 * 1.02, 90
    seen = np.random.default_rng(0).beta(a, b, NUM)
    assert distance(seen, stats.beta(6, 90).cdf) > CRITICAL


def test_the_loop_draws_what_the_rounds_do_not(monkeypatch):
    """With noise of which nothing is accepted every draw comes from the loop, and is as good."""
    a, b = jnp.float32(2.0), jnp.float32(5.0)

    def refused(key):
        noise = beta_noise(key, ())
        return beta_of_noise(noise._replace(normal=jnp.full_like(noise.normal, -10.0)), a, b)

    keys = jax.random.split(jax.random.key(1), NUM)
    seen = np.asarray(jax.jit(jax.vmap(refused))(keys), np.float64)
    assert distance(seen, stats.beta(2, 5).cdf) < CRITICAL


def test_bulk_noise_gives_independent_draws():
    noise = jax.jit(lambda key: beta_noise(key, (3,), num=4))(jax.random.key(0))
    assert noise.normal.shape == (4, beta_module.ROUNDS * 6) and noise.key.shape == (4,)
    a = jnp.ones(3)
    assert len(np.unique(jax.jit(jax.vmap(lambda n: beta_of_noise(n, a, a)))(noise))) == 12


def test_one_key_is_used_once():
    with jax.debug_key_reuse(True):
        jax.jit(beta)(jax.random.key(0), jnp.ones(2), jnp.ones(2))
