"""Every update against a plain loop, on random experience with both kinds of end."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.tabular.control import (
    double_q_learning,
    driver,
    dyna_q,
    dyna_q_plus,
    expected_sarsa,
    monte_carlo,
    n_step_sarsa,
    prioritized_sweeping,
    q_learning,
    sarsa,
    sarsa_lambda,
    watkins_q,
)
from jaxrl.tabular.control.driver import Rates, Transition

S, A, T = 4, 3, 150
ALPHA, GAMMA, EPSILON, LAMBDA = 0.2, 0.9, 0.25, 0.8


@functools.cache
def experience(deterministic=False):
    """Return T random steps `[T]`; deterministic ones follow from state and action alone."""
    rng = np.random.default_rng(0)
    rewards = np.round(rng.normal(size=(S, A)), 3)
    following, ends = rng.integers(0, S, (S, A)), rng.random((S, A)) < 0.25
    steps, obs, action = [], 0, 0
    for _ in range(T):
        here = (obs, action)
        reward = rewards[here] if deterministic else rng.normal()
        next_obs = following[here] if deterministic else rng.integers(S)
        terminated = ends[here] if deterministic else rng.random() < 0.1
        truncated = not terminated and rng.random() < 0.08
        next_action = rng.integers(A)
        steps.append((obs, action, reward, next_obs, next_action, terminated, truncated))
        obs, action = (
            (rng.integers(S), rng.integers(A)) if terminated or truncated else (next_obs, next_action)
        )
    dtypes = (np.int32, np.int32, np.float32, np.int32, np.int32, bool, bool)
    return Transition(
        *(np.array(x, dtype) for x, dtype in zip(zip(*steps, strict=True), dtypes, strict=True))
    )


def first_q():
    return np.linspace(-1, 1, S * A).reshape(S, A).astype(np.float32)


def learned(update, tables, steps=None, uniforms=None):
    """Return the tables after all steps, one update each, and the errors `[T]`."""
    steps = experience() if steps is None else steps
    uniforms = np.zeros((T, 0), np.float32) if uniforms is None else uniforms

    def body(tables, x):
        step, uniforms, count = x
        rates = Rates(jnp.float32(ALPHA), jnp.float32(GAMMA), jnp.float32(EPSILON), count)
        return update(tables, step, rates, uniforms)

    inputs = jax.tree.map(jnp.asarray, (steps, uniforms, np.arange(T, dtype=np.int32)))
    return jax.jit(lambda tables: jax.lax.scan(body, tables, inputs))(jax.tree.map(jnp.asarray, tables))


def each(steps):
    """Yield the steps one by one, as Python numbers."""
    for t in range(T):
        yield jax.tree.map(lambda x, t=t: x[t].item(), steps)


def target(step, next_value):
    return step.reward + GAMMA * (not step.terminated) * next_value


def tables_of(module, **fields):
    """Return the first tables that the module's `make` gives its method, with the q of these tests."""
    seen = {}
    original = driver.make
    try:
        driver.make = lambda env, params, config, method: seen.setdefault("tables", method.init(S, A))
        module.make(None, None, module.Config(**fields))
    finally:
        driver.make = original
    return seen["tables"].replace(q=jnp.asarray(first_q()))


def best(q, step):
    return q[step.next_obs].max()


def on_policy(q, step):
    return q[step.next_obs, step.next_action]


def mean(q, step):
    values = q[step.next_obs]
    greedy = values == values.max()
    return values @ (EPSILON / A + (1 - EPSILON) * greedy / greedy.sum())


@pytest.mark.parametrize(
    ("module", "next_value"),
    [(q_learning, best), (sarsa, on_policy), (expected_sarsa, mean)],
    ids=["q_learning", "sarsa", "expected_sarsa"],
)
def test_one_step_methods(module, next_value):
    q, errors = first_q().astype(np.float64), []
    for step in each(experience()):
        errors.append(target(step, next_value(q, step)) - q[step.obs, step.action])
        q[step.obs, step.action] += ALPHA * errors[-1]
    found, found_errors = learned(lambda q, step, rates, _: module.update(q, step, rates), first_q())
    np.testing.assert_allclose(found, q, atol=1e-5)
    np.testing.assert_allclose(found_errors, errors, atol=1e-5)


