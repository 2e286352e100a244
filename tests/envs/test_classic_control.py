"""Acrobot, mountain cars, pendulum and swing-up against Gymnasium's and bsuite's rules, step by step."""

import math

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.classic import (
    Acrobot,
    AcrobotState,
    CartPoleState,
    CartPoleSwingUp,
    MountainCar,
    MountainCarContinuous,
    MountainCarState,
    Pendulum,
    PendulumState,
)

IDS = ["Acrobot", "CartPole", "CartPoleSwingUp", "MountainCar", "MountainCarContinuous", "Pendulum"]
STATES = {
    "Acrobot": AcrobotState,
    "CartPole": CartPoleState,
    "CartPoleSwingUp": CartPoleState,
    "MountainCar": MountainCarState,
    "MountainCarContinuous": MountainCarState,
    "Pendulum": PendulumState,
}
REFERENCES = {
    "Acrobot": "Acrobot-v1",
    "MountainCar": "MountainCar-v0",
    "MountainCarContinuous": "MountainCarContinuous-v0",
    "Pendulum": "Pendulum-v1",
}
# Policies that reach the interesting places: goals, walls, limits of speed, the upright.
POLICIES = {
    "Acrobot": lambda s, rng: int(rng.integers(3)) if rng.random() < 0.2 else (2 if s[3] > 0 else 0),
    "MountainCar": lambda s, rng: int(rng.integers(3)) if rng.random() < 0.1 else (2 if s[1] >= 0 else 0),
    "MountainCarContinuous": lambda s, rng: np.array(
        [np.sign(s[1]) * rng.uniform(0.5, 1.3) + rng.normal() * 0.1], np.float32
    ),
    "Pendulum": lambda s, rng: np.array([2.5 * np.sign(s[1]) + rng.normal()], np.float32),
}


def rollouts(name, episodes, steps):
    """States, actions, next observations, rewards and ends of Gymnasium's world."""
    reference = gymnasium.make(REFERENCES[name]).unwrapped
    rows = []
    for seed in range(episodes):
        rng = np.random.default_rng(seed)
        reference.reset(seed=seed)
        for _ in range(steps):
            before = np.array(reference.state, np.float64)
            action = POLICIES[name](before, rng)
            obs, reward, terminated, _, _ = reference.step(action)
            rows.append((before, action, obs, reward, terminated))
            if terminated:
                break
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", REFERENCES)
def test_every_transition_of_long_episodes_equals_gymnasiums(name):
    # From the reference's state at every step, for rounding errors of float32 grow over time.
    before, actions, obs, rewards, ends = rollouts(name, episodes=6, steps=1000)
    env, params = envs.make(f"{name}-v1")
    if name == "Pendulum":
        before[:, 0] = (before[:, 0] + np.pi) % (2 * np.pi) - np.pi
    columns = jnp.asarray(before.T, jnp.float32)
    state = STATES[name](*columns, t=jnp.zeros(len(before), jnp.int32))
    keys = jax.random.split(jax.random.key(0), len(before))
    step = jax.jit(jax.vmap(env.step, (0, 0, 0, None)))
    _, out = jax.device_get(step(keys, state, jnp.asarray(actions), params))
    tolerance = {"Acrobot": 3e-4, "Pendulum": 1e-5}.get(name, 1e-6)
    np.testing.assert_allclose(out.obs, obs, atol=tolerance, rtol=1e-5)
    # A pendulum at plus pi may be at minus pi for float32: the same cost.
    np.testing.assert_allclose(out.reward, rewards, atol=2e-5, rtol=1e-5)
    assert np.array_equal(out.terminated, ends)
    assert len(before) > 500 and (name == "Pendulum" or ends.sum() >= 4)
    if name.startswith("MountainCar"):
        at_wall = (before[:, 0] + before[:, 1] < -1.19) & (obs[:, 0] == np.float32(-1.2))
        assert at_wall.sum() > 0 and np.all(out.obs[at_wall, 1] == 0)
    if name == "Acrobot":
        assert np.abs(obs[:, 4]).max() > 5


@pytest.mark.parametrize("name", ["MountainCar", "MountainCarContinuous"])
def test_free_running_episodes_end_at_the_same_step(name):
    env, params = envs.make(f"{name}-v1")
    step = jax.jit(env.step)
    reference = gymnasium.make(REFERENCES[name]).unwrapped
    lengths = []
    for seed in range(3):
        reference.reset(seed=seed)
        state = STATES[name](*map(jnp.float32, reference.state), t=jnp.int32(0))
        for length in range(1, 400):
            action = POLICIES[name](np.asarray(reference.state), np.random.default_rng(length))
            obs, _, terminated, _, _ = reference.step(action)
            state, out = step(jax.random.key(0), state, jnp.asarray(action), params)
            np.testing.assert_allclose(out.obs, obs, atol=1e-4)
            assert bool(out.terminated) == terminated
            if terminated:
                lengths.append(length)
                break
    assert len(lengths) == 3 and max(lengths) < 250


