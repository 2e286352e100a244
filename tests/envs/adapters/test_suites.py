"""The adapters of JAX suites against the suites' own loops, where these are installed."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import core
from envs.spaces import Dict
from envs.testing import check_env

SUITES = ("craftax", "jumanji", "navix", "xminigrid")
KEY = jax.random.key(0)


def skip_without(suite):
    pytest.importorskip(suite, reason=f"{suite} is not installed; `pip install 'jaxrl[{suite}]'` brings it")


def random_rollout(env, params, num_steps, key=KEY):
    """First observation, states, actions and steps of one random rollout that is never reset."""

    @jax.jit
    def run(key, params):
        state, obs = env.reset(key, params)

        def step(state, key):
            action = env.action_space(params).sample(key)
            after, out = env.step(key, state, action, params)
            return after, (state, action, out)

        return obs, jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    return run(key, params)


# Without the packages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_names_are_listed_without_the_package(suite):
    module = importlib.import_module(f"envs.adapters.{suite}")
    ids = envs.names(suite)
    assert ids == sorted(f"{suite}/{name}" for name in module.NAMES) and len(ids) == len(set(ids)) > 3
    assert set(module.FIDELITY) <= {"*", *module.NAMES}
    assert (core.missing_extra(suite) is None) == (ids[0] in envs.names())


@pytest.mark.parametrize("suite", SUITES)
def test_a_missing_package_is_named_with_its_extra(suite, monkeypatch):
    monkeypatch.setattr(core.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"`{suite}` is not installed; `pip install 'jaxrl\[{suite}\]'`"):
        envs.make(envs.names(suite)[0])
    assert core.missing_extra(suite) == suite
    assert not any(id.startswith(suite) for id in envs.names())


@pytest.mark.parametrize("suite", SUITES)
def test_a_misspelt_name_is_answered_with_the_closest(suite):
    id = envs.names(suite)[0]
    with pytest.raises(ValueError, match=f"did you mean .*{id}"):
        envs.make(id[:-1] + "9" if id[-1].isdigit() else id[:-1])


# With them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id",
    [
        "craftax/Craftax-Classic-Symbolic-v1",
        "jumanji/Maze-v0",
        "navix/Navix-Empty-5x5-v0",
        "xminigrid/MiniGrid-Empty-5x5",
    ],
)
def test_one_of_each_suite_keeps_the_laws(id):
    skip_without(id.partition("/")[0])
    laws = check_env(*envs.make(id), num_envs=4, num_steps=48)
    assert {"time limit", "keys", "no reset"} <= set(laws)


def test_names_are_those_of_jumanji_but_those_left_out():
    skip_without("jumanji")
    import jumanji

    from envs.adapters import jumanji as adapter

    assert set(adapter.NAMES) == jumanji.registered_environments() - set(adapter.LEFT_OUT)


@pytest.mark.parametrize("name", ["Maze-v0", "Snake-v1", "Knapsack-v1", "Game2048-v1", "RubiksCube-v0"])
def test_jumanji_steps_as_it_does_itself(name):
    skip_without("jumanji")
    import jumanji

    from envs.adapters import jumanji as adapter

    env, params = envs.make(f"jumanji/{name}")
    raw = jumanji.make(name)
    reset, step, ours = jax.jit(raw.reset), jax.jit(raw.step), jax.jit(env.step)
    words = jax.random.key_data(KEY)
    raw_state, timestep = reset(words)
    state, obs = env.reset(KEY, params)
    space = env.observation_space(params)
    for t in range(60):
        theirs = adapter._values(space, timestep.observation, jnp.int32(t))
        jax.tree.map(np.testing.assert_array_equal, obs, theirs)
        if isinstance(space, Dict) and "action_mask" in space.spaces and hasattr(env, "action_mask"):
            mask = np.asarray(timestep.observation.action_mask)
            assert np.array_equal(env.action_mask(state, params), mask)
        key = jax.random.key(t)
        action = env.action_space(params).sample(key)
        raw_state, timestep = step(raw_state.replace(key=jax.random.key_data(key)), action)
        state, out = ours(key, state, action, params)
        obs = out.obs
        assert float(out.reward) == float(timestep.reward)
        assert bool(out.terminated | out.truncated) == bool(timestep.last())
        if timestep.last():
            break
    assert t > 3


def test_jumanji_clock_truncates_where_jumanji_terminates():
    skip_without("jumanji")
    import jumanji

    env, params = envs.make("jumanji/RubiksCube-v0", time_limit=5)
    raw = jumanji.make("RubiksCube-v0", time_limit=5)
    raw_state, _ = raw.reset(jax.random.key_data(KEY))
    for _ in range(5):
        raw_state, timestep = raw.step(raw_state, jnp.array([0, 0, 1]))
    assert bool(timestep.last()) and float(timestep.discount) == 0
    _, (_, _, out) = random_rollout(env, params, 5)
    assert out.truncated.tolist() == [False] * 4 + [True] and not out.terminated.any()
    longer = params.replace(max_steps=jnp.int32(8))
    _, (_, _, out) = random_rollout(env, longer, 8)
    assert out.truncated.tolist() == [False] * 7 + [True]
    assert out.obs["step_count"].tolist() == list(range(1, 9))


def test_names_are_those_of_navix_and_ends_are_told_apart():
    skip_without("navix")
    import navix

    from envs.adapters import navix as adapter

    assert set(adapter.NAMES) == set(navix.registry())
    env, params = envs.make("navix/Navix-Empty-5x5-v0")
    step = jax.jit(env.step)

    def play(actions, params):
        state, _ = env.reset(KEY, params)
        for action in actions:
            state, out = step(KEY, state, action, params)
        return float(out.reward), bool(out.terminated), bool(out.truncated)

    to_the_goal = [2, 2, 1, 2, 2]  # forward twice, turn right, forward twice
    assert play(to_the_goal, params) == (1.0, True, False)
    assert play(to_the_goal[:4], params) == (0.0, False, False)
    assert play([0, 0, 0], params.replace(max_steps=jnp.int32(3))) == (0.0, False, True)
    assert play(to_the_goal, params.replace(max_steps=jnp.int32(5))) == (1.0, True, False)


def test_navix_steps_as_it_does_itself_and_observes_in_other_ways():
    skip_without("navix")
    import navix

    env, params = envs.make("navix/Navix-DoorKey-5x5-v0", observation="symbolic_first_person")
    raw = navix.make("Navix-DoorKey-5x5-v0", observation_fn=navix.observations.symbolic_first_person)
    first, (_, actions, out) = random_rollout(env, params, 40)
    with jax.numpy_rank_promotion("allow"):
        timestep, step = raw.reset(jax.random.key_data(KEY)), jax.jit(raw._step)
    np.testing.assert_array_equal(first, timestep.observation)
    for t in range(40):
        with jax.numpy_rank_promotion("allow"):
            timestep = step(timestep, actions[t])
        np.testing.assert_array_equal(out.obs[t], timestep.observation)
        assert float(out.reward[t]) == float(timestep.reward)
    assert len(np.unique(np.asarray(out.obs).reshape(40, -1), axis=0)) > 3
    with pytest.raises(ValueError, match="unknown observation 'symbolc'; did you mean 'symbolic'"):
        envs.make("navix/Navix-DoorKey-5x5-v0", observation="symbolc")


def test_names_are_those_of_xminigrid_and_steps_are_its_own():
    skip_without("xminigrid")
    import xminigrid

    from envs.adapters import xminigrid as adapter

    assert set(adapter.NAMES) == set(xminigrid.registered_environments())
    env, params = envs.make("xminigrid/MiniGrid-EmptyRandom-5x5")
    raw, raw_params = xminigrid.make("MiniGrid-EmptyRandom-5x5")
    first, (_, actions, out) = random_rollout(env, params, 99)
    timestep, step = raw.reset(raw_params, KEY), jax.jit(raw.step, static_argnums=0)
    np.testing.assert_array_equal(first, timestep.observation)
    for t in range(99):
        timestep = step(raw_params, timestep, actions[t])
        np.testing.assert_array_equal(out.obs[t], timestep.observation)
        assert float(out.reward[t]) == pytest.approx(float(timestep.reward), abs=1e-6)
        assert bool(out.terminated[t]) == (float(timestep.discount) == 0)
    assert out.terminated.any()
    _, (_, _, out) = random_rollout(env, params.replace(max_steps=jnp.int32(4)), 4, jax.random.key(5))
    assert out.truncated[-1] != out.terminated[-1] and not out.truncated[:-1].any()


def test_xland_rule_sets_can_be_mapped_over():
    skip_without("xminigrid")
    env, params = envs.make("xminigrid/XLand-MiniGrid-R1-9x9")
    tiles = jnp.asarray([[3, 1], [4, 2]], jnp.uint8)[:, None, :]  # a ball, then a square
    many = params.replace(
        ruleset=jax.tree.map(lambda x: jnp.stack([x, x]), params.ruleset).replace(init_tiles=tiles)
    )
    axes = jax.tree.map(lambda _: None, params).replace(ruleset=0)
    state, _ = jax.vmap(env.reset, in_axes=(None, axes))(KEY, many)
    for i, tile in enumerate(tiles[:, 0]):
        assert bool((np.asarray(state.raw.grid[i]) == np.asarray(tile)).all(-1).any())
        assert not bool((np.asarray(state.raw.grid[1 - i]) == np.asarray(tile)).all(-1).any())


def test_craftax_tells_death_from_the_clock_and_reports_achievements():
    skip_without("craftax")
    env, params = envs.make("craftax/Craftax-Classic-Symbolic-v1")
    step = jax.jit(env.step)
    state, obs = env.reset(KEY, params)
    assert obs.shape == env.observation_space(params).shape
    short = params.replace(max_timesteps=jnp.int32(1))
    _, out = step(KEY, state, 0, short)
    assert (bool(out.terminated), bool(out.truncated)) == (False, True)
    _, out = step(KEY, state.replace(player_health=jnp.int32(-5)), 0, short)
    assert (bool(out.terminated), bool(out.truncated)) == (True, False)
    _, out = step(KEY, state, 0, params)
    assert not bool(out.terminated | out.truncated)
    done = state.replace(achievements=state.achievements.at[0].set(True))
    _, out = step(KEY, done, 0, short)
    achieved = [float(x) for name, x in out.metrics.items() if name.startswith("Achievements/")]
    assert len(achieved) == 22 and sum(achieved) == 100.0
