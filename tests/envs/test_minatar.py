"""The MinAtar games against MinAtar itself (recorded by `record_minatar.py`), and what is ours about them."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.minatar.asterix import Asterix, AsterixDraws
from envs.minatar.breakout import Breakout
from envs.minatar.freeway import Freeway
from envs.minatar.game import FIRE, LEFT, RIGHT
from envs.minatar.seaquest import Seaquest, SeaquestDraws
from envs.minatar.space_invaders import SpaceInvaders
from envs.vector import VecEnv

RECORD = Path(__file__).parent / "data" / "minatar.npz"
GAMES = {
    "asterix": Asterix(),
    "breakout": Breakout(),
    "freeway": Freeway(),
    "seaquest": Seaquest(),
    "space_invaders": SpaceInvaders(),
}


# Step by step as MinAtar takes them ----------------------------------------------------------------------


def start(env, name, draws, hard):
    """Return the game's first state under the recorded draws, as hard as `make_hard` made MinAtar's."""
    game = env.start(jnp.broadcast_to(draws[0].astype(jnp.uint32) << 31, (2,)))
    if name == "freeway":
        game = game.replace(car_speed=draws, car_wait=jnp.abs(draws))
    changes = {
        "asterix": {
            "spawn_wait": hard[0],
            "spawn_period": hard[0],
            "move_wait": hard[1],
            "move_period": hard[1],
            "level": jnp.int32(7),
        },
        "seaquest": {
            "spawn_wait": hard[0],
            "spawn_period": hard[0],
            "move_period": jnp.int32(2),
            "level": jnp.int32(19),
            "rescued": hard[1],
        },
        "space_invaders": {"move_wait": hard[0], "move_period": hard[0]},
    }
    harder = game.replace(**changes.get(name, {}))
    return jax.tree.map(lambda a, b: jnp.where(hard[0] >= 0, a, b), harder, game)


def draws_of(name, row):
    if name == "asterix":
        return AsterixDraws(right=row[0] != 0, gold=row[1] != 0, lane=row[2].astype(jnp.uint32))
    if name == "seaquest":
        return SeaquestDraws(row[0] != 0, row[1] != 0, row[2], row[3] != 0, row[4])
    return row if name == "freeway" else ()


@partial(jax.jit, static_argnums=0)
def replay(name, first, action, draws, first_draws, hard):
    """Return rewards, ends, observations, and what was observed before, for every recorded step."""
    env = GAMES[name]
    params = env.default_params()

    def step(carry, now):
        first, action, draws, first_draws, hard = now
        fresh = start(env, name, first_draws, hard)
        game, t = jax.tree.map(lambda a, b: jnp.where(first, a, b), (fresh, jnp.int32(0)), carry)
        before = env.observe(game)
        game, reward, over = env.advance(game, action, draws_of(name, draws), t, params)
        if env.limit_terminates:
            over |= t + 1 >= params.max_steps
        return (game, t + 1), (reward, over, env.observe(game), before)

    initial = (start(env, name, first_draws[0], hard[0]), jnp.int32(0))
    return jax.lax.scan(step, initial, (first, action, draws, first_draws, hard))[1]


def compare(name, record):
    """Check that our game gives what MinAtar gave, at every step, under the same actions and chance."""
    first, action, reward, over = record[f"{name}/meta"].T
    draws, frames, firsts = (record[f"{name}/{key}"] for key in ("draws", "frames", "firsts"))
    game = np.cumsum(first) - 1
    first_draws, hard = (record[f"{name}/{key}"][game].astype(np.int32) for key in ("first_draws", "hard"))
    seen = replay(name, first == 1, action.astype(np.int32), draws.astype(np.int32), first_draws, hard)
    rewards, ends, obs, before = (np.asarray(x) for x in seen)

    def bits(packed):
        return np.unpackbits(packed, axis=1)[:, : obs[0].size].reshape(-1, *obs.shape[1:]) != 0

    np.testing.assert_array_equal(before[first == 1], bits(firsts))
    wrong = (rewards != reward) | (ends != (over == 1)) | (obs != bits(frames)).any((1, 2, 3))
    assert not wrong.any(), f"step {wrong.argmax()} of {len(wrong)}, {wrong.sum()} in all"
    return rewards, ends, obs


@pytest.mark.parametrize("name", GAMES)
def test_every_step_is_that_of_minatar(name):
    with np.load(RECORD) as record:
        rewards, ends, obs = compare(name, record)
    # What was recorded must hold enough to tell a fault: rewards, ends, and everything that can be seen.
    assert rewards.sum() > 20 and ends.any()
    assert obs.any((0, 1, 2)).all()
    if name == "seaquest":
        assert rewards.max() > 5, "no six divers were brought home"
        assert obs[..., 5:7].sum((1, 2, 3)).max() > 12, "few enemies at once"


def test_a_wrong_step_is_seen():
    with np.load(RECORD) as stored:
        record = dict(stored)
    record["asterix/meta"] = record["asterix/meta"].copy()
    record["asterix/meta"][1000, 2] += 1
    with pytest.raises(AssertionError, match="step 1000 of"):
        compare("asterix", record)


# Chance --------------------------------------------------------------------------------------------------


def chi_square(seen, num):
    counts = np.bincount(np.asarray(seen).ravel().astype(int), minlength=num)
    expected = counts.sum() / num
    return ((counts - expected) ** 2 / expected).sum() / (num - 1)


def test_draws_have_the_published_probabilities():
    words = jax.random.bits(jax.random.key(0), (20_000, 3), jnp.uint32)
    speed = jax.vmap(Freeway().draw)(words[:, :2])
    assert chi_square(jnp.where(speed < 0, speed + 5, speed + 4), 10) < 3
    assert chi_square((speed[:, 0] > 0) * 2 + (speed[:, 1] > 0), 4) < 4
    thing = jax.vmap(Asterix().draw)(words[:, :2])
    assert chi_square(thing.right, 2) < 10
    assert abs(float(thing.gold.mean()) - 1 / 3) < 0.015
    assert abs(float(thing.gold[thing.right].mean()) - 1 / 3) < 0.02
    assert chi_square(thing.lane % 5, 5) < 4
    enemy = jax.vmap(Seaquest().draw)(words)
    assert chi_square(enemy.right * 8 + enemy.row - 1, 16) < 3
    assert chi_square(enemy.diver_right * 8 + enemy.diver_row - 1, 16) < 3
    assert abs(float(enemy.is_sub.mean()) - 1 / 3) < 0.015


def test_breakout_starts_on_either_side():
    env = Breakout()
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(
        jax.random.split(jax.random.key(0), 400), env.default_params()
    )
    assert set(np.asarray(state.game.x).tolist()) == {0, 9}
    assert 140 < int((state.game.x == 0).sum()) < 260
    np.testing.assert_array_equal(state.game.right, state.game.x == 0)


def test_asterix_fills_free_lanes_only():
    env = Asterix()
    game = env.start(jnp.zeros(0)).replace(
        there=jnp.arange(8) % 2 == 0,
        thing_x=jnp.full(8, 4, jnp.int32),
        spawn_wait=jnp.int32(0),
        y=jnp.int32(8),
    )

    def lanes(lane):
        draws = AsterixDraws(right=jnp.bool_(True), gold=jnp.bool_(False), lane=lane)
        after, _, _ = env.advance(game, jnp.int32(0), draws, jnp.int32(0), env.default_params())
        return after.there & ~game.there

    new = np.asarray(jax.vmap(lanes)(jnp.arange(8, dtype=jnp.uint32)))
    np.testing.assert_array_equal(new.argmax(1), [1, 3, 5, 7, 1, 3, 5, 7])
    assert (new.sum(1) == 1).all()


@partial(jax.jit, static_argnums=0)
def share_stuck(env, params):
    """Return how often the first step does nothing when it is asked to go right."""
    state, _ = env.reset(jax.random.key(0), params)
    step = jax.vmap(lambda key: env.step(key, state, RIGHT, params)[0])
    return (step(jax.random.split(jax.random.key(1), 4000)).last_action == 0).mean()


@pytest.mark.parametrize(("probability", "repeats"), [(0.0, 0), (0.1, 0.1), (1.0, 1)])
def test_actions_stick(probability, repeats):
    env = SpaceInvaders()
    params = env.default_params().replace(sticky_action_prob=jnp.float32(probability))
    rate = float(share_stuck(env, params))
    assert abs(rate - repeats) < (0.02 if 0 < probability < 1 else 1e-9)


def test_what_sticks_is_what_was_done():
    env = SpaceInvaders()
    always = env.default_params().replace(sticky_action_prob=jnp.float32(1.0))
    state, _ = env.reset(jax.random.key(0), always)
    state, _ = env.step(jax.random.key(1), state.replace(last_action=jnp.int32(LEFT)), RIGHT, always)
    assert (int(state.game.x), int(state.last_action)) == (4, LEFT)


# Options -------------------------------------------------------------------------------------------------


def actions_done(env, actions):
    """Return what a first step does when it is asked for each of the actions, and nothing sticks."""

    @jax.jit
    def done(actions):
        params = env.default_params().replace(sticky_action_prob=jnp.float32(0.0))
        state, _ = env.reset(jax.random.key(0), params)
        step = jax.vmap(lambda action: env.step(jax.random.key(1), state, action, params)[0])
        return step(actions)

    return done(jnp.array(actions))


def test_minimal_actions_are_those_of_minatar():
    for env, num in zip(GAMES.values(), (5, 3, 3, 6, 4), strict=True):
        params = env.default_params()
        minimal = type(env)(minimal_actions=True)
        assert minimal.action_space(params).n == num == len(env.useful)
        assert env.action_space(params).n == 6
    after = actions_done(SpaceInvaders(minimal_actions=True), range(4))
    assert after.last_action.tolist() == [0, LEFT, RIGHT, FIRE]
    assert after.game.x.tolist() == [5, 4, 6, 5]


def test_ramping_is_a_parameter():
    env = Asterix()
    game = env.start(jnp.zeros(0)).replace(ramp_wait=jnp.int32(-1), level=jnp.int32(1))
    draws = env.draw(jnp.zeros(2, jnp.uint32))

    def periods(ramping):
        params = env.default_params().replace(ramping=ramping)
        after, _, _ = env.advance(game, jnp.int32(0), draws, jnp.int32(0), params)
        return jnp.stack([after.spawn_period, after.move_period, after.level])

    assert jax.vmap(periods)(jnp.array([False, True])).tolist() == [[10, 5, 1], [9, 4, 2]]


def test_limit_truncates_and_ends_freeway():
    for env in (Breakout(), Freeway()):
        params = env.default_params().replace(max_steps=jnp.int32(2))
        step = jax.jit(env.step)
        state, _ = jax.jit(env.reset)(jax.random.key(0), params)
        state, first = step(jax.random.key(1), state, 0, params)
        state, second = step(jax.random.key(2), state, 0, params)
        assert not (first.terminated or first.truncated)
        assert (bool(second.terminated), bool(second.truncated)) == (
            isinstance(env, Freeway),
            isinstance(env, Breakout),
        )


def test_an_action_out_of_range_is_the_nearest_one():
    after = actions_done(SpaceInvaders(), (0, -1, 6, 2**30))
    assert after.last_action.tolist() == [0, 0, FIRE, FIRE]
    assert (after.game.shot_wait > 0).tolist() == [False, False, True, True]


# Pictures, speed -----------------------------------------------------------------------------------------


def test_text_and_picture():
    env, params = envs.make("MinAtar-SpaceInvaders-v1")
    state, _ = env.reset(jax.random.key(0), params)
    state, _ = env.step(jax.random.key(1), state, FIRE, params.replace(sticky_action_prob=jnp.float32(0.0)))
    assert env.ascii(state, params).splitlines() == [
        *["..WWWWWW.."] * 4,
        *[".........."] * 4,
        ".....'....",
        ".....A....",
    ]
    assert env.frame(state, params).shape == (480, 480, 3)
    sea, sea_params = envs.make("MinAtar-Seaquest-v1")
    state, _ = sea.reset(jax.random.key(0), sea_params)
    assert sea.ascii(state, sea_params).splitlines()[0] == ".....Aa..."
    assert sea.ascii(state, sea_params).splitlines()[9] == "o" * 10


def test_games_without_a_random_start_are_reset_at_no_cost():
    modes = {name: VecEnv(env, 4).mode for name, env in GAMES.items()}
    assert modes == dict.fromkeys(("asterix", "seaquest", "space_invaders"), "fresh") | {
        "breakout": "pool",
        "freeway": "pool",
    }


@pytest.mark.parametrize("name", ["asterix", "seaquest", "space_invaders"])
def test_no_operation_gathers_or_branches(name):
    """A gather, a scatter or a branch on one environment's state is slow once a thousand are mapped."""
    env = GAMES[name]
    params = env.default_params()
    keys = jax.random.split(jax.random.key(0), 2)
    state, _ = jax.eval_shape(jax.vmap(env.reset, in_axes=(0, None)), keys, params)
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    program = str(jax.make_jaxpr(step)(keys, state, jnp.zeros(2, jnp.int32), params))
    for primitive in ("gather", "scatter", "cond[", "while[", "dynamic_slice", "sort["):
        assert primitive not in program
