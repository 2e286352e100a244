"""The minibatch permutation: every index once, every place equally likely."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import permutation
from jaxrl.ops.shuffle import _rounds


@pytest.mark.parametrize("num", [1, 2, 3, 7, 512, 1000, 5000])
def test_every_index_occurs_once(num):
    order = jax.vmap(lambda key: permutation(key, num))(jax.random.split(jax.random.key(0), 3))
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order, axis=-1), np.tile(np.arange(num), (3, 1)))


@pytest.mark.parametrize("num", [4, 1100])  # one sort, and two
def test_places_are_uniform(num):
    """Chi-squared of where the first four indices go, over 4 bins and 8,000 draws, below its 0.01 % point."""
    keys = jax.random.split(jax.random.key(1), 8000)
    order = np.asarray(jax.jit(jax.vmap(lambda key: permutation(key, num)))(keys))
    for index in range(4):
        place = np.argmax(order == index, axis=1) * 4 // num
        counts = np.bincount(place, minlength=4)
        assert ((counts - 2000) ** 2 / 2000).sum() < 21.1


def test_all_orders_of_four_are_equally_likely():
    keys = jax.random.split(jax.random.key(2), 24_000)
    order = np.asarray(jax.vmap(lambda key: permutation(key, 4))(keys))
    counts = np.unique(order @ np.array([64, 16, 4, 1]), return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 58.6  # 0.01 % point of chi-squared with 23 degrees


def test_repeated_sorts_leave_no_pair_in_order():
    """With 2^16 entries and 16 random bits a single sort would keep half a pair an entry in order."""
    num = 1 << 16
    order = np.asarray(jax.jit(lambda key: permutation(key, num))(jax.random.key(3)))
    assert _rounds(16) == 3
    ascending = np.mean(np.diff(order) > 0)
    assert abs(ascending - 0.5) < 4 * np.sqrt(1 / 12 / num)


def test_bad_size_is_named():
    with pytest.raises(ValueError, match="`num` must be at least 1, got 0"):
        permutation(jax.random.key(0), 0)
