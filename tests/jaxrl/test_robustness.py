"""Grids of robots, the worst of them, and other engines."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs.physics import Randomized, Variation
from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from envs.wrappers import Wrapper
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


def test_each_world_of_a_grid_has_its_own_time_limit():
    pendulum, params = envs.make("Pendulum-v1")
    still = Policy(init=lambda: (), act=lambda obs, carry, key: (jnp.zeros(1), carry))
    worlds = jax.tree.map(lambda x: jnp.stack([x, x]), params).replace(max_steps=jnp.array([20, 100]))
    for max_steps, expected in ((None, [[20] * 3, [100] * 3]), (50, [[20] * 3, [50] * 3])):
        episodes = evaluate_grid(still, pendulum, worlds, KEY, 3, max_steps)
        assert episodes.length.tolist() == expected
        assert episodes.done.tolist() == [[True] * 3, [max_steps is None] * 3]
    # Known limits are known inside of a compiled program, too; unknown ones are those of the default.
    inside = jax.jit(lambda key: evaluate_grid(still, pendulum, worlds, key, 3))(KEY)
    assert inside.length.tolist() == [[20] * 3, [100] * 3]
    traced = jax.jit(lambda worlds: evaluate_grid(still, pendulum, worlds, KEY, 3))(worlds)
    assert traced.length.tolist() == [[20] * 3, [100] * 3]


@dataclass(frozen=True)
class Other(Wrapper):
    """An environment that says other spaces."""

    obs: Any = None
    action: Any = None

    def observation_space(self, params):
        return self.env.observation_space(params) if self.obs is None else self.obs

    def action_space(self, params):
        return self.env.action_space(params) if self.action is None else self.action


def matrix_of(*worlds):
    act = lambda obs, carry, key: (jnp.zeros(1), carry)  # noqa: E731
    policy = Policy(init=lambda: (), act=act)
    pairs = [(env, env.default_params()) for env in worlds]
    return transfer_matrix(lambda _: policy, jnp.zeros(1), pairs, KEY, 2)


PENDULUM, _ = envs.make("Pendulum-v1")


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            {},
            {"action": Box(-1.0, 1.0, (1,))},
            r"Box\(\[1\], float, -2.0 to 2.0\) in .* float, -1.0 to 1.0\)",
        ),
        ({}, {"action": Box(-2.0, 3.0, (1,))}, "but .* float, -2.0 to 3.0"),
        ({"action": Discrete(2)}, {"action": Box(-1.0, 1.0, (2,))}, r"Discrete\(2\) in .* but .* Box\(\[2\]"),
        ({"action": Discrete(4)}, {"action": MultiDiscrete((2, 2))}, r"MultiDiscrete\(\(2, 2\)\)"),
        ({"obs": Box(0.0, 1.0, (2, 3))}, {"obs": Box(0.0, 1.0, (3, 2))}, r"Box\(\[3, 2\], float\)"),
        ({"obs": Box(0, 1, (3,), jnp.uint8)}, {}, r"Box\(\[3\], uint\) and"),
        ({"obs": Dict({"a": Discrete(3)})}, {"obs": Dict({"b": Discrete(3)})}, r"Dict\(b: Discrete\(3\)\)"),
    ],
)
def test_worlds_of_other_kinds_shapes_or_units_are_refused(a, b, message):
    with pytest.raises(ValueError, match=f"`worlds` must have equal observation and action .*{message}"):
        matrix_of(Other(PENDULUM, **a), Other(PENDULUM, **b))


def test_bounds_of_observations_and_how_bounds_are_written_do_not_matter():
    free = Other(PENDULUM, Box(-np.inf, np.inf, (3,)), Box((-2.0,), (2.0,), (1,)))
    assert matrix_of(PENDULUM, free).shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("worlds", "message"),
    [
        ([], r"`worlds` must be a sequence of pairs \(env, params\), .* at least one, got \[\]"),
        (None, "`worlds` must be a sequence of pairs .* got None"),
        ([PENDULUM], "`worlds` must be a sequence of pairs .* got Pendulum .* at index 0"),
        (envs.make("Pendulum-v1"), "`worlds` must be a sequence of pairs .* got Pendulum .* at index 0"),
        ([envs.make("Pendulum-v1"), ("Pendulum-v1", 1)], "got tuple .* at index 1"),
    ],
)
def test_worlds_that_are_no_pairs_are_refused(worlds, message):
    with pytest.raises(ValueError, match=message):
        transfer_matrix(lambda _: RIGHT, jnp.zeros(1), worlds, KEY, 2)


def test_learners_and_policies_that_are_none_are_refused():
    worlds = [envs.make("Pendulum-v1")]
    with pytest.raises(ValueError, match="`policy` must be a function"):
        transfer_matrix(None, jnp.zeros(1), worlds, KEY, 2)  # type: ignore[arg-type]
    for wrong in (jnp.float32(0), jnp.zeros((0, 2)), (jnp.zeros(2), jnp.zeros(3))):
        with pytest.raises(ValueError, match=r"`learners` must have leaves \[P, ...\] of one P"):
            transfer_matrix(lambda _: RIGHT, wrong, worlds, KEY, 2)


def test_a_fraction_that_is_no_number_is_refused():
    for wrong in ("a", None, [0.1, 0.2]):
        with pytest.raises(ValueError, match="`fraction` must be a number, got"):
            cvar(jnp.ones((2, 2)), wrong)  # type: ignore[arg-type]


def test_returns_of_no_grid_are_refused():
    for wrong in (1.0, jnp.ones(3), jnp.ones((0, 3)), jnp.ones((3, 0))):
        for measure in (cvar, worst_case):
            with pytest.raises(ValueError, match=r"`returns` must be \[..., worlds, episodes\], got shape"):
                measure(wrong)  # type: ignore[arg-type]


def test_a_grid_of_no_world_is_refused():
    none = jax.tree.map(lambda x: jnp.stack([x])[:0], CARTPOLE.default_params())
    with pytest.raises(ValueError, match=r"`params` must have leaves \[G, ...\] of one G, at least 1"):
        evaluate_grid(RIGHT, CARTPOLE, none, KEY, 2)
