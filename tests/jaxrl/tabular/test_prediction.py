"""Prediction against slow NumPy loops that store episodes, forward views, and exact values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.tabular import extract
from jaxrl.tabular import planning, prediction
from jaxrl.tabular.prediction import Trajectory

S, T = 5, 120


@functools.cache
def stream(seed):
    """Return random steps with both kinds of end and an open last episode."""
    rng = np.random.default_rng(seed)
    obs, ends = np.empty(T + 1, np.int32), rng.random((2, T)) < np.array([[0.12], [0.08]])
    obs[:] = rng.integers(0, S, T + 1)
    return Trajectory(
        obs=obs[:-1],
        reward=rng.normal(size=T).astype(np.float32),
        # After an end the true next state is another one than the next episode's first.
        next_obs=np.where(ends.any(axis=0), rng.integers(0, S, T), obs[1:]).astype(np.int32),
        terminated=ends[0],
        truncated=ends[1] & ~ends[0],
    )


def first_value():
    return np.linspace(-1, 1, S).astype(np.float32)


def run(method, steps, *args, **options):
    return method(jnp.asarray(first_value()), jax.tree.map(jnp.asarray, steps), *args, **options)


def episodes(steps):
    """Return the ranges of the episodes; the last one is cut by the end of the stream."""
    ends = [t + 1 for t in range(T) if steps.terminated[t] or steps.truncated[t]]
    return list(zip([0, *ends], [*ends, T], strict=False))


def slow_n_step(steps, alpha, gamma, n):
    """Return what Sutton and Barto's loop (section 7.1) finds."""
    V = first_value().astype(np.float64)
    for begin, end in episodes(steps):
        if begin == end:
            continue
        length = end - begin
        for t in range(length + n - 1):
            tau = t - n + 1
            if 0 <= tau < length:
                stop = min(tau + n, length)
                G = sum(gamma ** (i - tau) * steps.reward[begin + i] for i in range(tau, stop))
                if not (stop == length and steps.terminated[end - 1]):
                    G += gamma ** (stop - tau) * V[steps.next_obs[begin + stop - 1]]
                V[steps.obs[begin + tau]] += alpha * (G - V[steps.obs[begin + tau]])
    return V


@pytest.mark.parametrize("n", [1, 2, 3, 8, T])
def test_n_step_td_against_the_books_loop(n):
    steps = stream(n)
    found = jax.jit(lambda n: run(prediction.n_step_td, steps, 0.1, 0.9, n)[0])
    np.testing.assert_allclose(found(n), slow_n_step(steps, 0.1, 0.9, n), atol=1e-5)
    if n == 1:
        np.testing.assert_allclose(run(prediction.td, steps, 0.1, 0.9)[0], found(1), atol=1e-5)


def test_a_large_reward_later_on_takes_nothing_from_a_sum_before_it():
    steps = Trajectory(
        obs=jnp.arange(20),
        reward=jnp.full(20, 0.01).at[-1].set(1e6),
        next_obs=jnp.arange(1, 21),
        terminated=jnp.arange(20) == 19,
        truncated=jnp.zeros(20, bool),
    )
    four, _ = prediction.n_step_td(jnp.zeros(21), steps, 1.0, 1.0, 4)
    np.testing.assert_allclose(four[:16], 0.04, rtol=1e-6)
    one, _ = prediction.n_step_td(jnp.zeros(21), steps, 1.0, 1.0, 1)
    np.testing.assert_array_equal(one, prediction.td(jnp.zeros(21), steps, 1.0, 1.0)[0])


@pytest.mark.parametrize("first_visit", [False, True])
@pytest.mark.parametrize("alpha", [0.1, None])
def test_monte_carlo_against_stored_episodes(first_visit, alpha):
    steps = stream(0)
    V, returns = first_value().astype(np.float64), [[] for _ in range(S)]
    for begin, end in episodes(steps):
        for t in range(begin, end):
            if first_visit and steps.obs[t] in steps.obs[begin:t]:
                continue
            G = sum(0.9 ** (i - t) * steps.reward[i] for i in range(t, end))
            if not steps.terminated[end - 1]:
                G += 0.9 ** (end - t) * V[steps.next_obs[end - 1]]
            returns[steps.obs[t]].append(G)
            rate = 1 / len(returns[steps.obs[t]]) if alpha is None else alpha
            V[steps.obs[t]] += rate * (G - V[steps.obs[t]])
    found, _ = run(prediction.monte_carlo, steps, alpha, 0.9, first_visit)
    np.testing.assert_allclose(found, V, atol=1e-5)
    if alpha is None:
        np.testing.assert_allclose(found, [np.mean(x) for x in returns], atol=1e-5)


