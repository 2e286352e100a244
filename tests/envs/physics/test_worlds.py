"""The small robots obey mechanics: closed forms, periods, energy, momentum, and gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ellipk

import envs
from envs.checks import check_params
from envs.physics import planar_hopper, reacher, rigid

KEY = jax.random.key(0)
WORLDS = ("PlanarHopper-v1", "PointRobot-v1", "Reacher-v1")


def play(env, params, state, actions):
    """States and steps under a row of actions."""

    def step(state, action):
        state, out = env.step(KEY, state, action, params)
        return state, (state, out)

    return jax.jit(lambda state, actions: jax.lax.scan(step, state, actions)[1])(state, actions)


# Rigid bodies ----------------------------------------------------------------------------------------------


def test_two_links_have_the_textbook_equations():
    """Against the manipulator form of two rods, written out by hand, with gravity and Coriolis forces."""
    m, length, g = np.array([1.3, 0.7]), np.array([0.5, 0.8]), 9.81
    inertia, (c1, c2), l1 = m * length**2 / 12, length / 2, length[0]
    q, qd, torque = np.array([0.4, -1.1]), np.array([1.5, -2.0]), np.array([0.3, -0.2])
    cos, sin = np.cos(q[1]), np.sin(q[1])
    coupling = inertia[1] + m[1] * (c2**2 + l1 * c2 * cos)
    matrix = np.array(
        [
            [inertia.sum() + m[0] * c1**2 + m[1] * (l1**2 + c2**2 + 2 * l1 * c2 * cos), coupling],
            [coupling, inertia[1] + m[1] * c2**2],
        ]
    )
    coriolis = m[1] * l1 * c2 * sin * np.array([-(2 * qd[0] * qd[1] + qd[1] ** 2), qd[0] ** 2])
    lower = m[1] * c2 * g * np.sin(q.sum())
    weight = np.array([(m[0] * c1 + m[1] * l1) * g * np.sin(q[0]) + lower, lower])
    expected = np.linalg.solve(matrix, torque - coriolis - weight)
    seen = rigid.acceleration(
        lambda q: reacher.place(q, jnp.asarray(length, jnp.float32)),
        *(jnp.asarray(x, jnp.float32) for x in (m, inertia, g, 0.0, q, qd, torque)),
    )
    np.testing.assert_allclose(seen, expected, rtol=2e-5)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_solve_agrees_with_numpy(size):
    rng = np.random.default_rng(size)
    root, vector = rng.normal(size=(size, size)), rng.normal(size=size)
    matrix = root @ root.T + np.eye(size)
    seen = rigid.solve(jnp.asarray(matrix, jnp.float32), jnp.asarray(vector, jnp.float32))
    np.testing.assert_allclose(seen, np.linalg.solve(matrix, vector), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("amplitude", [0.05, 1.0, 2.5])
def test_a_rod_swings_with_the_exact_period(amplitude):
    """T = 4 sqrt(2 L / 3 g) K(sin^2(amplitude / 2)), for a uniform rod hung at its end."""
    length, g, h = 0.7, 9.81, 0.005

    def derivative(y):
        place = lambda q: jnp.array([[length / 2 * jnp.sin(q[0]), -length / 2 * jnp.cos(q[0]), q[0]]])  # noqa: E731
        inertia = jnp.array([length**2 / 12])
        zero = jnp.zeros(1)
        return jnp.concatenate(
            [y[1:], rigid.acceleration(place, jnp.ones(1), inertia, jnp.float32(g), zero, y[:1], y[1:], zero)]
        )

    def step(y, _):
        y = rigid.runge_kutta(derivative, y, jnp.float32(h))
        return y, y[0]

    angle = np.asarray(jax.jit(lambda y: jax.lax.scan(step, y, length=1500)[1])(jnp.array([amplitude, 0.0])))
    down = np.flatnonzero((angle[:-1] > 0) & (angle[1:] <= 0))
    exact = [i + angle[i] / (angle[i] - angle[i + 1]) for i in down[:2]]
    period = 4 * math.sqrt(2 * length / (3 * g)) * ellipk(math.sin(amplitude / 2) ** 2)
    assert h * (exact[1] - exact[0]) == pytest.approx(period, rel=1e-3)


# The robots ------------------------------------------------------------------------------------------------


def test_the_arm_without_friction_keeps_its_energy_and_damping_takes_it():
    env, params = envs.make("Reacher-v1")
    params = params.replace(gravity=jnp.float32(9.81), damping=jnp.float32(0.0), armature=jnp.float32(0.0))
    state = reacher.ReacherState(jnp.array([1.5, 0.7]), jnp.array([1.0, -1.0]), jnp.zeros(2), jnp.int32(0))
    params = params.replace(time_step=jnp.float32(0.01))

    def energy(state, params):
        return rigid.energy(
            lambda q: reacher.place(q, params.length),
            params.mass,
            params.mass * params.length**2 / 12,
            params.gravity,
            state.angle,
            state.velocity,
        )

    over_time = jax.jit(jax.vmap(energy, in_axes=(0, None)))
    states, _ = play(env, params, state, jnp.zeros((300, 2)))
    kept = over_time(states, params)
    scale = float(kept.max() - energy(state.replace(velocity=jnp.zeros(2), angle=jnp.zeros(2)), params))
    assert float(jnp.abs(kept - kept[0]).max()) < 1e-4 * scale
    assert float(jnp.abs(states.velocity).max()) > 3
    damped = params.replace(damping=jnp.float32(0.2))
    states, _ = play(env, damped, state, jnp.zeros((300, 2)))
    lost = over_time(states, damped)
    assert float(jnp.diff(lost).max()) < 1e-4 and float(lost[-1]) < float(kept[-1]) - 1


def test_a_pushed_disc_follows_the_exact_exponential():
    """v(t) = F / d (1 - exp(-d t / m)) with viscous friction alone."""
    env, params = envs.make("PointRobot-v1")
    params = params.replace(friction=jnp.float32(0.0), mass=jnp.float32(2.0), damping=jnp.float32(1.5))
    state, _ = env.reset(KEY, params)
    states, _ = play(env, params, state, jnp.tile(jnp.array([1.0, -0.5]), (60, 1)))
    t = 0.05 * np.arange(1, 61)[:, None]
    rate, final = 1.5 / 2.0, 5.0 * np.array([1.0, -0.5]) / 1.5
    np.testing.assert_allclose(states.velocity, final * (1 - np.exp(-rate * t)), rtol=1e-5)
    way = final * (t - (1 - np.exp(-rate * t)) / rate)
    np.testing.assert_allclose(states.position, np.asarray(state.position) + way, rtol=1e-4, atol=1e-5)


def test_sliding_friction_stops_a_disc_on_the_way_that_coulomb_says():
    """Way = v^2 / (2 mu g), whatever the mass; and a push below mu m g hardly moves it."""
    env, params = envs.make("PointRobot-v1")
    params = params.replace(damping=jnp.float32(0.0), friction=jnp.float32(0.3), slip_speed=jnp.float32(0.01))
    params = params.replace(time_step=jnp.float32(0.005))
    state, _ = env.reset(KEY, params)
    state = state.replace(velocity=jnp.array([1.5, 2.0]))
    for mass in (0.5, 3.0):
        states, _ = play(env, params.replace(mass=jnp.float32(mass)), state, jnp.zeros((250, 2)))
        way = float(jnp.linalg.norm(states.position[-1] - state.position))
        assert way == pytest.approx(2.5**2 / (2 * 0.3 * 9.81), rel=0.02)
        assert float(jnp.linalg.norm(states.velocity[-1])) < 0.02
    rest = state.replace(velocity=jnp.zeros(2))
    states, _ = play(env, params, rest, jnp.tile(jnp.array([0.5, 0.0]), (200, 1)))  # 2.5 N of 2.94 N
    assert float(jnp.linalg.norm(states.position[-1] - rest.position)) < 0.03


def centre_of_mass(state, params):
    places = planar_hopper.place(state.q, params.length)[:, :2]
    return params.mass @ places / params.mass.sum()


def test_a_hopper_in_the_air_falls_as_its_centre_of_mass_does():
    """Whatever the joints do: x in a straight line, z on a parabola, angular momentum unchanged."""
    env, params = envs.make("PlanarHopper-v1")
    params = params.replace(armature=jnp.float32(0.0), time_step=jnp.float32(0.005))
    state, _ = env.reset(KEY, params)
    state = state.replace(q=state.q.at[1].add(5.0), qd=jnp.array([1.0, 2.0, 0.5, 1.0, -1.0, 0.5]))
    actions = jax.random.uniform(KEY, (60, 3), minval=-1, maxval=1)
    states, _ = play(env, params, state, actions)
    moved = jax.vmap(centre_of_mass, in_axes=(0, None))(states, params)
    start, speed = jax.jvp(lambda q: centre_of_mass(state.replace(q=q), params), (state.q,), (state.qd,))
    t = 0.005 * np.arange(1, 61)
    np.testing.assert_allclose(moved[:, 0], start[0] + speed[0] * t, atol=3e-3)
    np.testing.assert_allclose(moved[:, 1], start[1] + speed[1] * t - 9.81 * t**2 / 2, atol=6e-3)

    def spin(state):
        where, velocity = jax.jvp(lambda q: planar_hopper.place(q, params.length), (state.q,), (state.qd,))
        centre, drift = (
            jnp.sum(params.mass[:, None] * x[:, :2], 0) / params.mass.sum() for x in (where, velocity)
        )
        arm, rest = where[:, :2] - centre[None], velocity[:, :2] - drift[None]
        inertia = params.mass * params.length**2 / 12
        # The angle grows forwards, from z to x.
        return jnp.sum(
            params.mass * (arm[:, 1] * rest[:, 0] - arm[:, 0] * rest[:, 1]) + inertia * velocity[:, 2]
        )

    spins = jax.vmap(spin)(states)
    assert float(jnp.abs(spins - spin(state)).max()) < 0.03 * float(jnp.abs(states.qd[:, 2]).max())
    assert float(jnp.abs(states.qd[:, 3:]).max()) > 5


def test_the_floor_holds_the_hopper_and_without_friction_gives_no_push_along():
    env, params = envs.make("PlanarHopper-v1")
    still = params.replace(damping=jnp.float32(30.0), start_range=jnp.float32(0.0))
    state, _ = env.reset(KEY, still)
    states, out = play(env, still, state, jnp.zeros((25, 3)))
    feet = jax.vmap(planar_hopper.contacts, in_axes=(0, None))(states.q, params.length)
    assert float(feet[..., 1].min()) > -0.02 and not out.terminated[:10].any()
    force = planar_hopper.floor_forces(states.q[10], states.qd[10], still, still.time_step / 8)
    assert float(force[1]) == pytest.approx(9.81 * 8.5, rel=0.3)
    ice = params.replace(friction=jnp.float32(0.0))
    actions = jax.random.uniform(KEY, (20, 3), minval=-0.3, maxval=0.3)
    states, _ = play(env, ice, state, actions)
    moved = jax.vmap(centre_of_mass, in_axes=(0, None))(states, ice)[:, 0]
    assert float(jnp.abs(moved - moved[0]).max()) < 3e-3
    gripped, _ = play(env, params, state, actions)
    moved = jax.vmap(centre_of_mass, in_axes=(0, None))(gripped, params)[:, 0]
    assert float(jnp.abs(moved - moved[0]).max()) > 6e-3


@pytest.mark.parametrize("id", WORLDS)
def test_returns_have_gradients_that_finite_differences_confirm(id):
    env, params = envs.make(id)
    state, _ = env.reset(jax.random.key(1), params)
    shape = env.action_space(params).shape

    @jax.jit
    def total(action, state, params):
        def step(state, _):
            state, out = env.step(KEY, state, action, params)
            return state, out.reward

        return jnp.sum(jax.lax.scan(step, state, length=5)[1])

    action = 0.2 * jnp.ones(shape)
    gradient = jax.jit(jax.grad(total))(action, state, params)
    direction = jax.random.normal(jax.random.key(2), shape)
    h = 1e-2
    difference = (
        total(action + h * direction, state, params) - total(action - h * direction, state, params)
    ) / (2 * h)
    assert float(gradient @ direction) == pytest.approx(float(difference), rel=0.05, abs=1e-3)
    assert float(jnp.abs(gradient).max()) > 1e-4


@pytest.mark.parametrize("id", WORLDS)
def test_every_constant_matters(id):
    env, params = envs.make(id)
    actions = jnp.tile(0.4 * jnp.ones(env.action_space(params).shape), (12, 1))

    @jax.jit
    def observe(params):
        state, first = env.reset(jax.random.key(1), params)

        def step(state, action):
            state, out = env.step(KEY, state, action, params)
            return state, (out.obs, out.reward, out.terminated, out.truncated)

        return first, jax.lax.scan(step, state, actions)[1]

    usual = observe(params)
    for name, value in vars(params).items():
        factor = 0 if name == "max_steps" else 3
        changed = observe(
            params.replace(**{name: jnp.asarray(value * factor + (name == "gravity"), value.dtype)})
        )
        same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), usual, changed)
        assert not all(jax.tree.leaves(same)), name


@pytest.mark.parametrize(
    ("id", "field", "value", "message"),
    [
        ("PlanarHopper-v1", "mass", [4.0, -2.0, 1.5, 1.0], "be positive and finite, got -2 at index 1"),
        ("PlanarHopper-v1", "mass", 4.0, r"have shape \(4,\), as the environment does, got \(\)"),
        ("PlanarHopper-v1", "length", [0.4, 0.4, 0.5, 0.0], "be positive and finite, got 0 at index 3"),
        ("PlanarHopper-v1", "time_step", 0.0, "be positive and finite, got 0"),
        ("PlanarHopper-v1", "stiffness", -1.0, "be at least 0 and finite, got -1"),
        ("PlanarHopper-v1", "damping", math.inf, "be at least 0 and finite, got inf"),
        ("PlanarHopper-v1", "gear", [80.0, math.nan, 40.0], "be finite, got nan at index 1"),
        ("PlanarHopper-v1", "gravity", math.nan, "be finite, got nan"),
        ("PointRobot-v1", "mass", -1.0, "be positive and finite, got -1"),
        ("PointRobot-v1", "mass", math.nan, "be positive and finite, got nan"),
        ("PointRobot-v1", "slip_speed", 0.0, "be positive and finite, got 0"),
        ("PointRobot-v1", "friction", -0.1, "be at least 0 and finite, got -0.1"),
        ("PointRobot-v1", "gear", math.inf, "be finite, got inf"),
        ("PointRobot-v1", "max_steps", 0, "be at least 1, got 0"),
        ("Reacher-v1", "mass", [-1.0, 1.0], "be positive and finite, got -1 at index 0"),
        ("Reacher-v1", "time_step", 0.0, "be positive and finite, got 0"),
        ("Reacher-v1", "control_cost", -1.0, "be at least 0 and finite, got -1"),
        ("Reacher-v1", "gravity", math.nan, "be finite, got nan"),
    ],
)
def test_constants_without_physics_are_refused_by_name(id, field, value, message):
    env, params = envs.make(id)
    check_params(env, params)
    params = params.replace(**{field: jnp.asarray(value, getattr(params, field).dtype)})
    with pytest.raises(ValueError, match=f"^`{field}` must {message}$"):
        check_params(env, params)


@pytest.mark.parametrize("id", WORLDS)
def test_every_constant_is_checked_and_traced_ones_pass(id):
    env, params = envs.make(id)
    for name, value in vars(params).items():
        wrong = value * 0 if name == "max_steps" else value * jnp.float32(math.nan)
        with pytest.raises(ValueError, match=f"^`{name}` must"):
            check_params(env, params.replace(**{name: wrong}))

    def checked(params):
        check_params(env, params)
        return params

    jax.tree.map(np.testing.assert_array_equal, jax.jit(checked)(params), params)
