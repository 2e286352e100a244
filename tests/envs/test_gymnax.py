import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.adapters import gymnax as adapter
from envs.spaces import Box, Discrete
from envs.testing import check_env

gymnax = pytest.importorskip("gymnax")
KEY = jax.random.key(0)
step = jax.jit(lambda env, *args: env.step(*args), static_argnums=0)
steps = jax.jit(  # of one state under many keys
    lambda env, *args: jax.vmap(env.step, in_axes=(0, None, None, None))(*args), static_argnums=0
)


def start(name, key=KEY, **options):
    env, params = envs.make(f"gymnax/{name}", **options)
    state, _ = env.reset(key, params)
    return env, params, state


def test_names_are_those_of_gymnax_but_the_one_that_downloads():
    assert set(adapter.NAMES) == set(gymnax.registered_envs) - {"MNISTBandit-bsuite"}
    assert list(adapter.NAMES) == sorted(adapter.NAMES)
    assert set(adapter.FIDELITY) <= set(adapter.NAMES)


# Sharing, options, spaces ----------------------------------------------------------------------------------


def test_equal_environments_share_a_compile():
    traces = []

    def reset(env, key, params):
        traces.append(None)
        return env.reset(key, params)[1]

    run = jax.jit(reset, static_argnums=0)
    for _ in range(2):
        env, params = envs.make("gymnax/DeepSea-bsuite", size=5)
        assert run(env, KEY, params).shape == (5, 5)
    assert len(traces) == 1
    other, params = envs.make("gymnax/DeepSea-bsuite", size=6)
    assert other != env and run(other, KEY, params).shape == (6, 6)


def test_built_inside_a_traced_function_leaks_no_tracer():
    adapter._build.cache_clear()
    env = adapter.Gymnax("FourRooms-misc")
    jax.make_jaxpr(lambda key: env.reset(key, env.default_params()))(KEY)
    assert not any(isinstance(x, jax.core.Tracer) for x in vars(env._raw).values())


@pytest.mark.parametrize(
    "name, options",
    [
        ("FourRooms-misc", {"use_visual_obs": True}),
        ("FourRooms-misc", {"goal_fixed": [1, 1]}),
        ("FrozenLake-misc", {"map_name": "8x8", "is_slippery": False}),
        ("MemoryChain-bsuite", {"num_bits": 3}),
        ("UmbrellaChain-bsuite", {"n_distractor": 2}),
        ("MetaMaze-misc", {"rf_size": 5}),
        ("Breakout-MinAtar", {"use_minimal_action_set": False}),
    ],
)
def test_options_keep_the_laws(name, options):
    check_env(*envs.make(f"gymnax/{name}", **options), num_envs=8, num_steps=64)


def test_other_parameters_keep_the_laws_and_move_the_bounds():
    env, params = envs.make("gymnax/Pendulum-v1")
    fast = params.replace(max_speed=jnp.float32(20.0), max_torque=jnp.float32(5.0))
    check_env(env, fast)
    assert env.observation_space(fast).high == (1.0, 1.0, 20.0)
    assert env.action_space(fast) == Box(-5.0, 5.0, (1,))
    traced = []
    jax.eval_shape(lambda p: traced.append(env.action_space(p)), fast)
    assert traced == [Box(-2.0, 2.0, (1,))]


def test_bandit_time_beyond_the_default_limit_stays_in_its_space():
    env, params = envs.make("gymnax/BernoulliBandit-misc")
    check_env(env, params.replace(max_steps_in_episode=jnp.float32(150)), num_envs=4)


def test_wrong_options_are_errors_before_any_run():
    with pytest.raises(ValueError, match=r"gymnax/CartPole-v1.*does not take the options \['size'\]"):
        envs.make("gymnax/CartPole-v1", size=3)
    with pytest.raises(ValueError, match="must be hashable for 'gymnax/DeepSea-bsuite'"):
        envs.make("gymnax/DeepSea-bsuite", action_mapping_key=jax.random.key(1))
    with pytest.raises(ValueError, match="map_name must be"):
        envs.make("gymnax/FrozenLake-misc", map_name="5x5")
    with pytest.raises(ValueError, match="did you mean 'gymnax/CartPole-v1'"):
        envs.make("gymnax/CartPole")


def test_spaces_have_infinite_bounds_for_gymnax_largest_floats():
    env, params = envs.make("gymnax/CartPole-v1")
    space = env.observation_space(params)
    assert space.low[1] == -np.inf and space.high[3] == np.inf and np.isclose(space.high[0], 4.8)
    assert env.action_space(params) == Discrete(2)
    assert bool(np.isfinite(space.sample(KEY)).all())


