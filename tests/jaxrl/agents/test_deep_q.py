"""DQN and its relatives: what they refuse, when they learn, what the target network is, and their health."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mdps import explicit
from envs.tabular import extract
from jaxrl.agents import c51, deep_q, discrete_sac, dqn, iqn, off_policy, pqn, qr_dqn, r2d2, rainbow
from jaxrl.ops import diagnostics
from jaxrl.replay import Ring
from jaxrl.tabular import planning
from jaxrl.train import run_interval

SMALL = {
    "num_envs": 4,
    "hidden_sizes": (8,),
    "batch_size": 8,
    "buffer_size": 80,
    "learning_starts": 20,
    "target_update_period": 12,
    "total_steps": 200.0,
}


@pytest.mark.parametrize(
    ("module", "fields", "message"),
    [
        (dqn, {"batch_size": 21}, "`batch_size` must be at most learning_starts = 20, .*, got 21"),
        (dqn, {"learning_starts": 84}, "`learning_starts` must be at most buffer_size = 80, got 84"),
        (dqn, {"total_steps": 19.0}, "`learning_starts` must be at most total_steps = 19, got 20: nothing"),
        (dqn, {"num_updates": 0}, "`num_updates` must be at least 1, got 0"),
        (discrete_sac, {"target_entropy": 0.7}, "`target_entropy` must be at most log 2 = 0.6931, .*got 0.7"),
        (dqn, {"learning_starts": 10, "n_step": 4}, "`learning_starts` must be at least .* = 20, got 10"),
        (dqn, {"buffer_size": 82}, "`buffer_size` must be a multiple of .* = 4, got 82; try 80"),
        (dqn, {"buffer_size": 10**12}, r"`buffer_size` must fit in memory: .* GiB; at most [0-9,]+ fit"),
        (dqn, {"priority_exponent": 1.5}, "`priority_exponent` must be at least 0 and at most 1, got 1.5"),
        (
            dqn,
            {"importance_exponent": -0.1},
            "`importance_exponent` must be at least 0 and at most 1, got -0.1",
        ),
        (dqn, {"munchausen": True, "double": True}, "`munchausen` must go with double=False and n_step=1"),
        (c51, {"num_atoms": 1}, "`num_atoms` must be at least 2, got 1"),
        (
            c51,
            {"min_value": 5.0, "max_value": 5.0},
            "`max_value` must be greater than min_value = 5.0, got 5.0",
        ),
        (iqn, {"dueling": True}, "`dueling` must be False for IQN"),
        (iqn, {"hidden_sizes": (8,)}, "`hidden_sizes` must name at least two layers for IQN"),
    ],
)
def test_what_does_not_fit_is_refused(module, fields, message):
    config = module.Config(**(SMALL | fields))
    with pytest.raises(ValueError, match=message):
        module.make(*envs.make("CartPole-v1"), config)


@pytest.mark.parametrize("module", [dqn, c51, iqn, rainbow, pqn])
def test_continuous_actions_are_refused(module):
    with pytest.raises(ValueError, match="`env` must have discrete actions, but 'Pendulum-v1' takes Box"):
        module.make(*envs.make("Pendulum-v1"), module.Config())


def softmax(logits):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def expected_dqn(config, q, next_q, chosen, batch):
    if config.munchausen:
        t, rows = config.entropy_temperature, np.arange(len(batch.action))
        bonus = np.maximum(t * np.log(softmax(q["target"] / t)[rows, batch.action]), config.munchausen_clip)
        pi = softmax(next_q["target"] / t)
        soft = (pi * (next_q["target"] - t * np.log(np.maximum(pi, 1e-300)))).sum(axis=-1)
        target = batch.reward + config.munchausen_scale * bonus + batch.discount * soft
    else:
        target = batch.reward + batch.discount * chosen(next_q["target"])
    error = target - q["taken"]
    size, k = np.abs(error), config.huber_threshold
    huber = np.where(size <= k, 0.5 * error**2, k * (size - 0.5 * k))
    return huber if config.loss == "huber" else error**2, error


def expected_c51(config, logits, next_logits, chosen, batch):
    support = np.linspace(config.min_value, config.max_value, config.num_atoms)
    target, next_p = np.zeros((len(batch.action), config.num_atoms)), chosen(softmax(next_logits["target"]))
    for b, j in np.ndindex(target.shape):
        atom = np.clip(batch.reward[b] + batch.discount[b] * support[j], support[0], support[-1])
        target[b] += next_p[b, j] * np.maximum(1 - np.abs(atom - support) / (support[1] - support[0]), 0)
    losses = -(target * np.log(softmax(logits["taken"]))).sum(axis=-1)
    return losses, losses + (target * np.log(np.maximum(target, 1e-12))).sum(axis=-1)


def expected_qr_dqn(config, quantiles, next_quantiles, chosen, batch):
    targets = batch.reward[:, None] + batch.discount[:, None] * chosen(next_quantiles["target"])
    losses, n, k = np.zeros(len(batch.action)), config.num_quantiles, config.huber_threshold
    for b, i, j in np.ndindex(len(losses), n, n):
        u = targets[b, j] - quantiles["taken"][b, i]
        huber = 0.5 * u**2 if abs(u) <= k else k * (abs(u) - 0.5 * k)
        losses[b] += abs((i + 0.5) / n - (u < 0)) * huber / k / n
    return losses, targets.mean(axis=-1) - quantiles["taken"].mean(axis=-1)


@pytest.mark.parametrize(
    ("module", "expected", "outputs", "fields"),
    [
        (dqn, expected_dqn, 1, {}),
        (dqn, expected_dqn, 1, {"double": True, "dueling": True}),
        (dqn, expected_dqn, 1, {"loss": "huber", "huber_threshold": 0.5, "layer_norm": True}),
        (dqn, expected_dqn, 1, {"munchausen": True, "entropy_temperature": 0.3}),
        (c51, expected_c51, 7, {"num_atoms": 7, "min_value": -1.0, "max_value": 2.0}),
        (rainbow, expected_c51, 7, {"num_atoms": 7, "min_value": -3.0, "max_value": 1.0, "noisy": False}),
        (qr_dqn, expected_qr_dqn, 5, {"num_quantiles": 5, "huber_threshold": 0.3}),
        (qr_dqn, expected_qr_dqn, 5, {"num_quantiles": 5, "double": True, "dueling": True}),
    ],
)
def test_the_loss_of_a_batch_against_numpy(module, expected, outputs, fields, monkeypatch):
    """With networks of their own for acting and for targets, which disagree on what is best."""
    world, config = envs.make("CartPole-v1"), module.Config(**fields, hidden_sizes=(16, 8))
    monkeypatch.setattr(deep_q, "make", lambda env, params, config, method: method)
    method = module.make(*world, config)
    online, target = (method.init(jax.random.key(seed)) for seed in (0, 1))
    rng = np.random.default_rng(0)
    batch = off_policy.Batch(
        x=2 * rng.normal(size=(32, 4)),
        action=rng.integers(0, 2, 32),
        reward=rng.normal(size=32),
        discount=np.where(rng.random(32) < 0.3, 0.0, 0.9),
        next_x=2 * rng.normal(size=(32, 4)),
        weight=np.ones(32),
    )
    network = deep_q.network(*world, config, outputs)

    def of(params, x):
        return np.squeeze(np.asarray(network.outputs(params, jnp.asarray(x, jnp.float32)), np.float64))

    def mean(numbers):
        if expected is expected_c51:
            return softmax(numbers) @ np.linspace(config.min_value, config.max_value, outputs)
        return numbers.mean(axis=-1) if numbers.ndim == 3 else numbers

    rows = np.arange(32)
    now = {"taken": of(online, batch.x)[rows, batch.action], "target": of(target, batch.x)}
    following = {"online": of(online, batch.next_x), "target": of(target, batch.next_x)}
    best = {name: mean(numbers).argmax(axis=-1) for name, numbers in following.items()}
    assert np.any(best["online"] != best["target"])
    chooser = best["online" if config.double else "target"]
    wanted = expected(config, now, following, lambda numbers: numbers[rows, chooser], batch)
    given = jax.tree.map(lambda x: jnp.asarray(x, jnp.int32 if x.dtype == int else jnp.float32), batch)
    for found, value in zip(method.loss(online, target, given, jax.random.key(2)), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=2e-4, atol=2e-5)


@pytest.fixture(scope="module")
def learner():
    """Return DQN with every option that changes the loop, and `run_interval` over seeds, compiled."""
    config = dqn.Config(**SMALL, prioritized=True, double=True, dueling=True, n_step=2, num_updates=2)
    algorithm = dqn.make(*envs.make("CartPole-v1"), config)
    states = jax.jit(jax.vmap(algorithm.init))(jax.vmap(jax.random.key)(jnp.arange(3)))
    run = jax.jit(
        jax.vmap(
            lambda state, start, stop: run_interval(algorithm, state, start, stop), in_axes=(0, None, None)
        )
    )
    return states, run


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_seeds_start_from_different_networks(learner):
    """Once a published implementation gave all seeds the same network and the same keys."""
    states, _ = learner
    kernels = [x for x in jax.tree.leaves(states.params) if x.ndim == 3]
    assert kernels and all(np.abs(x[0] - x[1]).max() > 1e-3 for x in kernels)
    assert len({tuple(k) for k in np.asarray(jax.random.key_data(states.key)).tolist()}) == 3


def test_learning_starts_when_it_should(learner):
    """20 steps of 4 environments are 5 iterations: the first update ends the fifth."""
    states, run = learner
    before, metrics = run(states, 0, 4)
    assert equal(before.params, states.params)
    assert np.all(metrics["loss"] == 0)
    after, metrics = run(before, 4, 5)
    assert not equal(after.params, states.params)
    assert np.all(metrics["loss"] > 0)


def test_the_target_network_is_a_copy_of_that_at_the_last_period(learner):
    """Every 12 steps, so at the end of the iterations 3, 6, 9, ..."""
    states, run = learner
    at_six, _ = run(states, 0, 6)
    assert equal(at_six.target_params, at_six.params)
    at_eight, _ = run(at_six, 6, 8)
    assert equal(at_eight.target_params, at_six.params)
    assert not equal(at_eight.params, at_six.params)
    at_nine, _ = run(at_eight, 8, 9)
    assert equal(at_nine.target_params, at_nine.params)


def test_health_is_reported(learner):
    states, run = learner
    states, metrics = run(states, 0, 40)
    assert all(np.all(np.isfinite(x)) for name, x in metrics.items() if not name.startswith("episode_"))
    states, metrics = run(states, 40, 41)
    assert np.all(metrics["q_max"] >= metrics["q_mean"])
    assert np.all((metrics["dead_units"] >= 0) & (metrics["dead_units"] < 1))
    assert np.all((metrics["replay_diversity"] > 0.1) & (metrics["replay_diversity"] <= 1))
    assert np.all((metrics["replay_age"] > 0) & (metrics["replay_age"] < 80))
    assert np.all(metrics["replay_lost"] == 0)
    for state_q in (states.params, states.target_params):
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state_q))


def test_gradients_are_clipped_by_their_global_norm():
    """Once a published implementation clipped each number by itself, which changes the direction."""
    optimizer = off_policy.adam(dqn.Config(max_grad_norm=5.0, adam_epsilon=1.0))
    gradient = {"a": jnp.array([30.0]), "b": jnp.array([[40.0, 0.0]])}
    direction, _ = optimizer.update(gradient, optimizer.init(gradient))
    # Adam's first step is g / (|g| + epsilon), of the gradient of norm 50 scaled to norm 5.
    np.testing.assert_allclose(direction["a"], [3 / 4], rtol=1e-4)
    np.testing.assert_allclose(direction["b"], [[4 / 5, 0]], rtol=1e-4)


def test_dead_units_are_counted():
    dead = jnp.array([[0.0, 1.0, 0.0, 4.0], [0.0, 3.0, 0.001, 0.0]])
    assert float(diagnostics.dead_units([dead, jnp.ones((2, 4))])) == 2 / 8
    assert float(diagnostics.dead_units([])) == 0


ALTERNATING = {
    dqn: {
        "batch_size": 32,
        "buffer_size": 400,
        "learning_starts": 40,
        "target_update_period": 4,
        "polyak_tau": 0.1,
        "n_step": 2,
    },
    pqn: {"num_steps": 8, "anneal_learning_rate": False},
}


@pytest.mark.parametrize("module", ALTERNATING)
def test_a_time_limit_ends_no_value_and_leads_on_to_the_true_last_observation(module):
    """Reward 1 in the first of two states in turn, cut in the second, after three steps, for the first.

    V(0) = 1 + gamma V(1) and V(1) = gamma V(0). Were the limit an end, V(0) would be less; did s' come from
    after the reset, it would be more, for the cut step would seem to lead from the rewarded state to itself.
    """
    world = explicit(np.eye(2)[[[1, 1], [0, 0]]], [[1.0, 1.0], [0.0, 0.0]], start=[1.0, 0.0], max_steps=3)
    shared = {"num_envs": 4, "hidden_sizes": (8,), "gamma": 0.8, "learning_rate": 1e-2, "epsilon_end": 1.0}
    config = module.Config(**shared, **ALTERNATING[module])
    algorithm = module.make(*world, config)
    iterations = 6000 // algorithm.steps_per_iteration
    state, metrics = jax.jit(lambda key: run_interval(algorithm, algorithm.init(key), 0, iterations))(
        jax.random.key(0)
    )
    q = deep_q.network(*world, config).outputs(state.params, jnp.eye(2))[..., 0]
    first = 1 / (1 - 0.8**2)
    np.testing.assert_allclose(q, [[first, first], [0.8 * first, 0.8 * first]], atol=0.05)
    assert float(metrics["episode_length"]) == 3
    value = [algorithm.policy(state).value(jnp.int32(obs), ()) for obs in (0, 1)]
    np.testing.assert_allclose(value, q.max(axis=-1), rtol=1e-5)


def test_what_followed_is_lost_is_not_drawn_again_for_its_error():
    """Episodes of 3 steps where 100 are expected: of most ends s' is lost, and the error means nothing."""
    env, params = explicit(np.ones((2, 2, 2)) / 2, np.ones((2, 2)), max_steps=3)
    config = dqn.Config(**SMALL, prioritized=True, n_step=2)

    def run(params, key):  # traced, so that the limit is not known
        algorithm = dqn.make(env, params, config)
        return run_interval(algorithm, algorithm.init(key), 0, 60)

    state, metrics = jax.jit(run)(params, jax.random.key(0))
    assert metrics["replay_lost"] > 0.01
    ring = Ring(80, 4, lookahead=2, num_finals=len(state.ring.final_obs))
    row, env_index = (x.reshape(-1) for x in jnp.meshgrid(jnp.arange(18), jnp.arange(4)))
    lost = ring.transitions(state.ring, row, env_index, 0.99, 2).valid == 0
    weight = state.priorities.tree[0][row * 4 + env_index]
    least = np.isclose(weight, 1e-6**config.priority_exponent, rtol=1e-3)
    assert np.any(least[lost]) and not np.any(least[~lost])


