"""Gaussian, drifting, contextual and slate bandits: what they pay, what they cost, what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs

PULLS = 20_000


def pull(env, state, arm, params, pulls=PULLS):
    keys = jax.random.split(jax.random.key(0), pulls)
    return jax.jit(jax.vmap(lambda key: env.step(key, state, arm, params)))(keys)


def first_state(env, params, seed=0):
    return env.reset(jax.random.key(seed), params)[0]


def test_gaussian_arms_pay_their_mean_and_scale():
    env, params = envs.make("GaussianBandit-v1", num_arms=2)
    params = params.replace(means=jnp.array([0.5, 2.0]), scales=jnp.array([3.0, 0.1]))
    _, out = pull(env, first_state(env, params), jnp.int32(0), params)
    np.testing.assert_allclose(np.mean(out.reward), 0.5, atol=5 * 3 / np.sqrt(PULLS))
    np.testing.assert_allclose(np.std(out.reward), 3.0, atol=5 * 3 / np.sqrt(2 * PULLS))
    assert np.all(np.asarray(out.metrics["regret"]) == 1.5) and not np.any(out.metrics["optimal"])


def test_drifting_means_walk_with_their_step_and_regret_follows_them():
    env, params = envs.make("DriftingBandit-v1", num_arms=3)
    params = params.replace(means=jnp.array([0.0, 1.0, -1.0]), drift=jnp.float32(0.2))
    state = first_state(env, params)
    after, out = pull(env, state, jnp.int32(0), params)
    step = np.asarray(after.means) - np.asarray(params.means)
    np.testing.assert_allclose(step.mean(axis=0), 0, atol=5 * 0.2 / np.sqrt(PULLS))
    np.testing.assert_allclose(step.std(axis=0), 0.2, atol=5 * 0.2 / np.sqrt(2 * PULLS))
    assert np.max(np.abs(np.corrcoef(np.c_[step, out.reward], rowvar=False) - np.eye(4))) < 5 / np.sqrt(PULLS)
    assert np.all(np.asarray(out.metrics["regret"]) == 1.0)
    moved = state.replace(means=jnp.array([2.0, 1.0, -1.0]))
    assert float(env.step(jax.random.key(0), moved, 0, params)[1].metrics["regret"]) == 0.0


def test_drifting_means_switch_as_often_as_asked():
    env, params = envs.make("DriftingBandit-v1", num_arms=2)
    params = params.replace(
        drift=jnp.float32(0.0), switch_probability=jnp.float32(0.1), spread=jnp.float32(2.0)
    )
    after, _ = pull(env, first_state(env, params), jnp.int32(0), params)
    switched = np.any(np.asarray(after.means) != 0, axis=1)
    np.testing.assert_allclose(switched.mean(), 0.1, atol=5 * np.sqrt(0.09 / PULLS))
    np.testing.assert_allclose(
        np.std(np.asarray(after.means)[switched]), 2.0, atol=10 / np.sqrt(4 * switched.sum())
    )


def test_clicks_are_logistic_in_the_features():
    env, params = envs.make("ContextualBandit-v1", num_arms=2, num_features=2)
    params = params.replace(
        weights=jnp.array([[1.0, -1.0], [0.0, 0.5]]),
        biases=jnp.array([0.5, -0.2]),
        interactions=jnp.array([0.0, 2.0]),
    )
    state = first_state(env, params).replace(context=jnp.array([0.3, -0.6]))
    chance = 1 / (1 + np.exp(-np.array([0.5 + 0.3 + 0.6, -0.2 - 0.3 - 0.36])))
    np.testing.assert_allclose(env.expected_rewards(state, params), chance, rtol=1e-5)
    after, out = pull(env, state, jnp.int32(1), params)
    np.testing.assert_allclose(
        np.mean(out.reward), chance[1], atol=5 * np.sqrt(chance[1] * (1 - chance[1]) / PULLS)
    )
    np.testing.assert_allclose(out.metrics["regret"], chance[0] - chance[1], rtol=1e-5)
    # The next visitor is a new one: standard normal, whatever was clicked.
    contexts = np.c_[np.asarray(after.context), out.reward]
    np.testing.assert_array_equal(after.context, out.obs)
    np.testing.assert_allclose(contexts[:, :2].mean(axis=0), 0, atol=5 / np.sqrt(PULLS))
    assert np.max(np.abs(np.corrcoef(contexts, rowvar=False) - np.eye(3))) < 5 / np.sqrt(PULLS)


def test_slots_are_clicked_by_examination_times_attraction_and_repeats_are_worth_nothing():
    env, params = envs.make("SlateBandit-v1", num_items=4, num_slots=3)
    params = params.replace(
        attraction=jnp.array([0.2, 0.8, 0.5, 0.1]), examination=jnp.array([0.4, 1.0, 0.5])
    )
    state = first_state(env, params)
    chance = np.array([0.4 * 0.8, 1.0 * 0.2, 0.0])
    after, out = pull(env, state, jnp.array([1, 0, 1]), params)
    np.testing.assert_allclose(np.mean(out.obs, axis=0), chance, atol=5 * 0.5 / np.sqrt(PULLS))
    np.testing.assert_array_equal(np.sum(out.obs, axis=1), out.reward)
    np.testing.assert_array_equal(after.clicks, out.obs)
    best = 1.0 * 0.8 + 0.5 * 0.5 + 0.4 * 0.2
    np.testing.assert_allclose(out.metrics["regret"], best - chance.sum(), rtol=1e-5)

    slates = jnp.stack(jnp.meshgrid(*3 * [jnp.arange(4)], indexing="ij"), axis=-1).reshape(-1, 3)
    step = jax.jit(jax.vmap(lambda slate: env.step(jax.random.key(0), state, slate, params)[1].metrics))
    metrics = step(slates)
    np.testing.assert_allclose(np.min(metrics["regret"]), 0, atol=1e-6)
    assert slates[np.asarray(metrics["optimal"]) == 1].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    "id", ["GaussianBandit-v1", "ContextualBandit-v1", "SlateBandit-v1", "BernoulliBandit-v1"]
)
def test_arms_can_be_drawn_per_episode(id):
    env, params = envs.make(id)
    vec = envs.VecEnv(env, 2, params_dist=env.draw)
    state, _ = jax.jit(vec.reset)(jax.random.key(0), params)
    assert any(np.any(np.asarray(x[0]) != np.asarray(x[1])) for x in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
    "id, field, value, message",
    [
        (
            "BernoulliBandit-v1",
            "probabilities",
            [0.2, 1.5],
            r"`probabilities` must lie in \[0, 1\], got 1.5 at index 1",
        ),
        ("BernoulliBandit-v1", "probabilities", [-0.1, 0.5], r"`probabilities` must .* got -0.1 at index 0"),
        ("GaussianBandit-v1", "means", [0.0, np.nan], "`means` must be finite, got nan at index 1"),
        ("GaussianBandit-v1", "scales", [1.0, 0.0], "`scales` must be positive and finite, got 0 at index 1"),
        (
            "DriftingBandit-v1",
            "switch_probability",
            2.0,
            r"`switch_probability` must lie in \[0, 1\], got 2",
        ),
        ("DriftingBandit-v1", "means", [np.inf, 0.0], "`means` must be finite, got inf at index 0"),
        ("ContextualBandit-v1", "biases", [0.0, np.nan], "`biases` must be finite, got nan at index 1"),
        (
            "SlateBandit-v1",
            "attraction",
            [0.5, -0.5],
            r"`attraction` must lie in \[0, 1\], got -0.5 at index 1",
        ),
        ("BernoulliBandit-v1", "probabilities", [0.2] * 3, r"must have shape \(2,\), .* got \(3,\)"),
        ("DriftingBandit-v1", "drift", np.nan, "`drift` must be finite, got nan"),
    ],
)
def test_impossible_parameters_are_refused_by_name_and_value(id, field, value, message):
    two = {"num_items": 2, "num_slots": 2} if id == "SlateBandit-v1" else {"num_arms": 2}
    env, params = envs.make(id, **two)
    params = params.replace(**{field: jnp.asarray(value, jnp.float32)})
    with pytest.raises(ValueError, match=message):
        env.reset(jax.random.key(0), params)
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda key: env.reset(key, params))(jax.random.key(0))


@pytest.mark.parametrize(
    "id, options, message",
    [
        ("GaussianBandit-v1", {"num_arms": 0}, "`num_arms` must be at least 1, got 0"),
        ("DriftingBandit-v1", {"num_arms": 0}, "`num_arms` must be at least 1, got 0"),
        ("ContextualBandit-v1", {"num_features": 1}, "`num_features` must be at least 2, got 1"),
        ("SlateBandit-v1", {"num_items": 2, "num_slots": 3}, "at most num_items = 2, got 3"),
    ],
)
def test_impossible_shapes_are_refused(id, options, message):
    with pytest.raises(ValueError, match=message):
        envs.make(id, **options)
