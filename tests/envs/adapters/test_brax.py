"""Brax's robots behind our protocol, against Brax's own loop, each of its known faults as a regression."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import core
from envs.checks import check_params
from envs.testing import check_env
from envs.vector import VecEnv

brax = pytest.importorskip("brax", reason="`pip install 'jaxrl[physics]'` brings it")
from envs.adapters import brax as adapter  # noqa: E402
from envs.adapters.simulator import lenient  # noqa: E402

ID = "brax/inverted_pendulum"
KEY = jax.random.key(0)
N = 4


@pytest.fixture(scope="module")
def pendulum():
    """The environment, its params, and N of them side by side as compiled functions."""
    env, params = envs.make(ID)
    vec = VecEnv(env, N)
    traces = []

    def step(key, state, action, params):
        traces.append(None)
        return vec.step(key, state, action, params)

    return env, params, jax.jit(vec.reset), jax.jit(step), traces


# Without running anything ----------------------------------------------------------------------------------


def test_ten_robots_are_listed_and_the_extra_is_named_where_brax_is_missing(monkeypatch):
    assert envs.names("brax") == [f"brax/{name}" for name in adapter.NAMES] and len(adapter.NAMES) == 10
    monkeypatch.setattr(core.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"`brax` is not installed; `pip install 'jaxrl\[physics\]'`"):
        envs.make(ID)
    assert core.missing_extra("brax") == "physics"
    assert not any(id.startswith("brax/") for id in envs.names())


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("brax/half_cheetah", {}, "did you mean 'brax/halfcheetah'"),
        ("brax/swimmer", {}, "'brax/swimmer' is left out: Brax 0.14.2 runs it on no engine"),
        (ID, {"backend": "sprng"}, "unknown `backend` 'sprng'; did you mean 'spring'"),
        (ID, {"fields": ["link.inertia.mas"]}, "unknown field of `System` .* mean 'link.inertia.mass'"),
        (ID, {"fields": "link.inertia.mas"}, "unknown field of `System` .* mean 'link.inertia.mass'"),
        (ID, {"fields": (5,)}, "unknown field of `System` '5'"),
        (ID, {"n_frames": 0}, "`n_frames` must be at least 1, got 0"),
        (ID, {"n_frames": 2.5}, "`n_frames` must be an integer, got 2.5"),
        (
            ID,
            {"fields": ["dof.damping"]},
            r"'spring' in 'inverted_pendulum', which ignores \['dof.damping'\]",
        ),
        (ID, {"wings": 2}, r"'brax/inverted_pendulum' does not take the options \['wings'\]"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name, **options)


def test_each_engine_offers_only_the_fields_that_it_reads():
    """Fields of MuJoCo's names do nothing on Brax's engines, and the other way round."""
    for backend in ("spring", "mjx"):
        read = adapter.read_fields("inverted_pendulum", backend)
        env, params = envs.make(ID, backend=backend)
        assert set(params.sys) == set(env.fields) == (set(adapter.FIELDS[backend]) & read)
    assert "link.inertia.mass" not in read and "body_mass" in read
    assert envs.make(ID, backend="mjx")[0].id == "brax/inverted_pendulum[mjx]"


def test_a_field_of_ones_own_choice_becomes_a_parameter():
    _, params = envs.make(ID, fields=["dof.limit.0"])
    assert list(params.sys) == ["dof.limit.0"] and params.sys["dof.limit.0"].shape == (2,)


@pytest.mark.parametrize(
    ("backend", "field", "change", "message"),
    [
        (
            "spring",
            "link.inertia.mass",
            lambda x: -x,
            r"`link.inertia.mass` must be positive and finite, got -10.\d* at index 0",
        ),
        (
            "spring",
            "link.inertia.i",
            lambda x: x.at[1, 2, 2].multiply(-1),
            r"`diagonal of link.inertia.i` must be positive and finite, got -0.0\d* at index \(1, 2\)",
        ),
        ("spring", "opt.timestep", lambda x: 0 * x, "`opt.timestep` must be positive and finite, got 0"),
        ("spring", "gravity", lambda x: x + np.nan, "`gravity` must be finite, got nan at index 0"),
        (
            "spring",
            "link.inertia.mass",
            lambda x: x[:1],
            r"`link.inertia.mass` must have shape \(2,\), as the environment does, got \(1,\)",
        ),
        (
            "mjx",
            "body_mass",
            lambda x: x.at[1].set(0),
            "`body_mass` must be positive and finite, got 0 at index 1",
        ),
        (
            "mjx",
            "dof_damping",
            lambda x: -x,
            "`dof_damping` must be at least 0 and finite, got -1 at index 0",
        ),
    ],
)
def test_constants_without_physics_are_refused_by_name(backend, field, change, message):
    env, params = envs.make(ID, backend=backend)
    check_params(env, params)
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_params(env, params.replace(sys=params.sys | {field: change(params.sys[field])}))


def test_misspelt_constants_and_limits_without_a_step_are_refused_and_traced_ones_pass():
    env, params = envs.make(ID)
    wrong = params.replace(sys=params.sys | {"link.inertia.mas": jnp.ones(2)})
    message = "unknown field of .* 'link.inertia.mas'; did you mean 'link.inertia.mass'"
    with pytest.raises(ValueError, match=message):
        check_params(env, wrong)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(env.reset, KEY, wrong)  # also where nobody asks
    with pytest.raises(ValueError, match="`max_steps` must be at least 1, got 0"):
        check_params(env, params.replace(max_steps=jnp.int32(0)))

    def checked(params):
        check_params(env, params)
        return params

    jax.tree.map(np.testing.assert_array_equal, jax.jit(checked)(params), params)


def test_loading_a_model_writes_no_log_and_prints_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    adapter._build.cache_clear()
    env, params = envs.make("brax/halfcheetah")
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")
    assert params.sys["actuator.gear"].tolist() == [120, 90, 60, 120, 100, 100]
    assert env.action_space(params).shape == (6,) and env.observation_space(params).shape == (17,)


# Steps -----------------------------------------------------------------------------------------------------


def test_it_keeps_the_laws():
    laws = check_env(*envs.make(ID), num_envs=4, num_steps=32)
    assert {"carry", "keys", "time limit", "params used", "frame"} <= set(laws)


def test_it_steps_as_brax_does(pendulum):
    env, params, *_ = pendulum
    raw, step = env._raw, jax.jit(env.step)
    with lenient():
        theirs = raw.reset(KEY)
        raw_step = jax.jit(raw.step)
    state, obs = env.reset(KEY, params)
    np.testing.assert_array_equal(obs, theirs.obs)
    for t in range(40):
        action = jax.random.uniform(jax.random.key(t), (1,), minval=-1.5, maxval=1.5)
        with lenient():
            theirs = raw_step(theirs, jnp.clip(action, -1, 1))
        state, out = step(KEY, state, action, params)
        np.testing.assert_allclose(out.obs, theirs.obs, rtol=1e-4, atol=1e-5)
        assert float(out.reward) == float(theirs.reward) == 1.0
        assert bool(out.terminated) == bool(theirs.done)
        if out.terminated:
            break
    assert t > 3


def test_the_last_observation_is_kept_and_starts_are_new(pendulum):
    """Brax's automatic reset hands out the first start again, in the place of the last observation."""
    _, params, reset, step, _ = pendulum
    state, first = reset(KEY, params)
    starts = [np.asarray(first)]
    for t in range(60):
        state, out = step(jax.random.key(t), state, jnp.ones((N, 1)), params)
        if out.terminated.any():
            done = np.asarray(out.terminated)
            assert (np.abs(out.next_obs[done, 1]) > 0.2).all()
            assert (np.abs(out.obs[done]) <= 0.01).all()
            assert not out.truncated.any()
            starts.append(np.asarray(out.obs[done]))
    seen = np.concatenate(starts)
    assert len(seen) > 2 * N and len(np.unique(seen, axis=0)) == len(seen)