def test_double_q_learning():
    uniforms = np.random.default_rng(1).random((T, 1)).astype(np.float32)
    start = np.stack([first_q(), -first_q()])
    q = start.astype(np.float64)
    for step, (u,) in zip(each(experience()), uniforms, strict=True):
        i, j = (1, 0) if u < 0.5 else (0, 1)
        value = q[j, step.next_obs, q[i, step.next_obs].argmax()]
        q[i, step.obs, step.action] += ALPHA * (target(step, value) - q[i, step.obs, step.action])
    np.testing.assert_allclose(learned(double_q_learning.update, start, uniforms=uniforms)[0], q, atol=1e-5)
    np.testing.assert_allclose(double_q_learning.values(jnp.asarray(start), 2), np.zeros(A), atol=1e-7)


@pytest.mark.parametrize("n", [1, 3, 9])
def test_n_step_sarsa(n):
    """Each step is updated n - 1 steps later, or when its episode ends, towards what is known by then."""
    q, waiting = first_q().astype(np.float64), []
    for step in each(experience()):
        waiting.append(step)
        next_value = 0.0 if step.terminated else on_policy(q, step)
        while waiting and (len(waiting) == n or step.done):
            G = sum(GAMMA**i * x.reward for i, x in enumerate(waiting)) + GAMMA ** len(waiting) * next_value
            q[waiting[0].obs, waiting[0].action] += ALPHA * (G - q[waiting[0].obs, waiting[0].action])
            waiting.pop(0)
    found, _ = learned(
        lambda tables, step, rates, _: n_step_sarsa.update(tables, step, rates), tables_of(n_step_sarsa, n=n)
    )
    np.testing.assert_allclose(found.q, q, atol=1e-5)


@pytest.mark.parametrize("trace", ["accumulating", "replacing"])
@pytest.mark.parametrize("module", [sarsa_lambda, watkins_q], ids=["sarsa_lambda", "watkins_q"])
def test_traces(module, trace):
    q, e = first_q().astype(np.float64), np.zeros((S, A))
    for step in each(experience()):
        at, value = (step.obs, step.action), (best if module is watkins_q else on_policy)(q, step)
        error = target(step, value) - q[at]
        e[at] = e[at] + 1 if trace == "accumulating" else 1
        explores = module is watkins_q and on_policy(q, step) < best(q, step)
        q += ALPHA * error * e
        e *= 0 if step.done or explores else GAMMA * LAMBDA
    found, _ = learned(
        lambda tables, step, rates, _: module.update(tables, step, rates, LAMBDA, trace),
        tables_of(module, trace=trace),
    )
    np.testing.assert_allclose(found.q, q, atol=1e-5)


def test_dutch_traces_are_true_online_sarsa():
    """Algorithm 2 of van Seijen et al. (2016), with one-hot features."""
    q, e, old = first_q().astype(np.float64).ravel(), np.zeros(S * A), 0.0
    for step in each(experience()):
        x = np.eye(S * A)[step.obs * A + step.action]
        value = q @ x
        next_value = 0.0 if step.terminated else q[step.next_obs * A + step.next_action]
        error = step.reward + GAMMA * next_value - value
        e = GAMMA * LAMBDA * e + x - ALPHA * GAMMA * LAMBDA * (e @ x) * x
        q = q + ALPHA * (error + value - old) * e - ALPHA * (value - old) * x
        old = next_value
        if step.done:
            e, old = np.zeros(S * A), 0.0
    found, _ = learned(
        lambda tables, step, rates, _: sarsa_lambda.update(tables, step, rates, LAMBDA, "dutch"),
        tables_of(sarsa_lambda, trace="dutch"),
    )
    np.testing.assert_allclose(found.q.ravel(), q, atol=1e-5)


@pytest.mark.parametrize("first_visit", [True, False])
@pytest.mark.parametrize("sample_average", [True, False])
def test_monte_carlo(first_visit, sample_average):
    q, returns, episode = first_q().astype(np.float64), {}, []
    for step in each(experience()):
        episode.append(step)
        if not step.done:
            continue
        G, new = 0.0 if step.terminated else on_policy(q, step), {}
        for x in reversed(episode):
            G = x.reward + GAMMA * G
            new.setdefault((x.obs, x.action), []).append(G)
        for at, values in new.items():
            values = values[-1:] if first_visit else values
            returns.setdefault(at, []).extend(values)
            if sample_average:
                q[at] = np.mean(returns[at])
            else:
                q[at] += (1 - (1 - ALPHA) ** len(values)) * (np.mean(values) - q[at])
        episode = []
    found, _ = learned(
        lambda tables, step, rates, _: monte_carlo.update(tables, step, rates, first_visit, sample_average),
        tables_of(monte_carlo),
    )
    np.testing.assert_allclose(found.q, q, atol=2e-5)


