"""DQN and its relatives: what they refuse, when they learn, what the target network is, and their health."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mdps import explicit
from jaxrl.agents import c51, deep_q, discrete_sac, dqn, iqn, off_policy, pqn, qr_dqn, r2d2, rainbow
from jaxrl.ops import diagnostics
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


@pytest.mark.parametrize("module", [dqn, c51, qr_dqn, iqn, rainbow, r2d2, pqn])
def test_every_learner_of_action_values_says_what_it_expects(module):
    """Of what it expects `jaxrl.health` tells how much is too much."""
    assert module.make(*envs.make("CartPole-v1"), module.Config()).policy(None).value is not None
