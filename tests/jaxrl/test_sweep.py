"""Sweeps: seeds and hyperparameters in one compile, bounded by memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from jaxrl.agents import dqn, ppo
from jaxrl.config import traced_fields
from jaxrl.sweep import _program, cells_within

CONFIG = ppo.Config(num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, hidden_sizes=(8,))
ENV, PARAMS = envs.make("CartPole-v1")


def keys(n):
    return jax.vmap(jax.random.key)(jnp.arange(n))


def run(configs, seeds=2, **options):
    return jaxrl.sweep(ppo.make, ENV, PARAMS, configs, keys(seeds), 64, evaluations=2, **options)


def test_grid_is_the_product_with_the_last_field_fastest():
    configs = jaxrl.grid(CONFIG, learning_rate=[1e-3, 1e-4], entropy_coefficient=[0.0, 0.1, 0.2])
    np.testing.assert_allclose(configs.learning_rate, [1e-3] * 3 + [1e-4] * 3)
    np.testing.assert_allclose(configs.entropy_coefficient, [0.0, 0.1, 0.2] * 2)
    np.testing.assert_allclose(configs.gamma, [0.99] * 6)
    assert configs.num_envs == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": [1.0]}, "unknown field 'learning_rat'; did you mean 'learning_rate'"),
        ({"num_envs": [1, 2]}, "`num_envs` sets a shape"),
        ({"gamma": [0.9, 1.5]}, "`gamma` must be at least 0 and at most 1, got 1.5"),
        ({"gamma": [0.9, float("nan")]}, "`gamma` must be at least 0 and at most 1, got nan"),
        ({"gamma": 0.9}, "`gamma` must be a list"),
        ({"gamma": []}, "`gamma` must be a list"),
    ],
)
def test_bad_grids_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        jaxrl.grid(CONFIG, **values)


def test_axes_are_configurations_then_seeds():
    state, history = run(jaxrl.grid(CONFIG, learning_rate=[0.0, 1e-2]), seeds=3)
    assert history.episode_return.shape == (2, 3, 2, 16)
    # A learning rate of zero leaves the initial parameters, which depend on the seed alone.
    initial = jax.vmap(ppo.make(ENV, PARAMS, CONFIG).init)(
        jax.vmap(lambda k: jax.random.split(k)[0])(keys(3))
    )
    for x, first in zip(jax.tree.leaves(state.params), jax.tree.leaves(initial.params), strict=True):
        np.testing.assert_allclose(x[0], first, atol=1e-6)
        assert np.abs(x[1] - first).max() > 1e-4


def test_a_cell_equals_its_run_alone():
    configs = jaxrl.grid(CONFIG, learning_rate=[1e-3, 1e-2], gamma=[0.9])
    # Short episodes: over hundreds of steps a difference in the last bit of a logit becomes another return.
    options = {"eval_env": (ENV, PARAMS.replace(max_steps=jnp.int32(60))), "eval_episodes": 64}
    state, history = run(configs, seeds=3, **options)
    alone = CONFIG.replace(learning_rate=1e-2, gamma=0.9)
    algorithm = ppo.make(ENV, PARAMS, alone)
    train = jax.jit(lambda key: jaxrl.train(algorithm, key, 64, evaluations=2, **options))
    one, one_history = train(keys(3)[1])
    for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(one.params), strict=True):
        np.testing.assert_allclose(x[1, 1], y, rtol=1e-5, atol=1e-5)
    assert len(np.unique(one_history.episode_return)) > 10
    np.testing.assert_allclose(history.episode_return[1, 1], one_history.episode_return)


def test_a_cell_that_replays_equals_its_run_alone_whatever_the_time_limit():
    """Below the default's: the replay was made for the default's, and lost what followed most ends."""
    fields = {"num_envs": 4, "batch_size": 8, "learning_starts": 20, "buffer_size": 80, "hidden_sizes": (8,)}
    config, params = dqn.Config(**fields), PARAMS.replace(max_steps=jnp.int32(5))
    options = {"evaluations": 1, "eval_episodes": 2}
    state, history = jaxrl.sweep(dqn.make, ENV, params, config, keys(2), 400, **options)
    np.testing.assert_array_equal(history.metrics["replay_lost"], 0)
    algorithm = dqn.make(ENV, params, config)
    one, _ = jax.jit(lambda key: jaxrl.train(algorithm, key, 400, **options))(keys(2)[1])
    for x, y in zip(jax.tree.leaves(state.params), jax.tree.leaves(one.params), strict=True):
        np.testing.assert_allclose(x[0, 1], y, rtol=1e-4, atol=1e-5)
    assert state.ring.final_obs.shape[2:] == one.ring.final_obs.shape


def test_adding_seeds_leaves_earlier_seeds_alone():
    few, _ = run(CONFIG, seeds=2)
    many, _ = run(CONFIG, seeds=6)
    for x, y in zip(jax.tree.leaves(few.params), jax.tree.leaves(many.params), strict=True):
        np.testing.assert_allclose(x, y[:, :2], rtol=1e-5, atol=1e-5)


def test_values_keys_lengths_and_parameters_never_recompile():
    run(jaxrl.grid(CONFIG, learning_rate=[1e-3, 1e-2]), seeds=3)
    before = _program._cache_size()
    run(jaxrl.grid(CONFIG, learning_rate=[1e-4, 1e-5]), seeds=3)
    run(jaxrl.grid(CONFIG, gamma=[0.5, 0.6, 0.7]), seeds=2)
    jaxrl.sweep(
        ppo.make,
        envs.make("CartPole-v1")[0],
        PARAMS.replace(gravity=jnp.float32(5.0)),
        jaxrl.grid(CONFIG, gamma=[0.5, 0.6]),
        jax.random.split(jax.random.key(9), 3),
        640,
        evaluations=2,
        log_points=4,
    )
    assert _program._cache_size() == before


def test_a_sweep_compiles_the_training_program_once():
    """16 seeds x 8 learning rates x 4 entropy coefficients."""
    config = CONFIG.replace(hidden_sizes=(4,))
    configs = jaxrl.grid(
        config, learning_rate=np.geomspace(1e-5, 1e-2, 8), entropy_coefficient=[0.0, 0.01, 0.02, 0.1]
    )
    before = _program._cache_size()
    _, history = run(configs, seeds=16)
    assert history.episode_return.shape == (32, 16, 2, 16)
    assert _program._cache_size() == before + 1


def test_memory_budget_splits_the_cells_and_changes_nothing():
    configs = jaxrl.grid(CONFIG, learning_rate=[1e-3, 1e-2, 1e-4])
    whole, history = run(configs)
    split, split_history = run(configs, memory_budget=150_000)
    for x, y in zip(jax.tree.leaves(whole.params), jax.tree.leaves(split.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(history.steps, split_history.steps)


class Compiled:
    """A program whose memory is 100 bytes and 10 more a cell."""

    def __init__(self, n):
        self.argument_size_in_bytes, self.output_size_in_bytes = 100, 4 * n
        self.temp_size_in_bytes, self.alias_size_in_bytes = 8 * n, 2 * n

    def memory_analysis(self):
        return self


def test_cells_within_a_budget():
    assert cells_within(1_100, Compiled, 1_000, 1, margin=1.0) == 100
    assert cells_within(1_100, Compiled, 7, 2, margin=1.0) == 8
    with pytest.raises(ValueError, match="`memory_budget` must be at least 110 bytes"):
        cells_within(109, Compiled, 1_000, 1, margin=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": jax.random.key(0)}, "`keys` must be at least one typed key"),
        ({"keys": 0}, "`keys` must be at least one typed key in a batch .*, got 0"),
        ({"keys": [jax.random.key(0)]}, r"`keys` must be at least one typed key in a batch .*, got \[Array"),
        ({"configs": CONFIG.replace(gamma=float("nan"))}, "`gamma` must be"),
        (
            {"configs": CONFIG.replace(num_minibatches=3)},
            "`num_minibatches` must divide .* = 16, got 3; try 2",
        ),
        ({"configs": jaxrl.grid(CONFIG, gamma=[0.1, 0.2]).replace(gamma=jnp.ones(3))}, "`configs` must have"),
        ({"keys": jax.random.PRNGKey(0)}, "`keys` must be at least one typed key"),
        ({"mesh": jax.make_mesh((1, 1), ("a", "b"))}, "`mesh` must have one axis"),
        ({"num_steps": 500_001}, "`num_steps` must be at most config.total_steps = 500,000"),
        ({"num_steps": 0}, "`num_steps` must be from 1"),
    ],
)
def test_bad_arguments_are_named_before_any_compile(change, message):
    arguments = {"configs": CONFIG, "keys": keys(1), "num_steps": 64} | change
    with pytest.raises(ValueError, match=message):
        jaxrl.sweep(ppo.make, ENV, PARAMS, **arguments)


@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_a_grid_holds_every_value_it_is_given(name):
    """Also of fields whose default is None: they were once left out, and all rows were the same."""
    config = jaxrl.algorithm(name).Config()
    for field in traced_fields(config):
        default = getattr(config, field)
        value = 0.5 if default is None else float(default)
        column = getattr(jaxrl.grid(config, **{field: [value, value]}), field)
        np.testing.assert_allclose(column, [value, value], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "fields", "values", "message"),
    [
        (
            "q_learning",
            {"epsilon_schedule": "exponential"},
            {"epsilon_end": [0.1, 0.0]},
            "`epsilon_end` must be",
        ),
        ("epsilon_greedy", {"schedule": "exponential"}, {"epsilon_end": [0.1, 0.0]}, "`epsilon_end` must be"),
        (
            "softmax",
            {"schedule": "harmonic"},
            {"temperature_end": [0.1, 9.0]},
            "must be at most `temperature_start`",
        ),
        ("c51", {}, {"max_value": [1.0, -200.0]}, "`max_value` must be greater"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused_in_a_grid_too(name, fields, values, message):
    module = jaxrl.algorithm(name)
    env, params = envs.make("FrozenLake4x4-v1")
    configs = jaxrl.grid(module.Config(**fields), **values)
    with pytest.raises(ValueError, match=message):
        jaxrl.sweep(module.make, env, params, configs, keys(2), 1000)


@pytest.mark.parametrize("where", ["env", "eval_env"])
def test_parameters_that_make_no_sense_are_refused_before_the_compile(where):
    env, params = envs.make("CartPole-v1")
    heavy = params.replace(pole_mass=jnp.float32(-1.0))
    trained, eval_env = (heavy, None) if where == "env" else (params, (env, heavy))
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="`pole_mass` must be positive and finite, got -1"):
        jaxrl.sweep(ppo.make, env, trained, ppo.Config(), keys, 1_000, eval_env=eval_env)
