"""The host callback adapter against Gymnasium's own loop, as a pure function, and inside VecEnv and PPO."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs.adapters import gymnasium as adapter
from envs.spaces import Box, Dict, Discrete, MultiDiscrete
from envs.testing import check_env
from envs.vector import VecEnv

KEY = jax.random.key(0)


def seed_of(key):
    return adapter._number(np.asarray(jax.random.bits(key, (2,), jnp.uint32)))


@pytest.mark.parametrize("name", ["CartPole-v1", "Blackjack-v1", "Pendulum-v1", "Taxi-v4"])
def test_episodes_are_gymnasiums_own(name):
    env, params = envs.make(f"gymnasium/{name}")
    reference = gymnasium.make(name)
    reference.action_space.seed(0)
    observed = reference.observation_space
    step = jax.jit(env.step)
    for i in range(3):
        key = jax.random.key(i)
        state, obs = env.reset(key, params)
        theirs, _ = reference.reset(seed=seed_of(key))
        ended = False
        while not ended:
            space = env.observation_space(params)
            expected = adapter._ours(observed, space, theirs)
            jax.tree.map(np.testing.assert_array_equal, obs, expected)
            assert space.contains(jax.device_get(obs))
            action = reference.action_space.sample()
            state, out = step(KEY, state, action, params)
            theirs, reward, terminated, truncated, _ = reference.step(action)
            assert float(out.reward) == pytest.approx(reward, rel=1e-6)
            assert (bool(out.terminated), bool(out.truncated)) == (terminated, truncated)
            obs, ended = out.obs, terminated or truncated
    if hasattr(env, "time_limit"):
        assert envs.time_limit(env, params) == reference.spec.max_episode_steps


@pytest.mark.parametrize("name", ["CartPole-v1", "Blackjack-v1", "FrozenLake-v1"])
def test_it_keeps_the_laws(name):
    laws = check_env(*envs.make(f"gymnasium/{name}"), num_envs=4, num_steps=40)
    assert {"deterministic", "vmap", "compile", "no reset"} <= set(laws)
    assert ("time limit" in laws) == (name != "Blackjack-v1")


def test_older_states_and_branches_are_played_again():
    env, params = envs.make("gymnasium/CartPole-v1")
    step = jax.jit(env.step)
    state, _ = env.reset(KEY, params)
    for action in (0, 1, 1):
        state, _ = step(KEY, state, action, params)
    left, out_left = step(KEY, state, 0, params)
    _, out_right = step(KEY, state, 1, params)  # from a state that was stepped already
    _, after_left = step(KEY, left, 0, params)
    reference = gymnasium.make("CartPole-v1")

    def play(actions):
        reference.reset(seed=seed_of(KEY))
        return [reference.step(action)[0] for action in actions][-1]

    np.testing.assert_array_equal(out_left.obs, play([0, 1, 1, 0]))
    np.testing.assert_array_equal(out_right.obs, play([0, 1, 1, 1]))
    np.testing.assert_array_equal(after_left.obs, play([0, 1, 1, 0, 0]))
    again, _ = step(KEY, state, 0, params)
    np.testing.assert_array_equal(again.handle, left.handle)


def test_a_batch_with_equal_keys_and_other_actions_does_not_mix_episodes():
    # As in a sweep, whose configurations share their keys.
    env, params = envs.make("gymnasium/CartPole-v1")
    state, _ = env.reset(KEY, params)
    actions = jnp.array([[0, 0, 0], [0, 1, 1], [1, 0, 1]]).T

    def run(actions):
        def step(state, action):
            state, out = env.step(KEY, state, action, params)
            return state, out.obs

        return jax.lax.scan(step, state, actions)[1]

    together = jax.jit(jax.vmap(run, in_axes=1))(actions)
    reference = gymnasium.make("CartPole-v1")
    for i in range(3):
        reference.reset(seed=seed_of(KEY))
        for t in range(3):
            np.testing.assert_array_equal(together[i, t], reference.step(int(actions[t, i]))[0])


def test_the_clock_is_a_parameter_and_nothing_happens_after_the_end():
    env, params = envs.make("gymnasium/CartPole-v1", max_episode_steps=3)
    state, _ = env.reset(KEY, params)
    flags = []
    for _ in range(3):
        state, out = env.step(KEY, state, 0, params)
        flags.append((bool(out.terminated), bool(out.truncated)))
    assert flags == [(False, False), (False, False), (False, True)]
    endless = params.replace(max_steps=jnp.int32(500))
    while not out.terminated:
        state, out = env.step(KEY, state, 0, endless)
    _, beyond = env.step(KEY, state, 0, endless)
    assert bool(beyond.terminated) and float(beyond.reward) == 0
    np.testing.assert_array_equal(beyond.obs, out.obs)


def test_it_runs_in_a_vec_env_and_objects_are_used_again():
    adapter._host_of.cache_clear()
    env, params = envs.make("gymnasium/CartPole-v1")
    vec = VecEnv(env, num_envs=4)
    host = adapter._host(env)

    @jax.jit
    def rollout(key, params):
        state, _ = vec.reset(key, params)

        def step(state, key):
            state, out = vec.step(key, state, jnp.ones(4, jnp.int32), params)
            return state, out

        return jax.lax.scan(step, state, jax.random.split(key, 60))[1]

    out = rollout(KEY, params)
    assert out.terminated.sum() > 10
    assert bool((jnp.abs(out.next_obs[out.terminated][:, 2]) > 0.2).all())
    assert bool((jnp.abs(out.obs[out.terminated]) <= 0.05).all())
    assert len(host._free) + sum(point.env is not None for point in host._points.values()) <= 6


def test_ppo_trains_on_it():
    from jaxrl.agents import ppo

    env, params = envs.make("gymnasium/CartPole-v1")
    config = ppo.Config(num_envs=4, num_steps=8, num_minibatches=2, num_epochs=1, hidden_sizes=(8,))
    _, history = jaxrl.train(
        ppo.make(env, params, config), KEY, 64, evaluations=1, eval_env=envs.make("CartPole-v1")
    )
    assert bool(jnp.isfinite(history.episode_return).all())


def test_unknown_states_are_errors():
    env, params = envs.make("gymnasium/CartPole-v1")
    state, _ = env.reset(KEY, params)
    with pytest.raises(Exception, match="unknown to this process"):
        jax.block_until_ready(env.step(KEY, state.replace(handle=state.handle + 1), 0, params))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: envs.make("gymnasium/CartPole-v9"), "gymnasium cannot make 'CartPole-v9'"),
        (lambda: envs.make("gymnasium/Nowhere-v0"), "gymnasium cannot make 'Nowhere-v0'"),
        (lambda: envs.make("gymnasium/CartPole-v1", wings=2), r"does not take the options \['wings'\]"),
        (lambda: adapter.from_gymnasium(gymnasium.spaces.Text(3)), "has no counterpart here"),
    ],
)
def test_what_cannot_be_made_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_spaces_there_and_back():
    spaces = gymnasium.spaces
    theirs = spaces.Dict(
        {
            "a": spaces.Discrete(3, start=-1),
            "b": spaces.Tuple((spaces.MultiDiscrete([2, 3]), spaces.Box(-1.0, 0.1, (2,), np.float64))),
        }
    )
    ours = adapter.from_gymnasium(theirs)
    pair = Dict({"0": MultiDiscrete((2, 3)), "1": Box(-1.0, float(np.nextafter(np.float32(0.1), 1)), (2,))})
    assert ours.spaces["a"] == Discrete(3) and ours.spaces["b"].spaces["0"] == pair.spaces["0"]
    theirs.seed(0)
    for _ in range(10):
        value = theirs.sample()
        converted = adapter._ours(theirs, ours, value)
        assert ours.contains(converted)
        back = adapter._theirs(theirs, converted)
        assert back["a"] == value["a"] and theirs.contains(back)
