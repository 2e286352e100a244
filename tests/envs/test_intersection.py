"""The junction against steps worked by hand, a slow loop over cars, and what its numbers must sum to."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.traffic import REWARDS, TERMS, Intersection, RewardWeights, trip_left, weights
from envs.traffic import intersection as junction
from envs.wrappers import PotentialShaping

ENV = Intersection()
PARAMS = ENV.default_params()
QUIET = PARAMS.replace(car_rates=jnp.zeros(2), walker_rates=jnp.zeros(2))
HARD, SOFT, ROLL, SOME, MORE = range(5)
STEP = jax.jit(ENV.step)
START = jax.jit(ENV.reset)(jax.random.key(0), PARAMS)[0]
GREEN, YELLOW, RED = 0.0, 10.5, 14.0  # s into the cycle, as offsets of a clock that is 0


def f32(value):
    return jnp.asarray(value, jnp.float32)


def at(position, speed, offset=GREEN, **changes):
    return START.replace(position=f32(position), speed=f32(speed), offset=f32(offset), **changes)


def with_cars(east=(), west=()):
    cars = np.full((2, ENV.num_cars), junction.ENTRY, np.float32)
    cars[0, : len(east)], cars[1, : len(west)] = east, west
    return {"cars": jnp.asarray(cars), "count": jnp.array([len(east), len(west)], jnp.int32)}


def on_foot(near=-1.0, far=-1.0):
    return {"walked": jnp.array([near, far], jnp.float32)}


def step(state, action, params=QUIET, key=0):
    state, out = STEP(jax.random.key(key), state, action, params)
    return state, out, {name: float(value) for name, value in out.metrics.items()}


def play(params, actions, key):
    """All states and steps of a walk of fixed length, whatever its ends."""
    key_reset, key_steps = jax.random.split(key)
    first, _ = ENV.reset(key_reset, params)

    def one(state, inputs):
        after, out = ENV.step(inputs[0], state, inputs[1], params)
        return after, (state, after, out)

    keys = jax.random.split(key_steps, actions.shape[0])
    return jax.lax.scan(one, first, (keys, actions))[1]


@pytest.fixture(scope="module")
def played():
    """States before, states after and steps of 32 random walks among many others, `[32, 150]`."""
    busy = PARAMS.replace(car_rates=jnp.array([0.5, 0.3]), walker_rates=jnp.array([0.3, 0.3]))
    actions = jax.random.randint(jax.random.key(1), (32, 150), 0, 5)
    actions = actions.at[16:].set(actions[16:] % 3 + 2)  # these never brake
    keys = jax.random.split(jax.random.key(2), 32)
    return jax.device_get(jax.jit(jax.vmap(play, (None, 0, 0)))(busy, actions, keys))


# The car --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speed", "action", "new_speed", "moved"),
    [
        (5.0, MORE, 6.0, 2.75),
        (5.0, SOME, 5.5, 2.625),
        (5.0, ROLL, 5.0, 2.5),
        (5.0, SOFT, 4.0, 2.25),
        (5.0, HARD, 3.0, 2.0),
        (1.0, HARD, 0.0, 0.25),  # to rest first ...
        (0.0, HARD, -2.0, -0.5),  # ... then backwards
        (-0.5, MORE, 0.0, -0.125),
        (14.5, MORE, 15.0, 7.375),
        (-4.0, HARD, -5.0, -2.25),
    ],
)
def test_a_step_of_the_car_worked_by_hand(speed, action, new_speed, moved):
    state, out, metrics = step(at(-50.0, speed), action)
    assert float(state.speed) == pytest.approx(new_speed)
    assert float(state.position) == pytest.approx(-50.0 + moved)
    assert metrics["progress"] == pytest.approx(moved)
    assert metrics["forward"] == pytest.approx(max(moved, 0.0))
    assert metrics["discomfort"] == pytest.approx((new_speed - speed) ** 2 / 0.5)
    assert metrics["speeding"] == pytest.approx(max(new_speed - 10.0, 0.0) * 0.5)
    assert metrics["time"] == 0.5 and not out.terminated


def test_nothing_leads_back_beyond_the_roads_start():
    state, _, metrics = step(at(-79.0, -5.0), HARD)
    assert (float(state.position), float(state.speed)) == (-80.0, 0.0)
    assert metrics["progress"] == -1.0


# The light ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "phase", "change"),
    [
        (0.0, 0, 10.0),
        (9.5, 0, 0.5),
        (10.0, 1, 3.0),
        (13.0, 2, 17.0),
        (15.0, 3, 15.0),
        (25.0, 4, 5.0),
        (28.0, 5, 2.0),
        (29.5, 5, 0.5),
        (30.0, 0, 10.0),
        (73.0, 2, 17.0),
    ],
)
def test_the_signal_follows_its_timetable(second, phase, change):
    for state in (at(0, 0, offset=second % 30), at(0, 0, t=jnp.int32(2 * second))):
        seen, left = junction.signal(state, PARAMS)
        assert (int(seen), float(left)) == (phase, pytest.approx(change))


@pytest.mark.parametrize(("offset", "runs"), [(GREEN, 0), (YELLOW, 0), (RED, 1), (28.5, 1)])
def test_the_line_may_be_crossed_on_all_but_red(offset, runs):
    assert step(at(-1.0, 4.0, offset), ROLL)[2]["red_light"] == runs
    assert step(at(1.0, -4.0, offset), ROLL)[2]["red_light"] == 0, "backwards"
    assert step(at(-3.0, 4.0, offset), ROLL)[2]["red_light"] == 0, "not reached"


@pytest.mark.parametrize(
    ("position", "speed", "offset", "seconds"),
    [
        (-3.0, 0.0, RED, 0.5),
        (-3.0, 0.0, GREEN, 0),
        (-3.0, 3.0, RED, 0),
        (-12.0, 0.0, RED, 0),
        (1.0, 0.0, RED, 0),
    ],
)
def test_waiting_counts_at_the_line_on_red(position, speed, offset, seconds):
    assert step(at(position, speed, offset), ROLL)[2]["waiting"] == seconds


# Others ---------------------------------------------------------------------------------------------------


def slow_stream(steps, greens, wants, slots):
    """One stream as a list of cars, an independent loop: positions after every step."""
    road, history = [], []
    for green, wanted in zip(greens, wants, strict=True):
        before, after = list(road), []
        for i, front in enumerate(before):
            reach = front + 4.0
            if i > 0:
                reach = min(reach, before[i - 1] - 7.0)
            if front <= 0 and not green:
                reach = min(reach, 0.0)
            after.append(max(front, reach))
        road = [front for front in after if front <= 45.0]
        if wanted and len(road) < slots and (not road or road[-1] >= -33.0):
            road.append(-40.0)
        history.append(list(road))
    assert len(history) == steps
    return history


@pytest.mark.parametrize("seed", [0, 1])
def test_cross_traffic_equals_a_loop_over_a_list_of_cars(seed):
    rng = np.random.default_rng(seed)
    wants = rng.uniform(size=200) < (0.2, 0.9)[seed]
    greens = (np.arange(200) // 20) % 2 == 1

    @jax.jit
    def run(wants, greens):
        def one(carry, inputs):
            front, count, _ = junction.flow(*carry, *inputs, f32([10.1, 11.9]), PARAMS)
            return (front, count), (front, count)

        start = (jnp.full(ENV.num_cars, junction.ENTRY), jnp.int32(0))
        return jax.lax.scan(one, start, (wants, greens))[1]

    fronts, counts = jax.device_get(run(wants, greens))
    expected = slow_stream(200, greens, wants, ENV.num_cars)
    assert max(map(len, expected)) >= 3
    for front, count, cars in zip(fronts, counts, expected, strict=True):
        np.testing.assert_allclose(front[:count], cars)


def test_cars_are_conserved_keep_their_distance_and_stop_for_their_light(played):
    before, after, _ = played
    slot = np.arange(ENV.num_cars)
    leaves = (before.count > 0) & (before.cars[..., 0] + 4.0 > junction.EXIT)
    there = slot < after.count[..., None]
    newest = np.take_along_axis(after.cars, np.maximum(after.count - 1, 0)[..., None], -1)[..., 0]
    enters = (after.count > 0) & (newest == junction.ENTRY)
    np.testing.assert_array_equal(after.count, before.count - leaves + enters)
    assert leaves.sum() > 100 and abs(int(enters.sum() - leaves.sum()) - int(after.count[:, -1].sum())) == 0
    gaps = after.cars[..., :-1] - after.cars[..., 1:]
    assert (gaps[there[..., 1:]] >= junction.SPACING).all()
    phase = np.asarray(jax.vmap(jax.vmap(lambda state: junction.signal(state, PARAMS)[0]))(before))
    crossed = (before.cars[..., 0] <= 0) & (after.cars[..., 0] > 0) & (before.count > 0) & ~leaves
    assert crossed.any() and (phase[..., None] == junction.CROSS_GREEN)[crossed.any(-1)].all()


@pytest.mark.parametrize(
    ("position", "cars", "hit"),
    [
        (8.0, {"east": (9.0,)}, 1),  # 9 to 13 m: its body reaches the path at 10.1
        (8.0, {"east": (5.0,)}, 0),  # 5 to 9 m
        (8.0, {"east": (16.5,)}, 0),  # its tail has left at 11.9
        (8.0, {"east": (16.0,)}, 1),
        (8.0, {"west": (4.0,)}, 0),  # the car has not come to the westbound lane
        (11.0, {"west": (4.0,)}, 1),
        (17.0, {"west": (4.0,)}, 0),  # the tail, at 12.5, has left it
        (4.0, {"east": (9.0,)}, 0),
    ],
)
def test_a_collision_is_two_bodies_on_the_same_ground(position, cars, hit):
    state, out, metrics = step(at(position, 0.0, **with_cars(**cars)), ROLL)
    assert metrics["collision"] == metrics["cost"] == hit == int(state.violations)
    assert bool(out.terminated) == bool(hit) and metrics["performance"] == 0


def test_a_fast_car_cannot_jump_through_another():
    assert step(at(2.0, 15.0, **with_cars(east=(9.0,))), ROLL)[2]["collision"] == 1


@pytest.mark.parametrize(
    ("position", "speed", "walked", "yields", "hit"),
    [
        (0.5, 2.0, 6.0, 0, 0),  # entered, but she has passed the car's lane
        (0.5, 2.0, 1.0, 0, 1),
        (0.5, 0.0, 1.0, 1, 0),  # waits before the crosswalk
        (2.0, 2.0, 6.0, 1, 0),  # was on it already
        (18.5, 2.0, None, 0, 0),
        (18.5, 2.0, 5.0, 0, 1),
        (18.0, 0.0, 5.0, 1, 0),
    ],
)
def test_who_walks_goes_first(position, speed, walked, yields, hit):
    people = on_foot(near=walked) if position < 10 else on_foot(far=3.0 if walked is None else walked)
    _, out, metrics = step(at(position, speed, **people), ROLL)
    assert metrics["failure_to_yield"] == 1 - yields and metrics["collision"] == hit
    assert bool(out.terminated) == bool(hit)


def test_who_walks_crosses_in_twelve_steps_and_leaves():
    state, ways = at(-50.0, 0.0, **on_foot(near=0.0)), []
    for _ in range(12):
        state, _, _ = step(state, ROLL)
        ways.append(round(float(state.walked[0]), 1))
    assert ways == [0.7, 1.4, 2.1, 2.8, 3.5, 4.2, 4.9, 5.6, 6.3, 7.0, 7.7, -1.0]


@pytest.mark.parametrize(
    ("position", "speed", "near", "far"),
    [
        (-50.0, 10.0, 1, 1),
        (-10.0, 10.0, 0, 1),
        (0.0, 0.0, 1, 1),
        (0.5, 0.0, 0, 1),
        (3.0, 0.0, 0, 1),
        (8.6, 0.0, 1, 1),
        (8.4, 0.0, 0, 1),
        (17.0, 5.0, 1, 0),
        (27.0, 5.0, 1, 1),
    ],
)
def test_nobody_sets_off_where_the_car_cannot_stop(position, speed, near, far):
    eager = QUIET.replace(walker_rates=jnp.array([2.0, 2.0]))
    state, _, _ = step(at(position, speed), ROLL, eager)
    assert ((state.walked >= 0).tolist()) == [bool(near), bool(far)]


def test_hard_braking_after_a_second_always_yields():
    """From every distance and speed, with somebody setting off at the worst moment."""
    eager = PARAMS.replace(walker_rates=jnp.array([2.0, 2.0]), car_rates=jnp.zeros(2))

    @jax.jit
    @jax.vmap
    def drives(position, speed):
        state = START.replace(position=position, speed=speed, offset=f32(GREEN))

        def one(state, _):
            seen = jnp.any((state.walked >= 0) & (state.position <= f32([1.0, 19.0])))
            action = jnp.where(seen, jnp.where(state.speed > 0, HARD, ROLL), MORE)
            state, out = ENV.step(jax.random.key(0), state, action, eager)
            return state, (out.metrics["failure_to_yield"], seen)

        return jax.lax.scan(one, state, length=8)[1]

    position, speed = np.meshgrid(np.linspace(-30, 18, 97), np.linspace(0, 14, 29))
    fails, seen = drives(f32(position.ravel()), f32(speed.ravel()))
    assert int(seen.any(-1).sum()) > 1000 and float(fails.sum()) == 0


# The reward -----------------------------------------------------------------------------------------------


def test_the_terms_times_their_weights_sum_to_the_reward(played):
    _, _, out = played
    total = sum(float(getattr(PARAMS.weights, name)) * out.metrics[name] for name in TERMS)
    np.testing.assert_allclose(out.reward, total, atol=1e-5)
    for name in TERMS:
        assert np.ptp(out.metrics[name]) > 0 or name in ("arrival", "time"), name
    np.testing.assert_allclose(
        out.metrics["cost"], sum(out.metrics[n] for n in ("collision", "red_light", "failure_to_yield"))
    )


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_pays_for_its_own_term_only(name):
    only = dict.fromkeys(TERMS, 0.0) | {name: 2.0}
    params = QUIET.replace(weights=weights("sparse", **only))
    _, out, metrics = step(at(-0.5, 12.0, RED, **on_foot(near=6.0)), SOME, params)
    assert float(out.reward) == pytest.approx(2 * metrics[name])


def test_a_trip_without_violation_performs_and_one_through_red_does_not():
    for offset, performs in ((GREEN, 1.0), (RED, 0.0)):
        state, returned, metrics = at(-5.0, 10.0, offset), 0.0, {}
        for _ in range(9):
            state, out, metrics = step(state, ROLL)
            returned += float(out.reward)
        assert metrics["arrival"] == 1 and out.terminated and metrics["performance"] == performs
        paid = 2.0 + 45 * 0.05 - 4.5 * 0.03 - 3.0 * (1 - performs)
        assert returned == pytest.approx(paid, abs=1e-4)


def test_no_fine_is_worth_the_time_that_it_saves():
    w = {name: float(x) for name, x in vars(PARAMS.weights).items()}
    longest = -w["time"] * float(PARAMS.time_step) * int(PARAMS.max_steps)
    assert longest < min(-w["red_light"], -w["failure_to_yield"], -w["collision"])
    assert w["forward"] == w["waiting"] == 0


def test_weights_are_traced_and_mapped_over():
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *(weights("dense", time=t) for t in (-1.0, -2.0)))
    batch = PARAMS.replace(weights=stacked)
    axes = jax.tree.map(lambda x: None, PARAMS).replace(weights=jax.tree.map(lambda x: 0, PARAMS.weights))
    state = at(-50.0, 0.0)
    _, out = jax.vmap(ENV.step, (None, None, None, axes))(jax.random.key(0), state, ROLL, batch)
    np.testing.assert_allclose(out.reward, [-0.5, -1.0])


def test_shaping_telescopes_over_a_trip():
    sparse = Intersection(reward="sparse")
    env = PotentialShaping(sparse, potential=trip_left, gamma=1.0)
    params = env.wrap_params(QUIET.replace(weights=weights("sparse")))
    start = state = at(-60.0, 10.0)
    shaped_step = jax.jit(env.step)
    rewards, plain = [], []
    for _ in range(20):
        state, out = shaped_step(jax.random.key(0), state, ROLL, params)
        rewards.append(float(out.reward))
        plain.append(float(out.metrics["arrival"] - out.metrics["cost"]))
    assert out.terminated and sum(plain) == 1.0 and plain[-1] == 1.0
    assert sum(rewards) == pytest.approx(1.0 - float(trip_left(start, params.env)), abs=1e-5)
    assert rewards[:-1] == pytest.approx([0.05] * 19, abs=1e-5), "5 of 100 m a step"


# Options --------------------------------------------------------------------------------------------------


def test_unknown_rewards_terms_and_sizes_are_refused():
    with pytest.raises(ValueError, match="did you mean 'sparse'"):
        envs.make("Intersection-v1", reward="sparce")
    with pytest.raises(ValueError, match="did you mean 'red_light'"):
        weights("dense", redlight=1.0)
    with pytest.raises(ValueError, match=re.escape("`num_cars` must be at least 1, got 0")):
        envs.make("Intersection-v1", num_cars=0)


def test_rewards_name_terms_only():
    assert all(set(named) <= set(TERMS) for named in REWARDS.values())
    assert all(x.dtype == jnp.float32 and x.shape == () for x in jax.tree.leaves(weights()))
    assert isinstance(weights(), RewardWeights)


def test_text_and_picture_show_the_same_scene():
    state = at(-10.0, 5.0, RED, **with_cars(east=(5.0, -2.0), west=(20.0,)), **on_foot(near=4.0))
    text = ENV.ascii(state, PARAMS)
    assert text.startswith("red for 16.0 s, 5.0 m/s")
    body = text.split("\n", 1)[1]
    assert [body.count(letter) for letter in "A><o"] == [1, 2, 1, 1]
    picture = ENV.frame(state, PARAMS)
    assert picture.shape == (560, 360, 3)
    emptier = ENV.frame(state.replace(count=jnp.zeros(2, jnp.int32)), PARAMS)
    assert (picture != emptier).any()
