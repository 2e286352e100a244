"""How regret grows: like the logarithm of the pulls where theory says so, linearly where it says that."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from jaxrl.train import run_interval

GOOD, BAD = 0.9, 0.6
GAP = GOOD - BAD
KL = BAD * np.log(BAD / GOOD) + (1 - BAD) * np.log((1 - BAD) / (1 - GOOD))
# The regret that Lai and Robbins allow at least, asymptotically, each time the pulls double.
PER_DOUBLING = GAP / KL * np.log(2)
RUNS = 128
BOUNDS = (0, 500, 1000, 2000, 4000)


def standard_error(x):
    return np.std(x, ddof=1) / np.sqrt(len(x))


@pytest.fixture(scope="module")
def play(regret, bernoulli):
    """Return `(name, runs) -> [runs, 4]`, the regret between the bounds; played once for all tests."""

    @functools.cache
    def play(name, runs=RUNS):
        module = jaxrl.algorithm(name)
        algorithm = module.make(*bernoulli(BAD, GOOD), module.Config(num_steps=250))
        return np.asarray(regret(algorithm, BOUNDS, runs), np.float64)

    return play


@pytest.mark.parametrize("name", ["thompson", "kl_ucb"])
def test_thompson_and_kl_ucb_attain_the_rate_of_lai_and_robbins(play, name):
    """Equal regret for every doubling, of the size of the bound; linear regret would double each time."""
    _, _, before, last = play(name).T
    error = np.hypot(standard_error(last), standard_error(before))
    assert last.mean() < 2 * PER_DOUBLING + 5 * standard_error(last)
    assert last.mean() > 0.4 * PER_DOUBLING - 5 * standard_error(last)
    assert last.mean() < 1.4 * before.mean() + 5 * error


def test_ucb1_keeps_its_finite_time_bound(play):
    """Theorem 1 of Auer et al. (2002): at most 8 ln n / gap + (1 + pi^2 / 3) gap."""
    total = np.cumsum(play("ucb1"), axis=1)
    for n, mean in zip(BOUNDS[1:], total.mean(axis=0), strict=True):
        assert mean < 8 * np.log(n) / GAP + (1 + np.pi**2 / 3) * GAP
    # Its rate is 2 ln n / gap, above that of Lai and Robbins.
    assert total[:, -1].mean() > PER_DOUBLING / np.log(2) * np.log(BOUNDS[-1])


def test_epsilon_greedy_pays_a_fixed_share_for_ever(play):
    """Half of epsilon goes to the bad arm at every pull, whatever was learned."""
    seen = play("epsilon_greedy")
    for i in (2, 3):
        pulls = BOUNDS[i + 1] - BOUNDS[i]
        floor = 0.1 / 2 * GAP * pulls
        assert abs(seen[:, i].mean() - floor) < 5 * standard_error(seen[:, i]) + 0.01 * floor


def test_the_same_seed_alone_or_in_a_batch(play):
    np.testing.assert_array_equal(play("thompson", runs=1)[0], play("thompson")[0])


def test_forgetting_pays_where_arms_drift():
    """One program for both: the discount is traced. Paired by seed, so the difference has a small error."""
    env, params = envs.make("DriftingBandit-v1", num_arms=4)
    params = params.replace(drift=jnp.float32(0.1), max_steps=jnp.int32(10_000))
    module = jaxrl.algorithm("thompson")

    def run(discount, key):
        algorithm = module.make(env, params, module.Config(family="gaussian", discount=discount))
        _, metrics = run_interval(algorithm, algorithm.init(key), jnp.int32(0), jnp.int32(20))
        return metrics["regret"]

    keys = jax.vmap(jax.random.key)(jnp.arange(128))
    over_both = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))
    forever, fading = np.asarray(over_both(jnp.array([1.0, 0.98]), keys))
    assert np.mean(forever - fading) > 5 * standard_error(forever - fading)


@pytest.mark.parametrize("name", ["linucb", "linear_thompson", "logistic_thompson"])
def test_contextual_policies_tell_visitors_apart(regret, name):
    """A quarter of what it costs to show everybody the item that is best on average."""
    env, params = envs.make("ContextualBandit-v1")
    x = np.random.default_rng(0).normal(size=(100_000, env.num_features))
    chance = 1 / (1 + np.exp(-(x @ np.asarray(params.weights).T + np.asarray(params.biases))))
    one_for_all = chance.max(axis=1).mean() - chance.mean(axis=0).max()
    module = jaxrl.algorithm(name)
    algorithm = module.make(env, params, module.Config(num_steps=250))
    late = np.asarray(regret(algorithm, (0, 1000, 1500), 16))[:, 1] / 500
    assert late.mean() < one_for_all / 4


@pytest.mark.slow
def test_neural_linear_learns_what_no_linear_model_can(regret):
    """Clicks depend on a product of two features, which a linear model takes for noise."""
    env, params = envs.make("ContextualBandit-v1", num_arms=2, num_features=2)
    params = params.replace(weights=jnp.zeros((2, 2)), interactions=jnp.array([3.0, -3.0]))
    late = {}
    for name in ("linear_thompson", "neural_linear"):
        module = jaxrl.algorithm(name)
        algorithm = module.make(env, params, module.Config(num_steps=100))
        late[name] = np.asarray(regret(algorithm, (0, 2000, 3000), 16))[:, 1] / 1000
    assert late["neural_linear"].mean() < late["linear_thompson"].mean() / 3