def test_the_first_starts_again_are_what_braxs_wrappers_deal(pendulum):
    """Falls and ends of the clock, told apart as Brax's training does, over many episodes."""
    env, params, *_ = pendulum
    params, keys = params.replace(max_steps=jnp.int32(15)), jax.random.split(KEY, N)
    actions = jax.random.uniform(KEY, (80, N, 1), minval=-1.0, maxval=1.0)
    vec = envs.VecEnv(env, N, reset="first")
    with lenient():
        from brax.envs.wrappers import training

        wrapped = training.wrap(env._raw, episode_length=15)
        start = jax.jit(wrapped.reset)(jax.random.key_data(keys))

    def ours(state, action):
        state, out = vec.step(KEY, state, action, params)
        return state, (out.obs, out.reward, out.terminated | out.truncated, out.truncated)

    def theirs(state, action):
        state = wrapped.step(state, action)
        return state, (state.obs, state.reward, state.done, state.info["truncation"])

    state, obs = vec.reset(KEY, params)
    np.testing.assert_array_equal(obs, start.obs)
    found = jax.jit(lambda s: jax.lax.scan(ours, s, actions)[1])(state)
    with lenient():
        expected = jax.jit(lambda s: jax.lax.scan(theirs, s, actions)[1])(start)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    done, truncated = found[2:]
    assert truncated.any() and (done & ~truncated).any()


