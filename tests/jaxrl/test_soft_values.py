"""Values with an entropy bonus, against numbers by hand and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import soft_values as ops


def test_a_minimum_over_a_random_subset():
    """Of 3 critics 2 are drawn: the least of all 3 is among them in 2 of 3 cases, else the second least."""
    q = jnp.array([[3.0, 7.0], [1.0, 8.0], [2.0, 9.0]])
    keys = jax.random.split(jax.random.key(0), 3000)
    least = np.asarray(jax.vmap(lambda key: ops.subset_minimum(q, 2, key))(keys))
    share = {pair: np.mean(np.all(least == pair, axis=1)) for pair in ((1.0, 7.0), (2.0, 7.0), (1.0, 8.0))}
    # The pairs of critics (0, 1), (0, 2) and (1, 2); the same pair counts for both columns.
    assert sum(share.values()) == pytest.approx(1)
    assert all(abs(part - 1 / 3) < 4 * np.sqrt(2 / 9 / 3000) for part in share.values())
    assert ops.subset_minimum(q, 3).tolist() == [1.0, 7.0]
    assert set(np.asarray(jax.vmap(lambda key: ops.subset_minimum(q, 1, key))(keys))[:, 0]) == {1.0, 2.0, 3.0}


def test_soft_targets_by_hand():
    """A time limit keeps its discount, a termination has none; no gradient flows."""
    reward, discount = jnp.array([1.0, 1.0, -2.0]), jnp.array([0.9, 0.0, 0.5])
    q, log_prob = jnp.array([10.0, 10.0, 4.0]), jnp.array([-1.0, -1.0, 2.0])
    target = ops.soft_target(reward, discount, q, log_prob, 0.2)
    np.testing.assert_allclose(target, [1 + 0.9 * 10.2, 1.0, -2 + 0.5 * 3.6], rtol=1e-6)
    slope = jax.grad(lambda q: jnp.sum(ops.soft_target(reward, discount, q, log_prob, 0.2)))(q)
    assert not np.any(slope)


def test_the_expected_soft_value_is_the_mean_over_actions():
    rng = np.random.default_rng(0)
    logits, q = rng.normal(size=(2, 5, 4))
    pi = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = (pi * (q - 0.3 * np.log(pi))).sum(axis=-1)
    value = ops.expected_soft_value(jnp.asarray(logits, jnp.float32), jnp.asarray(q, jnp.float32), 0.3)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # The softmax of q / temperature is the best there is, and is worth temperature * logsumexp.
    best = jnp.asarray(q / 0.3, jnp.float32)
    greatest = ops.expected_soft_value(best, jnp.asarray(q, jnp.float32), 0.3)
    np.testing.assert_allclose(greatest, 0.3 * np.log(np.exp(q / 0.3).sum(axis=-1)), rtol=1e-5)
    assert np.all(greatest > value)


def test_certain_policies_have_finite_values_and_slopes():
    logits = jnp.array([200.0, 0.0, -200.0])
    value, slope = jax.value_and_grad(ops.expected_soft_value)(logits, jnp.array([1.0, 2.0, 3.0]), 0.1)
    assert float(value) == 1.0
    assert np.all(np.isfinite(slope))


def test_the_temperature_moves_towards_its_target_entropy():
    """d/d log t of t (H - target) is t (H - target): falling on it raises t where H is too small."""
    slope = jax.grad(lambda log, entropy: jnp.mean(ops.temperature_loss(log, entropy, -2.0)))
    log = jnp.log(jnp.float32(0.5))
    assert float(slope(log, jnp.array([-3.0, -4.0]))) == pytest.approx(-0.75)
    assert float(slope(log, jnp.array([0.0, 1.0]))) == pytest.approx(1.25)
    assert float(slope(log, jnp.array([-2.0]))) == 0
    # The entropy is data here: the policy is not pushed by this loss.
    assert float(jax.grad(ops.temperature_loss, argnums=1)(log, jnp.float32(0.0), -2.0)) == 0


def test_smoothing_noise_and_its_result_are_clipped():
    action = jnp.array([0.0, 0.0, 0.9, -0.9])
    noise = jnp.array([0.3, -9.0, 0.4, -0.4])
    np.testing.assert_allclose(ops.smoothed_action(action, noise, 0.5), [0.3, -0.5, 1.0, -1.0], rtol=1e-6)
