"""Every decision of the index policies, replayed by a NumPy bandit, and the shares of the random ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import envs
import jaxrl
from jaxrl.bandits import ab_test, exp3, gradient_bandit, kl_ucb, moss, thompson
from jaxrl.bandits.estimates import Estimates

PULLS = 400


def kl(p, q):
    return special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q)


def kl_bound(p, radius):
    """The root by bisection in float64."""
    if p >= 1 or kl(p, 1 - 1e-15) < radius:
        return 1.0
    return optimize.bisect(lambda q: kl(p, q) - radius, p, 1 - 1e-15, xtol=1e-13)


def ucb1_index(mean, count, n):
    return mean + np.sqrt(2 * np.log(n) / count)


def kl_ucb_index(mean, count, n):
    return np.array([kl_bound(p, np.log(n) / c) for p, c in zip(mean, count, strict=True)])


def moss_index(mean, count, n):
    return mean + np.sqrt(np.maximum(np.log(PULLS / (len(count) * count)), 0) / count)


@pytest.mark.parametrize(
    "name, index, fields",
    [
        ("ucb1", ucb1_index, {}),
        ("kl_ucb", kl_ucb_index, {}),
        ("moss", moss_index, {"total_steps": float(PULLS)}),
    ],
)
def test_every_pull_has_the_highest_index(record, name, index, fields, bernoulli):
    _, _, arms, rewards = record(name, *bernoulli(0.2, 0.5, 0.45), PULLS, **fields)
    arms, rewards = np.asarray(arms[0]), np.asarray(rewards[0], np.float64)
    assert sorted(arms[:3]) == [0, 1, 2], "every arm is tried first"
    for n in range(3, PULLS):
        count = np.bincount(arms[:n], minlength=3)
        scores = index(np.bincount(arms[:n], rewards[:n], minlength=3) / count, count, n)
        assert scores[arms[n]] >= np.max(scores) - 2e-5, f"pull {n}: {scores}, pulled {arms[n]}"


def test_ucb1_and_moss_by_hand():
    np.testing.assert_allclose(
        moss.width(jnp.array([10.0, 60.0]), 100.0), [np.sqrt(np.log(5) / 10), 0], rtol=1e-5
    )
    assert np.all(np.isinf(moss.width(jnp.zeros(2), 100.0)))


def test_kl_bounds_equal_bisection():
    tried = [0, 1e-3, 0.05, 0.12, 0.32, 0.45, 0.5, 0.9, 0.999, 1]
    means, radii = np.meshgrid(tried, np.geomspace(1e-8, 20, 40))
    seen = kl_ucb.upper_bound(jnp.asarray(means, jnp.float32), jnp.asarray(radii, jnp.float32))
    error = np.abs(np.asarray(seen) - np.vectorize(kl_bound)(means, radii))
    assert error[radii >= 1e-5].max() < 1e-5 and error.max() < 2e-4
    assert np.all(
        np.asarray(kl_ucb.upper_bound(jnp.array([0.0, 0.3, 1.0]), jnp.zeros(3))) == np.float32([0, 0.3, 1])
    )


def test_epsilon_greedy_explores_as_often_as_its_schedule_says(record, bernoulli):
    runs, half = 200, PULLS // 2
    fields = {"epsilon_start": 1.0, "epsilon_end": 0.2, "decay_steps": float(half), "schedule": "linear"}
    beliefs, _, arms, _ = record("epsilon_greedy", *bernoulli(0.2, 0.5, 0.45), PULLS, runs, **fields)
    count, total = np.asarray(beliefs.count), np.asarray(beliefs.total)
    means = np.where(count > 0, total / np.maximum(count, 1), 0)
    best = means == means.max(axis=-1, keepdims=True)
    other = ~np.take_along_axis(best, np.asarray(arms)[..., None], axis=-1)[..., 0]
    # After the decay another arm than the best is drawn with chance 0.2 * 2 / 3, ties left out.
    tail = other[:, half:][best[:, half:].sum(-1) == 1]
    chance = 0.2 * 2 / 3
    assert abs(tail.mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / tail.size)
    assert abs(np.mean(np.asarray(arms[:, 0]) == 0) - 1 / 3) < 5 * np.sqrt(2 / 9 / runs)


def test_optimistic_start_tries_every_arm(record, bernoulli):
    _, _, arms, _ = record(
        "epsilon_greedy", *bernoulli(0.0, 0.0, 0.0), 3, 20, initial_value=5.0, epsilon_start=0.0
    )
    assert np.all(np.sort(arms, axis=1) == [0, 1, 2])


def chosen(name, beliefs, env, params, **fields):
    """The share of each arm, drawn 20,000 times from the same beliefs."""
    module = jaxrl.algorithm(name)
    algorithm = module.make(env, params, module.Config(num_steps=1, **fields))

    def pull(key):
        state = algorithm.init(key).replace(beliefs=beliefs)
        return algorithm.step(state, jnp.int32(1000))[0].pulls

    return np.mean(jax.jit(jax.vmap(pull))(jax.random.split(jax.random.key(0), 20_000)), axis=0)


def assert_shares(seen, expected):
    np.testing.assert_array_less(
        np.abs(seen - expected), 5 * np.sqrt(expected * (1 - expected) / 20_000) + 1e-9
    )


def estimates_of(count, total):
    return Estimates(jnp.array(count), jnp.array(total), None, None)


def test_thompson_pulls_each_arm_with_the_posterior_chance_that_it_is_best(bernoulli):
    beliefs = estimates_of([20.0, 8.0, 40.0], [2.0, 1.0, 5.0])
    posteriors = [stats.beta(1 + 2, 1 + 18), stats.beta(1 + 1, 1 + 7), stats.beta(1 + 5, 1 + 35)]
    x = np.linspace(0, 1, 20_001)
    expected = [
        np.trapezoid(own.pdf(x) * np.prod([o.cdf(x) for o in posteriors if o is not own], axis=0), x)
        for own in posteriors
    ]
    assert_shares(chosen("thompson", beliefs, *bernoulli(0.1, 0.1, 0.1)), np.array(expected))


def test_gaussian_thompson_pulls_with_the_posterior_chance_of_being_best():
    env, params = envs.make("GaussianBandit-v1", num_arms=2)
    fields = {"prior_mean": 0.5, "prior_scale": 2.0, "noise_scale": 3.0}
    beliefs = estimates_of([4.0, 9.0], [4.0, 0.0])
    mean, scale = thompson.gaussian_posterior(beliefs, thompson.Config(**fields))
    precision = np.array([1 / 4 + 4 / 9, 1 / 4 + 9 / 9])
    np.testing.assert_allclose(mean, (0.5 / 4 + np.array([4.0, 0.0]) / 9) / precision, rtol=1e-6)
    np.testing.assert_allclose(scale, precision**-0.5, rtol=1e-6)
    first = stats.norm.cdf(float(mean[0] - mean[1]) / np.sqrt(np.sum(1 / precision)))
    shares = chosen("thompson", beliefs, env, params, family="gaussian", **fields)
    assert_shares(shares, np.array([first, 1 - first]))


def test_softmax_and_gradient_bandit_pull_in_proportion_to_their_exponentials(bernoulli):
    beliefs = estimates_of([10.0, 10.0, 10.0], [1.0, 2.0, 4.0])
    weights = np.exp(np.array([0.1, 0.2, 0.4]) / 0.2)
    seen = chosen("softmax", beliefs, *bernoulli(0.1, 0.1, 0.1), temperature_start=0.2)
    assert_shares(seen, weights / weights.sum())


def test_gradient_step_by_hand():
    """Sutton and Barto, equation 2.12, with preferences ln 1 and ln 3, so chances of 1/4 and 3/4."""
    after = gradient_bandit.climb(jnp.log(jnp.array([1.0, 3.0])), jnp.int32(0), jnp.float32(2.0), 0.1)
    np.testing.assert_allclose(after, [0 + 0.2 * 0.75, np.log(3) - 0.2 * 0.75], rtol=1e-5)


def test_gradient_baseline_is_the_mean_of_the_rewards_before(record, bernoulli):
    beliefs, _, arms, rewards = record("gradient_bandit", *bernoulli(0.3, 0.6), 50)
    arms, rewards, logits = (np.asarray(x, np.float64)[0] for x in (arms, rewards, beliefs.logits))
    for n in range(49):
        baseline = np.mean(rewards[:n]) if n else 0.0
        chance = np.exp(logits[n]) / np.exp(logits[n]).sum()
        step = 0.1 * (rewards[n] - baseline) * ((np.arange(2) == arms[n]) - chance)
        np.testing.assert_allclose(logits[n + 1], logits[n] + step, atol=1e-6)


def test_exp3_by_hand(bernoulli):
    """Two arms of weights 1 and 3, a share 0.2 explored: chances 0.8 * [1/4, 3/4] + 0.1 = [0.3, 0.7]."""
    log_weights = jnp.log(jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(exp3.probabilities(log_weights, 0.2), [0.3, 0.7], rtol=1e-6)
    after = exp3.reweigh(log_weights, jnp.int32(0), jnp.float32(0.6), 0.2)
    # The first weight is multiplied by exp(0.2 / 2 * 0.6 / 0.3) = exp(0.2); the largest is shifted to 1.
    np.testing.assert_allclose(after, [0.2 - np.log(3), 0.0], rtol=1e-5)
    assert_shares(chosen("exp3", log_weights, *bernoulli(0.1, 0.1), exploration=0.2), np.array([0.3, 0.7]))


def test_exp3_tunes_itself_to_the_horizon(bernoulli):
    env, params = bernoulli(1.0, 1.0)
    algorithm = exp3.make(env, params, exp3.Config(total_steps=5_000.0, num_steps=1))
    state, _ = jax.jit(algorithm.step)(algorithm.init(jax.random.key(0)), jnp.int32(0))
    # A single reward of 1 from an arm of chance 1/2 moves its log weight by rate / 2 / 0.5.
    rate = np.sqrt(2 * np.log(2) / ((np.e - 1) * 5_000))
    np.testing.assert_allclose(np.ptp(state.beliefs), rate, rtol=1e-5)


def test_the_ab_test_is_balanced_and_then_ships_one_arm(record, bernoulli):
    _, _, arms, rewards = record("ab_test", *bernoulli(0.3, 0.35, 0.6), PULLS, 40, test_steps=120.0)
    arms, rewards = np.asarray(arms), np.asarray(rewards)
    assert np.all(arms[:, :120] == np.arange(120) % 3)
    assert np.all(arms[:, 120:] == arms[:, 120:121])
    rates = np.stack([rewards[:, a:120:3].mean(axis=1) for a in range(3)], axis=1)
    error = np.sqrt(rates * (1 - rates) / 40)
    z = (rates - rates[:, :1]) / np.hypot(error, error[:, :1])
    proven = z > stats.norm.isf(0.05 / 2)
    expected = np.where(proven.any(1), np.argmax(np.where(proven, rates, -1), axis=1), 0)
    clear = np.all(np.abs(z[:, 1:] - stats.norm.isf(0.025)) > 1e-3, axis=1)
    assert np.array_equal(arms[clear, 120], expected[clear]) and set(expected) > {0}


def test_rewards_that_never_vary_decide_the_ab_test():
    z = ab_test.z_scores(
        ab_test.Counts(jnp.full(3, 5.0), jnp.array([0.0, 5.0, 0.0]), jnp.array([0.0, 5.0, 0.0]))
    )
    assert z.tolist() == [0.0, np.inf, 0.0]


@pytest.mark.parametrize("counts", [[1.0, 1.0], [1.0, 5.0], [5.0, 1.0]])
def test_a_single_pull_decides_no_ab_test(counts):
    paid = jnp.array([0.0, counts[1]])
    assert ab_test.z_scores(ab_test.Counts(jnp.array(counts), paid, paid)).tolist() == [0.0, 0.0]


def test_sample_size_has_the_power_that_it_promises():
    n = ab_test.sample_size(0.05, 0.03)
    assert n == 832
    rng = np.random.default_rng(0)
    a, b = rng.binomial(n, 0.05, 20_000) / n, rng.binomial(n, 0.08, 20_000) / n
    z = (b - a) / np.sqrt(a * (1 - a) / n + b * (1 - b) / n)
    assert abs(np.mean(z > stats.norm.isf(0.05)) - 0.8) < 0.02
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\), got 0.9 and 0.2"):
        ab_test.sample_size(0.9, 0.2)


@pytest.mark.parametrize(
    "name, value", [("significance", 0.0), ("significance", 2.0), ("power", 1.5), ("num_variants", 0)]
)
def test_sample_size_names_the_argument_that_is_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .*, got {value}"):
        ab_test.sample_size(0.05, 0.03, **{name: value})


def test_epsilon_first_explores_first(record, bernoulli):
    fields = {"epsilon": 0.25, "total_steps": float(PULLS)}
    _, _, arms, _ = record("epsilon_first", *bernoulli(0.1, 0.9), PULLS, 40, **fields)
    arms = np.asarray(arms)
    assert abs(arms[:, :100].mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    assert np.all(arms[:, 100:] == 1)


@pytest.mark.parametrize("name", ["thompson", "kl_ucb", "exp3", "logistic_thompson"])
def test_rewards_outside_the_unit_interval_are_refused_with_the_range(name):
    env, params = envs.make("GaussianBandit-v1")
    module = jaxrl.algorithm(name)
    message = r"`env` must pay rewards in \[0, 1\], but 'GaussianBandit-v1' pays from -inf to inf"
    with pytest.raises(ValueError, match=message):
        module.make(env, params, module.Config())


def test_the_time_to_identify_is_the_last_pull_that_recommends_another_arm(bernoulli):
    env, params = bernoulli(0.3, 0.6)
    module = jaxrl.algorithm("ucb1")
    algorithm = module.make(env, params, module.Config(num_steps=1))

    def pull(state, t):
        after, metrics = algorithm.step(state, t)
        count, total = after.beliefs.count, after.beliefs.total
        return after, (total / jnp.maximum(count, 1.0), metrics["identified_after"], metrics["regret"])

    def run(key):
        return jax.lax.scan(pull, algorithm.init(key), jnp.arange(60, dtype=jnp.int32))[1]

    means, after, regret = map(np.asarray, jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 20)))
    wrong = ~(means[..., 1] > means[..., 0])
    expected = np.max(wrong * np.arange(1, 61), axis=1)
    np.testing.assert_array_equal(after[:, -1], expected)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(np.unique(regret), [0.0, 0.3], atol=1e-6)


def test_impossible_arms_are_refused_before_a_sweep_is_compiled(bernoulli):
    module, keys = jaxrl.algorithm("ucb1"), jax.random.split(jax.random.key(0), 2)
    env, params = bernoulli(0.1, 0.2, 1.2)
    with pytest.raises(ValueError, match=r"`probabilities` must lie in \[0, 1\], got 1.2 at index 2"):
        jaxrl.sweep(module.make, env, params, module.Config(), keys, 1000)
    params = params.replace(probabilities=jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"`probabilities` must have shape \(3,\), .* got \(2,\)"):
        jaxrl.sweep(module.make, env, params, module.Config(), keys, 1000)


@pytest.mark.parametrize("name", ["thompson", "linucb"])
def test_arms_must_be_discrete(name):
    module = jaxrl.algorithm(name)
    with pytest.raises(
        ValueError, match="must have discrete actions, the arms, but 'SlateBandit-v1' takes MultiDiscrete"
    ):
        module.make(*envs.make("SlateBandit-v1"), module.Config())
