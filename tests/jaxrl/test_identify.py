"""System identification: known robots are recovered, by populations and by gradients."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.physics import Randomized, Variation
from jaxrl import identify

PENDULUM, PARAMS = envs.make("Pendulum-v1")
_, CARTPOLE_PARAMS = envs.make("CartPole-v1")
ENV = Randomized(PENDULUM, (Variation("mass", 0.3, 3.0, log=True), Variation("length", 0.5, 2.0)))
RANGES = ENV.default_params()
TRUE = jnp.array([1.7, 1.2])
KEY = jax.random.key(0)


def data_of(values, env=ENV, length=40):
    return identify.record(env.env, env.bind(env.env.default_params(), values), jax.random.key(7), 10, length)


def test_the_true_robot_predicts_its_trajectories_and_no_other_does():
    data = data_of(TRUE)
    assert data.obs.shape == (10, 40, 3) and data.action.shape == (10, 40, 1)
    error = jax.jit(lambda values: identify.prediction_error(ENV, RANGES, values, data))
    assert float(error(TRUE)) < 1e-9
    assert float(error(TRUE * jnp.array([1.05, 1.0]))) > 1e-5
    # By hand: the mean of squared differences in units of each observation's deviation.
    other = data_of(jnp.array([1.0, 1.0]))
    scale = np.asarray(data.obs).std(axis=(0, 1))
    expected = np.mean(np.square((np.asarray(other.obs) - np.asarray(data.obs)) / scale))
    assert float(error(jnp.array([1.0, 1.0]))) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
def test_mass_and_length_are_recovered_for_many_robots_at_once(method):
    robots = jnp.array([[1.7, 1.2], [0.5, 0.8], [2.5, 1.7]])

    @jax.jit
    @jax.vmap
    def fit(values, key):
        return method(ENV, RANGES, data_of(values), key)

    found = fit(robots, jax.random.split(KEY, 3))
    np.testing.assert_allclose(found.values, robots, rtol=0.01)
    assert (np.diff(found.history, axis=-1) <= 0).all()
    np.testing.assert_allclose(found.history[:, -1], found.error)
    assert (found.error < 1e-4).all()


def test_noise_is_survived():
    data = data_of(TRUE)
    noise = 0.05 * jnp.std(data.obs, axis=(0, 1))[None, None] * jax.random.normal(KEY, data.obs.shape)
    noisy = data.replace(obs=data.obs + noise)
    fit = jax.jit(lambda key: identify.gauss_newton(ENV, RANGES, noisy, key))(KEY)
    np.testing.assert_allclose(fit.values, TRUE, rtol=0.02)
    assert float(fit.error) == pytest.approx(0.05**2, rel=0.2)


def test_what_the_data_cannot_tell_apart_shows_in_the_spread():
    # A pendulum knows gravity / length and mass * length^2 only: three unknowns are one too many.
    free = Randomized(PENDULUM, (*ENV.variations, Variation("gravity", 0.5, 1.5)))
    ranges = free.default_params()
    data = data_of(jnp.array([1.7, 1.2, 0.9]), free)
    fit = jax.jit(lambda key: identify.gauss_newton(free, ranges, data, key))(KEY)
    known = jax.jit(lambda key: identify.gauss_newton(ENV, RANGES, data_of(TRUE), key))(KEY)
    mass, length, gravity = np.asarray(fit.values)
    assert float(fit.error) < 1e-8
    assert gravity / length == pytest.approx(0.9 / 1.2, rel=0.01)
    assert mass * length**2 == pytest.approx(1.7 * 1.2**2, rel=0.01)
    assert float(fit.spread[0]) > 0.1 and float(known.spread[0]) < 0.01


def test_the_jacobian_is_that_of_finite_differences():
    data = data_of(TRUE, length=10)

    def residual(values):
        return identify.residuals(ENV, RANGES, values, data).ravel()

    at = jnp.array([1.4, 1.1])
    jacobian = np.asarray(jax.jit(jax.jacfwd(residual))(at))
    step = 1e-2
    for i in range(2):
        move = jnp.zeros(2).at[i].set(step)
        numeric = (residual(at + move) - residual(at - move)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, i], numeric, atol=2e-2 * np.abs(jacobian[:, i]).max())


def test_small_systems_are_solved_without_lapack():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 4, 4))
    matrix, vector = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(4), rng.normal(size=(5, 4))
    solved = jax.vmap(identify._solve)(jnp.float32(matrix), jnp.float32(vector))
    np.testing.assert_allclose(
        solved, np.linalg.solve(matrix, vector[..., None])[..., 0], rtol=2e-3, atol=1e-4
    )


def test_a_start_may_be_a_measured_state():
    def begin(start, params):
        return PENDULUM.reset(jax.random.key(0), params)[0].replace(angle=start[0], velocity=start[1])

    start = jax.random.uniform(KEY, (10, 2), minval=-1.0)
    actions = data_of(TRUE).action

    def replay(start, action):
        robot = ENV.bind(PARAMS, TRUE)
        step = lambda state, a: (lambda s, out: (s, out.obs))(*PENDULUM.step(KEY, state, a, robot))  # noqa: E731
        return jax.lax.scan(step, begin(start, robot), action)[1]

    data = identify.Trajectories(start, actions, jax.vmap(replay)(start, actions))
    fit = jax.jit(lambda key: identify.gauss_newton(ENV, RANGES, data, key, begin=begin))(KEY)
    np.testing.assert_allclose(fit.values, TRUE, rtol=0.01)


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
def test_a_robot_beyond_the_ranges_is_not_said_to_be_known(method):
    data, ranges = data_of(TRUE), ENV.with_ranges(RANGES, {"mass": (0.3, 1.2)})
    fit = jax.jit(lambda key: method(ENV, ranges, data, key))(KEY)
    assert float(fit.values[0]) == pytest.approx(1.2, rel=1e-3) and float(fit.error) > 1e-5
    assert float(fit.spread[0]) == np.inf
    assert np.isfinite(float(fit.spread[1]))
    # A quantity that is given, a range without width, has no end to lie at.
    given = ENV.with_ranges(RANGES, {"mass": 1.7})
    fit = jax.jit(lambda key: method(ENV, given, data, key))(KEY)
    np.testing.assert_allclose(fit.values, TRUE, rtol=0.01)
    assert np.isfinite(fit.spread).all()


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
def test_data_that_are_not_finite_give_no_robot(method):
    data = data_of(TRUE, length=5)
    bad = data.replace(obs=data.obs.at[2, 3, 1].set(jnp.nan))
    with pytest.raises(ValueError, match=r"`obs` of `data` must be finite, got nan at index \(2, 3, 1\)"):
        method(ENV, RANGES, bad, KEY)
    with pytest.raises(ValueError, match="`action` of `data` must be finite, got inf"):
        method(ENV, RANGES, data.replace(action=data.action.at[0, 0].set(jnp.inf)), KEY)
    # Where they are traced, nothing is found, and nothing looks as if it were.
    fit = jax.jit(lambda data: method(ENV, RANGES, data, KEY, iterations=2))(bad)
    assert np.isnan(fit.values).all() and np.isnan(fit.spread).all() and float(fit.error) == np.inf


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        (PENDULUM, {}, "`env` must be an envs.physics.Randomized, .* got 'Pendulum-v1'"),
        (ENV, {"iterations": 0}, "`iterations` must be at least 1, got 0"),
        (ENV, {"iterations": -1}, "`iterations` must be at least 1, got -1"),
        (ENV, {"iterations": 2.5}, "`iterations` must be an integer, got 2.5"),
    ],
)
def test_searches_that_cannot_be_are_refused(method, env, options, message):
    with pytest.raises(ValueError, match=message):
        method(env, RANGES, data_of(TRUE, length=5), KEY, **options)


def test_numbers_out_of_range_are_refused():
    data = data_of(TRUE)
    with pytest.raises(ValueError, match="`elites` must be from 2 to population = 8, got 9"):
        identify.cross_entropy(ENV, RANGES, data, KEY, population=8, elites=9)
    with pytest.raises(ValueError, match="`starts` must be at least 1"):
        identify.gauss_newton(ENV, RANGES, data, KEY, starts=0)
    with pytest.raises(ValueError, match="`length` must be at least 1"):
        identify.record(PENDULUM, PARAMS, KEY, 10, 0)


ONE = Randomized(PENDULUM, (Variation("mass", 0.5, 2.0),))
ONE_RANGES = ONE.default_params()
RECORD = identify.record(PENDULUM, PARAMS, KEY, 2, 10)


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((1, 2), "`data` must be identify.Trajectories, as `identify.record` returns, got tuple"),
        (
            RECORD.replace(obs=RECORD.obs[..., :1]),
            r"`obs` of `data` must have shape \[N, T, 3\], .* in Pendulum-v1, got \[2, 10, 1\]",
        ),
        (RECORD.replace(obs=RECORD.obs[0]), r"`obs` of `data` .* got \[10, 3\]"),
        (RECORD.replace(obs=RECORD.obs.tolist()), "`obs` of `data` .* got list"),
        (
            RECORD.replace(obs=RECORD.obs[:1]),
            r"`action` of `data` must have shape \[1, 10, 1\], .* `obs` \[1, 10, 3\] .* got \[2, 10, 1\]",
        ),
        (RECORD.replace(obs=RECORD.obs[:, :5]), r"`action` of `data` must have shape \[2, 5, 1\]"),
        (RECORD.replace(action=RECORD.action[..., 0]), r"`action` of `data` .* got \[2, 10\]"),
        (RECORD.replace(start=RECORD.start[:1]), r"`start` of `data` must have leaves .* N = 2 .* got \[1\]"),
        (
            RECORD.replace(start=RECORD.obs[:, 0]),
            r"`start` of `data` must hold keys \[2\] .* got \[2, 3\]; give",
        ),
        (jax.tree.map(lambda x: x[:0], RECORD), r"N and T at least 1 .* got \[0, 10, 3\]"),
    ],
)
def test_what_is_no_record_of_the_world_is_refused(method, data, message):
    with pytest.raises(ValueError, match=message):
        method(ONE, ONE_RANGES, data, KEY)


def test_a_prediction_is_not_compared_with_observations_of_another_shape():
    for obs in (RECORD.obs[..., :1], RECORD.obs[:1]):
        with pytest.raises(ValueError, match="of `data` must have shape"):
            identify.prediction_error(ONE, ONE_RANGES, jnp.ones(1), RECORD.replace(obs=obs))


@pytest.mark.parametrize("method", [identify.cross_entropy, identify.gauss_newton])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (PARAMS, r"`params` must be WrappedParams of PendulumParams, .* got PendulumParams$"),
        (
            replace(ONE_RANGES, env=CARTPOLE_PARAMS),
            "`params` must be WrappedParams of PendulumParams, .* got WrappedParams of CartPoleParams",
        ),
        (RANGES, r"`values\['low'\]` of `params` must be an array of shape \[1\], one entry each of mass"),
        (replace(ONE_RANGES, values={"low": jnp.ones(1)}), r"`values\['high'\]` of `params` .* got None"),
        (
            replace(ONE_RANGES, values={"low": jnp.array([2.0]), "high": jnp.array([0.5])}),
            r"`low` of 'mass' must be at most `high`, got \[2.0, 0.5\]",
        ),
        (
            replace(ONE_RANGES, values={"low": jnp.array([-2.0]), "high": jnp.array([-0.5])}),
            "`low` of 'mass' must be at least 0, .* got -2.0",
        ),
    ],
)
def test_ranges_that_cannot_be_searched_are_refused(method, params, message):
    with pytest.raises(ValueError, match=message):
        method(ONE, params, RECORD, KEY)


def test_observations_that_are_no_vector_are_not_recorded():
    with pytest.raises(ValueError, match=r"`env` must have observations of one axis, .* got Discrete\(n=16"):
        identify.record(*envs.make("FrozenLake4x4-v1"), KEY, 2, 5)


def test_starts_may_be_raw_keys():
    raw = identify.record(PENDULUM, PARAMS, jax.random.PRNGKey(0), 2, 5)
    assert raw.start.shape == (2, 2)
    assert float(identify.prediction_error(ONE, ONE_RANGES, jnp.ones(1), raw)) < 1e-9
