"""What every algorithm must do, as tables over `jaxrl.algorithms()`: a new one gets every check by name."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs import probes
from jaxrl.config import is_traced, validate
from jaxrl.train import run_interval

GAMMA = 0.5


@dataclass(frozen=True)
class Case:
    """How an algorithm is tested.

    Attributes:
      small: fields of a configuration that compiles and runs fast.
      probe: fields with which it solves every probe.
      probe_steps: environment steps that this takes.
      value: `(algorithm, state, obs [1], config) -> V(obs)`.
    """

    small: dict[str, Any]
    probe: dict[str, Any]
    probe_steps: int
    value: Any


def ppo_value(algorithm, state, obs, config):
    from jaxrl.agents import ppo

    env, params = algorithm.env, algorithm.params
    model = ppo.make_model(env.observation_space(params), env.action_space(params), config)
    return model.critic(state.params, obs)


CASES = {
    "ppo": Case(
        small={"num_envs": 2, "num_steps": 8, "num_epochs": 2, "num_minibatches": 2, "hidden_sizes": (8,)},
        probe={
            "num_envs": 8,
            "num_steps": 16,
            "hidden_sizes": (16,),
            "learning_rate": 1e-2,
            "entropy_coefficient": 0.0,
            "clip_value": False,
            "total_steps": 25_600.0,
        },
        probe_steps=25_600,
        value=ppo_value,
    ),
}


def make(name, env, params, **fields):
    module = jaxrl.algorithm(name)
    config = module.Config(**fields)
    return module.make(env, params, config), config


def test_every_algorithm_is_in_the_table():
    assert sorted(CASES) == jaxrl.algorithms()


def test_unknown_algorithms_name_the_closest():
    with pytest.raises(ValueError, match="unknown algorithm 'pppo'; did you mean 'ppo'"):
        jaxrl.algorithm("pppo")


# What V(-1), V(0), V(1) are under the optimal policy; None where the observation does not occur.
EXPECTED = {
    "ConstantReward": (None, 1.0, None),
    "RewardByObservation": (-1.0, None, 1.0),
    "DelayedReward": (None, GAMMA, 1.0),
    "ActionMatters": (None, 1.0, None),
    "ActionByObservation": (1.0, None, 1.0),
}


@pytest.mark.parametrize("probe", probes.ALL, ids=lambda probe: probe.id)
@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_probes_are_solved(name, probe):
    case = CASES[name]
    params = probe.default_params()
    algorithm, config = make(name, probe, params, gamma=GAMMA, **case.probe)
    keys = jax.vmap(jax.random.key)(jnp.arange(8))

    @jax.jit
    @jax.vmap
    def run(key):
        state, history = jaxrl.train(algorithm, key, case.probe_steps, evaluations=1, log_points=1)
        values = [case.value(algorithm, state, jnp.array([o]), config) for o in (-1.0, 0.0, 1.0)]
        return jnp.stack(values), history.episode_return[-1]

    values, returns = run(keys)
    for i, expected in enumerate(EXPECTED[probe.id]):
        if expected is not None:
            np.testing.assert_allclose(values[:, i], expected, atol=0.05)
    if probe.num_actions > 1:
        np.testing.assert_array_equal(returns, 1.0)


@pytest.fixture(scope="module", params=jaxrl.algorithms())
def small(request):
    algorithm, _ = make(request.param, *envs.make("CartPole-v1"), **CASES[request.param].small)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    return algorithm, state


def test_a_step_keeps_the_types_of_the_state(small):
    algorithm, state = small
    after, metrics = jax.eval_shape(algorithm.step, state, jnp.int32(0))
    before = jax.eval_shape(lambda: state)
    assert jax.tree.structure(after) == jax.tree.structure(before)

    def same(a, b):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)

    jax.tree.map(same, jax.eval_shape(algorithm.init, jax.random.key(0)), after)
    assert all(x.shape == () and x.dtype == jnp.float32 for x in metrics.values())
    assert {"episodes", "episode_return", "episode_length"} <= set(metrics)


def test_keys_are_used_once(small):
    algorithm, state = small
    with jax.debug_key_reuse(True):
        state = jax.jit(algorithm.init)(jax.random.key(1))
        state, _ = jax.jit(algorithm.step)(state, jnp.int32(0))
        jax.jit(lambda s, k: algorithm.policy(s).act(state.obs[0], (), k))(state, jax.random.key(2))


def test_resumed_equals_uninterrupted(small):
    """A state that went to the host and back as NumPy arrays continues bit for bit."""
    algorithm, state = small
    run = jax.jit(lambda state, start, stop: run_interval(algorithm, state, start, stop)[0])

    def to_host_and_back(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(x))))
        return jnp.asarray(np.asarray(x))

    whole = run(state, 0, 6)
    halves = run(jax.tree.map(to_host_and_back, run(state, 0, 2)), 2, 6)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_the_policy_serves_one_observation(small):
    algorithm, state = small
    policy = algorithm.policy(state)
    obs = algorithm.env.reset(jax.random.key(0), algorithm.params)[1]
    action, carry = policy.act(obs, policy.init(), jax.random.key(0))
    assert algorithm.env.action_space(algorithm.params).contains(action)
    assert jax.tree.structure(carry) == jax.tree.structure(policy.init())


@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_every_field_is_documented_and_its_default_valid(name):
    import ast
    import inspect

    module = jaxrl.algorithm(name)
    validate(module.Config())
    tree = ast.parse(inspect.getsource(module))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config").body
    for field in dataclasses.fields(module.Config):
        index = next(
            i for i, n in enumerate(body) if isinstance(n, ast.AnnAssign) and n.target.id == field.name
        )
        following = body[index + 1]
        assert isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant), field.name


@pytest.mark.parametrize("name", jaxrl.algorithms())
def test_every_traced_field_refuses_nan(name):
    module = jaxrl.algorithm(name)
    env, params = envs.make("CartPole-v1")
    for field in dataclasses.fields(module.Config):
        if is_traced(field):
            config = module.Config().replace(**{field.name: float("nan")})
            with pytest.raises(ValueError, match=f"`{field.name}` must be .*, got nan"):
                module.make(env, params, config)
