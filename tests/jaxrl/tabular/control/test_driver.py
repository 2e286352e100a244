"""The loop of tabular control: exploration, errors, batches, and the exact fixed points of its methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mdps import ExplicitMDP
from envs.tabular import extract
from jaxrl.explore.selection import epsilon_greedy_probabilities
from jaxrl.tabular import planning
from jaxrl.tabular.control import driver, dyna_q, expected_sarsa, q_learning, sarsa
from jaxrl.tabular.episodes import at_ends, record
from jaxrl.train import run_interval

NUM_SEEDS, STEPS = 32, 100_000
GAMMA, EPSILON, STEP_END = 0.5, 0.4, 0.01


def seeds(number):
    return jax.vmap(jax.random.key)(jnp.arange(number))


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_selection_has_the_distribution_of_epsilon_greedy(epsilon):
    values = jnp.array([1.0, 3.0, 3.0, -1.0])
    uniforms = (jnp.arange(10_000) + 0.5) / 10_000
    actions = jax.jit(jax.vmap(lambda u: driver.select(u, values, epsilon)))(uniforms)
    expected = epsilon_greedy_probabilities(values, epsilon)
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 10_000, expected, atol=2e-4)


def small_world():
    """Return a dense world of 4 states and 2 actions in which every action gap is wide."""
    rng = np.random.default_rng(6)
    env = ExplicitMDP(num_states=4, num_actions=2)
    P = rng.dirichlet(np.ones(4), (4, 2))
    R = rng.permuted(np.array([[0.0, 1.0]] * 4), axis=1) + np.arange(4)[:, None]
    R = np.repeat(R[..., None], 4, axis=-1)
    return env, env.default_params().replace(P=jnp.asarray(P, jnp.float32), R=jnp.asarray(R, jnp.float32))


@pytest.mark.parametrize(
    ("module", "epsilon", "samples_action"),
    [(q_learning, 0.0, False), (sarsa, EPSILON, True), (expected_sarsa, EPSILON, False)],
    ids=["q_learning", "sarsa", "expected_sarsa"],
)
def test_converges_to_the_exact_fixed_point(module, epsilon, samples_action):
    """The tolerance is the noise that the last step size leaves, by the variance of the targets.

    A recursive mean with step size alpha of samples with deviation sigma has the deviation
    sigma * sqrt(alpha / (2 - alpha)), bootstrapping enlarges it by at most 1 / (1 - gamma), and the mean
    over n seeds has it over sqrt(n); four of these are allowed. Noise this far below the action gaps does
    not change which action is best, so it does not bias the maximum.
    """
    env, params = small_world()
    mdp = extract(env, params)
    value = planning.value_iteration(planning.epsilon_soft(mdp, epsilon), GAMMA).value
    q = np.asarray(planning.q_from_v(mdp, value, GAMMA), np.float64)
    following = (q if samples_action else np.asarray(value)[:, None]) * np.ones_like(q)
    weight = np.asarray(jax.vmap(epsilon_greedy_probabilities, (0, None))(jnp.asarray(q), epsilon))
    P = np.asarray(mdp.P)
    first = np.einsum("sat,tb,tb->sa", P, weight, following)
    second = np.einsum("sat,tb,tb->sa", P, weight, following**2)
    sigma = GAMMA * np.sqrt((second - first**2).max())
    noise = sigma * np.sqrt(STEP_END / (2 - STEP_END)) / (1 - GAMMA)
    assert np.abs(q[:, 0] - q[:, 1]).min() > 5 * noise

    config = module.Config(
        gamma=GAMMA,
        epsilon_start=EPSILON,
        epsilon_schedule="constant",
        learning_rate=0.5,
        learning_rate_end=STEP_END,
        learning_rate_schedule="exponential",
        total_steps=float(STEPS),
        num_steps=1000,
    )
    algorithm = module.make(env, params, config)

    @jax.jit
    @jax.vmap
    def run(key):
        return run_interval(algorithm, algorithm.init(key), 0, STEPS // 1000)[0].tables

    found = np.asarray(run(seeds(NUM_SEEDS)))
    assert 0.1 * noise < found.std(axis=0).max() < 2 * noise
    np.testing.assert_allclose(found.mean(axis=0), q, atol=4 * noise / np.sqrt(NUM_SEEDS))


def test_dyna_q_with_fifty_planning_steps_solves_the_maze_in_five_episodes():
    """Sutton and Barto (2018), figure 8.2: at most 20 steps in the fifth episode, 14 being the fewest."""
    env, params = envs.make("DynaMaze-v1")
    config = dyna_q.Config(
        planning_steps=50, gamma=0.95, epsilon_start=0.1, epsilon_schedule="constant", num_steps=1
    )
    algorithm = dyna_q.make(env, params, config)

    @jax.jit
    @jax.vmap
    def run(key):
        _, metrics = record(algorithm, algorithm.init(key), 8000)
        return at_ends(metrics["episodes"], metrics["episode_length"], 5)[-1]

    fifth = run(seeds(100))
    assert 14 <= np.mean(fifth) <= 20


def test_a_seed_does_not_depend_on_its_batch():
    algorithm = sarsa.make(*envs.make("GridWorld-v1"), sarsa.Config(num_steps=50, total_steps=500.0))

    def run(key):
        return run_interval(algorithm, algorithm.init(key), 0, 10)[0]

    batch = jax.jit(jax.vmap(run))(seeds(5))
    alone = jax.jit(run)(jax.random.key(3))
    np.testing.assert_allclose(batch.tables[3], alone.tables, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(batch.obs[3], alone.obs)
    assert np.any(alone.tables)


def test_schedules_follow_the_shared_counter():
    env, params = envs.make("FrozenLake4x4-v1")
    config = q_learning.Config(
        num_steps=10,
        total_steps=100.0,
        exploration_fraction=0.5,
        epsilon_end=0.0,
        learning_rate_schedule="harmonic",
    )
    algorithm = q_learning.make(env, params, config)
    state = algorithm.init(jax.random.key(0))
    step = jax.jit(algorithm.step)
    epsilons = [float(step(state, jnp.int32(t))[1]["epsilon"]) for t in (0, 2, 4, 9)]
    np.testing.assert_allclose(epsilons, [1 - 9 / 50, 1 - 29 / 50, 1 - 49 / 50, 0], atol=1e-6)
    rate = float(step(state, jnp.int32(9))[1]["learning_rate"])
    np.testing.assert_allclose(rate, 0.1 / (1 + 9 * 0.99), rtol=1e-5)


@pytest.mark.parametrize(
    ("env", "fields", "message"),
    [
        ("CartPole-v1", {}, "`env` must have Discrete observations .* got CartPole-v1 with Box"),
        ("FrozenLake4x4-v1", {"epsilon_start": 1.5}, "`epsilon_start` must be at least 0 and at most 1"),
        ("FrozenLake4x4-v1", {"num_steps": 0}, "`num_steps` must be at least 1, got 0"),
        (
            "FrozenLake4x4-v1",
            {"epsilon_schedule": "stepwise"},
            "`epsilon_schedule` must be one of 'constant'",
        ),
        (
            "FrozenLake4x4-v1",
            {"epsilon_schedule": "exponential", "epsilon_end": 0.0},
            "`epsilon_end` must be greater than 0 with a schedule that is exponential, got 0.0",
        ),
    ],
)
def test_errors_come_before_the_compile(env, fields, message):
    with pytest.raises(ValueError, match=message):
        q_learning.make(*envs.make(env), q_learning.Config(**fields))


def test_images_of_a_grid_are_refused():
    with pytest.raises(ValueError, match="`env` must have Discrete observations for a table"):
        sarsa.make(*envs.make("FrozenLake4x4-v1", observation="image"), sarsa.Config())
