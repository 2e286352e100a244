"""Targets and losses of action values: against loops, hand-worked numbers, and rlax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.ops import values


def test_select_takes_one_action():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(values.select(x, jnp.array([2, 0])), [x[0, 2], x[1, 0]])
    np.testing.assert_array_equal(
        values.select(x[0], jnp.array([3, 0, 1])), [x[0, 0, 3], x[0, 1, 0], x[0, 2, 1]]
    )


def test_double_q_learning_evaluates_the_selectors_choice():
    next_q, selector = jnp.array([[2.0, 4.0], [8.0, 6.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    reward, discount = jnp.array([1.0, 1.0]), jnp.array([0.5, 0.0])
    np.testing.assert_array_equal(values.q_target(reward, discount, next_q), [3.0, 1.0])
    np.testing.assert_array_equal(values.q_target(reward, discount, next_q, selector), [2.0, 1.0])


def test_munchausen_target_by_its_definition():
    rng = np.random.default_rng(0)
    q, next_q = rng.normal(size=(2, 5, 3))
    action, reward, discount = rng.integers(3, size=5), rng.normal(size=5), rng.random(5)
    temperature, scale, clip = 0.3, 0.9, -1.0
    expected = []
    for i in range(5):
        pi, next_pi = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (q[i], next_q[i]))
        bonus = scale * max(temperature * np.log(pi[action[i]]), clip)
        value = (next_pi * (next_q[i] - temperature * np.log(next_pi))).sum()
        expected.append(reward[i] + bonus + discount[i] * value)
    got = values.munchausen_target(
        *(jnp.asarray(x, jnp.float32) for x in (reward, discount, q)),
        jnp.asarray(action), jnp.asarray(next_q, jnp.float32), temperature, scale, clip,
    )  # fmt: skip
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_projection_is_the_same_on_every_kind_of_device():
    support = jnp.linspace(-2.0, 3.0, 11)
    keys = jax.random.split(jax.random.key(0))
    atoms = jnp.concatenate(
        [jax.random.uniform(keys[0], (6, 9), minval=-4.0, maxval=5.0), support[None, :9].repeat(2, 0)]
    )
    p = jax.nn.softmax(jax.random.normal(keys[1], atoms.shape))
    elsewhere = values._weigh_all_places(p, (jnp.clip(atoms, -2.0, 3.0) + 2.0) / 0.5, support)
    np.testing.assert_allclose(values.project(p, atoms, support), elsewhere, atol=1e-6)


def test_projection_moves_mass_to_the_neighbours():
    support = jnp.linspace(-1.0, 1.0, 5)
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(7), size=20).astype(np.float32)
    atoms = rng.uniform(-2, 2, size=(20, 7)).astype(np.float32)
    expected = np.zeros((20, 5))
    for i in range(20):
        for j in range(7):
            place = (min(max(atoms[i, j], -1), 1) + 1) / 0.5
            low = min(int(np.floor(place)), 3)
            expected[i, low] += p[i, j] * (1 - (place - low))
            expected[i, low + 1] += p[i, j] * (place - low)
    got = values.project(jnp.asarray(p), jnp.asarray(atoms), support)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(got.sum(axis=-1), 1.0, atol=1e-6)
    inside = np.clip(atoms, -1, 1)
    np.testing.assert_allclose(got @ support, (p * inside).sum(axis=-1), atol=1e-6)


def test_a_distribution_on_its_support_stays():
    support = jnp.linspace(-10.0, 10.0, 51)
    p = jax.nn.softmax(jax.random.normal(jax.random.key(0), (51,)))
    np.testing.assert_allclose(values.project(p, support, support), p, atol=1e-6)


def test_quantile_loss_is_least_at_the_quantiles():
    """The gradient vanishes where a quantile has its share of the targets below it (Huber's kappa small)."""
    targets = jnp.arange(100.0)
    levels = jnp.array([0.1, 0.5, 0.9])

    def gradient(q):
        return jax.grad(lambda q: values.quantile_huber_loss(q, levels, targets, kappa=1e-3))(q)

    np.testing.assert_allclose(gradient(jnp.array([9.5, 49.5, 89.5])), 0.0, atol=1e-5)
    assert np.all(gradient(jnp.array([5.0, 40.0, 80.0])) < 0)
    assert np.all(gradient(jnp.array([20.0, 60.0, 95.0])) > 0)


@pytest.mark.parametrize("kappa", [0.25, 1.0, 3.0])
def test_quantile_loss_by_its_definition(kappa):
    rng = np.random.default_rng(3)
    quantiles, levels, targets = rng.normal(size=(2, 4)), rng.random((2, 4)), 2 * rng.normal(size=(2, 7))
    expected = np.zeros(2)
    for b, i, j in np.ndindex(2, 4, 7):
        u = targets[b, j] - quantiles[b, i]
        huber = 0.5 * u**2 if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
        expected[b] += abs(levels[b, i] - (u < 0)) * huber / kappa / 7
    got = values.quantile_huber_loss(
        *(jnp.asarray(x, jnp.float32) for x in (quantiles, levels, targets)), kappa
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_projection_of_targets_at_and_beyond_the_ends(gamma):
    """By hand: on the support 0, 1, 2, with all mass on its upper end."""
    support, p = jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 0.0, 1.0])
    for reward in (-9.0, -2.0 * gamma, 0.25, 2.0 - 2.0 * gamma, 9.0):
        at = min(max(reward + gamma * 2.0, 0.0), 2.0)
        expected = [max(1.0 - abs(at - z), 0.0) for z in (0.0, 1.0, 2.0)]
        np.testing.assert_allclose(values.project(p, reward + gamma * support, support), expected, atol=1e-6)


