import subprocess
import sys
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import core
from envs.spaces import Box, Discrete
from envs.testing import check_env


@dataclass(frozen=True)
class Sized:
    size: int = 3
    id: str = "Sized-v0"

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"`size` must be at least 1, got {self.size}")

    def default_params(self):
        return jnp.float32(self.size)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(core, "_FACTORIES", dict(core._FACTORIES))


def test_registered_environment_is_made_by_name_with_options(registry):
    envs.register("Sized-v0", Sized)
    assert "Sized-v0" in envs.names() and "Sized-v0" in envs.names("native")
    assert "Sized-v0" not in envs.names("gymnax")
    env, params = envs.make("Sized-v0", size=5)
    assert env == Sized(5) and float(params) == 5.0
    assert envs.make("Sized-v0")[0] == Sized()


def test_names_are_sorted_unique_and_one_suite_is_a_part():
    ids = envs.names()
    assert ids == sorted(set(ids))
    installed = [suite for suite in core.suites() if core.missing_extra(suite) is None]
    assert {*envs.names("native"), *(id for suite in installed for id in envs.names(suite))} == set(ids)
    assert all(id.startswith("gymnax/") for id in envs.names("gymnax"))
    assert not any("/" in id for id in envs.names("native"))


@pytest.mark.parametrize(
    "act, message",
    [
        (
            lambda: envs.make("FrozenLake4x4"),
            "unknown environment 'FrozenLake4x4'; did you mean 'FrozenLake4x4-v1'",
        ),
        (lambda: envs.make("frozenlake8x8-V1"), "did you mean 'FrozenLake8x8-v1'"),
        (lambda: envs.make("gymnax/Cartpole-v1"), "did you mean 'gymnax/CartPole-v1'"),
        (lambda: envs.make("gymnx/CartPole-v1"), "unknown suite 'gymnx'; did you mean 'gymnax'"),
        (lambda: envs.make("gymnax/"), "unknown environment 'gymnax/'"),
        (lambda: envs.make(""), "unknown environment ''; known are: .*, [.]{3}"),
        (lambda: envs.make("CartPole-v1", wings=2), r"'CartPole-v1' does not take the options \['wings'\]"),
        (lambda: envs.names("gymnaxium"), "unknown suite 'gymnaxium'; did you mean"),
        (lambda: envs.register("my/Env-v0", Sized), "must not hold a '/', .* got 'my/Env-v0'"),
        (lambda: envs.register("CartPole-v1", Sized), "'CartPole-v1' is already registered"),
        (
            lambda: envs.make("native/CartPole-v1"),
            "unknown environment 'native/CartPole-v1'; did you mean .*'CartPole-v1'",
        ),
    ],
)
def test_errors_name_what_came_and_what_would_do(registry, act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_error_of_a_constructor_passes_unchanged(registry):
    envs.register("Sized-v0", Sized)
    with pytest.raises(ValueError, match="`size` must be at least 1, got 0"):
        envs.make("Sized-v0", size=0)


def test_time_limit_is_a_python_int_also_inside_a_traced_function():
    env, params = envs.make("CartPole-v1")
    assert envs.time_limit(env) == 500
    assert envs.time_limit(env, params.replace(max_steps=jnp.int32(7))) == 7
    assert envs.time_limit(env, params.replace(max_steps=jnp.array([7, 9], jnp.int32))) == 9
    assert envs.time_limit(env, params.replace(max_steps=10.5)) == 11  # of steps, the first not before it
    assert envs.time_limit(Sized(), default=11) == 11
    seen = []
    jax.make_jaxpr(lambda x: seen.append(envs.time_limit(env)) or x)(0.0)
    assert seen == [500] and type(seen[0]) is int


def test_time_limit_of_traced_parameters_is_the_defaults_or_what_is_assumed():
    env, params = envs.make("CartPole-v1")
    params, other = params.replace(max_steps=jnp.int32(9)), envs.make("MountainCar-v1")

    def limits():
        seen = []
        jax.eval_shape(
            lambda *worlds: seen.extend(map(envs.time_limit, (env, other[0]), worlds)), params, other[1]
        )
        return seen

    assert limits() == [500, 200]
    with core.assume_time_limit(env, 7):
        assert limits() == [7, 200]
        with core.assume_time_limit(env, 8):
            assert limits() == [8, 200]
        assert limits() == [7, 200]
        # What is known is not assumed.
        assert envs.time_limit(env, params) == 9 and envs.time_limit(env) == 500
    assert limits() == [500, 200]


def test_require_names_the_extra():
    core.require("jax", "physics")
    with pytest.raises(ImportError, match=r"`no_such_package` is not installed; .*jaxrl\[physics\]"):
        core.require("no_such_package", "physics")


def test_unknown_lists_all_if_there_are_few():
    assert core.unknown("algorithm", "zzz", ["ppo", "dqn"]) == "unknown algorithm 'zzz'; known are: dqn, ppo"


def test_environments_follow_the_protocol():
    for id in envs.names("native"):
        assert isinstance(envs.make(id)[0], envs.Environment)
    assert not isinstance(Sized(), envs.Environment)


def test_listing_imports_no_suite():
    heavy = ("gymnax", "gymnasium", "brax", "distrax", "mujoco", "matplotlib")
    program = (
        "import sys, envs; assert 'gymnax/CartPole-v1' in envs.names(); envs.make('CartPole-v1');"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.strip() == "[]"


def test_conformance_suite_is_part_of_the_public_surface():
    assert check_env.__module__ == "envs.testing"


@pytest.mark.parametrize(
    "id",
    [
        "Acrobot-v1",
        "BernoulliBandit-v1",
        "Blackjack-v1",
        "CartPole-v1",
        "Catch-bsuite-v1",
        "GridWorld-v1",
        "MinAtar-Asterix-v1",
        "RiverSwim-v1",
        "SlateBandit-v1",
    ],
)
def test_an_action_out_of_range_is_the_nearest_one(id):
    env, params = envs.make(id)
    state, _ = env.reset(jax.random.key(0), params)
    space = env.action_space(params)
    last = space.n - 1 if isinstance(space, Discrete) else jnp.array(space.nvec) - 1
    step = jax.jit(lambda action: env.step(jax.random.key(1), state, action, params))
    for wrong, near in ((last + 9, last), (last * 0 - 1, last * 0), (last * 0 - 9, last * 0)):
        for a, b in zip(jax.tree.leaves(step(wrong)), jax.tree.leaves(step(near)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("id", envs.names("native"))
def test_actions_of_another_shape_or_kind_are_refused_while_tracing(id):
    """Integers out of range are the law "actions" of `check_env`."""
    env, params = envs.make(id)
    space = env.action_space(params)
    state, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    more = jnp.zeros((2, *space.shape), space.dtype)
    wrong = [more] if isinstance(space, Box) else [more, jnp.zeros(space.shape, jnp.float32)]
    for action in wrong:
        with pytest.raises(ValueError, match=r"`action` must be (one integer|(integer )?\[\d\]) of"):
            jax.eval_shape(env.step, jax.random.key(0), state, action, params)
