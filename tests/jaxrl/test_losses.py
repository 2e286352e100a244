"""Losses and diagnostics against hand numbers, float64 formulas and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxrl import ops


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "gradient_by_log_prob"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # already more likely than 1 + epsilon: nothing more to gain
        (0.5, 2.0, -1.0, -1.0),  # a good action that became unlikely is still pulled up
        (0.5, -2.0, 1.6, 0.0),
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_clipped_surrogate_hand_numbers(ratio, advantage, expected, gradient_by_log_prob):
    old = jnp.array([-1.3])
    log_prob, advantage = old + jnp.log(ratio), jnp.array([advantage])
    loss = ops.clipped_surrogate(log_prob, old, advantage, 0.2)
    np.testing.assert_allclose(loss, [expected], rtol=1e-5)
    gradient = jax.grad(lambda x: ops.clipped_surrogate(x, old, advantage, 0.2).sum())(log_prob)
    np.testing.assert_allclose(gradient, [gradient_by_log_prob], rtol=1e-5)


def test_policy_gradient_loss_has_the_policy_gradient_and_blocks_that_of_the_advantage():
    log_prob, advantage = jnp.array([-0.5, -2.0]), jnp.array([1.0, -3.0])
    by_log_prob, by_advantage = jax.grad(lambda *x: ops.policy_gradient_loss(*x).sum(), argnums=(0, 1))(
        log_prob, advantage
    )
    np.testing.assert_array_equal(by_log_prob, -advantage)
    assert not by_advantage.any()


def test_clipped_surrogate_is_the_policy_gradient_at_the_first_step_and_blocks_other_gradients():
    log_prob, advantage = jnp.array([-0.5, -2.0, -1.0]), jnp.array([1.0, -3.0, 0.5])
    by_log_prob, by_old, by_advantage = jax.grad(
        lambda *x: ops.clipped_surrogate(*x, 0.2).sum(), argnums=(0, 1, 2)
    )(log_prob, log_prob, advantage)
    np.testing.assert_allclose(by_log_prob, -advantage, rtol=1e-6)
    assert not by_old.any() and not by_advantage.any()


@pytest.mark.parametrize(
    ("value", "old", "target", "expected", "gradient"),
    [
        (0.1, 0.0, 1.0, 0.405, -0.9),  # within the range: plain
        (0.9, 0.0, 1.0, 0.32, 0.0),  # moved too far towards the target: no gradient
        (-0.9, 0.0, 1.0, 1.805, -1.9),  # moved away: the larger, unclipped error
        (3.0, 0.0, 1.0, 2.0, 2.0),  # overshot
    ],
)
def test_clipped_value_loss_hand_numbers(value, old, target, expected, gradient):
    arguments = jnp.array([old]), jnp.array([target]), 0.2
    np.testing.assert_allclose(ops.clipped_value_loss(jnp.array([value]), *arguments), [expected], rtol=1e-5)
    result = jax.grad(lambda v: ops.clipped_value_loss(v, *arguments).sum())(jnp.array([value]))
    np.testing.assert_allclose(result, [gradient], rtol=1e-5, atol=1e-7)


def test_value_losses_agree_where_nothing_is_clipped_and_block_the_targets_gradient():
    value, target = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    np.testing.assert_allclose(ops.value_loss(value, target), [0.125, 12.5])
    np.testing.assert_allclose(ops.clipped_value_loss(value, value, target, 0.2), [0.125, 12.5])
    assert not jax.grad(lambda t: ops.value_loss(value, t).sum())(target).any()
    by_old, by_target = jax.grad(lambda o, t: ops.clipped_value_loss(value, o, t, 0.2).sum(), argnums=(0, 1))(
        value + 1.0, target
    )
    assert not by_old.any() and not by_target.any()


def test_entropies_match_scipy():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20, 5)) * 3
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    result = ops.categorical_entropy(jnp.asarray(logits, jnp.float32))
    np.testing.assert_allclose(result, scipy_stats.entropy(probs, axis=-1), rtol=1e-5)
    mask = rng.random((20, 5)) < 0.6
    mask[:, 0] = True
    masked = probs * mask / (probs * mask).sum(-1, keepdims=True)
    result = ops.categorical_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(mask))
    np.testing.assert_allclose(result, scipy_stats.entropy(masked, axis=-1), rtol=1e-5, atol=1e-6)
    log_std = rng.normal(size=(20, 3))
    expected = scipy_stats.norm(scale=np.exp(log_std)).entropy().sum(-1)
    np.testing.assert_allclose(ops.gaussian_entropy(jnp.asarray(log_std, jnp.float32)), expected, rtol=1e-5)


def test_entropy_of_extreme_logits_is_finite_with_finite_gradient():
    logits = jnp.array([1e4, -1e4, 0.0])
    for mask in (None, jnp.array([True, False, True]), jnp.array([False, True, False])):
        entropy, gradient = jax.value_and_grad(lambda x, m=mask: ops.categorical_entropy(x, m))(logits)
        assert entropy == 0.0
        assert jnp.isfinite(gradient).all()


def test_approximate_kl_is_never_negative_exact_near_zero_and_unbiased():
    log_ratio = jnp.array([0.0, 1e-3, -1e-3, 0.5, -0.5, -20.0])
    result = ops.approximate_kl(log_ratio, jnp.zeros(6))
    exact = np.expm1(np.asarray(log_ratio, np.float64)) - np.asarray(log_ratio, np.float64)
    np.testing.assert_allclose(result, exact, rtol=1e-3, atol=1e-10)
    assert (result >= 0).all()
    rng = np.random.default_rng(0)
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    action = rng.choice(3, size=200_000, p=p)
    new, old = jnp.asarray(np.log(q)[action], jnp.float32), jnp.asarray(np.log(p)[action], jnp.float32)
    assert float(ops.approximate_kl(new, old).mean()) == pytest.approx(scipy_stats.entropy(p, q), rel=0.02)


def test_clip_fraction_counts_ratios_outside_the_range():
    ratio = jnp.array([0.7, 0.85, 1.0, 1.15, 1.3])
    assert ops.clip_fraction(jnp.log(ratio), jnp.zeros(5), 0.2).tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_explained_variance():
    target = jnp.array([1.0, 2.0, 3.0, 4.0])
    assert float(ops.explained_variance(target + 5.0, target)) == 1.0
    assert float(ops.explained_variance(jnp.zeros(4), target)) == 0.0
    assert float(ops.explained_variance(-target, target)) == -3.0
    constant, gradient = jax.value_and_grad(ops.explained_variance)(target, jnp.ones(4))
    assert constant == 0.0 and jnp.isfinite(gradient).all()


def test_standardize_matches_numpy_alone_and_over_a_mapped_axis():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(4, 16))
    expected = (x - x.mean()) / (x.std() + 1e-8)
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(ops.standardize(x), expected, atol=1e-5)
    split = jax.vmap(lambda part: ops.standardize(part, axis_name="data"), axis_name="data")(x)
    np.testing.assert_allclose(split, expected, atol=1e-5)
    assert ops.standardize(jnp.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_shapes_and_dtypes_are_checked():
    with pytest.raises(AssertionError):
        ops.clipped_surrogate(jnp.zeros(3), jnp.zeros(3), jnp.zeros((3, 1)), 0.2)
    with pytest.raises(AssertionError):
        ops.clipped_value_loss(jnp.zeros(3), jnp.zeros(3), jnp.zeros(()), 0.2)
    with pytest.raises(AssertionError):
        ops.value_loss(jnp.zeros(3, jnp.int32), jnp.zeros(3, jnp.int32))
