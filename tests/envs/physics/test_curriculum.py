"""Ranges that grow: who is at a boundary, what is reported of it, and how a range moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import VecEnv
from envs.physics import ADR, LEVEL, Expandable, Randomized, Variation
from envs.physics.curriculum import boundary_names, range_entropy

PENDULUM, _ = envs.make("Pendulum-v1")
VARIATIONS = (Variation("mass", 0.8, 1.25, log=True), Variation("length", 0.9, 1.1))
LIMITS = ((0.2, 5.0), (0.5, 1.5))
ENV = Expandable(
    PENDULUM,
    VARIATIONS,
    LIMITS,
    threshold_low=-2.0,
    threshold_high=2.0,
    growth=0.1,
    min_episodes=4.0,
    boundary_fraction=0.5,
)
PARAMS = ENV.default_params()
NAMES = ["at_low_mass", "at_low_length", "at_high_mass", "at_high_length"]


def stats(episodes=0.0, **at):
    """Return an iteration's statistics: `at_low_mass=(episodes, mean return)`."""
    count = float(episodes)
    named = {"episodes": count, "episode_return": np.nan, "episode_length": np.nan}
    for name in NAMES:
        there, mean = at.get(name, (0, 0.0))
        named[f"episode_{name}"] = there / count if count else np.nan
        named[f"episode_{name}_return"] = there * mean / count if count else np.nan
    return {name: jnp.float32(x) for name, x in named.items()}


def test_half_of_the_episodes_are_lived_at_a_boundary_each_as_often():
    keys = jax.random.split(jax.random.key(0), 8000)
    drawn = jax.vmap(lambda key: ENV.draw(key, PARAMS))(keys)
    boundary, values = np.asarray(drawn.boundary), np.asarray(drawn.values)
    assert np.mean(boundary >= 0) == pytest.approx(0.5, abs=0.03)
    for i, end in enumerate((0.8, 0.9, 1.25, 1.1)):
        here = values[boundary == i]
        assert len(here) == pytest.approx(1000, abs=150)
        np.testing.assert_allclose(here[:, i % 2], end, rtol=1e-6)
        other = here[:, 1 - i % 2]
        assert len(np.unique(other)) > 500  # the others are anywhere
    inside = values[boundary < 0]
    assert (inside > [0.8, 0.9]).all() and (inside < [1.25, 1.1]).all()


def test_the_metrics_of_an_episode_say_where_it_was_lived_and_what_it_earned():
    params = PARAMS.replace(env=PARAMS.env.replace(max_steps=jnp.int32(20)))
    vec = VecEnv(ENV, 32)
    vec_state, _ = vec.reset(jax.random.key(0), params)

    def step(vec_state, key):
        boundary = vec_state.state.kept.boundary
        vec_state, out = vec.step(key, vec_state, jnp.ones((32, 1)), params)
        return vec_state, (boundary, out.episode)

    _, (boundary, episode) = jax.lax.scan(step, vec_state, jax.random.split(jax.random.key(1), 60))
    done, boundary = np.asarray(episode.done), np.asarray(boundary)
    assert boundary_names(["mass", "length"]) == NAMES and done.sum() == 96
    for i, name in enumerate(NAMES):
        there = (boundary == i)[done]
        assert 2 <= there.sum() <= 30
        np.testing.assert_array_equal(np.asarray(episode.metrics[name])[done], there)
        earned = np.where(there, np.asarray(episode.return_)[done], 0.0)
        np.testing.assert_allclose(np.asarray(episode.metrics[f"{name}_return"])[done], earned, rtol=1e-5)


def test_a_boundary_moves_when_enough_episodes_were_good():
    state = ADR.init(ENV, PARAMS)
    state = ADR.update(state, stats(8, at_high_mass=(3, 5.0), at_low_length=(2, 9.0)))
    np.testing.assert_allclose(state.high, [1.25, 1.1])  # three of four: not judged yet
    np.testing.assert_allclose(state.episodes, [0, 2, 3, 0], atol=1e-5)
    state = ADR.update(state, stats(8, at_high_mass=(1, 5.0), at_low_length=(2, 1.0)))
    # A tenth of the logarithms between 0.2 and 5, a tenth of the lengths between 0.5 and 1.5.
    np.testing.assert_allclose(state.high, [1.25 * 25**0.1, 1.1], rtol=1e-5)
    np.testing.assert_allclose(state.low, [0.8, 0.8], rtol=1e-5)
    np.testing.assert_allclose(state.episodes, 0, atol=1e-5)
    np.testing.assert_allclose(state.returns, 0, atol=1e-5)
    moved = ADR.apply(state, PARAMS)
    np.testing.assert_array_equal(moved.values["high"], state.high)
    np.testing.assert_array_equal(moved.values["limit_high"], PARAMS.values["limit_high"])
    report = ADR.report(state)
    assert float(report["range_low_length"]) == pytest.approx(0.8)
    widths = np.log([1.25 * 25**0.1 - 0.8, 1.1 - 0.8])
    assert float(report["range_entropy"]) == pytest.approx(widths.mean(), rel=1e-5)


