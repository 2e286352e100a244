"""Curves by episode against a plain loop over the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl.tabular.control import q_learning
from jaxrl.tabular.episodes import at_ends, record


def test_values_at_ends_against_a_loop():
    rng = np.random.default_rng(0)
    done, values = rng.random(50) < 0.2, rng.normal(size=(50, 2)).astype(np.float32)
    expected = [value for ended, value in zip(done, values, strict=True) if ended]
    found = np.asarray(at_ends(jnp.asarray(done), jnp.asarray(values), len(expected) + 3))
    np.testing.assert_array_equal(found[:-3], expected)
    assert len(expected) > 5 and np.isnan(found[-3:]).all()


def test_a_record_in_two_parts_is_one_record():
    """The schedules go on where they were: epsilon at each step is that of the shared counter."""
    config = q_learning.Config(num_steps=1, total_steps=200.0)
    algorithm = q_learning.make(*envs.make("FrozenLake4x4-v1"), config)

    half = jax.jit(lambda state, start: record(algorithm, state, 50, start))
    state = algorithm.init(jax.random.key(0))
    middle, first = half(state, 0)
    _, second = half(middle, 50)
    _, whole = jax.jit(lambda state: record(algorithm, state, 100))(state)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, np.concatenate([first[name], second[name]]))
    np.testing.assert_allclose(whole["epsilon"], 1 - 0.95 * np.arange(100) / 100, rtol=1e-5)
    ends = np.flatnonzero(np.asarray(whole["episodes"]))
    lengths = np.asarray(at_ends(whole["episodes"], whole["episode_length"], len(ends)))
    np.testing.assert_array_equal(lengths, np.diff(ends, prepend=-1))


def test_iterations_of_several_steps_are_refused():
    algorithm = q_learning.make(*envs.make("FrozenLake4x4-v1"), q_learning.Config(num_steps=5))
    with pytest.raises(ValueError, match="must have one environment step an iteration, got 5"):
        record(algorithm, algorithm.init(jax.random.key(0)), 10)
