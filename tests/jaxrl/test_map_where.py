"""A function of the chosen rows of a batch, a block at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import map_where

ROWS = {"x": jnp.arange(14.0).reshape(7, 2), "y": jnp.arange(7)}


def weigh(rows):
    return rows["x"] @ jnp.array([1.0, 10.0]) + rows["y"] ** 2


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 100])
def test_chosen_rows_are_computed_and_others_are_zero(block_size):
    for chosen in (np.zeros(7, bool), np.ones(7, bool), np.arange(7) % 3 == 0, np.arange(7) == 6):
        run = jax.jit(lambda chosen, rows: map_where(weigh, chosen, rows, block_size))
        np.testing.assert_array_equal(run(chosen, ROWS), np.where(chosen, weigh(ROWS), 0))


def test_rows_that_are_not_chosen_are_never_computed():
    """So a number there that is not finite does no harm, and no block is computed in vain."""
    calls = []
    chosen, rows = jnp.array([False, True, True, True, False]), jnp.array([0.0, 1.0, 4.0, 9.0, -jnp.inf])

    def root(x):
        jax.debug.callback(lambda x: calls.append(np.asarray(x)), x)
        return 1.0 / jnp.sqrt(x)

    result = jax.block_until_ready(map_where(root, chosen, rows, 2))
    np.testing.assert_allclose(result, [0.0, 1.0, 1 / 2, 1 / 3, 0.0], rtol=1e-6)
    jax.effects_barrier()
    assert len(calls) == 2


def test_each_of_a_batch_equals_itself_alone():
    """Where one seed has chosen more rows than another, the loop runs on for it alone."""
    chosen = jnp.array([[True] * 7, [False] * 7, [False] * 6 + [True]])
    batched = jax.vmap(lambda chosen: map_where(weigh, chosen, ROWS, 2))(chosen)
    for alone, together in zip(chosen, batched, strict=True):
        np.testing.assert_array_equal(map_where(weigh, alone, ROWS, 2), together)