def test_between_the_thresholds_nothing_moves_and_the_count_starts_anew():
    state = ADR.init(ENV, PARAMS)
    after = ADR.update(state, stats(8, at_high_mass=(6, 0.5)))
    np.testing.assert_array_equal(after.high, state.high)
    np.testing.assert_allclose(after.episodes, 0)


def test_a_range_shrinks_where_it_is_too_hard_but_never_inside_the_first_one():
    state = ADR.init(ENV, PARAMS)
    for _ in range(2):
        state = ADR.update(state, stats(8, at_high_length=(4, 5.0), at_low_mass=(4, 5.0)))
    np.testing.assert_allclose(state.high[1], 1.3, rtol=1e-5)
    np.testing.assert_allclose(state.low[0], 0.8 / 25**0.2, rtol=1e-5)
    for expected in (1.2, 1.1, 1.1):
        state = ADR.update(state, stats(8, at_high_length=(4, -5.0)))
        np.testing.assert_allclose(state.high[1], expected, rtol=1e-5)
    np.testing.assert_allclose(state.low[0], 0.8 / 25**0.2, rtol=1e-5)


def test_a_range_never_leaves_its_limits_and_no_episode_is_no_news():
    state, good = ADR.init(ENV, PARAMS), stats(16, **dict.fromkeys(NAMES, (4, 9.0)))
    for _ in range(12):
        state = ADR.update(state, good)
    np.testing.assert_allclose(state.low, [0.2, 0.5], rtol=1e-6)
    np.testing.assert_allclose(state.high, [5.0, 1.5], rtol=1e-6)
    after = ADR.update(state, stats(0))
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(x, y)


def test_thresholds_are_traced_and_differ_within_one_program():
    def grown(threshold):
        values = PARAMS.values | {"threshold_high": threshold}
        state = ADR.init(ENV, PARAMS.replace(values=values))
        return ADR.update(state, stats(8, at_high_length=(4, 5.0))).high[1]

    np.testing.assert_allclose(jax.vmap(grown)(jnp.array([4.0, 6.0])), [1.2, 1.1], rtol=1e-6)


def test_one_level_moves_all_ranges_together():
    state = LEVEL.init(ENV, PARAMS)
    good = {"episodes": jnp.float32(3.0), "episode_return": jnp.float32(9.0)}
    state = LEVEL.update(LEVEL.update(state, good), good)
    assert float(LEVEL.report(state)["level"]) == pytest.approx(0.1)
    moved = LEVEL.apply(state, PARAMS)
    np.testing.assert_allclose(moved.values["low"], [0.8 - 0.06, 0.9 - 0.04], rtol=1e-5)
    np.testing.assert_allclose(moved.values["high"], [1.25 + 0.375, 1.1 + 0.04], rtol=1e-5)
    bad = {"episodes": jnp.float32(4.0), "episode_return": jnp.float32(-9.0)}
    state = LEVEL.update(LEVEL.update(state, bad), bad)
    assert float(state.level) == 0.0
    none = {"episodes": jnp.float32(0.0), "episode_return": jnp.float32(np.nan)}
    assert np.isfinite(float(LEVEL.update(state, none).returns))