def test_the_clock_truncates_and_an_end_of_its_own_wins(pendulum):
    """Brax's wrapper reports its time limit as `done`, like a fall."""
    _, params, reset, step, _ = pendulum
    short = params.replace(max_steps=jnp.int32(3))
    state, _ = reset(KEY, short)
    for t in range(3):
        state, out = step(jax.random.key(t), state, jnp.zeros((N, 1)), short)
        assert bool((out.truncated == (t == 2)).all()) and not out.terminated.any()
    assert (out.episode.length == 3).all()


def test_constants_are_traced_and_change_the_motion(pendulum):
    env, params, reset, step, traces = pendulum

    def play(params):
        state, _ = reset(KEY, params)
        for t in range(6):
            state, out = step(jax.random.key(t), state, jnp.full((N, 1), 0.3, jnp.float32), params)
        return np.asarray(out.next_obs)

    usual, compiled = play(params), len(traces)
    for name in ("link.inertia.mass", "actuator.gear", "gravity", "opt.timestep"):
        changed = play(params.replace(sys=params.sys | {name: 2 * params.sys[name]}))
        assert np.abs(changed - usual).max() > 1e-4, name
    assert len(traces) == compiled == 1
    np.testing.assert_array_equal(play(params), usual)
    np.testing.assert_array_equal(env.default_params().sys["gravity"], params.sys["gravity"])


@pytest.mark.parametrize("poison", [np.nan, 1e30])
def test_a_diverged_simulation_is_truncated_counted_and_harms_no_other(pendulum, poison):
    _, params, reset, step, _ = pendulum
    sound, obs = reset(KEY, params)
    broken = sound.state.pipeline
    broken = broken.replace(xd_i=broken.xd_i.replace(vel=broken.xd_i.vel.at[1].set(poison)))
    state = replace(sound, state=sound.state.replace(pipeline=broken))
    action = jnp.full((N, 1), 0.1, jnp.float32)
    expected = step(KEY, sound, action, params)[1]
    after, out = step(KEY, state, action, params)
    others = np.array([0, 2, 3])
    assert out.episode.metrics["diverged"].tolist() == [0, 1, 0, 0]
    assert out.truncated.tolist() == [False, True, False, False] and not out.terminated.any()
    assert out.reward.tolist() == [1, 0, 1, 1]
    np.testing.assert_array_equal(out.next_obs[1], obs[1])
    np.testing.assert_array_equal(out.next_obs[others], expected.next_obs[others])
    for leaf in jax.tree.leaves(after.state):
        assert not jnp.issubdtype(leaf.dtype, jnp.floating) or not jnp.isnan(leaf).any()
    _, later = step(KEY, after, action, params)
    assert not later.episode.metrics["diverged"].any() and bool(jnp.isfinite(later.next_obs).all())


