"""Grids of robots, the worst of them, and other engines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs.physics import Randomized, Variation
from jaxrl.algorithm import Policy
from jaxrl.robustness import cvar, evaluate_grid, transfer_matrix, worst_case

CARTPOLE, _ = envs.make("CartPole-v1")
ENV = Randomized(CARTPOLE, (Variation("gear", 0.5, 2.0), Variation("length", 0.5, 2.0)))
RIGHT = Policy(init=lambda: (), act=lambda obs, carry, key: (jnp.int32(1), carry))
KEY = jax.random.key(0)


def test_each_world_of_a_grid_is_that_world_alone():
    worlds = ENV.grid(ENV.default_params(), {"gear": [0.5, 2.0], "length": [0.7, 1.5]})
    episodes = jax.jit(lambda worlds: evaluate_grid(RIGHT, ENV, worlds, KEY, 8))(worlds)
    assert episodes.return_.shape == (4, 8)

    @jax.jit
    def alone(values):
        return jaxrl.evaluate(RIGHT, ENV, ENV.at(ENV.default_params(), values), KEY, 8).return_

    for i, values in enumerate(([0.5, 0.7], [0.5, 1.5], [2.0, 0.7], [2.0, 1.5])):
        np.testing.assert_array_equal(episodes.return_[i], alone(jnp.array(values)))
    # The stronger the push and the shorter the pole, the sooner it falls.
    mean = np.asarray(episodes.return_).mean(axis=-1)
    assert mean[2] < mean[3] < mean[1] and mean[2] < mean[0] < mean[1]


def test_the_worst_world_is_the_one_with_the_lowest_mean():
    returns = jnp.array([[[1.0, 3.0], [0.0, 10.0]], [[5.0, 5.0], [9.0, 0.0]]])
    np.testing.assert_allclose(worst_case(returns), [2.0, 4.5])
    many = jnp.stack([jnp.arange(20.0) - 1, jnp.arange(20.0) + 1], axis=-1)
    assert float(cvar(many, 0.1)) == pytest.approx(0.5)
    assert float(cvar(many, 0.01)) == pytest.approx(0.0)
    assert float(cvar(many, 1.0)) == pytest.approx(9.5)


def test_rows_are_policies_and_columns_are_worlds():
    def push(side):
        return Policy(init=lambda: (), act=lambda obs, carry, key: (side, carry))

    base = ENV.default_params()
    worlds = [(ENV, ENV.at(base, jnp.array(x))) for x in ([0.5, 1.0], [2.0, 1.0])]
    matrix = transfer_matrix(push, jnp.arange(2), [(CARTPOLE, CARTPOLE.default_params()), *worlds], KEY, 4)
    assert matrix.shape == (2, 3, 4)
    for j, world in enumerate(worlds):
        alone = jaxrl.evaluate(push(jnp.int32(1)), *world, KEY, 4)
        np.testing.assert_array_equal(matrix[1, j + 1], alone.return_)
    # A start that leans to one side falls sooner if pushed from that side, later from the other one.
    assert (matrix[0] != matrix[1]).any()


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"`params` must have leaves \[G, ...\] of one G"):
        evaluate_grid(RIGHT, ENV, ENV.default_params(), KEY, 2)
    with pytest.raises(ValueError, match="`fraction` must be at least 0 and at most 1, got 2"):
        cvar(jnp.ones((2, 2)), 2.0)
    with pytest.raises(ValueError, match="`fraction` must be greater than 0"):
        cvar(jnp.ones((2, 2)), 0.0)
    with pytest.raises(ValueError, match="`worlds` must have equal observation and action spaces"):
        transfer_matrix(lambda _: RIGHT, KEY, [envs.make("CartPole-v1"), envs.make("Pendulum-v1")], KEY, 2)
