"""Distributions against SciPy, TensorFlow Probability and NumPy in float64."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats
from tensorflow_probability.substrates import jax as tfp

from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from jaxrl.distributions import (
    Categorical,
    DiagonalGaussian,
    LatentTanhGaussian,
    MultiCategorical,
    TanhGaussian,
    for_space,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(7, 4)) * 2
MASK = RNG.random((7, 4)) < 0.6
MASK[:, 2] = True
LOGITS_32, MASK_32 = np.float32(LOGITS), MASK


def masked_probs(logits, mask):
    weights = np.where(mask, np.exp(logits - logits.max(-1, keepdims=True)), 0.0)
    return weights / weights.sum(-1, keepdims=True)


# Categorical -----------------------------------------------------------------------------------


@jax.jit
def describe_categorical(logits, mask, action):
    policy = Categorical(logits, mask)
    return policy.probs, policy.log_prob(action), policy.prob(action), policy.entropy(), policy.mode()


@pytest.mark.parametrize("mask", [np.ones_like(MASK), MASK], ids=["unmasked", "masked"])
def test_categorical_matches_float64(mask):
    expected = masked_probs(LOGITS, mask)
    for action in range(4):
        probs, log_prob, prob, entropy, mode = describe_categorical(LOGITS_32, mask, np.full(7, action))
        np.testing.assert_allclose(probs, expected, rtol=1e-5)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(log_prob, np.log(expected[:, action]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(prob, expected[:, action], rtol=1e-5)
    np.testing.assert_allclose(entropy, scipy_stats.entropy(expected, axis=-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mode, expected.argmax(-1))
    assert mode.dtype == jnp.int32


def test_unmasked_categorical_equals_distrax_and_tfp():
    ours = Categorical(jnp.asarray(LOGITS_32))
    action = jnp.array([0, 1, 2, 3, 0, 1, 2])
    for theirs in (tfp.distributions.Categorical(LOGITS_32), distrax.Categorical(LOGITS_32)):
        with jax.numpy_rank_promotion("allow"):
            log_prob, entropy = theirs.log_prob(action), theirs.entropy()
        np.testing.assert_allclose(ours.log_prob(action), log_prob, rtol=1e-5)
        np.testing.assert_allclose(ours.entropy(), entropy, rtol=1e-5)
    assert ours.batch_shape == (7,) and ours.event_shape == ()


def test_a_forbidden_action_has_exactly_no_probability_and_is_never_drawn():
    probs = describe_categorical(LOGITS_32, MASK_32, np.zeros(7, int))[0]
    assert (np.asarray(probs)[~MASK] == 0.0).all()
    huge = jnp.where(MASK_32, jnp.asarray(LOGITS_32), 1e8)  # a forbidden action that the network adores
    draws = Categorical(huge, jnp.asarray(MASK_32)).sample(seed=jax.random.key(0), sample_shape=(2000,))
    counts = np.stack([(np.asarray(draws) == a).mean(0) for a in range(4)], -1)
    assert (counts[~MASK] == 0.0).all()
    np.testing.assert_allclose(counts, masked_probs(LOGITS, MASK), atol=0.05)


@pytest.mark.parametrize("num_actions", [1, 2, 32, 33, 100])
def test_draws_have_the_right_frequencies_for_few_and_many_actions(num_actions):
    logits = np.random.default_rng(num_actions).normal(size=num_actions)
    mask = np.arange(num_actions) % 3 != 1
    policy = Categorical(jnp.asarray(logits, jnp.float32), jnp.asarray(mask))
    draws = policy.sample(seed=jax.random.key(0), sample_shape=(20_000,))
    assert draws.dtype == jnp.int32
    expected = 20_000 * masked_probs(logits, mask)
    observed = np.bincount(np.asarray(draws), minlength=num_actions)
    assert (observed[~mask] == 0).all()
    if mask.sum() > 1:
        assert scipy_stats.chisquare(observed[mask], expected[mask]).pvalue > 1e-3


def test_the_ends_of_the_unit_interval_draw_allowed_actions(monkeypatch):
    """The extreme random numbers, 0 and 1 - 2^-23, fall on the first and on the last allowed action."""
    mask = jnp.array([False, True, True, False, True, False])
    for number, action in ((0.0, 1), (1.0 - 2.0**-23, 4)):
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape, *_, x=number: jnp.full(shape, x))
        logits = jax.random.normal(jax.random.key(0), (1000, 6))
        assert (Categorical(logits, mask[None]).sample(seed=jax.random.key(0)) == action).all()


def test_masked_gradients_are_finite_and_match_float64():
    """d log p_a / d logits = onehot_a - p and d H / d logits = -p (log p + H), which are 0 where p is."""
    probs = masked_probs(LOGITS, MASK)
    by_log_prob, by_entropy = jax.jit(
        lambda x: (
            jax.grad(lambda x: Categorical(x, MASK_32).log_prob(jnp.full(7, 2)).sum())(x),
            jax.grad(lambda x: Categorical(x, MASK_32).entropy().sum())(x),
        )
    )(LOGITS_32)
    np.testing.assert_allclose(by_log_prob, np.eye(4)[2] - probs, atol=1e-6)
    log_probs = np.log(np.where(MASK, probs, 1.0))
    entropy = scipy_stats.entropy(probs, axis=-1)[:, None]
    np.testing.assert_allclose(by_entropy, -probs * (log_probs + entropy), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e30])
def test_extreme_masked_logits_stay_finite(scale):
    logits = scale * jnp.array([1.0, -1.0, 0.5])
    mask = jnp.array([False, True, True])

    def score(x):
        policy = Categorical(x, mask)
        return policy.log_prob(jnp.int32(2)) + policy.entropy()

    value, gradient = jax.value_and_grad(score)(logits)
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
    one_left = Categorical(logits, jnp.array([False, True, False]))
    assert one_left.entropy() == 0.0 and one_left.log_prob(jnp.int32(1)) == 0.0


def test_categorical_outside_of_its_support_and_with_leading_sample_axes():
    policy = Categorical(jnp.zeros((2, 3)))
    assert policy.log_prob(jnp.array([-1, 3])).tolist() == [-np.inf, -np.inf]
    actions = jnp.zeros((5, 2), jnp.int32)
    np.testing.assert_allclose(policy.log_prob(actions), np.full((5, 2), -np.log(3)), rtol=1e-6)
    assert policy[1].batch_shape == () and policy[1].logits.shape == (3,)
    with pytest.raises(ValueError, match=r"`mask` must have one entry an action, 3, got \(2,\)"):
        Categorical(jnp.zeros((2, 3)), jnp.ones(2, bool))


def test_categorical_kl():
    other = RNG.normal(size=(7, 4))
    p, q = (masked_probs(x, MASK) for x in (LOGITS, other))
    result = Categorical(jnp.asarray(LOGITS_32), jnp.asarray(MASK)).kl_divergence(
        Categorical(jnp.asarray(other, jnp.float32), jnp.asarray(MASK))
    )
    np.testing.assert_allclose(result, scipy_stats.entropy(p, q, axis=-1), rtol=1e-4, atol=1e-6)
    forbids_more = Categorical(jnp.zeros(2), jnp.array([True, False]))
    assert Categorical(jnp.zeros(2)).kl_divergence(forbids_more) == np.inf
    assert forbids_more.kl_divergence(Categorical(jnp.zeros(2))) == pytest.approx(np.log(2))


# MultiCategorical ------------------------------------------------------------------------------


@pytest.mark.parametrize("nvec", [(2, 3, 1), (3, 3)])
@pytest.mark.parametrize("is_masked", [False, True])
def test_multi_categorical_is_a_product_of_categoricals(nvec, is_masked):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, sum(nvec)))
    mask = np.ones((5, sum(nvec)), bool)
    starts = np.cumsum([0, *nvec[:-1]])
    if is_masked:
        mask[:, 1] = False
    policy = MultiCategorical(
        jnp.asarray(logits, jnp.float32), nvec, jnp.asarray(mask) if is_masked else None
    )
    parts = [
        masked_probs(logits[:, s : s + n], mask[:, s : s + n]) for s, n in zip(starts, nvec, strict=True)
    ]
    action, log_prob = policy.sample_and_log_prob(seed=jax.random.key(0))
    assert action.shape == (5, len(nvec)) and action.dtype == jnp.int32
    assert (np.asarray(action) < np.array(nvec)).all()
    expected = sum(np.log(p[np.arange(5), action[:, i]]) for i, p in enumerate(parts))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(policy.log_prob(action), expected, rtol=1e-5)
    np.testing.assert_allclose(
        policy.entropy(), sum(scipy_stats.entropy(p, axis=-1) for p in parts), rtol=1e-5
    )
    np.testing.assert_array_equal(policy.mode(), np.stack([p.argmax(-1) for p in parts], -1))
    assert policy.kl_divergence(policy).tolist() == [0.0] * 5
    gradient = jax.grad(lambda x: MultiCategorical(x, nvec, jnp.asarray(mask)).entropy().sum())(
        jnp.asarray(logits, jnp.float32)
    )
    assert jnp.isfinite(gradient).all()


def test_multi_categorical_draws_are_independent_with_the_right_frequencies():
    policy = MultiCategorical(jnp.log(jnp.array([0.3, 0.7, 0.5, 0.25, 0.25])), (2, 3))
    draws = np.asarray(policy.sample(seed=jax.random.key(0), sample_shape=(20_000,)))
    joint = np.histogram2d(draws[:, 0], draws[:, 1], bins=(range(3), range(4)))[0] / 20_000
    np.testing.assert_allclose(joint, np.outer([0.3, 0.7], [0.5, 0.25, 0.25]), atol=0.015)
    with pytest.raises(ValueError, match=r"`logits` must have sum\(nvec\) = 5 entries, got 4"):
        MultiCategorical(jnp.zeros(4), (2, 3))


# DiagonalGaussian ------------------------------------------------------------------------------

MEAN, LOG_STD = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))
MEAN_32, LOG_STD_32 = jnp.asarray(MEAN, jnp.float32), jnp.asarray(LOG_STD, jnp.float32)


def test_gaussian_matches_scipy():
    policy, law = DiagonalGaussian(MEAN_32, LOG_STD_32), scipy_stats.norm(MEAN, np.exp(LOG_STD))
    sample, log_prob = policy.sample_and_log_prob(seed=jax.random.key(0))
    expected = law.logpdf(np.asarray(sample, np.float64)).sum(-1)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(policy.log_prob(sample), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(policy.entropy(), law.entropy().sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(policy.mode(), MEAN_32)
    draws = np.asarray(policy.sample(seed=jax.random.key(1), sample_shape=(4000,)))
    normal = ((draws - MEAN) / np.exp(LOG_STD)).ravel()
    assert scipy_stats.kstest(normal, "norm").pvalue > 1e-3
    np.testing.assert_array_equal(
        sample, policy.sample(seed=jax.random.key(0))
    )  # sample_and_log_prob draws the same


def test_gaussian_kl_matches_tfp_and_one_log_std_serves_a_batch():
    other = DiagonalGaussian(MEAN_32 + 0.5, LOG_STD_32[0])
    with jax.numpy_rank_promotion("allow"):
        p, q = (
            tfp.distributions.MultivariateNormalDiag(m, jnp.exp(jnp.broadcast_to(s, (6, 3))))
            for m, s in ((MEAN_32, LOG_STD_32), (MEAN_32 + 0.5, LOG_STD_32[0]))
        )
        kl, log_prob = p.kl_divergence(q), q.log_prob(MEAN_32)
    result = DiagonalGaussian(MEAN_32, LOG_STD_32).kl_divergence(other)
    np.testing.assert_allclose(result, kl, rtol=1e-4)
    np.testing.assert_allclose(other.log_prob(MEAN_32), log_prob, rtol=1e-5)
    assert other[2].mean().shape == (3,)
    with pytest.raises(ValueError, match="`log_std` must have one entry a component"):
        DiagonalGaussian(MEAN_32, jnp.zeros(2))


# TanhGaussian ----------------------------------------------------------------------------------

LOW, HIGH = np.array([-1.0, 0.0, -3.0]), np.array([1.0, 5.0, 0.5])


def exact_log_prob(latent, mean, std, low, high):
    """log p(tanh u) in float64, with log(1 - tanh^2) = -2 log cosh by a formula that does not overflow."""
    log_cosh = np.logaddexp(latent, -latent) - np.log(2)
    normal = scipy_stats.norm(mean, std).logpdf(latent)
    return (normal - np.log((high - low) / 2) + 2 * log_cosh).sum(-1)


@jax.jit
def describe_tanh(mean, log_std, latent):
    policy = TanhGaussian(mean, log_std, LOW, HIGH)
    action = policy.squash(latent)
    return action, policy.log_prob_of_latent(latent), policy.log_prob(action), policy.unsquash(action)


@pytest.mark.parametrize("size", [0.01, 1.0, 5.0, 20.0, 80.0])
def test_tanh_gaussian_is_exact_for_any_latent(size):
    latent = np.float32(size * RNG.uniform(-1, 1, size=(6, 3)))
    action, log_prob, _, _ = describe_tanh(MEAN_32, LOG_STD_32, latent)
    expected = exact_log_prob(np.float64(latent), MEAN, np.exp(LOG_STD), LOW, HIGH)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-4)
    middle, half = (HIGH + LOW) / 2, (HIGH - LOW) / 2
    np.testing.assert_allclose(action, middle + half * np.tanh(np.float64(latent)), rtol=1e-5, atol=1e-6)
    assert (np.asarray(action) >= LOW).all() and (np.asarray(action) <= HIGH).all()


def test_tanh_gaussian_inverts_actions_and_is_safe_at_and_beyond_the_bounds():
    latent = np.float32(RNG.uniform(-3, 3, size=(6, 3)))
    _, exact, log_prob, back = describe_tanh(MEAN_32, LOG_STD_32, latent)
    np.testing.assert_allclose(back, latent, atol=1e-3)
    np.testing.assert_allclose(log_prob, exact, rtol=2e-3, atol=2e-3)
    policy = TanhGaussian(jnp.zeros(3), jnp.zeros(3), LOW, HIGH)
    for action in (LOW, HIGH, LOW - 1, HIGH + 1):
        action = jnp.asarray(action, jnp.float32)
        value, by_action = jax.value_and_grad(policy.log_prob)(action)
        by_mean = jax.grad(lambda m, a=action: TanhGaussian(m, jnp.zeros(3), LOW, HIGH).log_prob(a))(
            jnp.zeros(3)
        )
        assert jnp.isfinite(value) and jnp.isfinite(by_action).all() and jnp.isfinite(by_mean).all()
        assert (jnp.abs(policy.unsquash(action)) < 10).all()
    assert float(policy.log_prob(jnp.asarray(HIGH, jnp.float32))) < float(policy.log_prob(policy.mode()))


def test_tanh_gaussian_samples_have_their_own_log_prob_even_where_tanh_saturates():
    mean = jnp.array([30.0, -30.0, 0.0])
    policy = TanhGaussian(mean, jnp.zeros(3), LOW, HIGH)
    actions, log_prob = policy.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(8,))
    latents, gaussian = policy.gaussian.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(8,))
    np.testing.assert_array_equal(actions, policy.squash(latents))
    expected = exact_log_prob(np.float64(latents), np.float64(mean), 1.0, LOW, HIGH)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    naive = gaussian - jnp.log(1 - jnp.tanh(latents) ** 2).sum(-1)
    assert not jnp.isfinite(naive).any()  # what the exact form is for
    np.testing.assert_array_equal(
        policy.sample(seed=jax.random.key(3)), policy.sample_and_log_prob(seed=jax.random.key(3))[0]
    )
    latent = policy.sample_latent(jax.random.key(4))
    np.testing.assert_array_equal(policy.squash(latent), policy.sample(seed=jax.random.key(4)))


def test_tanh_gaussian_gradients_are_finite_where_tanh_saturates():
    def score(mean, log_std):
        policy = TanhGaussian(mean, log_std)
        action, log_prob = policy.sample_and_log_prob(seed=jax.random.key(0))
        return action.sum() - 0.2 * log_prob + policy.entropy()

    for mean in (-100.0, -10.0, 0.0, 10.0, 100.0):
        for gradient in jax.grad(score, argnums=(0, 1))(jnp.array([mean]), jnp.array([0.5])):
            assert jnp.isfinite(gradient).all()


def test_tanh_gaussian_density_integrates_to_one():
    policy = TanhGaussian(jnp.array([0.3]), jnp.array([-0.5]), -1.0, 3.0)
    density = jax.jit(jax.vmap(policy.prob))
    grid = np.linspace(-1.0, 3.0, 20_001)[1:-1]
    total = integrate.trapezoid(density(jnp.asarray(grid, jnp.float32)[:, None]), grid)
    assert total == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("std", [0.05, 0.5, 1.0, 3.0])
def test_tanh_gaussian_entropy_matches_numerical_integration(std):
    for mean in (-2.0, 0.0, 1.5):
        law = scipy_stats.norm(mean, std)

        def integrand(u, law=law, mean=mean):
            return law.pdf(u) * -exact_log_prob(np.array([u]), mean, std, -1.0, 1.0)

        expected, _ = integrate.quad(integrand, mean - 10 * std, mean + 10 * std, limit=200)
        policy = TanhGaussian(jnp.array([mean]), jnp.log(jnp.array([std])))
        assert float(policy.entropy()) == pytest.approx(expected, abs=1e-3)
    batch = TanhGaussian(MEAN_32, LOG_STD_32, LOW, HIGH)
    single = [float(batch[i].entropy()) for i in range(6)]
    np.testing.assert_allclose(batch.entropy(), single, rtol=1e-5)


@pytest.mark.parametrize("kind", [TanhGaussian, LatentTanhGaussian])
def test_tanh_gaussian_entropy_and_its_derivatives_equal_a_quadrature_in_float64(kind):
    """By the mean -2 E[tanh u], by log std 1 - 2 std E[x tanh u]; also at 0, saturated, and without noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(kind.quadrature_nodes)
    weights = weights / weights.sum()
    both = jax.jit(jax.value_and_grad(lambda m, s: kind(m[None], s[None]).entropy(), argnums=(0, 1)))
    for mean in (0.0, 1e-3, 0.7, 3.0, -7.0, 500.0):
        for log_std in (-12.0, -3.0, 0.0, 0.4, 1.1, 5.0):
            std = np.exp(log_std)
            u = mean + std * nodes
            log_cosh = np.abs(u) + np.log1p(np.exp(-2 * np.abs(u))) - np.log(2)
            entropy = 0.5 * np.log(2 * np.pi * np.e) + log_std - 2 * weights @ log_cosh
            by_mean = -2 * weights @ np.tanh(u)
            by_log_std = 1 - 2 * std * (weights @ (nodes * np.tanh(u)))
            value, slopes = both(jnp.float32(mean), jnp.float32(log_std))
            np.testing.assert_allclose((value, *slopes), (entropy, by_mean, by_log_std), rtol=1e-5, atol=1e-5)