@pytest.mark.parametrize("trace", ["accumulating", "replacing"])
def test_td_lambda_against_a_loop(trace):
    steps, alpha, gamma, lambda_ = stream(1), 0.1, 0.9, 0.8
    V, e = first_value().astype(np.float64), np.zeros(S)
    for t in range(T):
        s, s_next = steps.obs[t], steps.next_obs[t]
        error = steps.reward[t] + gamma * (not steps.terminated[t]) * V[s_next] - V[s]
        e *= gamma * lambda_
        e[s] = e[s] + 1 if trace == "accumulating" else 1
        V += alpha * error * e
        if steps.terminated[t] or steps.truncated[t]:
            e[:] = 0
    found, _ = run(prediction.td_lambda, steps, alpha, gamma, lambda_, trace)
    np.testing.assert_allclose(found, V, atol=1e-5)


def test_dutch_traces_equal_the_online_forward_view():
    """At every step the online lambda-return algorithm redoes its episode with all that is known by then."""
    steps, alpha, gamma, lambda_ = stream(2), 0.1, 0.9, 0.8
    start = first_value().astype(np.float64)
    for begin, end in episodes(steps):
        weights = [start]  # after 0, 1, ... steps of the episode
        for horizon in range(begin + 1, end + 1):
            V = start.copy()
            for t in range(begin, horizon):
                G, sum_rewards = 0.0, 0.0
                for stop in range(t + 1, horizon + 1):
                    sum_rewards += gamma ** (stop - 1 - t) * steps.reward[stop - 1]
                    # The n-step return that ends at `stop` uses the values known one step before.
                    known = weights[stop - 1 - begin] if stop - 1 - begin < len(weights) else V
                    ended = steps.terminated[stop - 1]
                    n_step = sum_rewards + (not ended) * gamma ** (stop - t) * known[steps.next_obs[stop - 1]]
                    weight = lambda_ ** (stop - 1 - t) * (1 - lambda_ if stop < horizon else 1)
                    G += weight * n_step
                V[steps.obs[t]] += alpha * (G - V[steps.obs[t]])
            weights.append(V)
        start = weights[-1]
    found, _ = run(prediction.td_lambda, steps, alpha, gamma, lambda_, "dutch")
    np.testing.assert_allclose(found, start, atol=1e-5)


def test_offline_the_backward_view_equals_the_forward_view():
    streams = jax.tree.map(lambda *xs: jnp.stack(xs), *(stream(seed) for seed in range(20)))
    lambdas = jnp.array([0.0, 0.3, 0.9, 1.0])

    def views(steps, lambda_):
        backward, _ = run(prediction.td_lambda, steps, 0.01, 0.95, lambda_, offline=True)
        return backward, run(prediction.lambda_return, steps, 0.01, 0.95, lambda_)

    over_lambdas = jax.vmap(views, in_axes=(None, 0))
    backward, forward = jax.jit(jax.vmap(over_lambdas, in_axes=(0, None)))(streams, lambdas)
    assert np.abs(np.asarray(forward) - first_value()).max() > 0.1
    np.testing.assert_allclose(backward, forward, atol=1e-6)


def test_extremes_of_lambda_are_td_and_monte_carlo():
    steps = stream(3)
    zero, _ = run(prediction.td_lambda, steps, 0.1, 0.9, 0.0)
    np.testing.assert_allclose(zero, run(prediction.td, steps, 0.1, 0.9)[0], atol=1e-6)
    one = run(prediction.lambda_return, steps, 0.1, 0.9, 1.0)
    returns = prediction._segments(jax.tree.map(jnp.asarray, steps), 0.9, T)
    expected = first_value().astype(np.float64)
    for t in range(T):
        target = returns[0][t] + returns[1][t] * first_value()[returns[2][t]]
        expected[steps.obs[t]] += 0.1 * (target - first_value()[steps.obs[t]])
    np.testing.assert_allclose(one, expected, atol=1e-5)


