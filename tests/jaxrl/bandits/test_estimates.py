"""Counts and means over the whole past, a window and discounted, against sums over the list of pulls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.bandits import estimates


@pytest.mark.parametrize("window", [0, 7])
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_estimates_are_the_weighted_sums_of_the_pulls(window, discount):
    rng = np.random.default_rng(0)
    arms, rewards = rng.integers(3, size=40), rng.normal(size=40)

    def pull(state, at):
        return estimates.update(state, *at, discount), None

    each = (jnp.asarray(arms, jnp.int32), jnp.asarray(rewards, jnp.float32), jnp.arange(40, dtype=jnp.int32))
    after, _ = jax.lax.scan(pull, estimates.init(3, window), each)

    age = np.arange(40)[::-1]
    weight = discount**age * ((age < window) if window else 1.0)
    count = [np.sum(weight * (arms == a)) for a in range(3)]
    total = [np.sum(weight * rewards * (arms == a)) for a in range(3)]
    np.testing.assert_allclose(after.count, count, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after.total, total, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimates.means(after), np.divide(total, count), rtol=1e-4)


def test_an_arm_that_left_the_window_is_untried_again():
    state = estimates.init(2, window=2)
    for n, arm in enumerate([0, 1, 1]):
        state = estimates.update(state, jnp.int32(arm), jnp.float32(1.0), jnp.int32(n))
    assert state.count.tolist() == [0.0, 2.0]
    assert estimates.means(state, untried=5.0).tolist() == [5.0, 1.0]


@pytest.mark.parametrize("window, discount", [(7, 0.9), (3, 0.99), (20, 1.0)])
def test_no_mean_is_made_of_what_rounding_leaves(window, discount):
    """At every one of 600 pulls of 5 arms, most of them out of the window at some time."""
    rng = np.random.default_rng(0)
    arms, rewards = rng.integers(5, size=600), rng.normal(scale=10, size=600).astype(np.float32)

    def pull(state, at):
        state = estimates.update(state, *at, discount)
        return state, (state.count, estimates.means(state))

    each = (jnp.asarray(arms, jnp.int32), jnp.asarray(rewards), jnp.arange(600, dtype=jnp.int32))
    counts, means = jax.lax.scan(pull, estimates.init(5, window), each)[1]
    for n in range(600):
        latest = np.arange(max(n + 1 - window, 0), n + 1)
        weight = discount ** (n - latest) * (arms[latest] == np.arange(5)[:, None])
        count = weight.sum(axis=1)
        expected = np.divide(weight @ rewards[latest], count, out=np.zeros(5), where=count > 0)
        assert np.array_equal(counts[n] == 0, count == 0), f"after pull {n}"
        np.testing.assert_allclose(means[n], expected, atol=1e-3, err_msg=f"after pull {n}")