def test_a_latent_tanh_gaussian_is_the_same_told_by_its_latent():
    """Also where tanh saturates, where ratios of the actions' probabilities would be lost."""
    mean, log_std = jnp.array([[0.3, -25.0]]), jnp.array([[-0.5, 0.2]])
    latent, plain = (kind(mean, log_std, -2.0, 1.0) for kind in (LatentTanhGaussian, TanhGaussian))
    draw, log_prob = latent.sample_and_log_prob(seed=jax.random.key(0))
    action, same = plain.sample_and_log_prob(seed=jax.random.key(0))
    np.testing.assert_array_equal(latent.squash(draw), action)
    np.testing.assert_array_equal(log_prob, same)
    np.testing.assert_array_equal(latent.log_prob(draw), plain.log_prob_of_latent(draw))
    np.testing.assert_array_equal(latent.squash(latent.mode()), plain.mode())
    np.testing.assert_allclose(latent.entropy(), plain.entropy(), atol=2e-3)
    np.testing.assert_array_equal(latent[0].log_prob(draw[0]), log_prob[0])
    near = LatentTanhGaussian(mean + 0.1, log_std, -2.0, 1.0)
    ratio = DiagonalGaussian(mean + 0.1, log_std).log_prob(draw) - DiagonalGaussian(mean, log_std).log_prob(
        draw
    )
    np.testing.assert_allclose(near.log_prob(draw) - log_prob, ratio, atol=1e-5)
    np.testing.assert_allclose(latent.kl_divergence(near), plain.gaussian.kl_divergence(near.gaussian))
    head = for_space(Box(-2.0, 1.0, (1, 2)), squash=True, keep_latent=True)
    outputs = jnp.concatenate([mean, log_std], axis=-1)
    np.testing.assert_array_equal(head.to_action(draw), action.reshape(1, 1, 2))
    np.testing.assert_array_equal(head.distribution(outputs).log_prob(draw), log_prob)