# Against Gymnasium and gymnax ------------------------------------------------------------------------------


def gymnasium_states(name, rng):
    """Random states, corner cases included, in the order of the fields that gymnax has for them."""
    match name:
        case "CartPole-v1":
            return ("x", "x_dot", "theta", "theta_dot"), rng.uniform(-0.2, 0.2, (200, 4))
        case "Acrobot-v1":
            fields = ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2")
            return fields, rng.uniform(-3, 3, (200, 4))
        case "Pendulum-v1":
            return ("theta", "theta_dot"), rng.uniform(-8, 8, (200, 2)) * [0.39, 1]
    states = np.stack([rng.uniform(-1.2, 0.44, 200), rng.uniform(-0.07, 0.07, 200)], axis=1)
    states[:60] = np.stack(
        [rng.uniform(-1.2, -1.15, 60), rng.uniform(-0.07, -0.02, 60)], axis=1
    )  # hit the wall
    states[60:90] = np.stack(
        [rng.uniform(0.4, 0.44, 30), rng.uniform(0.03, 0.07, 30)], axis=1
    )  # reach the goal
    return ("position", "velocity"), states


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0"]
)
def test_transitions_are_those_of_gymnasium(name):
    gymnasium = pytest.importorskip("gymnasium")
    reference = gymnasium.make(name).unwrapped
    reference.reset(seed=0)
    reference.action_space.seed(0)
    env, params, state = start(name)
    fields, states = gymnasium_states(name, np.random.default_rng(0))
    actions = np.array([reference.action_space.sample() for _ in states])
    ours = jax.vmap(lambda s: state.replace(**dict(zip(fields, s, strict=True))))(jnp.float32(states))
    _, out = jax.jit(jax.vmap(env.step, in_axes=(None, 0, 0, None)))(KEY, ours, actions, params)
    for i, (s, action) in enumerate(zip(np.float32(states), actions, strict=True)):
        reference.state = s
        if name == "CartPole-v1":
            reference.steps_beyond_terminated = None
        obs, reward, terminated, _, _ = reference.step(action)
        np.testing.assert_allclose(out.obs[i], obs, atol=5e-4, err_msg=f"{s}, {action}")
        np.testing.assert_allclose(out.reward[i], reward, atol=1e-4)
        assert bool(out.terminated[i]) == terminated


def test_uncorrected_environment_steps_as_gymnax_does():
    env, params, state = start("Breakout-MinAtar")
    raw, raw_params = gymnax.make("Breakout-MinAtar")
    raw_step = jax.jit(raw.step_env)
    raw_state = raw.reset_env(KEY, raw_params)[1]
    for i, action in enumerate(np.random.default_rng(0).integers(0, 3, 60)):
        key = jax.random.key(i)
        state, out = step(env, key, state, action, params)
        obs, raw_state, reward, terminated, _ = raw_step(key, raw_state, jnp.int32(action), raw_params)
        np.testing.assert_array_equal(out.obs, obs)
        assert (float(out.reward), bool(out.terminated)) == (float(reward), bool(terminated))
        if terminated:
            break
    assert i > 5


# Corrections -----------------------------------------------------------------------------------------------


def test_wall_lets_bang_bang_reach_the_goal_as_fast_as_in_gymnasium():
    env, params, _ = start("MountainCarContinuous-v0")

    def episode(key):
        state, _ = env.reset(key, params)

        def swing(state, _):
            action = jnp.where(state.velocity >= 0, 1.0, -1.0)[None]
            state, out = env.step(key, state, action, params)
            return state, out.terminated

        return jnp.argmax(jax.lax.scan(swing, state, None, length=200)[1]) + 1

    lengths = jax.jit(jax.vmap(episode))(jax.random.split(KEY, 64))
    # Gymnasium: 105 to 111; gymnax without the wall: 153 to 193.
    assert int(lengths.min()) >= 100 and int(lengths.max()) <= 115


def entities(filled):
    """Asterix's slots, some filled with enemies in column 4."""
    return np.array([[4, i + 1, 1, 0, 1] if i in filled else [0] * 5 for i in range(8)], np.int32)


