"""Linear models against NumPy's ridge regression, and LinUCB's every decision with them."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

import envs
from jaxrl.bandits import logistic_thompson, neural_linear, ridge


def rows(num, size, num_arms, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, size)), rng.integers(num_arms, size=num), rng.normal(size=num)


def fit(x, arm, reward, num_arms, regularization):
    """Ridge regression of each arm by a solve in float64: inverse precisions and coefficients."""
    inverse, coefficients = [], []
    for a in range(num_arms):
        own = x[arm == a]
        precision = regularization * np.eye(x.shape[1]) + own.T @ own
        inverse.append(np.linalg.inv(precision))
        coefficients.append(np.linalg.solve(precision, own.T @ reward[arm == a]))
    return np.array(inverse), np.array(coefficients)


def test_updates_row_by_row_equal_ridge_regression():
    x, arm, reward = rows(3000, 6, 3)
    each = (jnp.asarray(x, jnp.float32), jnp.asarray(arm, jnp.int32), jnp.asarray(reward, jnp.float32))
    after, _ = jax.lax.scan(lambda r, at: (ridge.update(r, *at), None), ridge.init(3, 6, 2.0), each)
    inverse, coefficients = fit(x, arm, reward, 3, 2.0)
    np.testing.assert_allclose(after.inverse, inverse, rtol=1e-3, atol=1e-7)
    new = np.random.default_rng(1).normal(size=6)
    mean, variance = ridge.predict(after, jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(mean, coefficients @ new, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(variance, np.einsum("aij,i,j->a", inverse, new, new), rtol=1e-3)


def test_a_fit_at_once_equals_ridge_regression_and_leaves_rows_out():
    x, arm, reward = rows(200, 5, 3)
    arm[::7] = -1
    models = neural_linear.fit(
        jnp.asarray(x, jnp.float32), jnp.asarray(arm, jnp.int32), jnp.asarray(reward, jnp.float32), 3, 0.5
    )
    inverse, coefficients = fit(x, arm, reward, 3, 0.5)
    np.testing.assert_allclose(models.inverse, inverse, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        np.einsum("aij,aj->ai", models.inverse, models.moment), coefficients, rtol=1e-3, atol=1e-5
    )


def test_linucb_pulls_the_highest_index_of_a_numpy_ridge_regression(record):
    env, params = envs.make("ContextualBandit-v1", num_arms=3, num_features=4)
    _, obs, arms, rewards = record("linucb", env, params, 250, exploration=0.7, regularization=1.5)
    x = np.c_[np.asarray(obs[0], np.float64), np.ones(250)]
    arms, rewards = np.asarray(arms[0]), np.asarray(rewards[0], np.float64)
    assert len(set(arms)) == 3
    for n in range(1, 250):
        inverse, coefficients = fit(x[:n], arms[:n], rewards[:n], 3, 1.5)
        index = coefficients @ x[n] + 0.7 * np.sqrt(np.einsum("aij,i,j->a", inverse, x[n], x[n]))
        assert index[arms[n]] >= np.max(index) - 1e-4, f"pull {n}: {index}, pulled {arms[n]}"


def test_one_click_moves_the_logistic_posterior_to_the_mode():
    """Against Newton's method on all coefficients, in float64."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    covariance, mean, x = root @ root.T + 0.1 * np.eye(4), rng.normal(size=4), 2 * rng.normal(size=4)
    for reward in (0.0, 1.0):
        w, precision = mean.copy(), np.linalg.inv(covariance)
        for _ in range(200):
            p = 1 / (1 + np.exp(-w @ x))
            gradient = precision @ (w - mean) - (reward - p) * x
            w = w - 0.5 * np.linalg.solve(precision + p * (1 - p) * np.outer(x, x), gradient)
        before = logistic_thompson.Posterior(
            mean=jnp.asarray(np.stack([mean, mean]), jnp.float32),
            covariance=jnp.asarray(np.stack([covariance, covariance]), jnp.float32),
        )
        after = logistic_thompson.update(
            before, jnp.asarray(x, jnp.float32), jnp.int32(1), jnp.float32(reward)
        )
        p = 1 / (1 + np.exp(-w @ x))
        np.testing.assert_allclose(after.mean[1], w, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            after.covariance[1], np.linalg.inv(precision + p * (1 - p) * np.outer(x, x)), rtol=2e-3, atol=1e-3
        )
        np.testing.assert_array_equal(after.mean[0], before.mean[0])
        np.testing.assert_array_equal(after.covariance[0], before.covariance[0])


def test_the_logistic_mode_is_found_however_wide_the_prior():
    """One feature of 1, so that the coefficient is the logit: against bisection in float64."""
    grid = np.meshgrid(np.geomspace(1e-2, 1e4, 13), np.linspace(-20, 20, 11), [0.0, 1.0])
    variances, means, rewards = (x.ravel().astype(np.float32) for x in grid)

    def click(variance, mean, reward):
        before = logistic_thompson.Posterior(mean=mean[None, None], covariance=variance[None, None, None])
        return logistic_thompson.update(before, jnp.ones(1), jnp.int32(0), reward)

    def mode(variance, mean, reward):
        # reward - sigmoid(z) is sign * sigmoid(-sign * z), which does not round.
        sign = 2 * reward - 1
        residual = lambda z: z - mean - variance * sign * special.expit(-sign * z)  # noqa: E731
        return optimize.brentq(residual, mean - variance, mean + variance, xtol=1e-12)

    after = jax.jit(jax.vmap(click))(variances, means, rewards)
    expected = np.array([mode(*map(float, at)) for at in zip(variances, means, rewards, strict=True)])
    np.testing.assert_allclose(after.mean[:, 0, 0], expected, rtol=1e-5, atol=1e-5)
    curvature = special.expit(expected) * special.expit(-expected)
    np.testing.assert_allclose(after.covariance[:, 0, 0, 0], 1 / (1 / variances + curvature), rtol=1e-3)