def test_tanh_gaussian_mode_and_kl():
    policy = TanhGaussian(MEAN_32, LOG_STD_32, LOW, HIGH)
    np.testing.assert_array_equal(policy.mode(), policy.squash(MEAN_32))
    assert policy.event_shape == (3,) and policy.batch_shape == (6,)
    other = TanhGaussian(MEAN_32 + 1.0, LOG_STD_32, LOW, HIGH)
    np.testing.assert_allclose(
        policy.kl_divergence(other), policy.gaussian.kl_divergence(other.gaussian), rtol=1e-6
    )


# for_space -------------------------------------------------------------------------------------

SPACES = [
    (Discrete(3), False),
    (MultiDiscrete((2, 4)), False),
    (Box(-1.0, 2.0, (2, 2)), False),
    (Box(-1.0, 2.0, (2, 2)), True),
    (Box(-2.0, 2.0), True),
    (Box((-1.0, -2.0), (1.0, 2.0), (2,)), True),
    (Box(-np.inf, np.inf, (2,)), False),
]


@pytest.mark.parametrize(("space", "squash"), SPACES, ids=str)
def test_every_action_space_gets_valid_actions_alone_and_in_batches(space, squash):
    head = for_space(space, squash)
    outputs = 3 * jax.random.normal(jax.random.key(0), (5, head.size * (1 + head.has_scale)))

    @jax.jit
    def act(key, outputs):
        policy = head.distribution(outputs)
        draw, log_prob = policy.sample_and_log_prob(seed=key)
        return (
            head.to_action(draw),
            log_prob,
            policy.log_prob(draw),
            policy.entropy(),
            head.to_action(policy.mode()),
        )

    results = [act(jax.random.key(1), outputs[0]), act(jax.random.key(1), outputs)]
    for batch, (action, log_prob, again, entropy, mode) in zip(((), (5,)), results, strict=True):
        assert action.shape == mode.shape == (*batch, *space.shape)
        assert log_prob.shape == entropy.shape == batch
        assert jnp.isfinite(log_prob).all() and jnp.isfinite(entropy).all()
        if not squash:
            np.testing.assert_allclose(again, log_prob, rtol=1e-4, atol=1e-4)
        for one in (action, mode):
            rows = np.asarray(one).reshape(-1, *space.shape)
            assert all(space.contains(row) for row in rows)