def test_a_robot_without_mass_is_contained_from_its_start_on(pendulum):
    _, params, reset, step, _ = pendulum
    weightless = params.replace(
        sys=params.sys | {"link.inertia.mass": jnp.full_like(params.sys["link.inertia.mass"], jnp.nan)}
    )
    state, obs = reset(KEY, weightless)
    assert bool(jnp.isfinite(obs).all())
    _, out = step(KEY, state, jnp.zeros((N, 1)), weightless)
    assert bool(out.truncated.all()) and bool(jnp.isfinite(out.next_obs).all())
    assert out.episode.metrics["diverged"].tolist() == [1] * N and not out.reward.any()


def test_a_picture_shows_the_pole_fall(pendulum):
    env, params, *_ = pendulum
    state, _ = env.reset(KEY, params)
    upright = env.frame(state, params)
    assert upright.shape == (300, 400, 3) and upright.dtype == np.uint8
    turn = jnp.array([np.cos(0.3), 0, np.sin(0.3), 0], jnp.float32)
    links = state.pipeline.x
    fallen = state.replace(pipeline=state.pipeline.replace(x=links.replace(rot=links.rot.at[1].set(turn))))
    changed = (env.frame(fallen, params) != upright).any(axis=2)
    assert 0.01 < changed.mean() < 0.2
    assert not changed[200:].any()  # what lies below the rail does not move


# All robots and engines ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", adapter.NAMES)
def test_every_engine_has_strong_types_and_reads_what_it_offers(name):
    for backend in adapter.BACKENDS:
        env, params = envs.make(f"brax/{name}", backend=backend)
        check_params(env, params)
        read = adapter.read_fields(name, backend)
        assert set(env.fields) == set(adapter.FIELDS[backend]) & read
        assert {"opt.timestep"} < set(env.fields)

        def first_step(key, params, env=env):
            state, obs = env.reset(key, params)
            after, out = env.step(key, state, jnp.zeros(env.action_space(params).shape), params)
            return state, after, obs, out.obs

        state, after, obs, next_obs = jax.eval_shape(first_step, KEY, params)
        kinds = [[(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)] for tree in (state, after)]
        assert kinds[0] == kinds[1] and not any(weak for *_, weak in kinds[0])
        assert obs.shape == next_obs.shape == env.observation_space(params).shape


@pytest.mark.slow
@pytest.mark.parametrize("backend", adapter.BACKENDS)
def test_the_ant_moves_alike_on_every_engine_and_as_brax_steps_it(backend):
    env, params = envs.make("brax/ant", backend=backend)
    step = jax.jit(env.step)
    with lenient():
        theirs = jax.jit(env._raw.reset)(KEY)
        raw_step = jax.jit(env._raw.step)
    state, obs = jax.jit(env.reset)(KEY, params)
    np.testing.assert_allclose(obs, theirs.obs, atol=1e-4)
    for t in range(5):
        action = jax.random.uniform(jax.random.key(t), (8,), minval=-1, maxval=1)
        with lenient():
            theirs = raw_step(theirs, action)
        state, out = step(KEY, state, action, params)
        np.testing.assert_allclose(out.obs, theirs.obs, atol=2e-2, rtol=1e-2)
        np.testing.assert_allclose(out.reward, theirs.reward, atol=2e-2, rtol=1e-2)
        assert float(out.metrics["diverged"]) == 0
