"""bsuite's worlds against steps that bsuite 0.3.6 itself took, and against the rules that decide scores."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import bsuite
from envs.classic.cartpole import CartPoleState
from envs.classic.mountain_car import MountainCarState
from envs.mdps import DeepSea
from envs.memory import MemoryChain
from envs.testing import check_env
from envs.wrappers import TransformReward

# Made by experiments/compare/peers/bsuite_reference.py.
STEPS = json.loads((Path(__file__).parent / "bsuite_steps.json").read_text())


def episodes(env, params, actions, keys, policy=None):
    """First observations `[K, ...]`, then states before and steps `[K, T, ...]`, of given actions."""

    @jax.jit
    def run(params, actions, keys):
        def one(key, actions):
            keys = jax.random.split(key, actions.shape[0] + 1)
            state, first = env.reset(keys[0], params)

            def step(state, at):
                key, action = at
                action = action if policy is None else policy(state, action)
                after, out = env.step(key, state, action, params)
                return after, (state, out)

            return first, jax.lax.scan(step, state, (keys[1:], actions))[1]

        return jax.vmap(one)(keys, actions)

    return jax.device_get(run(params, jnp.asarray(actions), keys))


def cartpole_state(before):
    x, speed, angle, spin, t = before.T
    return CartPoleState(x, speed, angle, spin, t.astype(jnp.int32))


def mountain_state(before):
    return MountainCarState(before[:, 0], before[:, 1], before[:, 2].astype(jnp.int32))


def catch_state(before):
    ball, paddle, row = before.T.astype(jnp.int32)
    return bsuite.CatchState(ball=ball, paddle=paddle, row=row)


@pytest.mark.parametrize(
    ("name", "id", "state", "changes"),
    [
        ("cartpole", "CartPole-bsuite-v1", cartpole_state, {}),
        ("cartpole_swingup", "CartPoleSwingUp-bsuite-v1", cartpole_state, {"height": 0.2, "near": 0.8}),
        ("mountain_car", "MountainCar-bsuite-v1", mountain_state, {}),
        ("catch", "Catch-bsuite-v1", catch_state, {}),
    ],
)
def test_single_steps_are_those_of_bsuite(name, id, state, changes):
    env, params = envs.make(id)
    params = replace(params, **{field: jnp.float32(value) for field, value in changes.items()})
    rows = STEPS[name]
    before = jnp.array([row["before"] for row in rows], jnp.float32)
    actions = jnp.array([row["action"] for row in rows])
    step = jax.jit(jax.vmap(env.step, in_axes=(None, 0, 0, None)))
    _, out = step(jax.random.key(0), state(before), actions, params)
    np.testing.assert_allclose(out.obs.reshape(len(rows), -1), [row["obs"] for row in rows], atol=2e-5)
    np.testing.assert_allclose(out.reward, [row["reward"] for row in rows], atol=1e-6)
    ends = [row["last"] for row in rows]
    assert out.terminated.tolist() == ends and not out.truncated.any()
    assert any(ends) and not all(ends)


def test_arms_are_shuffled_as_bsuite_shuffles_them():
    env, params = envs.make("SimpleBandit-bsuite-v1")
    for seed, rewards in enumerate(STEPS["bandit"]):
        shuffled = env.shuffle(params, seed)
        np.testing.assert_allclose(shuffled.rewards, rewards, atol=1e-6)
        state, obs = env.reset(jax.random.key(0), params)
        _, out = env.step(jax.random.key(0), state, 3, shuffled)
        assert obs.tolist() == [1.0] and out.reward == shuffled.rewards[3] and bool(out.terminated)
        assert float(out.metrics["regret"]) == pytest.approx(1 - rewards[3])


def test_dives_are_those_of_bsuite_whatever_the_padding():
    dives = STEPS["deep_sea"]
    actions = jnp.array([dive["actions"] for dive in dives])
    mapping = bsuite.PaddedDeepSea(size=10).sea(10).action_right
    assert mapping.tolist() == STEPS["deep_sea_mapping"]
    for size in (6, 9):
        env = bsuite.PaddedDeepSea(size=size)
        _, (_, out) = episodes(env, env.sea(6), actions, jax.random.split(jax.random.key(0), len(dives)))
        for i, dive in enumerate(dives):
            np.testing.assert_allclose(out.reward[i], dive["rewards"], atol=1e-6)
            picture = np.zeros((6, size, size))
            for t, (row, column) in enumerate(dive["cells"][:-1]):
                picture[t, row, column] = 1
            np.testing.assert_array_equal(out.obs[i], picture)
            assert out.terminated[i].tolist() == [False] * 5 + [True]
            assert out.metrics["bad_episode"][i].sum() == dive["bad"]
    assert {dive["bad"] for dive in dives} == {0, 1}


@pytest.mark.parametrize("stochastic", [False, True])
def test_a_padded_sea_is_the_sea(stochastic):
    plain, padded = DeepSea(size=5, observation="image"), bsuite.PaddedDeepSea(size=8)
    params = padded.sea(5, stochastic)
    own = replace(plain.default_params(), action_right=params.action_right[:5, :5])
    own = plain.stochastic(own) if stochastic else own
    keys = jax.random.split(jax.random.key(0), 300)
    actions = jax.random.bernoulli(jax.random.key(1), 0.5, (300, 7)).astype(jnp.int32)
    _, (_, a) = episodes(plain, own, actions, keys)
    _, (_, b) = episodes(padded, params, actions, keys)
    np.testing.assert_array_equal(a.obs, b.obs[:, :, :5, :5])
    assert b.obs.sum() == a.obs.sum()
    np.testing.assert_allclose(a.reward, b.reward, atol=1e-6)
    np.testing.assert_array_equal(a.terminated, b.terminated)
    np.testing.assert_array_equal(a.metrics["bad_episode"], b.metrics["bad_episode"])
    check_env(padded, params)


def test_umbrellas_of_several_lengths_follow_the_rules():
    env = bsuite.UmbrellaChain(max_distractors=6)
    keys = jax.random.split(jax.random.key(0), 200)
    actions = np.random.default_rng(0).integers(0, 2, (200, 7))
    for length, distractors in ((1, 0), (7, 4)):
        params = bsuite.UmbrellaChainParams(jnp.int32(length), jnp.int32(distractors))
        first, (states, out) = episodes(env, params, actions[:, :length], keys)
        need = states.need[:, 0]
        assert out.terminated.sum() == 200 and out.terminated[:, -1].all()
        right = actions[:, 0] == need
        np.testing.assert_array_equal(out.reward[:, -1], np.where(right, 1, -1))
        np.testing.assert_array_equal(out.metrics["regret"].sum(1), np.where(right, 0, 2))
        assert (
            set(np.unique(out.reward)) == {-1, 1}
            and abs(out.reward[:, :-1].sum()) < 5 * (200 * length) ** 0.5
        )
        np.testing.assert_array_equal(out.obs[..., 0], np.broadcast_to(need[:, None], (200, length)))
        taken = np.broadcast_to(actions[:, :1], (200, length))
        np.testing.assert_array_equal(out.obs[..., 1], taken)
        left = 1 - np.arange(1, length + 1) / length
        np.testing.assert_allclose(out.obs[..., 2], np.broadcast_to(left, (200, length)), atol=1e-6)
        np.testing.assert_array_equal(first[:, :3], np.stack([need, states.has[:, 0], np.ones(200)], axis=1))
        bits = out.obs[..., 3:]
        assert not bits[..., distractors:].any()
        if distractors:
            assert np.all(
                (bits[..., :distractors].mean((0, 1)) > 0.4) & (bits[..., :distractors].mean((0, 1)) < 0.6)
            )
        assert 0.35 < need.mean() < 0.65 and 0.35 < states.has[:, 0].mean() < 0.65


def test_discounting_chains_pay_once_each():
    env, params = envs.make("DiscountingChain-bsuite-v1")
    params = env.bonus(params, mapping_seed=13)  # 13 % 5 == 3
    actions = np.random.default_rng(0).integers(0, 5, (5, 100))
    actions[:, 0] = range(5)
    first, (_, out) = episodes(env, params, actions, jax.random.split(jax.random.key(0), 5))
    expected = np.zeros((5, 100))
    for chain, (at, pay) in enumerate(zip((1, 3, 10, 30, 100), (1, 1, 1, 1.1, 1), strict=True)):
        expected[chain, at - 1] = pay
    np.testing.assert_allclose(out.reward, expected, atol=1e-6)
    assert out.terminated.tolist() == [[False] * 99 + [True]] * 5
    np.testing.assert_array_equal(first, [[-1, 0]] * 5)
    np.testing.assert_allclose(out.obs[2, :, 0], 2)
    np.testing.assert_allclose(out.obs[2, :, 1], np.arange(1, 101) / 100, atol=1e-6)


def test_bits_not_in_use_are_never_shown_nor_asked_for():
    few, many = MemoryChain(num_bits=3), MemoryChain(num_bits=8)
    params = replace(many.default_params(), length=jnp.int32(2), in_use=jnp.int32(3))
    keys = jax.random.split(jax.random.key(0), 300)
    first, (states, out) = episodes(many, params, np.ones((300, 3), np.int32), keys)
    shown = np.concatenate([first[:, None], out.obs], axis=1)
    assert not shown[..., 5:].any() and np.all(np.abs(shown[:, 0, 2:5]) == 1)
    assert set(states.query[:, 0].tolist()) == {0, 1, 2}
    right = np.take_along_axis(states.bits[:, 0], states.query[:, :1], axis=1)[:, 0] == 1
    np.testing.assert_array_equal(out.reward[:, -1], np.where(right, 1, -1))
    assert few.observation_space(few.default_params()).shape == (5,)


def test_the_clock_terminates_the_cars_and_poles():
    keys = jax.random.split(jax.random.key(0), 2)
    for id, changes, length in (
        ("MountainCar-bsuite-v1", {}, 1000),
        ("CartPoleSwingUp-bsuite-v1", {}, 1001),
        ("CartPole-bsuite-v1", {"height": -2.0, "near": 1e9, "position_limit": 1e9}, 1001),
    ):
        env, params = envs.make(id)
        params = replace(params, **{field: jnp.float32(value) for field, value in changes.items()})
        assert envs.time_limit(env) == length
        _, (_, out) = episodes(env, params, np.ones((2, length), np.int32), keys)
        assert out.terminated[:, -1].all() and not out.terminated[:, :-1].any() and not out.truncated.any()


def test_raw_returns_are_those_before_noise_and_scale():
    catch, _ = envs.make("Catch-bsuite-v1")
    env = TransformReward(bsuite.RawReturn(catch), scale=30.0, noise=2.0)
    keys = jax.random.split(jax.random.key(0), 100)
    actions = np.random.default_rng(0).integers(0, 3, (100, 9))
    params = env.default_params()
    _, (_, out) = episodes(env, params, actions, keys)
    raw = out.metrics["raw_return"]
    assert set(np.unique(raw)) == {-1, 0, 1} and not raw[:, :-1].any()
    np.testing.assert_array_equal(out.metrics["regret"][:, -1], 1 - raw[:, -1])
    np.testing.assert_array_equal(out.metrics["good_episode"].sum(1), raw[:, -1] > 0)
    noise = out.reward - 30 * raw
    assert abs(noise.mean()) < 0.3 and noise.std() == pytest.approx(2, rel=0.1)
    check_env(env, params)


def test_following_the_ball_always_catches_it():
    env, params = envs.make("Catch-bsuite-v1")
    keys = jax.random.split(jax.random.key(0), 64)

    def follow(state, _):
        return jnp.sign(state.ball - state.paddle) + 1

    first, (states, out) = episodes(env, params, np.zeros((64, 9), np.int32), keys, follow)
    assert out.reward.sum() == 64 and not out.metrics["regret"].any()
    assert set(states.ball[:, 0].tolist()) == set(range(5)) and np.all(states.paddle[:, 0] == 2)
    assert np.all(first[:, 9, 2] == 1) and np.all(first.sum((1, 2)) == 2)
    ball_in_last_row = catch_state(jnp.array([[0.0, 4.0, 9.0]]))
    shown = env.ascii(jax.tree.map(lambda x: x[0], ball_in_last_row), params)
    assert shown.splitlines()[-1] == "o...="


def test_pictures_come_from_local_files(tmp_path):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10
    with pytest.raises(ValueError, match="`folder` must hold train-images-idx3-ubyte or"):
        bsuite.load_mnist(tmp_path)
    header = b"\x00\x00\x08\x03" + np.array([2, 3, 4], ">i4").tobytes()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(
        b"\x00\x00\x08\x01" + np.array([2], ">i4").tobytes() + b"\7\1"
    )
    loaded, labels = bsuite.load_mnist(tmp_path)
    assert labels.tolist() == [7, 1]
    np.testing.assert_array_equal(loaded, images.astype(np.int16) - 256 * (images > 127))
    env = bsuite.ImageBandit(height=3, width=4)
    params = env.with_images(loaded, labels)
    keys = jax.random.split(jax.random.key(0), 64)
    first, (states, out) = episodes(env, params, np.full((64, 1), 7), keys)
    np.testing.assert_allclose(first, loaded[states.shown[:, 0]] / 255, atol=1e-6)
    np.testing.assert_array_equal(out.reward[:, 0], np.where(states.shown[:, 0] == 0, 1, -1))
    assert set(states.shown[:, 0].tolist()) == {0, 1} and out.terminated.all()
    check_env(env, params)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"no such file")
    with pytest.raises(ValueError, match="must be an IDX file of bytes"):
        bsuite.load_mnist(tmp_path)


def test_bad_sizes_are_refused():
    for make, message in (
        (lambda: bsuite.Catch(rows=1), "`rows` must be at least 2, got 1"),
        (lambda: bsuite.SimpleBandit(num_arms=1), "`num_arms` must be at least 2, got 1"),
        (lambda: bsuite.UmbrellaChain(max_distractors=-1), "`max_distractors` must be at least 0, got -1"),
        (lambda: bsuite.PaddedDeepSea(size=4).sea(5), "`depth` must be from 2 to 4, got 5"),
        (lambda: bsuite.ImageBandit().with_images(np.zeros((2, 8, 8)), [0, 1]), "`images` must be"),
        (lambda: bsuite.ImageBandit(height=1, width=1).with_images(np.zeros((1, 1, 1)), [10]), "`labels`"),
        (lambda: bsuite.TimedMountainCar(velocities=False), "`velocities` must be True"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
