"""MuJoCo Playground's suite behind our protocol, where it is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import core
from envs.adapters import playground as adapter
from envs.testing import check_env


def skip_without():
    pytest.importorskip("mujoco_playground", reason="`pip install 'jaxrl[playground]'` brings it")


def test_tasks_are_listed_and_the_extra_is_named_without_the_package(monkeypatch):
    assert envs.names("playground") == [f"playground/{name}" for name in adapter.NAMES]
    monkeypatch.setattr(core.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"`pip install 'jaxrl\[playground\]'`"):
        envs.make("playground/CheetahRun")
    assert core.missing_extra("playground") == "playground"
    with pytest.raises(ValueError, match=r"did you mean .*'playground/CheetahRun'"):
        envs.make("playground/CheetaRun")


def test_names_are_those_of_the_suite_and_options_are_checked():
    skip_without()
    from mujoco_playground import dm_control_suite

    assert set(adapter.NAMES) == set(dm_control_suite.ALL_ENVS)
    with pytest.raises(ValueError, match="unknown option 'sim_dtt'; did you mean 'sim_dt'"):
        envs.make("playground/CartpoleBalance", sim_dtt=0.01)


@pytest.mark.slow
def test_cartpole_keeps_the_laws_and_a_failure_is_contained():
    skip_without()
    env, params = envs.make("playground/CartpoleBalance", episode_length=50)
    assert int(env.time_limit(params)) == 50
    laws = check_env(env, params, num_envs=2, num_steps=16)
    assert {"keys", "time limit", "frame"} <= set(laws)
    state, obs = env.reset(jax.random.key(0), params)
    broken = state.replace(pipeline=state.pipeline.replace(qvel=jnp.full_like(state.pipeline.qvel, jnp.nan)))
    _, out = jax.jit(env.step)(jax.random.key(0), broken, jnp.zeros(1), params)
    assert float(out.metrics["diverged"]) == 1 and bool(out.truncated) and not bool(out.terminated)
    np.testing.assert_array_equal(out.obs, obs)
