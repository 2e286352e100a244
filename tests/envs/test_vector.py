"""VecEnv: resets, time limits, statistics and parameters drawn per episode."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import envs
from envs import probes
from envs.core import Step
from envs.spaces import Box, Discrete
from envs.vector import POOL_BLOCKS, VecEnv, reset_uses_key


@struct.dataclass
class CountParams:
    length: jax.Array


@struct.dataclass
class CountState:
    name: jax.Array
    t: jax.Array


@dataclass(frozen=True)
class Count:
    """Episodes of `length` steps; the observation is (a random name of the episode, the clock)."""

    id: str = "Count"

    def default_params(self):
        return CountParams(length=jnp.int32(5))

    def observe(self, state):
        return jnp.stack([state.name, state.t.astype(jnp.float32)])

    def reset(self, key, params):
        state = CountState(name=jax.random.uniform(key), t=jnp.int32(0))
        return state, self.observe(state)

    def step(self, key, state, action, params):
        state = state.replace(t=state.t + 1)
        return state, Step(
            obs=self.observe(state),
            reward=state.t.astype(jnp.float32),
            terminated=state.t >= params.length,
            truncated=jnp.zeros((), bool),
            metrics={"cost": jnp.float32(2.0)},
        )

    def observation_space(self, params):
        return Box(0.0, np.inf, (2,))

    def action_space(self, params):
        return Discrete(1)


def rollout(vec, params, num_steps, seed=0):
    state, obs = vec.reset(jax.random.key(seed), params)
    action = jnp.zeros(vec.num_envs, jnp.int32)

    def step(state, key):
        return vec.step(key, state, action, params)

    _, steps = jax.lax.scan(step, state, jax.random.split(jax.random.key(seed + 1), num_steps))
    return np.asarray(obs), jax.tree.map(np.asarray, steps)


@pytest.mark.parametrize("reset", ["auto", "fresh", "pool", "first"])
def test_last_observation_survives_and_statistics_are_of_one_episode(reset):
    env = Count()
    _, steps = rollout(VecEnv(env, 3, reset=reset), env.default_params(), 11)
    done = steps.episode.done
    assert done[[4, 9]].all() and done.sum() == 6
    assert (steps.terminated == done).all() and not steps.truncated.any()
    np.testing.assert_array_equal(steps.next_obs[done][:, 1], 5.0)
    np.testing.assert_array_equal(steps.obs[done][:, 1], 0.0)
    np.testing.assert_array_equal(steps.obs[~done], steps.next_obs[~done])
    np.testing.assert_array_equal(steps.episode.return_[done], 15.0)
    np.testing.assert_array_equal(steps.episode.length[done], 5)
    np.testing.assert_array_equal(steps.episode.metrics["cost"][done], 10.0)
    np.testing.assert_array_equal(steps.episode.return_[10], 1.0)


@pytest.mark.parametrize("reset", ["fresh", "pool"])
def test_episodes_start_from_different_states(reset):
    env = Count()
    first, steps = rollout(VecEnv(env, 4, reset=reset), env.default_params(), 50)
    names = np.concatenate([first[:, 0], steps.obs[steps.episode.done][:, 0]])
    assert len(np.unique(names)) == len(names) == 44


def test_first_mode_repeats_each_environments_own_start():
    env = Count()
    first, steps = rollout(VecEnv(env, 4, reset="first"), env.default_params(), 50)
    assert len(np.unique(first[:, 0])) == 4
    np.testing.assert_array_equal(steps.obs[4::5, :, 0], np.tile(first[:, 0], (10, 1)))


@pytest.mark.parametrize("num_envs", [3, 16, 20, 64])
def test_pool_deals_distinct_starts_to_environments_that_end_together(num_envs):
    env = Count()
    vec = VecEnv(env, num_envs, reset="pool")
    first, steps = rollout(vec, CountParams(length=jnp.int32(20)), 100)
    starts = np.concatenate([first[None, :, 0], steps.obs[19::20, :, 0]])
    assert starts.shape == (6, num_envs)
    assert len(np.unique(starts)) == starts.size


def test_short_episodes_are_reset_afresh():
    """A pool that redraws a sixteenth a step would repeat itself."""
    assert VecEnv(probes.REWARD_BY_OBSERVATION, 64).mode == "fresh"
    assert VecEnv(Count(), 64, time_limit=15).mode == "fresh"
    assert VecEnv(Count(), 64, time_limit=16).mode == "pool"


def test_pool_redraws_every_entry():
    env = Count()
    vec = VecEnv(env, 32, reset="pool")
    state, _ = vec.reset(jax.random.key(0), env.default_params())
    before = np.asarray(state.starts.state.name)
    step = jax.jit(vec.step)
    for i in range(POOL_BLOCKS):
        state, _ = step(jax.random.key(1 + i), state, jnp.zeros(32, jnp.int32), env.default_params())
    assert not np.isin(before, np.asarray(state.starts.state.name)).any()


def test_starts_follow_the_environments_own_distribution():
    """Pooled names are uniform: Kolmogorov-Smirnov distance below its 0.1 % point."""
    env = Count()
    _, steps = rollout(VecEnv(env, 64, reset="pool"), env.default_params(), 300)
    names = np.sort(steps.obs[steps.episode.done][:, 0])
    distance = np.abs(names - (np.arange(len(names)) + 0.5) / len(names)).max()
    assert distance < 1.95 / np.sqrt(len(np.unique(names)))


def test_time_limit_truncates_and_termination_wins():
    env = Count()
    _, steps = rollout(VecEnv(env, 2, time_limit=3), env.default_params(), 9)
    assert steps.truncated[2::3].all() and not steps.terminated.any()
    np.testing.assert_array_equal(steps.next_obs[2::3, :, 1], 3.0)
    _, steps = rollout(VecEnv(env, 2, time_limit=5), env.default_params(), 5)
    assert steps.terminated[4].all() and not steps.truncated.any()


def test_auto_mode_reads_the_program():
    assert reset_uses_key(Count()) and not reset_uses_key(probes.CONSTANT_REWARD)
    assert VecEnv(Count(), 2).mode == "pool"
    assert VecEnv(Count(), 1).mode == "fresh"
    assert VecEnv(probes.CONSTANT_REWARD, 2).mode == "fresh"


def test_no_key_is_split_for_a_reset_that_ignores_it():
    """Each split is a call that a single environment waits for; a key that is shared is still used once."""
    env = probes.CONSTANT_REWARD

    def program(vec):
        params = vec.env.default_params()
        state, _ = vec.reset(jax.random.key(0), params)
        action = jnp.zeros(vec.num_envs, jnp.int32)
        return str(jax.make_jaxpr(lambda key: vec.step(key, state, action, params))(jax.random.key(1)))

    assert "random_split" not in program(VecEnv(env, 1)) and "random_split" in program(VecEnv(env, 2))
    assert program(VecEnv(Count(), 1)).count("random_split[") == 1
    drawn = VecEnv(env, 1, reset="fresh", params_dist=lambda key, params: params)
    assert program(drawn).count("random_split[") == 1
    bandit = envs.make("BernoulliBandit-v1")[0]
    with jax.debug_key_reuse(True):
        for vec in (VecEnv(bandit, 1), VecEnv(bandit, 1, params_dist=bandit.draw)):
            state, _ = jax.jit(vec.reset)(jax.random.key(0), bandit.default_params())
            jax.jit(vec.step)(jax.random.key(1), state, jnp.zeros(1, jnp.int32), bandit.default_params())


@pytest.mark.parametrize("reset", ["fresh", "pool", "first"])
def test_parameters_are_drawn_per_episode_and_kept_within(reset):
    env = Count()

    def draw(key, params):
        return CountParams(length=jax.random.randint(key, (), 1, params.length + 1, jnp.int32))

    vec = VecEnv(env, 8, reset=reset, params_dist=draw)
    assert VecEnv(env, 8, params_dist=draw).mode == "pool"
    _, steps = rollout(vec, CountParams(length=jnp.int32(6)), 300)
    lengths = steps.episode.length[steps.episode.done]
    expected = {1, 2, 3, 4, 5, 6}
    assert set(lengths) <= expected
    if reset == "first":
        assert all(len(set(steps.episode.length[:, i][steps.episode.done[:, i]])) == 1 for i in range(8))
    else:
        assert set(lengths) == expected


def test_ranges_of_drawn_parameters_are_traced():
    env = Count()
    vec = VecEnv(env, 2, params_dist=lambda key, params: params)
    traces = 0

    @jax.jit
    def run(params):
        nonlocal traces
        traces += 1
        state, _ = vec.reset(jax.random.key(0), params)
        return vec.step(jax.random.key(1), state, jnp.zeros(2, jnp.int32), params)[1].terminated

    assert not run(CountParams(length=jnp.int32(5))).any()
    assert run(CountParams(length=jnp.int32(1))).all()
    assert traces == 1


def test_seeds_of_a_batch_equal_seeds_alone():
    env = Count()
    vec = VecEnv(env, 4, reset="pool")

    def run(key):
        state, _ = vec.reset(key, env.default_params())
        keys = jax.random.split(key, 20)
        return jax.lax.scan(
            lambda s, k: vec.step(k, s, jnp.zeros(4, jnp.int32), env.default_params()), state, keys
        )

    batch = jax.vmap(run)(jax.vmap(jax.random.key)(jnp.arange(3)))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2], b), batch, run(jax.random.key(2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "`num_envs` must be at least 1, got 0"),
        ({"num_envs": 2.5}, "`num_envs` must be an integer, got 2.5"),
        ({"num_envs": 1, "reset": "sometimes"}, "`reset` must be one of"),
        ({"num_envs": 1, "time_limit": 0}, "`time_limit` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        VecEnv(Count(), **arguments)


@pytest.mark.parametrize("action", [jnp.zeros(3, jnp.int32), jnp.int32(0)])
def test_there_is_one_action_for_each_environment(action):
    vec, key = VecEnv(Count(), 2), jax.random.key(0)
    state, _ = jax.eval_shape(vec.reset, key, Count().default_params())
    with pytest.raises(ValueError, match=r"`action` must hold one for each of 2, got \[3?\]"):
        jax.eval_shape(vec.step, key, state, action, Count().default_params())


def test_equal_instances_share_one_compile():
    traces = 0

    def run(vec, key):
        nonlocal traces
        traces += 1
        return vec.reset(key, vec.env.default_params())[1]

    jitted = jax.jit(run, static_argnums=0)
    jitted(VecEnv(Count(), 2), jax.random.key(0))
    jitted(VecEnv(Count(), 2), jax.random.key(1))
    assert traces == 1