def test_entropy_is_the_mean_logarithm_of_the_widths():
    assert float(range_entropy(jnp.zeros(2), jnp.array([np.e, 1.0]))) == pytest.approx(0.5)
    assert float(range_entropy(jnp.zeros(1), jnp.zeros(1))) == pytest.approx(np.log(1e-3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": ((0.2, 5.0),)}, "`limits` must hold one pair a variation, 2"),
        ({"limits": ((0.9, 5.0), (0.5, 1.5))}, r"`limits` of 'mass' must contain its range \[0.8, 1.25\]"),
        ({"limits": ((0.2, float("nan")), (0.5, 1.5))}, "'mass' must be finite"),
        ({"limits": ((0.2, 5.0), (0.0, 1.5))}, "keep length greater than 0"),
        ({"threshold_low": 3.0}, "`threshold_low` must be at most threshold_high = 2.0, got 3.0"),
        ({"growth": 0.0}, "`growth` must be greater than 0"),
        ({"min_episodes": 0.5}, "`min_episodes` must be at least 1"),
        ({"boundary_fraction": 1.5}, "`boundary_fraction` must be from 0 to 1, got 1.5"),
        ({"limits": (0.5, 3)}, r"`limits` must hold one pair a variation, 2, .* got \(0.5, 3\)"),
        ({"limits": 3}, "`limits` must hold one pair a variation, 2, .* got 3"),
        (
            {"limits": {"mass": (0.2, 5.0), "length": (0.5, 1.5)}},
            "`limits` must hold one pair .* got {'mass'",
        ),
        ({"limits": (("a", 5.0), (0.5, 1.5))}, "`limits` of 'mass' must be a number, got 'a'"),
        ({"growth": "a"}, "`growth` must be a number, got 'a'"),
        ({"threshold_high": None}, "`threshold_high` must be a number, got None"),
    ],
)
def test_what_cannot_grow_is_refused(options, message):
    fitting = {"limits": LIMITS, "threshold_high": 2.0}
    with pytest.raises(ValueError, match=message):
        Expandable(PENDULUM, VARIATIONS, **(fitting | options))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"growth": -1.0}, "`growth` must be greater than 0 and at most 1, got -1.0"),
        ({"growth": float("nan")}, "`growth` must be greater than 0"),
        ({"threshold_low": 3.0}, "`threshold_low` must be at most threshold_high = 2.0, got 3.0"),
        ({"threshold_low": [0.0, 5.0], "threshold_high": [1.0, 4.0]}, "threshold_high = 4.0, got 5.0"),
        ({"min_episodes": 0.0}, "`min_episodes` must be at least 1"),
        ({"boundary_fraction": 2.0}, "`boundary_fraction` must be from 0 to 1"),
    ],
)
def test_numbers_in_the_params_are_checked_where_they_are_concrete(values, message):
    bad = PARAMS.replace(values=PARAMS.values | {k: jnp.asarray(x, jnp.float32) for k, x in values.items()})
    asks = [
        lambda p: ENV.reset(jax.random.key(0), p),
        lambda p: ADR.init(ENV, p),
        lambda p: LEVEL.init(ENV, p),
    ]
    for ask in asks:
        with pytest.raises(ValueError, match=message):
            ask(bad)
        jax.eval_shape(ask, PARAMS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"limit_low": [-1.0, 0.5]}, "`low` of 'mass' must be greater than 0"),
        ({"limit_low": [np.nan, 0.5]}, "`limit_low` must be at most low = 0.8"),
        ({"limit_low": [3.0, 0.5]}, "`limit_low` must be at most low = 0.8.*, got 3.0"),
        ({"limit_high": [5.0, 0.6]}, "`limit_high` must be at least high = .*, got 0.6"),
        ({"limit_high": [np.inf, 1.5]}, "'mass' must be finite"),
        ({"limit_high": [5.0]}, r"`limit_high` must have the shape of `high`, \[2\], got \[1\]"),
        ({"high": [9.0, 1.1]}, "`limit_high` must be at least high = 9.0, got 5.0"),
    ],
)
def test_limits_in_the_params_are_checked_by_what_grows(values, message):
    """Once a limit of -1 led to negative masses, and success made a range beyond its limits shrink."""
    bad = PARAMS.replace(values=PARAMS.values | {k: jnp.asarray(x, jnp.float32) for k, x in values.items()})
    for curriculum in (ADR, LEVEL):
        with pytest.raises(ValueError, match=message):
            curriculum.init(ENV, bad)


def test_evaluations_may_lie_beyond_the_limits():
    far = ENV.with_ranges(PARAMS, {"mass": (6.0, 9.0)})
    state, _ = ENV.reset(jax.random.key(0), far)
    assert float(ENV.robot(state, far).mass) >= 6.0
    ENV.check(ENV.grid(PARAMS, {"mass": [0.1, 1.0, 9.0]}))


def test_only_expandable_ranges_can_grow():
    env = Randomized(PENDULUM, VARIATIONS)
    with pytest.raises(
        ValueError, match=r"must be an envs.physics.Expandable.* got 'Randomized\(Pendulum-v1"
    ):
        ADR.init(env, env.default_params())