def test_asterix_spawns_in_a_free_slot_only():
    _, _, state = start("Asterix-MinAtar")
    due = state.replace(spawn_timer=jnp.int32(0))
    spawn = jax.jit(jax.vmap(adapter._spawn, in_axes=(0, None)))

    def after(state):
        state = spawn(jax.random.split(KEY, 512), state)
        return np.asarray(state.entities), np.asarray(state.spawn_timer)

    full, one_free = entities(range(8)), entities(set(range(8)) - {5})
    slots, timer = after(due.replace(entities=jnp.asarray(full)))
    assert (slots == full).all() and (timer == 10).all()

    slots, _ = after(due.replace(entities=jnp.asarray(one_free)))
    assert (slots[..., 4] == 1).all()
    assert (np.delete(slots, 5, axis=1) == np.delete(one_free, 5, axis=0)).all()

    slots, _ = after(due)
    spawned = slots[slots[..., 4] == 1]
    assert len(spawned) == 512
    assert np.bincount(spawned[:, 1], minlength=9)[1:].min() > 30  # 64 each, rows 1 to 8
    assert 0.25 < spawned[:, 3].mean() < 0.42  # a third is gold
    assert 0.4 < spawned[:, 2].mean() < 0.6
    assert (spawned[:, 0] == np.where(spawned[:, 2] == 1, 0, 9)).all()

    slots, timer = after(state)
    assert not slots.any() and (timer == 10).all()


def test_asterix_step_erases_nothing():
    env, params, state = start("Asterix-MinAtar")
    for filled in (range(8), range(1, 8)):
        due = state.replace(spawn_timer=jnp.int32(0), entities=jnp.asarray(entities(filled)))
        for seed in range(4):
            after, _ = step(env, jax.random.key(seed), due, 0, params)
            assert np.asarray(after.entities)[:, 4].all() and int(after.spawn_timer) == 9


@pytest.mark.parametrize("name", ["DiscountingChain-bsuite", "Freeway-MinAtar"])
def test_own_end_at_the_limit_terminates(name):
    env, params, state = start(name)
    before_last = state.replace(time=params.max_steps_in_episode - 1)
    _, out = step(env, KEY, before_last, 0, params)
    assert bool(out.terminated) and not bool(out.truncated)
    _, out = step(env, KEY, state, 0, params)
    assert not bool(out.terminated) and not bool(out.truncated)


def test_clock_truncates_and_an_own_end_wins_over_it():
    env, params, state = start("CartPole-v1")
    short = params.replace(max_steps_in_episode=jnp.int32(1))
    _, out = step(env, KEY, state, 0, short)
    assert (bool(out.terminated), bool(out.truncated)) == (False, True)
    _, out = step(env, KEY, state.replace(x=jnp.float32(9.0)), 0, short)
    assert (bool(out.terminated), bool(out.truncated)) == (True, False)
    assert int(env.time_limit(short)) == 1 and envs.time_limit(env) == 500


def test_meta_maze_does_not_end_where_it_goes_on_from():
    env, params, state = start("MetaMaze-misc")
    beside = state.replace(goal=state.pos + jnp.array([0, 1]))
    keys = jax.random.split(KEY, 512)
    raw = jax.jit(jax.vmap(env._raw.step_env, in_axes=(0, None, None, None)))
    assert bool(raw(keys, beside, jnp.int32(1), params)[3].any())  # the fault
    _, out = steps(env, keys, beside, 1, params)
    assert bool((out.reward == 10.0).all()) and not bool(out.terminated.any())


def test_simple_bandit_keeps_its_arms():
    env, params, state = start("SimpleBandit-bsuite")
    other = env.reset(jax.random.key(1), params)[0]
    np.testing.assert_array_equal(state.rewards, other.rewards)
    np.testing.assert_allclose(np.sort(state.rewards), np.linspace(0, 1, 11), atol=1e-6)
    _, _, shuffled = start("SimpleBandit-bsuite", mapping_seed=1)
    assert not np.array_equal(state.rewards, shuffled.rewards)


def test_deep_sea_mapping_seed():
    _, _, state = start("DeepSea-bsuite")
    _, _, same = start("DeepSea-bsuite", mapping_seed=0)
    _, _, other = start("DeepSea-bsuite", mapping_seed=1)
    np.testing.assert_array_equal(state.action_mapping, same.action_mapping)
    assert not np.array_equal(state.action_mapping, other.action_mapping)


def test_four_rooms_draws_the_agent_where_it_is():
    env, params, state = start("FourRooms-misc", use_visual_obs=True)
    obs = env.reset(KEY, params)[1]
    assert np.argwhere(obs[..., 1]).tolist() == [state.pos.tolist()] == [[4, 1]]
    assert not bool((obs[..., 0] * obs[..., 1]).any())


def test_umbrella_chain_last_observation_is_not_negative():
    env, params, state = start("UmbrellaChain-bsuite")
    _, out = step(env, KEY, state.replace(time=params.chain_length - 1), 0, params)
    assert bool(out.terminated) and float(out.obs[2]) == 0.0