def test_constants_change_acrobot_and_pendulum_as_they_change_gymnasiums():
    reference = gymnasium.make("Acrobot-v1").unwrapped
    reference.reset(seed=0)
    reference.LINK_MASS_1, reference.LINK_MASS_2, reference.LINK_LENGTH_1 = 1.3, 0.7, 0.8
    reference.LINK_COM_POS_1, reference.LINK_COM_POS_2, reference.LINK_MOI = 0.4, 0.6, 0.9
    reference.dt = 0.1
    reference.state = np.array([0.4, -0.7, 1.0, -2.0])
    obs, *_ = reference.step(2)
    env, params = envs.make("Acrobot-v1")
    values = {"mass_1": 1.3, "mass_2": 0.7, "length_1": 0.8, "centre_1": 0.4, "centre_2": 0.6, "inertia": 0.9}
    params = params.replace(**{k: jnp.float32(v) for k, v in (values | {"time_step": 0.1}).items()})
    state = AcrobotState(*map(jnp.float32, (0.4, -0.7, 1.0, -2.0)), t=jnp.int32(0))
    _, out = jax.jit(env.step)(jax.random.key(0), state, jnp.int32(2), params)
    np.testing.assert_allclose(out.obs, obs, atol=1e-5)

    reference = gymnasium.make("Pendulum-v1", g=3.7).unwrapped
    reference.reset(seed=0)
    reference.m, reference.l, reference.dt = 0.6, 1.4, 0.02
    reference.state = np.array([2.0, -1.0])
    obs, reward, *_ = reference.step(np.array([1.5], np.float32))
    env, params = envs.make("Pendulum-v1")
    values = {"gravity": 3.7, "mass": 0.6, "length": 1.4, "time_step": 0.02}
    params = params.replace(**{k: jnp.float32(v) for k, v in values.items()})
    state = PendulumState(jnp.float32(2.0), jnp.float32(-1.0), jnp.int32(0))
    _, out = jax.jit(env.step)(jax.random.key(0), state, jnp.array([1.5]), params)
    np.testing.assert_allclose(out.obs, obs, atol=1e-6)
    assert float(out.reward) == pytest.approx(reward, rel=1e-5)


def bsuite_swing_up(state, action):
    """One step of bsuite's rules in float64: `(state, observation without time, reward, over the edge)`."""
    x, v, angle, w = state
    force, total, pl = (action - 1) * 10.0, 1.1, 0.1 * 0.5
    cos, sin = math.cos(angle), math.sin(angle)
    temp = (force + pl * w**2 * sin) / total
    acceleration = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos**2 / total))
    x, v = x + 0.01 * v, v + 0.01 * (temp - pl * acceleration * cos / total)
    angle, w = (angle + 0.01 * w) % (2 * math.pi), w + 0.01 * acceleration
    upright = math.cos(angle) > 0.5 and abs(w) < 1 and abs(x) < 1
    near, slow = (1.0 if good else -1.0 for good in (abs(x) < 1, abs(w) < 1))
    obs = [x / 3, v / 3, math.sin(angle), math.cos(angle), w, near, slow]
    return (x, v, angle, w), obs, upright - 0.1 * abs(action - 1), abs(x) > 3


def test_swing_up_follows_the_rules_of_bsuite():
    rng = np.random.default_rng(0)
    rows = []
    for episode in range(8):
        state = (*rng.uniform(-0.5, 0.5, 2), rng.uniform(-3, 3), rng.uniform(-1, 1))
        for _ in range(400):
            action = int(rng.integers(3)) if rng.random() < 0.05 else (0 if state[0] > 0.3 and episode else 2)
            after, obs, reward, over = bsuite_swing_up(state, action)
            rows.append((state, action, obs, reward, over))
            state = after
            if over:
                break
    before, actions, obs, rewards, over = (np.array(column) for column in zip(*rows, strict=True))
    env = CartPoleSwingUp()
    columns = jnp.asarray(before.T, jnp.float32)
    state = CartPoleState(*columns, t=jnp.full(len(rows), 249, jnp.int32))
    keys = jax.random.split(jax.random.key(0), len(rows))
    _, out = jax.jit(jax.vmap(env.step, (0, 0, 0, None)))(
        keys, state, jnp.asarray(actions), env.default_params()
    )
    np.testing.assert_allclose(np.delete(out.obs, 5, axis=1), obs, rtol=1e-5, atol=2e-6)
    assert np.all(np.asarray(out.obs)[:, 5] == 0.25)
    np.testing.assert_allclose(out.reward, rewards, atol=1e-6)
    assert np.array_equal(out.terminated, over)
    assert (rewards > 0.5).sum() > 10 and over.sum() > 0 and (np.abs(before[:, 3]) > 5).sum() > 20


