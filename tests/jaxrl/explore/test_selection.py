"""Action selection: frequencies against the distributions stated, and those against hand numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.explore import selection

VALUES = jnp.array([1.0, 3.0, 3.0, -2.0])
MASK = jnp.array([True, False, True, True])
DRAWS = 20_000


def frequencies(rule, *arguments):
    keys = jax.random.split(jax.random.key(0), DRAWS)
    actions = jax.jit(jax.vmap(lambda key: rule(key, *arguments)))(keys)
    assert actions.dtype == jnp.int32
    return np.bincount(actions, minlength=len(VALUES)) / DRAWS


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("name, extra", [("greedy", ()), ("epsilon_greedy", (0.3,)), ("softmax", (2.0,))])
def test_actions_follow_the_distribution_stated(name, extra, mask):
    probabilities = getattr(selection, f"{name}_probabilities")(VALUES, *extra, mask)
    np.testing.assert_allclose(jnp.sum(probabilities), 1.0, rtol=1e-6)
    assert mask is None or probabilities[1] == 0
    seen = frequencies(getattr(selection, name), VALUES, *extra, mask)
    deviation = np.sqrt(probabilities * (1 - probabilities) / DRAWS)
    np.testing.assert_array_less(np.abs(seen - probabilities), 5 * deviation + 1e-9)


def test_distributions_by_hand():
    def listed(x):
        return np.asarray(x).tolist()

    assert listed(selection.greedy_probabilities(VALUES)) == [0, 0.5, 0.5, 0]
    assert listed(selection.greedy_probabilities(VALUES, MASK)) == [0, 0, 1, 0]
    np.testing.assert_allclose(
        selection.epsilon_greedy_probabilities(VALUES, 0.2), [0.05, 0.45, 0.45, 0.05], rtol=1e-6
    )
    weights = np.exp([0.5, 1.5, 1.5, -1.0])
    np.testing.assert_allclose(
        selection.softmax_probabilities(VALUES, 2.0), weights / weights.sum(), rtol=1e-6
    )


def test_epsilon_bounds_are_greedy_and_uniform():
    assert frequencies(selection.epsilon_greedy, VALUES, 0.0)[[0, 3]].tolist() == [0, 0]
    np.testing.assert_allclose(frequencies(selection.epsilon_greedy, VALUES, 1.0), 0.25, atol=0.0155)


def test_ucb_tries_every_allowed_action_first_and_then_follows_the_bound():
    values, counts = jnp.array([0.6, 0.5, 0.9]), jnp.array([4, 2, 0])
    assert int(selection.ucb(jax.random.key(0), values, counts)) == 2
    allowed = jnp.array([True, True, False])
    # 0.6 + sqrt(2 ln 6 / 4) = 1.5465, 0.5 + sqrt(2 ln 6 / 2) = 1.8386
    assert int(selection.ucb(jax.random.key(0), values, counts, mask=allowed)) == 1
    np.testing.assert_allclose(
        (values + selection.ucb_bonus(counts, jnp.sum(counts)))[:2], [1.546519, 1.838566], atol=1e-5
    )
    assert np.all(np.asarray(selection.ucb_bonus(jnp.zeros(2), 0.0)) == np.inf)


def test_count_bonus_treats_no_visit_as_one():
    np.testing.assert_allclose(selection.count_bonus(jnp.array([0, 1, 9]), 0.3), [0.3, 0.3, 0.1], rtol=1e-6)


def test_optimistic_value_refuses_no_discount():
    with pytest.raises(ValueError, match=r"`gamma` must be at least 0 and less than 1, got 1\.0"):
        selection.optimistic_value(1.0, 1.0)


def test_no_allowed_best_is_left_out_by_its_value():
    assert int(selection.greedy(jax.random.key(0), VALUES, jnp.array([False, False, False, True]))) == 3