def backup(q, model, at, bonus=0.0):
    reward, next_obs, terminated = model[at]
    q[at] += ALPHA * (reward + bonus + GAMMA * (not terminated) * q[next_obs].max() - q[at])


def test_dyna_q():
    uniforms = np.random.default_rng(2).random((T, 5)).astype(np.float32)
    q, model = first_q().astype(np.float64), {}
    for step, draws in zip(each(experience()), uniforms, strict=True):
        # A dictionary keeps the order of first insertion, as the list of what was seen does.
        model[step.obs, step.action] = (step.reward, step.next_obs, step.terminated)
        backup(q, model, (step.obs, step.action))
        for u in draws:
            backup(q, model, list(model)[int(u * np.float32(len(model)))])
    found, _ = learned(dyna_q.update, tables_of(dyna_q), uniforms=uniforms)
    np.testing.assert_allclose(found.q, q, atol=1e-5)
    assert int(found.seen.count) == len(model)
    assert found.seen.order[: len(model)].tolist() == [s * A + a for s, a in model]


def test_dyna_q_plus():
    kappa = 0.05
    uniforms = np.random.default_rng(3).random((T, 10)).astype(np.float32)
    q, model, visited, tried = first_q().astype(np.float64), {}, [], np.zeros((S, A))
    for now, (step, draws) in enumerate(zip(each(experience()), uniforms, strict=True), start=1):
        at = (step.obs, step.action)
        if step.obs not in visited:
            visited.append(step.obs)
        model[at], tried[at] = (step.reward, step.next_obs, step.terminated), now
        backup(q, model, at)
        for u, w in draws.reshape(-1, 2):
            at = (visited[int(u * np.float32(len(visited)))], int(w * np.float32(A)))
            imagined = {at: model.get(at, (0.0, at[0], False))}
            backup(q, imagined, at, kappa * np.sqrt(now - tried[at]))
    found, _ = learned(
        lambda *inputs: dyna_q_plus.update(*inputs, kappa), tables_of(dyna_q_plus), uniforms=uniforms
    )
    np.testing.assert_allclose(found.q, q, atol=1e-5)


def test_prioritized_sweeping():
    """The book's loop, with a dictionary for the queue and another for the predecessors."""
    threshold, n = 0.05, 4
    steps = experience(deterministic=True)
    q, model, queue = first_q().astype(np.float64), {}, {}

    def enqueue(at):
        reward, next_obs, terminated = model[at]
        size = abs(reward + GAMMA * (not terminated) * q[next_obs].max() - q[at])
        if size > threshold:
            queue[at] = max(size, queue.get(at, 0.0))

    for step in each(steps):
        at = (step.obs, step.action)
        model[at] = (step.reward, step.next_obs, step.terminated)
        enqueue(at)
        for _ in range(n):
            if not queue:
                break
            head = max(sorted(queue), key=queue.get)
            del queue[head]
            backup(q, model, head)
            for at, (_, next_obs, _) in model.items():
                if next_obs == head[0]:
                    enqueue(at)
    found, _ = learned(
        lambda tables, step, rates, _: prioritized_sweeping.update(tables, step, rates, n, threshold),
        tables_of(prioritized_sweeping),
        steps=steps,
    )
    np.testing.assert_allclose(found.q, q, atol=1e-4)
    assert {(int(s), int(a)) for s, a in np.argwhere(found.priority > 0)} == set(queue)


def test_monte_carlo_never_bootstraps_where_the_process_ended():
    """Not even where the clock ended it at the same time."""
    zeros = jnp.zeros((S, A))
    tables = monte_carlo.Tables(q=zeros + 7.0, count=zeros, visits=zeros, trace=zeros, returns=zeros)
    ended = jnp.ones((), bool)
    step = Transition(*jnp.int32([0, 0]), jnp.float32(2.0), *jnp.int32([1, 0]), ended, ended)
    rates = Rates(jnp.float32(1.0), jnp.float32(GAMMA), jnp.float32(0.0), jnp.int32(0))
    new, _ = monte_carlo.update(tables, step, rates, True, False)
    assert new.q[0, 0] == 2.0
