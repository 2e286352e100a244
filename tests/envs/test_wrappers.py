"""Wrappers against loops over the environment inside, and shaping against exact optima."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mdps import explicit
from envs.spaces import Box, Discrete
from envs.tabular import extract
from envs.testing import check_env
from envs.vector import VecEnv
from envs.wrappers import (
    WRAPPERS,
    ActionMaskObservation,
    ActionRepeat,
    DiscretiseObservation,
    FlattenObservation,
    FrameStack,
    NoisyObservation,
    NormaliseObservation,
    ObservationWrapper,
    PartialObservation,
    PotentialShaping,
    StickyActions,
    TimeAwareObservation,
    TransformReward,
    Wrapper,
    wrap,
)

CARTPOLE = envs.make("CartPole-v1")[0]
LAKE = envs.make("FrozenLake4x4-v1")[0]


def distance_to_corner(state, params):
    row, column = state.position // 4, state.position % 4
    return (row + column) / 6.0 * 3.0 - 1.0


def play(env, params, actions, key=0):
    """First observation and all steps of one episode, whatever its ends."""

    @jax.jit
    def run(params, actions):
        state, first = env.reset(jax.random.key(key), params)
        keys = jax.random.split(jax.random.key(key + 1), len(actions))

        def step(state, inputs):
            state, out = env.step(*inputs[:1], state, inputs[1], params)
            return state, (state, out)

        return first, jax.lax.scan(step, state, (keys, actions))[1]

    return jax.device_get(run(params, jnp.asarray(actions)))


@pytest.mark.parametrize(
    "env",
    [
        FrameStack(PartialObservation(StickyActions(ActionRepeat(CARTPOLE, count=3)), keep=(0, 2)), count=2),
        TransformReward(TimeAwareObservation(FlattenObservation(LAKE)), scale=3.0, high=2.0),
        NormaliseObservation(PotentialShaping(CARTPOLE, potential=lambda state, params: state.angle)),
        PotentialShaping(LAKE, potential=distance_to_corner),
        DiscretiseObservation(
            NoisyObservation(envs.make("Pendulum-v1")[0]), bins=(3, 3, 2), low=(-1, -1, -8), high=(1, 1, 8)
        ),
    ],
    ids=lambda env: env.id,
)
def test_wrapped_worlds_keep_the_laws(env):
    laws = check_env(env, num_envs=8, num_steps=64)
    assert {"time limit", "frame", "ascii"} <= set(laws)
    assert ("outcomes" in laws) == hasattr(env, "outcomes") == (env.env.id.find("Lake") >= 0)


def test_a_world_whose_limit_is_an_end_keeps_the_laws_when_wrapped():
    """The wrapper says so too; and a world with chance in each step is repeated without using a key twice."""
    umbrella, _ = envs.make("UmbrellaChain-bsuite-v1", max_distractors=2)
    for env in (FrameStack(umbrella, count=2), ActionRepeat(umbrella, count=3)):
        assert env.limit_terminates
        assert {"time limit", "keys"} <= set(check_env(env, num_envs=8, num_steps=64))
    assert not hasattr(FrameStack(CARTPOLE), "limit_terminates")


def test_bounds_that_are_infinite_are_no_trouble_where_nothing_else_varies():
    chain, _ = envs.make("MemoryChain-v1")
    assert "params used" in check_env(TransformReward(chain), num_envs=4, num_steps=16)


def test_frame_stack_shows_the_last_observations_oldest_first():
    actions = np.array([0, 1, 1, 0, 1])
    plain, (_, steps) = play(CARTPOLE, CARTPOLE.default_params(), actions)
    env = FrameStack(CARTPOLE, count=3)
    first, (_, stacked) = play(env, env.default_params(), actions)
    seen = np.concatenate([[plain] * 3, steps.obs])
    np.testing.assert_array_equal(first, np.concatenate([plain] * 3))
    for t in range(5):
        np.testing.assert_array_equal(stacked.obs[t], np.concatenate(seen[t + 1 : t + 4]))
    images = FrameStack(envs.make("GridWorld-v1", observation="image")[0], count=2)
    assert images.observation_space(images.default_params()).shape == (3, 4, 8)


def test_sticky_actions_repeat_what_was_done():
    car, car_params = envs.make("MountainCar-v1")
    env = StickyActions(car)
    params = env.default_params()
    actions = np.random.default_rng(0).integers(0, 3, 4000)
    _, (states, steps) = play(env, params, actions)
    done, before = states.kept, np.append(0, states.kept[:-1])
    assert np.all((done == actions) | (done == before))
    can_tell = actions != before
    assert np.mean(done[can_tell] == before[can_tell]) == pytest.approx(0.25, abs=0.03)
    _, (_, plain) = play(car, car_params, done)
    # The same actions give the same ride; the start has another key only if the reset were split.
    np.testing.assert_allclose(steps.obs, plain.obs, atol=1e-6)
    never = params.replace(values={"probability": jnp.float32(0)})
    always = params.replace(values={"probability": jnp.float32(1)})
    assert np.array_equal(play(env, never, actions[:50])[1][0].kept, actions[:50])
    assert not np.any(play(env, always, actions[:50])[1][0].kept)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_action_repeat_never_loses_an_end(count):
    params = CARTPOLE.default_params()
    _, (_, steps) = play(CARTPOLE, params, np.ones(30, int))
    length = int(np.argmax(steps.terminated)) + 1
    env = ActionRepeat(CARTPOLE, count=count)
    _, (_, repeated) = play(env, params, np.ones(15, int))
    ends = int(np.argmax(repeated.terminated))
    assert ends + 1 == math.ceil(length / count) and repeated.terminated[ends]
    np.testing.assert_allclose(repeated.obs[ends], steps.obs[length - 1], atol=1e-6)
    assert repeated.reward[: ends + 1].sum() == length
    # A clock that runs out in the midst of a step truncates it there, though the pole falls later.
    limit = length - 1
    short = params.replace(max_steps=jnp.int32(limit))
    _, (_, repeated) = play(env, short, np.ones(15, int))
    ends = int(np.argmax(repeated.truncated))
    assert ends + 1 == envs.time_limit(env, short) == math.ceil(limit / count)
    assert not repeated.terminated[: ends + 1].any()
    np.testing.assert_allclose(repeated.obs[ends], steps.obs[limit - 1], atol=1e-6)


def test_action_repeat_sums_metrics():
    bandit, params = envs.make("BernoulliBandit-v1")
    env = ActionRepeat(bandit, count=5)
    _, (_, steps) = play(env, params, np.zeros(3, int))
    np.testing.assert_allclose(steps.metrics["regret"], 5 * 0.8, atol=1e-5)
    assert not hasattr(env, "outcomes")


def test_rewards_are_scaled_clipped_and_noisy():
    cliff, inner = envs.make("CliffWalking-v1")
    env = TransformReward(cliff, scale=0.5, low=-20.0)
    _, (_, steps) = play(env, env.wrap_params(inner), np.array([1, 0]))
    assert steps.reward.tolist() == [-20.0, -0.5]
    mdp, plain = jax.jit(lambda a, b: (extract(env, a), extract(cliff, b)))(env.default_params(), inner)
    np.testing.assert_allclose(mdp.R, np.maximum(0.5 * plain.R, -20), atol=1e-6)
    np.testing.assert_array_equal(mdp.P, plain.P)
    noisy = TransformReward(cliff, noise=2.0)
    _, (_, steps) = play(noisy, noisy.default_params(), np.full(4000, 3))
    assert steps.reward.mean() == pytest.approx(-1, abs=0.15) and steps.reward.std() == pytest.approx(
        2, rel=0.06
    )
    clipped = noisy.default_params()
    clipped.values["high"] = jnp.float32(-1)
    assert play(noisy, clipped, np.full(100, 3))[1][1].reward.max() == -1


def test_vectors_of_any_observation():
    game, params = envs.make("Blackjack-v1", observation="tuple")
    flat = FlattenObservation(game)
    state = game.state_at(0, params)
    obs = flat.observe(jnp.array([20, 3, 1]), params)
    assert flat.observation_space(params).shape == (45,) and state is not None
    assert np.flatnonzero(obs).tolist() == [20, 32 + 3, 32 + 11 + 1]
    image = FlattenObservation(envs.make("GridWorld-v1", observation="image")[0])
    assert image.observation_space(image.default_params()) == Box((0.0,) * 48, (1.0,) * 48, (48,))


def test_time_goes_from_0_to_1():
    env = TimeAwareObservation(CARTPOLE)
    params = env.default_params().replace(max_steps=jnp.int32(4))
    first, (_, steps) = play(env, params, np.array([0, 1, 0, 1]))
    assert [float(first[-1]), *steps.obs[:, -1].tolist()] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert steps.truncated.tolist() == [False] * 3 + [True]


def test_noise_has_its_size_and_leaves_the_world_alone():
    env = NoisyObservation(CARTPOLE, noise=0.5)
    actions = np.tile([0, 1], 500)
    _, (states, steps) = play(env, env.default_params(), actions)
    true = np.stack([states.position, states.velocity, states.angle, states.angular_velocity], axis=-1)
    assert (steps.obs - true).std(axis=0) == pytest.approx(0.5, rel=0.1)


def test_observations_are_normalised_by_given_numbers():
    mean, scale = np.array([1.0, 0.0, -0.5, 2.0]), np.array([2.0, 0.5, 0.1, 4.0])
    env = NormaliseObservation(CARTPOLE, mean=tuple(mean), scale=tuple(scale), bound=5.0)
    params = env.default_params()
    actions = np.tile([0, 1, 1], 10)
    plain, (_, raw) = play(CARTPOLE, params.env, actions)
    first, (_, steps) = play(env, params, actions)
    np.testing.assert_allclose(first, np.clip((plain - mean) / scale, -5, 5), rtol=1e-5)
    np.testing.assert_allclose(steps.obs, np.clip((raw.obs - mean) / scale, -5, 5), rtol=1e-4, atol=1e-5)
    assert np.abs(steps.obs).max() == 5.0
    other = params.replace(values=params.values | {"mean": jnp.zeros(4)})
    np.testing.assert_allclose(play(env, other, actions)[0], np.clip(plain / scale, -5, 5), rtol=1e-5)
    image = NormaliseObservation(envs.make("GridWorld-v1", observation="image")[0], scale=2.0)
    assert float(image.reset(jax.random.key(0), image.default_params())[1].max()) == 0.5


def test_boxes_are_numbered_in_order():
    env = DiscretiseObservation(
        CARTPOLE, bins=(2, 1, 3, 2), low=(-1.0, -1.0, -0.3, -1.0), high=(1.0, 1.0, 0.3, 1.0)
    )
    params = env.default_params()
    assert env.observation_space(params) == Discrete(12)
    observe = jax.jit(jax.vmap(partial(env.observe, params=params)))
    obs = np.array(
        [(x, 0, a, w) for x in (-9, 0.5) for a in (-0.2, 0.0, 0.29) for w in (-np.inf, 0.1)], np.float32
    )
    assert observe(obs).tolist() == list(range(12))
    wider = params.replace(values=params.values | {"low": jnp.array([-9.0, -1.0, -0.3, -1.0])})
    assert int(env.observe(jnp.array([-0.5, 0, 0, 0]), wider)) > int(
        env.observe(jnp.array([-0.5, 0, 0, 0]), params)
    )


# Shaping --------------------------------------------------------------------------------------------------


def optimal_q(mdp, gamma):
    P, R = np.asarray(mdp.P, np.float64), np.asarray(mdp.R, np.float64)
    q = np.zeros_like(R)
    for _ in range(3000):
        q = R + gamma * P @ q.max(axis=1)
    return q


def random_world():
    rng = np.random.default_rng(1)
    P = rng.dirichlet(np.full(6, 0.4), (6, 3))
    return explicit(P, rng.normal(size=(6, 3, 6)), terminal=np.arange(6) >= 4)


POTENTIALS = jnp.asarray([3.0, -2.0, 7.0, 0.5, 4.0, -6.0])


@pytest.mark.parametrize("world", ["lake", "random"])
def test_shaping_subtracts_the_potential_from_optimal_values(world):
    gamma = 0.9
    if world == "lake":
        env, params = envs.make("FrozenLake4x4-v1")
        potential = distance_to_corner
    else:
        env, params = random_world()

        def potential(state, params):
            return POTENTIALS[state.index]

    shaped = PotentialShaping(env, potential=potential, gamma=gamma)
    mdp = jax.jit(lambda params: extract(env, params))(params)
    other = jax.jit(lambda params: extract(shaped, params))(shaped.wrap_params(params))
    alive = ~np.asarray(mdp.terminal)
    phi = np.array([float(potential(env.state_at(s, params), params)) for s in range(env.num_states)])
    q, shaped_q = optimal_q(mdp, gamma)[alive], optimal_q(other, gamma)[alive]
    np.testing.assert_allclose(shaped_q, q - phi[alive, None], atol=1e-5)
    assert np.array_equal(
        q > q.max(1, keepdims=True) - 1e-4, shaped_q > shaped_q.max(1, keepdims=True) - 1e-4
    )
    # Not so without the rule for ends, or with a bonus that is no difference of potentials.
    naive = np.asarray(mdp.R, np.float64) + gamma * np.asarray(mdp.P, np.float64) @ phi - phi[:, None]
    naive[~alive] = 0
    if world == "random":
        greedy = optimal_q(mdp.replace(R=naive), gamma)[alive].argmax(1)
        assert not np.array_equal(greedy, q.argmax(1))


def test_shaping_of_an_episode_telescopes_and_keeps_the_true_reward_as_a_metric():
    env, params = random_world()
    shaped = PotentialShaping(env, potential=lambda state, params: POTENTIALS[state.index], gamma=1.0)
    actions = np.random.default_rng(0).integers(0, 3, 60)
    first, (_, steps) = play(shaped, shaped.wrap_params(params), actions)
    _, (_, plain) = play(env, params, actions)
    assert plain.terminated.any()
    end = int(np.argmax(plain.terminated)) + 1
    np.testing.assert_array_equal(steps.obs[:end], plain.obs[:end])
    np.testing.assert_allclose(
        steps.reward[:end].sum(), plain.reward[:end].sum() - POTENTIALS[int(first)], atol=1e-4
    )
    np.testing.assert_array_equal(steps.metrics["performance"][:end], plain.reward[:end])


# Construction ---------------------------------------------------------------------------------------------


def test_wrappers_are_equal_by_value_and_map_over_their_numbers():
    assert FrameStack(CARTPOLE, 2) == FrameStack(envs.make("CartPole-v1")[0], 2) != FrameStack(CARTPOLE, 3)
    env = TransformReward(CARTPOLE)
    params = env.default_params()
    scales = jnp.array([1.0, 2.0, 3.0])
    axes = jax.tree.map(lambda _: None, params)
    axes = axes.replace(values=axes.values | {"scale": 0})
    many = params.replace(values=params.values | {"scale": scales})
    state, _ = env.reset(jax.random.key(0), params)
    _, out = jax.vmap(env.step, (None, None, None, axes))(jax.random.key(0), state, jnp.int32(0), many)
    assert out.reward.tolist() == [1.0, 2.0, 3.0]


def test_parameters_drawn_per_episode_pass_through_wrappers():
    bandit, params = envs.make("BernoulliBandit-v1")
    env, params = wrap(*wrap(bandit, params, "transform_reward", scale=2.0), "action_repeat", count=2)
    drawn = env.draw(jax.random.key(0), params)
    np.testing.assert_array_equal(
        drawn.env.probabilities, bandit.draw(jax.random.key(0), params.env).probabilities
    )
    assert float(drawn.values["scale"]) == 2.0 and not hasattr(FrameStack(CARTPOLE), "draw")
    state, _ = jax.jit(VecEnv(env, 3, params_dist=env.draw).reset)(jax.random.key(1), params)
    assert len(np.unique(state.params.env.probabilities)) == 30


def test_what_is_no_environment_is_refused():
    for wrong in ("CartPole-v1", envs.make("CartPole-v1"), type(CARTPOLE)):
        with pytest.raises(ValueError, match="`env` must be an environment"):
            wrap(wrong, None, "frame_stack")
        with pytest.raises(ValueError, match="`env` must be an environment"):
            VecEnv(wrong, 2)
        for wrapper in WRAPPERS.values():
            with pytest.raises(ValueError, match="`env` must be an environment"):
                wrapper(wrong)


def test_every_wrapper_has_a_name():
    assert {wrapper.__name__ for wrapper in WRAPPERS.values()} == {
        "".join(part.capitalize() for part in name.split("_")) for name in WRAPPERS
    }
    written = {x for x in vars(envs.wrappers).values() if isinstance(x, type) and issubclass(x, Wrapper)}
    assert set(WRAPPERS.values()) == written - {Wrapper, ObservationWrapper}
    env, params = wrap(*envs.make("CartPole-v1"), "sticky_actions", probability=0.5)
    assert (
        float(params.values["probability"]) == 0.5 and env.id == "StickyActions(CartPole-v1, probability=0.5)"
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("frame_stak", {}, "unknown wrapper 'frame_stak'; did you mean 'frame_stack'"),
        (None, {}, "unknown wrapper 'None'; known are: action_mask_observation, "),
        (["frame_stack"], {}, "unknown wrapper"),
        ("frame_stack", {"size": 2}, r"wrapper 'frame_stack' does not take the options \['size'\]"),
        ("frame_stack", {"count": 0}, "`count` must be at least 1, got 0"),
        ("frame_stack", {"count": 2.5}, "`count` must be an integer, got 2.5"),
        ("action_repeat", {"count": 0}, "`count` must be at least 1, got 0"),
        ("sticky_actions", {"probability": 1.5}, r"`probability` must lie in \[0, 1\], got 1.5"),
        ("partial_observation", {"keep": (4,)}, r"`keep` must hold indices below 4, got \(4,\)"),
        ("partial_observation", {"keep": (1.7,)}, r"`keep` must hold indices below 4, got \(1.7,\)"),
        ("discretise_observation", {"bins": (2, 2)}, r"`bins` must hold 4 positive numbers, one an entry"),
        ("discretise_observation", {"bins": (2, 2, 2, 2.5)}, "`bins` must be an integer, got 2.5"),
        ("discretise_observation", {"bins": (2, 2, 2, 2)}, "`low` must hold 4 finite numbers"),
        (
            "discretise_observation",
            {"bins": (300,) * 4, "low": (-1,) * 4, "high": (1,) * 4},
            r"`bins` must make at most 2\^31 - 1 boxes, .* 8,100,000,000 boxes",
        ),
        ("noisy_observation", {"noise": -1.0}, "`noise` must be at least 0 and finite, got -1.0"),
        ("noisy_observation", {"noise": math.nan}, "`noise` must be at least 0 and finite, got nan"),
        ("noisy_observation", {"noise": math.inf}, "`noise` must be at least 0 and finite, got inf"),
        ("transform_reward", {"noise": math.inf}, "`noise` must be at least 0 and finite, got inf"),
        ("normalise_observation", {"mean": (1.0, 2.0)}, "`mean` must be one finite number or one an entry"),
        ("normalise_observation", {"scale": 0.0}, "`scale` must be positive, got 0.0"),
        ("normalise_observation", {"scale": math.inf}, "`scale` must be one finite number"),
        ("normalise_observation", {"bound": math.nan}, "`bound` must be positive, got nan"),
        ("transform_reward", {"low": 1.0, "high": 0.0}, "`low` must be at most `high`, got 1.0 and 0.0"),
        ("transform_reward", {"scale": math.nan}, "`scale` must be finite, got nan"),
        ("potential_shaping", {}, "`potential` must be a function of state and params, got None"),
        ("potential_shaping", {"potential": abs, "gamma": 2.0}, r"`gamma` must lie in \[0, 1\], got 2.0"),
        ("potential_shaping", {"potential": abs, "gamma": "0.9"}, "`gamma` must be a number, got '0.9'"),
        ("noisy_observation", {"noise": "a"}, "`noise` must be a number, got 'a'"),
        ("sticky_actions", {"probability": None}, "`probability` must be a number, got None"),
        ("transform_reward", {"scale": "2"}, "`scale` must be a number, got '2'"),
        ("transform_reward", {"low": None}, "`low` must be a number, got None"),
        ("normalise_observation", {"mean": "0"}, "`mean` must be a number, got '0'"),
        ("normalise_observation", {"scale": (1, 1, "a", 1)}, "an entry of `scale` must be a number, got 'a'"),
        ("normalise_observation", {"bound": "a"}, "`bound` must be a number, got 'a'"),
        ("discretise_observation", {"bins": 5}, "`bins` must be a tuple, got 5"),
        ("discretise_observation", {"bins": (2, 2, 2, 0)}, "`bins` must be at least 1, got 0"),
        (
            "discretise_observation",
            {"bins": (2,) * 4, "low": ("a",) * 4},
            "an entry of `low` must be a number",
        ),
        ("partial_observation", {"keep": 1}, "`keep` must be a tuple, got 1"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        wrap(CARTPOLE, CARTPOLE.default_params(), name, **options)


def test_observations_that_do_not_fit_are_refused():
    for wrapper, message in (
        (FrameStack, "`env` must have arrays to stack, got Discrete"),
        (NormaliseObservation, "`env` must have a Box of observations, got Discrete"),
        (TimeAwareObservation, "`env` must have a vector of observations, got Discrete"),
        (NoisyObservation, "`env` must have a Box of float32 observations, got Discrete"),
    ):
        with pytest.raises(ValueError, match=message):
            wrapper(LAKE)


def test_action_masks_are_observed_beside_the_rest():
    """After every step the mask is that of the state reached; a `Dict` gets one entry more."""
    taxi, params = envs.make("Taxi-v1")
    env = ActionMaskObservation(taxi)
    first, (states, steps) = play(env, params, np.array([0, 2, 3, 1, 4, 5]))
    masks = jax.vmap(lambda state: taxi.action_mask(state, params))(states)
    np.testing.assert_array_equal(steps.obs["action_mask"], masks)
    assert not masks.all() and env.observation_space(params).contains(first)
    check_env(env, num_envs=4, num_steps=16)
    twice = ActionMaskObservation(env)
    assert sorted(twice.reset(jax.random.key(0), params)[1]) == ["action_mask", "obs"]
    with pytest.raises(ValueError, match="`env` must have an action mask, got 'CartPole-v1' without one"):
        ActionMaskObservation(CARTPOLE)