def test_the_munchausen_bonus_is_clipped_on_the_scale_of_the_temperature():
    """log pi is -20 in the action taken: 0.1 of that is -2, clipped to -1; the value of s' is about 2."""
    q, next_q = jnp.array([0.0, 2.0]), jnp.array([2.0, 0.0])
    one = jnp.float32(1)
    taken = [values.munchausen_target(one, one, q, jnp.int32(a), next_q, 0.1, 0.9, -1.0) for a in (0, 1)]
    np.testing.assert_allclose(taken, [1 - 0.9 + 2, 1 - 0 + 2], atol=1e-5)


def test_no_gradient_flows_into_targets():
    q = jnp.array([[1.0, 2.0]])
    one = jnp.ones(1)
    for target in (
        lambda x: values.q_target(one, one, x, x),
        lambda x: values.munchausen_target(one, one, x, jnp.array([0]), x, 0.1, 0.9, -1.0),
        lambda x: values.cross_entropy(q, jax.nn.softmax(x)),
        lambda x: values.quantile_huber_loss(q, jnp.full((1, 2), 0.5), x),
    ):
        np.testing.assert_array_equal(jax.grad(lambda x, target=target: jnp.sum(target(x)))(q), 0.0)


@pytest.mark.filterwarnings("ignore:Rlax categorical_cross_entropy:PendingDeprecationWarning")
def test_equal_to_rlax():
    import rlax

    rng = np.random.default_rng(2)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    q, next_q, selector = normal(4), normal(4), normal(4)
    reward, discount, action = jnp.float32(0.3), jnp.float32(0.9), jnp.int32(2)
    error = values.q_target(reward, discount, next_q, selector) - q[action]
    np.testing.assert_allclose(
        error, rlax.double_q_learning(q, action, reward, discount, next_q, selector), atol=1e-6
    )
    error = values.q_target(reward, discount, next_q) - q[action]
    np.testing.assert_allclose(error, rlax.q_learning(q, action, reward, discount, next_q), atol=1e-6)
    support = jnp.linspace(-2.0, 2.0, 11)
    logits, next_logits = normal(4, 11), normal(4, 11)
    best = jnp.argmax(selector)
    target = values.project(jax.nn.softmax(next_logits[best]), reward + discount * support, support)
    np.testing.assert_allclose(
        values.cross_entropy(logits[action], target),
        rlax.categorical_double_q_learning(
            support, logits, action, reward, discount, support, next_logits, selector
        ),
        rtol=1e-5,
    )
    p, atoms = jax.nn.softmax(normal(11)), normal(11)
    np.testing.assert_allclose(
        values.project(p, jnp.sort(atoms), support),
        rlax.categorical_l2_project(jnp.sort(atoms), p, support), atol=1e-5,
    )  # fmt: skip
    quantiles, targets = normal(4, 5), normal(4, 5)
    levels = (jnp.arange(5) + 0.5) / 5
    expected = rlax.quantile_q_learning(
        quantiles.T, levels, action, reward, discount, targets.T, targets.T, huber_param=1.0
    )
    best = jnp.argmax(jnp.mean(targets, axis=-1))
    loss = values.quantile_huber_loss(quantiles[action], levels, reward + discount * targets[best])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