def test_hanging_pole_stays_down_unless_pushed():
    env, params = envs.make("CartPoleSwingUp-v1")

    @jax.jit
    def play(key, actions):
        state, _ = env.reset(key, params)
        return jax.lax.scan(lambda s, a: env.step(key, s, a, params), state, actions)[1]

    still = play(jax.random.key(0), jnp.ones(1000, jnp.int32))
    assert float(still.reward.sum()) == 0 and np.all(np.asarray(still.obs)[:, 3] < -0.95)
    assert np.flatnonzero(still.truncated).tolist() == [999]
    pushed = play(jax.random.key(0), jnp.full(1000, 2, jnp.int32))
    assert bool(pushed.terminated.any()) and float(pushed.obs[:, 3].max()) > -0.9


@pytest.mark.parametrize("name", REFERENCES)
def test_spaces_and_limits_are_gymnasiums(name):
    env, params = envs.make(f"{name}-v1")
    reference = gymnasium.make(REFERENCES[name])
    space = envs.spaces.to_gymnasium(env.observation_space(params))
    assert space == reference.observation_space
    action_space = envs.spaces.to_gymnasium(env.action_space(params))
    assert getattr(action_space, "n", None) == getattr(reference.action_space, "n", None)
    if not hasattr(action_space, "n"):
        assert action_space == reference.action_space
    assert envs.time_limit(env, params) == reference.spec.max_episode_steps


def test_first_states_have_gymnasiums_ranges():
    keys = jax.random.split(jax.random.key(0), 4000)

    def starts(env):
        state, _ = jax.jit(jax.vmap(env.reset, (0, None)))(keys, env.default_params())
        return jax.tree.map(np.asarray, state)

    car = starts(MountainCar())
    assert np.all(car.velocity == 0) and -0.6 <= car.position.min() < -0.599
    assert -0.401 < car.position.max() <= -0.4
    rod = starts(Pendulum())
    for values, limit in ((rod.angle, math.pi), (rod.velocity, 1.0)):
        assert np.abs(values).max() <= limit and values.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    assert abs(np.corrcoef(rod.angle, rod.velocity)[0, 1]) < 0.08
    acrobot = starts(Acrobot())
    for values in (acrobot.angle_1, acrobot.angle_2, acrobot.velocity_1, acrobot.velocity_2):
        assert np.abs(values).max() <= 0.1 and values.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("name", IDS)
def test_masked_worlds_show_positions_only(name):
    full, params = envs.make(f"{name}-v1")
    masked, _ = envs.make(f"Masked{name}-v1")
    assert masked.id == f"Masked{name}-v1"
    kept = {
        "Acrobot": [0, 1, 2, 3],
        "CartPole": [0, 2],
        "CartPoleSwingUp": [0, 2, 3, 5, 6],
        "Pendulum": [0, 1],
    }.get(name, [0])
    action = full.action_space(params).sample(jax.random.key(1))
    results = []
    for env in (full, masked):
        state, first = env.reset(jax.random.key(0), params)
        _, out = env.step(jax.random.key(0), state, action, params)
        assert env.observation_space(params).contains(out.obs)
        results.append((first, out.obs, out.reward))
    for whole, part in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_array_equal(np.asarray(whole)[kept], part)
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("name", IDS)
def test_frames_move_with_the_state(name):
    env, params = envs.make(f"{name}-v1")
    count = len(STATES[name].__dataclass_fields__) - 1
    frames, texts = [], []
    for position in (0.1, 0.3):
        values = [position if name != "MountainCar" else position - 0.6] + [0.0] * (count - 1)
        if name == "CartPoleSwingUp":
            values[2] = math.pi
        state = STATES[name](*map(jnp.float32, values), t=jnp.int32(0))
        frames.append(env.frame(state, params))
        texts.append(env.ascii(state, params))
    assert frames[0].dtype == np.uint8 and frames[0].shape == frames[1].shape
    assert texts[0] != texts[1]

    def centre(frame):
        return np.argwhere(np.abs(frame.astype(int) - [238, 125, 49]).sum(-1) < 30).mean(0)

    assert np.abs(centre(frames[0]) - centre(frames[1])).max() > 5


def test_continuous_actions_beyond_their_bounds_do_no_more_than_the_bounds():
    for env, bound in ((MountainCarContinuous(), 1.0), (Pendulum(), 2.0)):
        params = env.default_params()
        state, _ = env.reset(jax.random.key(0), params)
        most, _ = env.step(jax.random.key(0), state, jnp.array([bound]), params)
        more, _ = env.step(jax.random.key(0), state, jnp.array([10 * bound]), params)
        jax.tree.map(np.testing.assert_array_equal, most, more)


@pytest.mark.parametrize(
    ("id", "field"),
    [
        ("CartPole-v1", "pole_mass"),
        ("CartPoleSwingUp-v1", "half_length"),
        ("Acrobot-v1", "mass_2"),
        ("MaskedPendulum-v1", "length"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_masses_and_lengths_are_positive(id, field, value):
    env, params = envs.make(id)
    env.check_params(params)
    with pytest.raises(ValueError, match=f"`{field}` must be positive and finite, got"):
        env.check_params(params.replace(**{field: jnp.float32(value)}))