@pytest.fixture(scope="module")
def walk():
    """64 streams of the 5-state random walk, about 110 episodes each, and its exact values."""
    env, params = envs.make("RandomWalk-v1")
    keys = jax.random.split(jax.random.key(0), 64)
    draw = jax.jit(jax.vmap(lambda key: prediction.sample(env, params, jnp.ones((7, 1)), key, 1000)))
    return draw(keys), planning.evaluate(extract(env, params), jnp.ones((7, 1)), 1.0)


def test_all_methods_find_the_values_of_the_random_walk(walk):
    """Returns averaged are unbiased over streams; the step sizes of the others leave little bias."""
    steps, exact = walk
    start = jnp.where(exact > 0, 0.5, 0.0)
    methods = {
        "first visit": lambda x: prediction.monte_carlo(start, x, None, 1.0, first_visit=True)[0],
        "every visit": lambda x: prediction.monte_carlo(start, x, None, 1.0)[0],
        "td": lambda x: prediction.td(start, x, 0.05, 1.0)[0],
        "n-step": lambda x: prediction.n_step_td(start, x, 0.05, 1.0, 4)[0],
        "dutch": lambda x: prediction.td_lambda(start, x, 0.05, 1.0, 0.8, "dutch")[0],
    }
    found = jax.jit(jax.vmap(lambda x: {name: method(x) for name, method in methods.items()}))(steps)
    for name, values in found.items():
        error = 4 * np.std(values, axis=0) / np.sqrt(len(values))
        assert np.all(error < 0.1), name
        assert np.all(np.abs(values.mean(axis=0) - exact)[1:-1] <= error[1:-1] + 0.01), name


def test_sampled_streams_are_the_policys(walk):
    steps, _ = walk
    inside = np.asarray(~steps.done)
    moved = np.asarray(steps.next_obs) - np.asarray(steps.obs)
    assert set(np.unique(moved)) == {-1, 1}
    np.testing.assert_allclose(moved.mean(), 0, atol=4 / np.sqrt(moved.size))
    np.testing.assert_array_equal(
        np.asarray(steps.obs)[:, 1:][inside[:, :-1]], steps.next_obs[:, :-1][inside[:, :-1]]
    )
    assert np.all(np.asarray(steps.obs)[:, 1:][~inside[:, :-1]] == 3)


def test_measurements_follow_every_step():
    steps = stream(0)
    final, values = run(prediction.td, steps, 0.1, 0.9, measure=lambda V: V)
    assert values.shape == (T, S)
    np.testing.assert_array_equal(values[-1], final)
    moved = np.flatnonzero(np.asarray(values[0]) != first_value())
    assert moved.tolist() == [steps.obs[0]]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (prediction.td_lambda, {"trace": "accumulate"}, "`trace` must be one of .* got 'accumulate'"),
        (
            prediction.td_lambda,
            {"trace": "dutch", "offline": True},
            "`trace` must be .* offline, got 'dutch'",
        ),
        (prediction.td_lambda, {"lambda_": 1.1}, "`lambda_` must be at least 0 and at most 1, got 1.1"),
        (prediction.lambda_return, {"lambda_": -0.1}, "`lambda_` must be .*, got -0.1"),
        (prediction.td, {"gamma": 1.5}, "`gamma` must be at least 0 and at most 1, got 1.5"),
        (prediction.monte_carlo, {"gamma": float("nan")}, "`gamma` must be .* got nan"),
        (prediction.n_step_td, {"n": 0}, "`n` must be at least 1, an integer, got 0"),
        (prediction.n_step_td, {"n": 2.5}, "`n` must be at least 1, an integer, got 2.5"),
        (prediction.td, {"gamma": None}, "`gamma` must be a number in .* got None"),
        (prediction.td, {"learning_rate": -1.0}, "`learning_rate` must be .* got -1.0"),
        (prediction.monte_carlo, {"learning_rate": float("nan")}, "`learning_rate` must be .* got nan"),
    ],
)
def test_refuses_what_makes_no_sense(method, options, message):
    needed = {"lambda_": 0.5} if method in (prediction.td_lambda, prediction.lambda_return) else {}
    arguments = {"learning_rate": 0.1, "gamma": 0.9, **needed, **options}
    with pytest.raises(ValueError, match=message):
        run(method, stream(0), **arguments)


def test_refuses_an_empty_stream():
    nothing = jax.tree.map(lambda x: x[:0], stream(0))
    with pytest.raises(ValueError, match="`trajectory` must hold at least one step"):
        run(prediction.td, nothing, 0.1, 0.9)
