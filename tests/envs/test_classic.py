"""CartPole against Gymnasium's, transition by transition."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.classic import CartPole, CartPoleState


def state_of(values):
    return CartPoleState(*(jnp.float32(value) for value in values), t=jnp.int32(0))


@pytest.fixture(scope="module")
def step():
    env = CartPole()
    return jax.jit(env.step)


def balancing(obs, rng):
    return int(obs[2] + 0.4 * obs[3] + 0.05 * obs[0] + 0.1 * obs[1] + 0.02 * rng.normal() > 0)


def test_every_transition_of_long_episodes_equals_gymnasiums(step):
    # From the reference's state at every step, since the pole magnifies rounding errors of float32 over time.
    params = CartPole().default_params()
    reference = gymnasium.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(0)
    lengths = []
    for episode in range(6):
        reference.reset(seed=episode)
        lengths.append(0)
        for _ in range(500):
            before = reference.state
            action = balancing(before, rng) if episode % 2 == 0 else int(rng.integers(2))
            obs, reward, terminated, _, _ = reference.step(action)
            _, out = step(jax.random.key(0), state_of(before), jnp.int32(action), params)
            np.testing.assert_allclose(out.obs, obs, rtol=1e-5, atol=2e-6)
            assert float(out.reward) == reward and bool(out.terminated) == terminated
            lengths[-1] += 1
            if terminated:
                break
    assert lengths[::2] == [500] * 3 and max(lengths[1::2]) < 150


def test_free_running_episodes_end_at_the_same_step(step):
    params = CartPole().default_params()
    reference = gymnasium.make("CartPole-v1").unwrapped
    for seed in range(10):
        rng = np.random.default_rng(seed)
        reference.reset(seed=seed)
        state = state_of(reference.state)
        for _ in range(500):
            action = int(rng.integers(2))
            obs, _, terminated, _, _ = reference.step(action)
            state, out = step(jax.random.key(0), state, jnp.int32(action), params)
            np.testing.assert_allclose(out.obs, obs, rtol=1e-3, atol=1e-3)
            assert bool(out.terminated) == terminated
            if terminated:
                break


def test_random_states_with_other_constants_equal_gymnasiums():
    reference = gymnasium.make("CartPole-v1").unwrapped
    reference.reset(seed=0)
    reference.gravity, reference.force_mag, reference.tau = 3.7, 6.0, 0.03
    reference.masscart, reference.masspole, reference.length = 1.5, 0.4, 0.8
    reference.total_mass = reference.masscart + reference.masspole
    reference.polemass_length = reference.masspole * reference.length
    params = CartPole().default_params()
    params = params.replace(gravity=jnp.float32(3.7), force=jnp.float32(6.0), time_step=jnp.float32(0.03))
    params = params.replace(
        cart_mass=jnp.float32(1.5), pole_mass=jnp.float32(0.4), half_length=jnp.float32(0.8)
    )
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (300, 4)) * [2.6, 3.0, 0.25, 3.0]
    actions = rng.integers(0, 2, 300)
    env = CartPole()
    batch = CartPoleState(*jnp.asarray(states.T, jnp.float32), t=jnp.zeros(300, jnp.int32))
    keys = jax.random.split(jax.random.key(0), 300)
    _, out = jax.jit(jax.vmap(env.step, (0, 0, 0, None)))(
        keys, batch, jnp.asarray(actions, jnp.int32), params
    )
    ends = []
    for i in range(300):
        reference.state, reference.steps_beyond_terminated = states[i], None
        obs, _, terminated, _, _ = reference.step(int(actions[i]))
        np.testing.assert_allclose(out.obs[i], obs, rtol=1e-5, atol=2e-6)
        assert bool(out.terminated[i]) == terminated
        ends.append(terminated)
    assert 30 < sum(ends) < 270


def test_spaces_and_constants_are_gymnasiums():
    env, params = envs.make("CartPole-v1")
    reference = gymnasium.make("CartPole-v1")
    low, high = env.observation_space(params).bounds()
    np.testing.assert_allclose(low, reference.observation_space.low)
    np.testing.assert_allclose(high, reference.observation_space.high)
    assert env.action_space(params).n == reference.action_space.n
    assert envs.time_limit(env, params) == reference.spec.max_episode_steps == 500
    bare = reference.unwrapped
    assert float(params.angle_limit) == pytest.approx(bare.theta_threshold_radians)
    assert float(params.position_limit) == pytest.approx(bare.x_threshold)


def test_truncation_at_the_limit_unless_terminated(step):
    params = CartPole().default_params()
    upright = state_of([0.0, 0.0, 0.0, 0.0]).replace(t=jnp.int32(499))
    _, out = step(jax.random.key(0), upright, jnp.int32(1), params)
    assert bool(out.truncated) and not bool(out.terminated)
    falling = state_of([0.0, 0.0, 0.209, 3.0]).replace(t=jnp.int32(499))
    _, out = step(jax.random.key(0), falling, jnp.int32(1), params)
    assert bool(out.terminated) and not bool(out.truncated)
    _, out = step(jax.random.key(0), upright.replace(t=jnp.int32(498)), jnp.int32(1), params)
    assert not bool(out.truncated)


def test_first_states_are_uniform_in_their_range():
    env, params = envs.make("CartPole-v1")
    _, obs = jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), 5000), params)
    obs = np.asarray(obs)
    assert np.all(np.abs(obs) <= 0.05)
    np.testing.assert_allclose(obs.std(axis=0), 0.05 / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(obs.mean(axis=0), 0.0, atol=0.003)
    assert np.all(np.abs(np.corrcoef(obs.T) - np.eye(4)) < 0.08)


def test_step_ignores_its_key_and_dtypes_survive(step):
    env, params = envs.make("CartPole-v1")
    state, obs = jax.jit(env.reset)(jax.random.key(0), params)
    after, out = step(jax.random.key(1), state, jnp.int32(0), params)
    other, _ = step(jax.random.key(2), state, jnp.int32(0), params)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(a == b), after, other))

    def types(tree):
        return jax.tree.map(lambda x: (x.dtype, x.weak_type, x.shape), tree)

    assert types(state) == types(after) and types(obs) == types(out.obs)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, out, params)))


def test_physics_is_mapped_over_in_one_program():
    env, params = envs.make("CartPole-v1")
    axes = jax.tree.map(lambda _: None, params).replace(gravity=0)
    gravities = jnp.array([1.0, 9.8, 20.0], jnp.float32)
    state = state_of([0.0, 0.0, 0.1, 0.0])
    after, _ = jax.vmap(env.step, (None, None, None, axes))(
        jax.random.key(0), state, jnp.int32(1), params.replace(gravity=gravities)
    )
    assert np.all(np.diff(np.asarray(after.angular_velocity)) > 0)


def test_frame_shows_cart_and_pole():
    env, params = envs.make("CartPole-v1")
    frames = [env.frame(state_of([x, 0.0, angle, 0.0]), params) for x, angle in ((0, 0), (1.2, 0), (0, 0.2))]
    assert all(frame.shape == (240, 480, 3) and frame.dtype == np.uint8 for frame in frames)

    def centre(frame):
        orange = np.abs(frame.astype(int) - [238, 125, 49]).sum(axis=-1) < 30
        return np.argwhere(orange).mean(axis=0)

    middle, right, leaning = map(centre, frames)
    assert right[1] - middle[1] == pytest.approx(120, abs=3)  # 1.2 of 4.8 metres on 480 pixels
    assert leaning[1] > middle[1] + 5 and leaning[0] == pytest.approx(middle[0], abs=4)