DISTRIBUTIONS = {
    c51: {"min_value": -1.0, "max_value": 5.0, "num_atoms": 51},
    qr_dqn: {"num_quantiles": 21, "huber_threshold": 0.1},
    iqn: {"num_quantiles": 8, "huber_threshold": 0.1, "hidden_sizes": (32, 32), "batch_size": 64},
}


@pytest.mark.slow
@pytest.mark.parametrize("module", DISTRIBUTIONS)
def test_means_of_distributions_are_the_exact_values_of_a_random_process(module):
    """Four states and two actions, whose effects and rewards are drawn: the returns are random."""
    rng = np.random.default_rng(0)
    world = explicit(rng.dirichlet(np.ones(4), (4, 2)), rng.random((4, 2, 4)), max_steps=20)
    exact = planning.value_iteration(extract(*world), 0.7).value
    fields = {"num_envs": 8, "batch_size": 128, "buffer_size": 16_000, "learning_starts": 800, "gamma": 0.7}
    fields |= {"hidden_sizes": (32,), "learning_rate": 1e-3, "num_updates": 2, "polyak_tau": 0.05}
    fields |= {"epsilon_end": 1.0, "target_update_period": 8}
    algorithm = module.make(*world, module.Config(**(fields | DISTRIBUTIONS[module])))
    run = jax.jit(jax.vmap(lambda key: run_interval(algorithm, algorithm.init(key), 0, 4000)[0]))
    states = run(jax.vmap(jax.random.key)(jnp.arange(4)))

    def value(state, obs):
        return algorithm.policy(state).value(obs, ())

    learned = jax.vmap(jax.vmap(value, in_axes=(None, 0)), in_axes=(0, None))(states, jnp.arange(4))
    np.testing.assert_allclose(learned.mean(axis=0), exact, atol=0.05)