def test_for_space_clips_only_what_the_environment_sees():
    head = for_space(Box(-1.0, 1.0, (2,)))
    assert head.to_action(jnp.array([3.0, -0.5])).tolist() == [1.0, -0.5]
    policy = head.distribution(jnp.array([0.0, 0.0, 0.0, 0.0]))
    expected = scipy_stats.norm.logpdf([3.0, -0.5]).sum()
    assert float(policy.log_prob(jnp.array([3.0, -0.5]))) == pytest.approx(expected, rel=1e-5)


def test_for_space_masks():
    head = for_space(Discrete(3))
    assert head.distribution(jnp.zeros(3), mask=jnp.array([True, False, True])).probs.tolist() == [
        0.5,
        0.0,
        0.5,
    ]
    head = for_space(MultiDiscrete((2, 2)))
    policy = head.distribution(jnp.zeros(4), mask=jnp.array([True, False, True, True]))
    assert float(policy.entropy()) == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="`mask` must be None"):
        for_space(Box(-1.0, 1.0, (1,))).distribution(jnp.zeros(2), mask=jnp.ones(1, bool))


@pytest.mark.parametrize(
    ("space", "squash", "message"),
    [
        (Dict({"a": Discrete(2)}), False, "`space` must be a Discrete, a MultiDiscrete or a float Box"),
        (Box(0, 5, (2,), jnp.int32), False, "`space` must be a Discrete, a MultiDiscrete or a float Box"),
        (Box(-np.inf, 1.0, (2,)), True, "`space` must have finite bounds with low < high to be squashed"),
        (Box(1.0, 1.0, (2,)), True, "`space` must have finite bounds with low < high to be squashed"),
        (Box(0.0, 1.0, (0,)), False, "`space` must have at least one action component"),
    ],
)
def test_spaces_that_cannot_be_served_are_refused(space, squash, message):
    with pytest.raises(ValueError, match=message):
        for_space(space, squash)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Categorical(jnp.zeros((2, 3)), jnp.ones((2, 3), bool)),
        lambda: MultiCategorical(jnp.zeros((2, 5)), (2, 3)),
        lambda: DiagonalGaussian(jnp.zeros((2, 3)), jnp.zeros(3)),
        lambda: TanhGaussian(jnp.zeros((2, 3)), jnp.zeros(3)),
    ],
)
def test_distributions_pass_through_jit_and_vmap_as_pytrees(make):
    policy = make()
    draw = policy.sample(seed=jax.random.key(0))
    outside = policy.log_prob(draw)
    np.testing.assert_allclose(jax.jit(lambda p, x: p.log_prob(x))(policy, draw), outside, rtol=1e-6)
