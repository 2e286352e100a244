"""Resolving a spec fills in every hyperparameter and finds every fault before a compile."""

import jax
import numpy as np
import pytest

from experiments.experiment import parse, resolve
from experiments.spec import RunSpec, SpecError
from jaxrl.agents import ppo


def make(**changes) -> RunSpec:
    return RunSpec(**({"algorithm": "ppo", "env": "CartPole-v1", "total_steps": 10_000} | changes))


def test_a_resolved_spec_names_every_hyperparameter_and_resolves_to_itself():
    experiment = resolve(make(config={"gamma": 1}, grid={"learning_rate": (1, 0.5)}))
    spec = experiment.spec
    expected = set(ppo.Config.__dataclass_fields__) - {"total_steps", "axis_name", "learning_rate"}
    assert set(spec.config) == expected
    assert isinstance(spec.config["gamma"], float)
    assert spec.grid == {"learning_rate": (1.0, 0.5)}
    assert all(isinstance(value, float) for value in spec.grid["learning_rate"])
    assert resolve(spec).spec == spec
    assert resolve(RunSpec.from_toml(spec.to_toml())).spec.hash() == spec.hash()


def test_spelling_does_not_change_the_hash_of_a_resolved_spec():
    one = resolve(make(config={"gamma": 1, "num_envs": 4.0, "hidden_sizes": [64, 64]}))
    two = resolve(make(config={"hidden_sizes": (64, 64), "gamma": 1.0}))
    assert one.spec.hash() == two.spec.hash()


def test_the_configurations_reach_the_algorithm():
    experiment = resolve(make(config={"gamma": 0.5}, grid={"learning_rate": (1.0, 0.5, 0.25)}))
    assert experiment.configs.learning_rate.tolist() == [1.0, 0.5, 0.25]
    assert experiment.configs.gamma.tolist() == [0.5, 0.5, 0.5]
    assert experiment.configs.total_steps.tolist() == [10_000.0] * 3
    assert experiment.steps_per_cell == 20 * 512


def test_environment_parameters_are_replaced_in_their_own_type():
    params = resolve(make(env_params={"max_steps": 20.0, "gravity": 5})).params
    assert (int(params.max_steps), float(params.gravity)) == (20, 5.0)
    default = resolve(make()).params
    assert jax.tree.map(lambda x: x.dtype, params) == jax.tree.map(lambda x: x.dtype, default)


def test_a_simulators_constants_are_named_with_dots():
    def resolved(**constants):
        return resolve(make(env="brax/inverted_pendulum", env_params=constants)).params.sys

    sys = resolved(**{"sys.opt.timestep": 0.01, "sys.gravity": (0.0, 0.0, -1.6)})
    assert float(sys["opt.timestep"]) == np.float32(0.01)
    np.testing.assert_allclose(sys["gravity"], [0.0, 0.0, -1.6], rtol=1e-6)
    with pytest.raises(SpecError, match=r"unknown parameter of brax/.*'sys\.opt\.timestep'"):
        resolved(**{"sys.opt.timestp": 0.01})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "pp0"}, "unknown algorithm 'pp0'; did you mean 'ppo'?"),
        ({"env": "CartPol-v1"}, "did you mean 'CartPole-v1'"),
        ({"env": "gymnax/CartPool-v1"}, "'gymnax/CartPole-v1'"),
        ({"env": "nosuite/CartPole-v1"}, "unknown suite 'nosuite'"),
        ({"env_options": {"size": 3}}, "does not take the options ['size']"),
        ({"env_params": {"gravty": 3.0}}, "did you mean 'gravity'?"),
        ({"env_params": {"gravity": (1.0, 2.0)}}, "`gravity` must have shape ()"),
        ({"env_params": {"gravity": "high"}}, "`gravity` must be a number"),
        ({"env_params": {"pole_mass": -1.0}}, "`pole_mass` must be positive and finite, got -1"),
        ({"env_params": {"max_steps": 1.5}}, "`max_steps` must be a whole number"),
        (
            {"algorithm": "dqn", "seeds": tuple(range(10**5)), "config": {"buffer_size": 10**6}},
            "`seeds` and `grid` must make cells that fit in memory: 100,000 of",
        ),
        ({"config": {"learningrate": 1.0}}, "did you mean 'learning_rate'"),
        ({"config": {"gamma": 1.5}}, "`gamma` must be at least 0 and at most 1, got 1.5"),
        ({"config": {"gamma": "high"}}, "`gamma` must be a number, got 'high'"),
        ({"config": {"num_envs": 2.5}}, "`num_envs` must be a whole number, got '2.5'"),
        ({"config": {"num_envs": 0}}, "`num_envs` must be at least 1, got 0"),
        ({"config": {"clip_value": 1}}, "`clip_value` must be true or false"),
        ({"config": {"hidden_sizes": ("a",)}}, "`hidden_sizes` must be a list of int"),
        ({"config": {"activation": "tan"}}, "`activation` must be one of"),
        ({"config": {"activation": 3}}, "`activation` must be a name"),
        (
            {"config": {"num_minibatches": 7}},
            "`num_minibatches` must divide num_envs * num_steps = 512, got 7",
        ),
        ({"config": {"total_steps": 3.0}}, "unknown hyperparameter of ppo 'total_steps'"),
        ({"grid": {"total_steps": (1.0, 2.0)}}, "`total_steps` must be the same for all configurations"),
        ({"grid": {"num_envs": (4, 8)}}, "`num_envs` sets a shape or chooses code"),
        ({"grid": {"learningrate": (4, 8)}}, "did you mean 'learning_rate'"),
        ({"grid": {"gamma": (0.9, 1.5)}}, "`gamma` must be at least 0 and at most 1, got 1.5"),
        ({"grid": {"gamma": (0.9, "x")}}, "`gamma` must be a number, got 'x'"),
        ({"total_steps": 100}, "`evaluations` must be at most the number of iterations, 1"),
    ],
)
def test_faults_are_found_before_anything_is_compiled(changes, message):
    with pytest.raises(SpecError) as caught:
        resolve(make(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_grid_is_only_offered_what_it_may_vary():
    with pytest.raises(SpecError, match="A grid may vary: learning_rate") as caught:
        resolve(make(grid={"num_envs": (4, 8)}))
    assert "total_steps" not in str(caught.value)


def test_typed_values_are_read_as_meant():
    assert [parse(text) for text in ("1e-3", "8", "true", "False", "tanh", "-1", "1,2.5,")] == [
        *(0.001, 8, True, False, "tanh", -1),
        (1, 2.5),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"channels": (16,)}}, "image"),
        ({"config": {"hidden_sizes": (-3,)}}, "`hidden_sizes` must be a tuple of integers of at least 1"),
        ({"env_params": {"max_steps": 0}}, "time limit of CartPole-v1 must be at least 1 step, got 0"),
        ({"name": "n" * 101}, "`name` must be at most 100 printable characters"),
        ({"name": "two\nlines"}, "`name` must be at most 100 printable characters"),
        ({"name": "\udcff"}, "`name` must be at most 100 printable characters"),
    ],
)
def test_what_does_not_fit_together_is_found_before_anything_is_written(change, message):
    with pytest.raises(SpecError, match=message):
        resolve(RunSpec("ppo", "CartPole-v1", 10_000, **change))