@pytest.mark.parametrize("module", [dqn, c51, qr_dqn, iqn, rainbow, r2d2, pqn])
def test_every_learner_of_action_values_says_what_it_expects(module):
    """Of what it expects `jaxrl.health` tells how much is too much."""
    assert module.make(*envs.make("CartPole-v1"), module.Config()).policy(None).value is not None


def test_noise_explores_and_is_drawn_anew_each_step_but_no_greedy_policy_has_it():
    """One state, four actions and no epsilon: only the noise of the weights makes the actions differ."""
    world = explicit(np.ones((1, 4, 1)), np.zeros((1, 4)))
    fields = SMALL | {"noisy": True, "epsilon_start": 0.0, "epsilon_end": 0.0}
    algorithm = dqn.make(*world, dqn.Config(**fields))
    state, _ = jax.jit(lambda key: run_interval(algorithm, algorithm.init(key), 0, 19))(jax.random.key(0))
    taken = np.asarray(state.ring.steps.action)[:19]
    assert len(set(taken[:, 0].tolist())) > 1
    # All environments of a step see the same state with the same weights.
    np.testing.assert_array_equal(taken, taken[:, :1].repeat(4, axis=1))
    keys = jax.random.split(jax.random.key(1), 50)
    greedy = jax.vmap(lambda key: algorithm.policy(state).act(jnp.int32(0), (), key)[0])(keys)
    assert len(set(greedy.tolist())) == 1
