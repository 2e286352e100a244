"""Late actions and pushes, against loops written out."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.physics import DelayedAction, Pushed, Randomized, Variation, fields, probe
from envs.testing import check_env
from envs.wrappers import (
    DiscretiseObservation,
    FrameStack,
    NoisyObservation,
    NormaliseObservation,
    PotentialShaping,
    StickyActions,
    TransformReward,
)

PENDULUM, PARAMS = envs.make("Pendulum-v1")
CARTPOLE, _ = envs.make("CartPole-v1")


def play(env, params, actions):
    state, _ = env.reset(jax.random.key(0), params)

    def step(state, action):
        state, out = env.step(jax.random.key(1), state, action, params)
        return state, out.obs

    return np.asarray(jax.lax.scan(step, state, actions)[1])


@pytest.mark.parametrize(("latency", "whole", "share"), [(0.0, 0, 0.0), (2.0, 2, 0.0), (1.25, 1, 0.25)])
def test_an_action_is_done_so_many_steps_after_it_was_chosen(latency, whole, share):
    actions = jnp.array([2.0, -2.0, 1.0, 0.5, -1.5, 2.0])[:, None]
    env = DelayedAction(PENDULUM, latency=latency, max_latency=3)
    queue, done = deque([jnp.zeros(1)] * 5, maxlen=5), []
    for action in actions:
        queue.appendleft(action)
        done.append((1 - share) * queue[whole] + share * queue[whole + 1])
    expected = play(PENDULUM, PARAMS, jnp.stack(done))
    np.testing.assert_allclose(play(env, env.default_params(), actions), expected, atol=1e-6)


@pytest.mark.parametrize(("latency", "whole"), [(0.4, 0), (0.6, 1), (2.0, 2)])
def test_a_discrete_action_is_the_nearest_one(latency, whole):
    actions = jnp.array([1, 0, 1, 1, 0, 0], jnp.int32)
    env = DelayedAction(CARTPOLE, latency=latency)
    done = jnp.concatenate([jnp.zeros(whole, jnp.int32), actions[: len(actions) - whole]])
    expected = play(CARTPOLE, CARTPOLE.default_params(), done)
    np.testing.assert_allclose(play(env, env.default_params(), actions), expected, atol=1e-6)


def test_a_latency_beyond_what_is_kept_is_the_most_that_is():
    env, actions = DelayedAction(PENDULUM, max_latency=2), jnp.ones((5, 1))
    params = env.default_params()
    late, most = (params.replace(values={"latency": jnp.float32(x)}) for x in (7.0, 2.0))
    np.testing.assert_array_equal(play(env, late, actions), play(env, most, actions))


def test_a_push_of_zero_leaves_the_world_alone():
    actions = jnp.ones((10, 1))
    env = Pushed(PENDULUM, push=0.0, probability=1.0)
    np.testing.assert_array_equal(play(env, env.default_params(), actions), play(PENDULUM, PARAMS, actions))


def test_pushes_have_the_size_and_the_frequency_that_they_are_said_to_have():
    env = Pushed(FrameStack(PENDULUM, count=2), push=0.5, probability=0.25)
    params = env.default_params()
    state, _ = env.reset(jax.random.key(0), params)
    calm = state.env.velocity

    def velocity(key):
        return env.step(key, state, jnp.zeros(1), params)[0].env.velocity

    after = jax.vmap(velocity)(jax.random.split(jax.random.key(1), 8000))
    kicks = np.asarray(
        after - env.env.step(jax.random.key(0), state, jnp.zeros(1), params.env)[0].env.velocity
    )
    assert np.isfinite(calm)
    moved = np.abs(kicks) > 1e-6
    assert moved.mean() == pytest.approx(0.25, abs=0.02)
    assert kicks[moved].std() == pytest.approx(0.5, rel=0.05)
    assert kicks[moved].mean() == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", ["PlanarHopper-v1", "PointRobot-v1", "Reacher-v1"])
def test_a_push_moves_what_can_be_moved(name):
    env, _ = envs.make(name)
    assert fields.world(env) in fields.VELOCITIES
    pushed = Randomized(Pushed(env, probability=1.0), (Variation("push", 0.0, 0.5, how="set"),))
    assert probe(pushed, num_steps=4)["push"] > 1e-3


def test_a_push_beyond_all_measure_leaves_an_acrobot_sound():
    """Its step squares velocities four times in a row, and the clipping of velocities comes after that."""
    env = Pushed(envs.make("Acrobot-v1")[0], push=1e6, probability=1.0)
    params = env.default_params()
    state, _ = env.reset(jax.random.key(0), params)

    def step(state, key):
        state, out = env.step(key, state, jnp.int32(1), params)
        return state, (out.obs, out.reward)

    _, played = jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 200))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(played))


@pytest.mark.parametrize("env", [DelayedAction(CARTPOLE, latency=1.0), Pushed(PENDULUM, push=0.1)])
def test_they_are_environments_like_any_other(env):
    check_env(env, num_envs=4, num_steps=64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DelayedAction(PENDULUM, max_latency=0), "`max_latency` must be at least 1"),
        (lambda: DelayedAction(PENDULUM, latency=5.0), "`latency` must be from 0 to max_latency = 4"),
        (lambda: DelayedAction(PENDULUM, latency=float("nan")), "`latency` must be from 0"),
        (lambda: DelayedAction(PENDULUM, latency="a"), "`latency` must be a number, got 'a'"),
        (lambda: Pushed(PENDULUM, push=-1.0), "`push` must be at least 0"),
        (lambda: Pushed(PENDULUM, push="a"), "`push` must be a number, got 'a'"),
        (lambda: Pushed(PENDULUM, probability=None), "`probability` must be a number, got None"),
        (lambda: Pushed(PENDULUM, probability=1.5), r"`probability` must lie in \[0, 1\]"),
        (lambda: Pushed(PENDULUM, where="velocity"), r"`where` must be a sequence .*, got 'velocity'"),
        (lambda: Pushed(PENDULUM, where=5), "`where` must be a sequence of paths of velocities .*, got 5"),
        (lambda: Pushed(PENDULUM, where=("nope",)), "no 'nope': there are only angle, velocity"),
        (lambda: Pushed(PENDULUM, where=("velocity:0",)), "'velocity:0' takes a column of velocity"),
        (lambda: Pushed(PENDULUM, where=("t",)), "`where` must hold paths of arrays of floats, got 't'"),
        (lambda: Pushed("Pendulum-v1"), "`env` must be an environment, .*, got 'Pendulum-v1'"),
        (lambda: Pushed(type(PENDULUM)), "`env` must be an environment"),
        (lambda: DelayedAction("Pendulum-v1"), "`env` must be an environment, .*, got 'Pendulum-v1'"),
        (lambda: DelayedAction(type(PENDULUM)), "`env` must be an environment"),
        (lambda: Pushed(envs.make("Catch-bsuite-v1")[0]), "`where` must name the velocities"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("env", "values", "message"),
    [
        (DelayedAction(PENDULUM), {"latency": np.nan}, "`latency` must be from 0 to 4, got nan"),
        (DelayedAction(PENDULUM), {"latency": -5}, "`latency` must be from 0 to 4, got -5"),
        (DelayedAction(PENDULUM), {"latency": [1, 2]}, r"`latency` must be one number, .* shape \(2,\)"),
        (Pushed(PENDULUM), {"push": -3, "probability": 7}, "`push` must be at least 0 and finite, got -3"),
        (Pushed(PENDULUM), {"push": np.nan}, "`push` must be at least 0 and finite, got nan"),
        (Pushed(PENDULUM), {"push": np.inf}, "`push` must be at least 0 and finite, got inf"),
        (Pushed(PENDULUM), {"probability": 7}, "`probability` must be from 0 to 1, got 7"),
    ],
)
def test_their_numbers_are_checked_with_the_params(env, values, message):
    params = env.default_params()
    env.check_params(params)
    bad = params.replace(values=params.values | {k: jnp.asarray(x, jnp.float32) for k, x in values.items()})
    outer = Randomized(env, (Variation("mass", 0.5, 2.0),))
    for asked, given in ((env, bad), (FrameStack(env), bad), (outer, outer.wrap_params(bad))):
        with pytest.raises(ValueError, match=message):
            asked.check_params(given)
    if not any(map(np.ndim, values.values())):
        jax.eval_shape(env.check_params, bad)  # what is traced passes


@pytest.mark.parametrize(
    ("env", "values", "message"),
    [
        (NoisyObservation(PENDULUM), {"noise": -1}, "`noise` must be at least 0 and finite, got -1"),
        (StickyActions(PENDULUM), {"probability": 2}, "`probability` must be from 0 to 1, got 2"),
        (TransformReward(PENDULUM), {"scale": np.inf}, "`scale` must be finite, got inf"),
        (TransformReward(PENDULUM), {"high": np.nan}, "`high` must be no NaN, got nan"),
        (TransformReward(PENDULUM, high=1.0), {"low": 2}, "`low` must be at most `high`, got 2.0 and 1.0"),
        (PotentialShaping(PENDULUM, lambda state, params: 0.0), {"gamma": 2}, "`gamma` must be from 0 to 1"),
        (NormaliseObservation(PENDULUM), {"scale": [1, 0, 1]}, "`scale` must be positive, got"),
        (
            DiscretiseObservation(PENDULUM, (2, 2, 2)),
            {"low": [0, 0, 9]},
            "`low` must be less than `high`, got",
        ),
    ],
)
def test_so_are_those_of_the_other_wrappers(env, values, message):
    params = env.default_params()
    env.check_params(params)
    bad = params.replace(values=params.values | {k: jnp.asarray(x, jnp.float32) for k, x in values.items()})
    with pytest.raises(ValueError, match=message):
        env.check_params(bad)
    jax.eval_shape(env.check_params, bad)


def test_the_params_of_the_world_are_not_those_of_the_wrapper():
    env = DelayedAction(PENDULUM)
    with pytest.raises(ValueError, match=r"`params` must be those of DelayedAction.*, got PendulumParams"):
        env.check_params(PARAMS)
    with pytest.raises(ValueError, match=r"`params` must be .* got WrappedParams with probability, push"):
        env.check_params(Pushed(PENDULUM).default_params())
    with pytest.raises(ValueError, match=r"^`mass` must be positive"):
        env.check_params(env.wrap_params(PARAMS.replace(mass=-PARAMS.mass)))
