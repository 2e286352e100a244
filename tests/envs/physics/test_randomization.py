"""Domain randomization: what varies, between which bounds, for how long, and that it matters."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import envs
from envs import VecEnv
from envs.core import Step
from envs.physics import DelayedAction, Expandable, Pushed, Randomized, Variation, fields, probe
from envs.spaces import Box
from envs.testing import check_env
from envs.wrappers import NoisyObservation

PENDULUM, PARAMS = envs.make("Pendulum-v1")
MASS, LENGTH = Variation("mass", 0.5, 2.0, log=True), Variation("length", 0.8, 1.2)
ENV = Randomized(PENDULUM, (MASS, LENGTH))


@struct.dataclass
class ArmParams:
    """Three links with their inertias, and a number that the dynamics never read."""

    link_mass: jax.Array
    inertia: jax.Array
    unread: jax.Array


@dataclass(frozen=True)
class Arm:
    """A world whose params are arrays, as a simulator's are."""

    id: str = "Arm-v0"

    def default_params(self):
        mass = jnp.array([1.0, 0.0, 4.0])
        return ArmParams(mass, mass[:, None, None] * jnp.eye(2)[None], jnp.float32(3.0))

    def reset(self, key, params):
        return jnp.zeros(3), jnp.zeros(3)

    def step(self, key, state, action, params):
        state = state + params.link_mass * (1 + params.inertia.sum()) * action[0]
        return state, Step(state, jnp.float32(0), jnp.bool_(False), jnp.bool_(False))

    def observation_space(self, params):
        return Box(-np.inf, np.inf, (3,))

    def action_space(self, params):
        return Box(-1.0, 1.0, (1,))


ARM = Arm()


def steps(env, params, key, actions):
    """Return the observations of an episode `[T + 1, O]`."""
    state, obs = env.reset(key, params)
    seen = [obs]
    for action in actions:
        state, out = env.step(key, state, action, params)
        seen.append(out.obs)
    return np.stack(seen)


def test_a_robot_is_the_world_with_its_numbers_changed():
    params = ENV.with_ranges(ENV.default_params(), {"mass": 1.7, "length": 0.9})
    state, obs = ENV.reset(jax.random.key(3), params)
    changed = PARAMS.replace(mass=jnp.float32(1.7), length=jnp.float32(0.9))
    plain = state.env
    np.testing.assert_allclose(obs, PENDULUM._observe(plain))
    for i in range(5):
        action = jnp.array([1.5 - i])
        state, out = ENV.step(jax.random.key(i), state, action, params)
        plain, expected = PENDULUM.step(jax.random.key(i), plain, action, changed)
        np.testing.assert_allclose(out.obs, expected.obs, rtol=1e-6)
        np.testing.assert_allclose(out.reward, expected.reward, rtol=1e-6)
    assert float(ENV.robot(state, params).mass) == pytest.approx(1.7)


@pytest.mark.parametrize("wrapped", [ENV, Expandable(PENDULUM, (MASS,), limits=((0.2, 3.0),))])
def test_it_is_an_environment_like_any_other(wrapped):
    checked = check_env(wrapped, num_envs=4, num_steps=220)
    assert {"time limit", "vmap", "compile", "frame", "params used"} <= set(checked)


def test_draws_fill_the_ranges_as_said():
    params = ENV.default_params()
    keys = jax.random.split(jax.random.key(0), 4000)
    values = np.asarray(jax.vmap(lambda key: ENV.draw(key, params).values)(keys))
    mass, length = values.T
    assert 0.5 <= mass.min() < 0.51 and 1.96 < mass.max() <= 2.0 + 1e-6
    assert 0.8 <= length.min() < 0.81 and 1.19 < length.max() <= 1.2 + 1e-6
    # Half of the logarithms lie below 1, half of the lengths below the middle; the two are independent.
    assert np.mean(mass < 1.0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(length < 1.0) == pytest.approx(0.5, abs=0.03)
    assert np.corrcoef(mass, length)[0, 1] == pytest.approx(0.0, abs=0.05)
    points = np.asarray(jax.vmap(lambda u: ENV.from_unit(u, params))(jnp.array([[0.0, 0.0], [1.0, 1.0]])))
    np.testing.assert_allclose(points, [[0.5, 0.8], [2.0, 1.2]], rtol=1e-6)


def test_a_robot_lives_for_one_episode():
    params = ENV.default_params()
    params = params.replace(env=params.env.replace(max_steps=jnp.int32(20)))
    vec = VecEnv(ENV, 8)
    vec_state, _ = vec.reset(jax.random.key(0), params)

    def step(vec_state, key):
        action = jnp.zeros((8, 1))
        vec_state, out = vec.step(key, vec_state, action, params)
        return vec_state, (vec_state.state.kept.values[:, 0], out.truncated)

    _, (mass, ended) = jax.lax.scan(step, vec_state, jax.random.split(jax.random.key(1), 60))
    mass, ended = np.asarray(mass), np.asarray(ended)
    changes = mass[1:] != mass[:-1]
    np.testing.assert_array_equal(changes, ended[1:])
    assert ended.sum() == 24 and len(np.unique(mass)) == 32


def test_ranges_are_traced_and_differ_within_one_program():
    traces = []

    @jax.jit
    @jax.vmap
    def draw(params, key):
        traces.append(None)
        return ENV.reset(key, params)[0].kept.values[0]

    params = ENV.default_params()
    rows = [ENV.with_ranges(params, {"mass": ends}) for ends in ((0.1, 0.2), (5.0, 6.0))]
    keys = jax.random.split(jax.random.key(0), 2)
    light, heavy = draw(jax.tree.map(lambda *xs: jnp.stack(xs), *rows), keys)
    assert 0.1 <= light <= 0.2 and 5.0 <= heavy <= 6.0
    rows = [ENV.with_ranges(params, {"mass": ends}) for ends in ((0.3, 0.4), (7.0, 8.0))]
    light, heavy = draw(jax.tree.map(lambda *xs: jnp.stack(xs), *rows), keys)
    assert 0.3 <= light <= 0.4 and 7.0 <= heavy <= 8.0
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("variation", "value", "mass", "inertia"),
    [
        (Variation("link_mass", 0.5, 2), 2.0, [2.0, 0.0, 8.0], [1.0, 0.0, 4.0]),
        (Variation("link_mass", 0.5, 2, select=(2,)), 2.0, [1.0, 0.0, 8.0], [1.0, 0.0, 4.0]),
        (Variation("both", 0.5, 2), 2.0, [2.0, 0.0, 8.0], [2.0, 0.0, 8.0]),
        (Variation("both", 0.5, 2, select=(0,)), 2.0, [2.0, 0.0, 4.0], [2.0, 0.0, 4.0]),
        (Variation("both", -0.5, 2, how="add", select=(2,)), 2.0, [1.0, 0.0, 6.0], [1.0, 0.0, 6.0]),
        (Variation("both", 1, 3, how="set", select=(0,)), 3.0, [3.0, 0.0, 4.0], [3.0, 0.0, 4.0]),
    ],
)
def test_what_belongs_together_changes_in_proportion(monkeypatch, variation, value, mass, inertia):
    monkeypatch.setitem(fields.QUANTITIES, "Arm", {"both": ("link_mass", "inertia")})
    env = Randomized(ARM, (variation,))
    robot = env.bind(ARM.default_params(), jnp.array([value]))
    np.testing.assert_allclose(robot.link_mass, mass)
    np.testing.assert_allclose(robot.inertia, np.array(inertia)[:, None, None] * np.eye(2))
    # The nominal value changes nothing.
    nominal = env.bind(ARM.default_params(), env.nominal(env.default_params()))
    if variation.how != "set" or variation.select == (0,):
        np.testing.assert_allclose(nominal.link_mass, ARM.default_params().link_mass)


def test_the_numbers_of_wrappers_vary_too_however_deep():
    inner = DelayedAction(NoisyObservation(PENDULUM, noise=0.0), max_latency=3)
    env = Randomized(
        inner,
        (
            Variation("latency", 0, 3, how="set"),
            Variation("sensor_noise", 0, 0.1, how="set"),
            Variation("gear", 0.5, 1.0),
        ),
    )
    robot = env.bind(inner.default_params(), jnp.array([2.0, 0.05, 0.5]))
    assert float(robot.values["latency"]) == 2.0
    assert float(robot.env.values["noise"]) == pytest.approx(0.05)
    assert float(robot.env.env.torque_limit) == 1.0
    effects = probe(env, num_steps=64)
    assert min(effects.values()) > 1e-3


def test_a_grid_is_the_product_with_the_last_quantity_fastest():
    params = ENV.default_params()
    grid = ENV.grid(params, {"length": [0.8, 1.2], "mass": [0.5, 1.0, 2.0]})
    np.testing.assert_allclose(grid.values["low"], grid.values["high"])
    expected = [[m, x] for x in (0.8, 1.2) for m in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(grid.values["low"], expected, rtol=1e-6)
    assert {x.shape[0] for x in jax.tree.leaves(grid)} == {6}
    alone = ENV.grid(params, {"mass": [0.5]})
    np.testing.assert_allclose(alone.values["low"], [[0.5, 1.0]])


def test_pictures_show_the_robot_and_not_the_nominal_one():
    params = ENV.with_ranges(ENV.default_params(), {"mass": 1.0, "length": 1.2})
    state, _ = ENV.reset(jax.random.key(0), params)
    long = PARAMS.replace(length=PARAMS.length * 1.2)
    np.testing.assert_array_equal(ENV.frame(state, params), PENDULUM.frame(state.env, long))


def test_probe_refuses_what_changes_nothing():
    assert probe(Randomized(ARM, (Variation("link_mass", 0.5, 2),)))["link_mass"] > 0.1
    env = Randomized(ARM, (Variation("link_mass", 0.5, 2), Variation("unread", 0.5, 2)))
    with pytest.raises(ValueError, match=r"'unread' changes nothing in Arm .*with effect: link_mass"):
        probe(env)
    # A range that is the nominal value cannot be told from a field without effect.
    with pytest.raises(ValueError, match="'mass' changes nothing"):
        probe(ENV, ENV.with_ranges(ENV.default_params(), {"mass": 1.0}))


def test_the_effect_of_probe_is_what_it_says():
    env = Randomized(ARM, (Variation("link_mass", 1.0, 3.0),))
    # Every observation is proportional to the masses: thrice the mass moves twice as far away.
    assert probe(env)["link_mass"] == pytest.approx(2.0, rel=1e-5)


def test_probe_wants_an_effect_at_both_ends_that_are_not_nominal():
    # Beyond the bounds of the action a higher limit of the torque does nothing.
    half = Randomized(PENDULUM, (MASS, Variation("gear", 0.5, 2.0)))
    with pytest.raises(ValueError, match=r"at both ends, but 'gear' at 2 changes nothing .* effect: mass"):
        probe(half)
    with pytest.raises(ValueError, match="'gear' changes nothing"):
        probe(Randomized(PENDULUM, (Variation("gear", 1.5, 2.0),)))
    for ends in ((0.5, 1.0), (0.5, 0.8)):
        assert probe(Randomized(PENDULUM, (Variation("gear", *ends),)))["gear"] > 1e-3


def test_probe_refuses_a_nominal_robot_that_falls_apart():
    @dataclass(frozen=True)
    class Unstable(Arm):
        says_so: bool = False

        def step(self, key, state, action, params):
            state, out = super().step(key, state, action, params)
            failed = {"diverged": jnp.float32(1.0)} if self.says_so else {}
            return state, out.replace(obs=out.obs if self.says_so else out.obs / 0.0, metrics=failed)

    for world in (Unstable(), Unstable(says_so=True)):
        # "unread" must not pass as an effect of infinite size.
        with pytest.raises(ValueError, match=r"nominal robot that stays finite, .* diverges in Unstable"):
            probe(Randomized(world, (Variation("unread", 0.5, 2.0),)))


def test_a_vector_is_set_only_from_a_nominal_value_that_all_entries_have():
    env = Randomized(ARM, (Variation("link_mass", 1, 3, how="set"), Variation("unread", 0.5, 2)))
    params = env.default_params()
    message = r"'link_mass' must have one nominal value .* which are \[1. 0. 4.\]; `select` equal ones or"
    for ask in (probe, lambda env: env.nominal(params), lambda env: env.grid(params, {"unread": [1.0]})):
        with pytest.raises(ValueError, match=message):
            ask(env)
    with pytest.raises(ValueError, match="which are traced"):
        jax.eval_shape(env.nominal, params)
    grid = env.grid(params, {"link_mass": [1.0, 2.0]})
    np.testing.assert_allclose(grid.values["low"], [[1.0, 1.0], [2.0, 1.0]])
    equal = params.replace(env=params.env.replace(link_mass=jnp.full(3, 0.1)))
    assert float(env.nominal(equal)[0]) == np.float32(0.1)
    chosen = Randomized(ARM, (Variation("link_mass", 1, 3, how="set", select=(2,)),))
    assert chosen.nominal(chosen.default_params()).tolist() == [4.0]


@pytest.mark.parametrize(
    ("name", "low", "high", "message"),
    [
        ("latency", 0, 40, "`high` of 'latency' must keep values.latency from 0 to 4, but 40 .set. makes it"),
        ("latency", -4, -1, "`low` of 'latency' must keep values.latency from 0 to 4, but -4 "),
        ("sensor_noise", -4, -1, "`low` of 'sensor_noise' must keep .*values.noise at least 0, but -4 "),
        ("push", -4, -1, "`low` of 'push' must keep .*values.push at least 0, but -4 "),
        ("probability", 0, 5, "`high` of 'probability' must keep .*values.probability from 0 to 1, but 5 "),
        ("probability", -1, 0.5, "`low` of 'probability' must keep .*values.probability from 0 to 1, but -1"),
        ("damping", -0.5, 0.5, "`low` of 'damping' must keep env.env.env.damping at least 0, but -0.5 "),
    ],
)
def test_disturbances_stay_within_what_their_wrappers_accept(monkeypatch, name, low, high, message):
    world, _ = envs.make("PointRobot-v1")
    robot = world.default_params().replace(damping=jnp.float32(0.0))
    monkeypatch.setattr(type(world), "default_params", lambda self: robot)
    env = DelayedAction(Pushed(NoisyObservation(world, noise=0.0)), max_latency=4)
    with pytest.raises(ValueError, match=message):
        Randomized(env, (Variation(name, low, high, how="set"),))
    fitting = Randomized(env, (Variation(name, 0.0, 1.0, how="set"),))
    with pytest.raises(ValueError, match=message):
        fitting.with_ranges(fitting.default_params(), {name: (low, high)})
    with pytest.raises(ValueError, match=message):
        Expandable(env, fitting.variations, limits=((min(low, 0), max(high, 1)),))


REACHER, _ = envs.make("Reacher-v1")


@pytest.mark.parametrize(
    ("name", "variations", "message"),
    [
        (
            "PointRobot-v1",
            [Variation("slip_speed", 0, 1)],
            "`low` of 'slip_speed' .* but 0 .scale. does not: ",
        ),
        ("Acrobot-v1", [Variation("centre_1", 0, 1)], "'centre_1' .*: `centre_1` must be positive"),
        (
            "Reacher-v1",
            [Variation("mass", -0.6, 0, "add"), Variation("mass", -0.6, 0, "add", select=(0,))],
            r"`low` of 'mass', 'mass\[0\]' must together .* do not: `mass` must be .*, got -0.2 at index 0",
        ),
        (
            "Reacher-v1",
            [Variation("mass:0", -0.6, 0, "add"), Variation("mass", -0.6, 0, "add", select=(0,))],
            "`low` of 'mass:0', 'mass.0.' must together",
        ),
    ],
)
def test_robots_that_the_world_refuses_are_refused(name, variations, message):
    world, _ = envs.make(name)
    with pytest.raises(ValueError, match=message):
        Randomized(world, tuple(variations))
    # A range that the world accepts, moved to the one that it does not.
    sound = tuple(Variation(v.name, v.high, v.high, v.how, select=v.select) for v in variations)
    env = Randomized(world, sound)
    with pytest.raises(ValueError, match=message):
        env.with_ranges(env.default_params(), {v.label: (v.low, v.high) for v in variations})


def test_what_the_world_refuses_of_its_own_params_is_not_the_fault_of_a_variation():
    params = ENV.default_params()
    wide = ENV.grid(params, {"mass": [0.5, 1.0]})
    ENV.with_ranges(wide, {"mass": jnp.ones(2)})
    bad = params.replace(env=params.env.replace(time_step=jnp.float32(-1)))
    ENV.check(bad)
    with pytest.raises(ValueError, match=r"^`time_step` must be positive"):
        ENV.check_params(bad)


def test_the_sign_of_a_constant_is_the_rule_of_the_world():
    pytest.importorskip("brax")
    pendulum, _ = envs.make("brax/inverted_pendulum", backend="spring")
    Randomized(pendulum, (Variation("sys.vel_damping", -20, -1, how="set"),))
    with pytest.raises(ValueError, match=r"'sys.gravity:7' takes a column .*, which has columns 0 to 2"):
        Randomized(pendulum, (Variation("sys.gravity:7", 0.5, 2),))
    twice = (Variation("gravity", 0.5, 2), Variation("sys.gravity:-1", 0.5, 2))
    with pytest.raises(ValueError, match=r"once, got gravity and sys.gravity:-1, the same"):
        Randomized(pendulum, twice)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mass:5", "'mass:5' takes a column of mass, which has columns 0 to 1"),
        ("mass:x", "'mass:x' takes a column of mass, which has columns 0 to 1"),
        ("gear:0", "'gear:0' takes a column of gear, which is one number"),
        ("mass.real", "unknown quantity of Reacher 'mass.real'; did you mean 'mass'"),
        ("mass.", "unknown quantity of Reacher 'mass.'; did you mean 'mass'"),
        ("gear.T", "unknown quantity of Reacher 'gear.T'; did you mean 'gear'"),
    ],
)
def test_a_path_leads_to_something(name, message):
    with pytest.raises(ValueError, match=message):
        Randomized(REACHER, (Variation(name, 0.5, 2),))
    with pytest.raises(ValueError, match=message):
        Randomized(DelayedAction(REACHER), (Variation(name, 0.5, 2),))


@pytest.mark.parametrize(("first", "second"), [((1,), (-1,)), ((0, 1), (1, 0)), ((0, -1), (-1, -2))])
def test_an_entry_varies_once(first, second):
    Randomized(REACHER, (Variation("mass", 0.5, 1, select=(0,)), Variation("mass", 0.5, 1, select=(-1,))))
    variations = tuple(Variation("mass", 0.5, 1, select=select) for select in (first, second))
    with pytest.raises(ValueError, match=r"must name each quantity once, got mass.* and mass.*, the same"):
        Randomized(REACHER, variations)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"low": [3.0, 1.0]}, "`low` of 'mass' must be at most `high`"),
        ({"high": [1.0, jnp.nan]}, "the range of 'length' must be finite"),
        ({"low": [0.5, -1.0]}, "`low` of 'length' must be at least 0"),
        ({"low": [0.5]}, r"`low` must have one entry a variation, \[2\], got \[1\]"),
    ],
)
def test_the_ranges_are_among_the_params_that_are_checked(values, message):
    params = ENV.default_params()
    ENV.check_params(params)
    bad = params.replace(values=params.values | {name: jnp.array(x) for name, x in values.items()})
    with pytest.raises(ValueError, match=message):
        ENV.check_params(bad)


@pytest.mark.parametrize("ask", [ENV.check_params, ENV.check, lambda x: ENV.with_ranges(x, {"mass": 1.0})])
def test_the_params_of_the_world_are_not_those_of_the_randomized_one(ask):
    with pytest.raises(ValueError, match=r"`params` must be those of Randomized.*, got PendulumParams"):
        ask(PARAMS)


@pytest.mark.parametrize("backend", ["spring", "mjx"])
@pytest.mark.parametrize(("how", "value", "down"), [("add", 1.0, -8.81), ("set", -3.7, -3.7)])
def test_gravity_on_brax_is_its_vertical_component(backend, how, value, down):
    pytest.importorskip("brax")
    pendulum, params = envs.make("brax/inverted_pendulum", backend=backend)
    env = Randomized(pendulum, (Variation("gravity", value, value, how=how),))
    changed = env.bind(params, jnp.array([value])).sys
    gravity = changed["opt.gravity" if backend == "mjx" else "gravity"]
    np.testing.assert_allclose(gravity, [0.0, 0.0, down], rtol=1e-6)
    assert float(env.nominal(env.default_params())[0]) == pytest.approx(0.0 if how == "add" else -9.81)


@pytest.mark.parametrize(
    "name", ["Acrobot-v1", "CartPole-v1", "CartPoleSwingUp-v1", "MountainCar-v1", "Pendulum-v1"]
)
def test_every_quantity_of_the_table_matters_in_its_world(name):
    env, _ = envs.make(name)
    # The torque of the pendulum is bounded by its action space, too: more of the limit is no stronger motor.
    high = {"gear": 1.0 if name == "Pendulum-v1" else 2.0}
    names = fields.QUANTITIES[fields.world(env)]
    varied = tuple(Variation(quantity, 0.5, high.get(quantity, 2.0)) for quantity in names)
    assert min(probe(Randomized(env, varied), num_steps=64).values()) > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Variation("mass", 2.0, 1.0), "`low` of 'mass' must be at most `high`, got"),
        (lambda: Variation("mass", float("nan"), 1.0), "'mass' must be finite"),
        (lambda: Variation("mass", -0.5, 1.0), "'mass' must be at least 0"),
        (lambda: Variation("mass", "a", 2), "`low` of 'mass' must be a number, got 'a'"),
        (lambda: Variation("mass", None, 2), "`low` of 'mass' must be a number, got None"),
        (lambda: Variation("mass", 1, (2,)), r"`high` of 'mass' must be a number, got \(2,\)"),
        (lambda: Variation(1, 1, 2), "`name` must name a quantity, for instance 'mass', got 1"),
        (lambda: Variation("mass", 1, 2, log="no"), "`log` of 'mass' must be True or False, got 'no'"),
        (lambda: Variation("mass", 1, 2, select=0), r"`select` of 'mass' must hold .*, got 0"),
        (lambda: Variation("mass", 1, 2, select=()), r"`select` of 'mass' must hold .*, got \(\)"),
        (lambda: Variation("mass", 1, 2, select=(0.5,)), r"`select` of 'mass' must hold .*, got \(0.5,\)"),
        (lambda: Variation("mass", 1, 2, select=(0, 0)), "`select` of 'mass' must hold each index once"),
        (
            lambda: Randomized(ARM, (Variation("link_mass", 1, 2, select=(0, -3)),)),
            r"`select` of 'link_mass' must hold each entry of link_mass \[3\] once, got \(0, -3\)",
        ),
        (lambda: Variation("mass", 1, 2, select="01"), r"`select` of 'mass' must hold .*, got '01'"),
        (
            lambda: Randomized(PENDULUM, (Variation("mass", 1, 2, select=(0,)),)),
            "`select` of 'mass' must be None, for mass is one number",
        ),
        (lambda: Randomized(PENDULUM, {"mass": (1, 2)}), "`variations` must be a sequence of Variations"),
        (lambda: Randomized(PENDULUM, MASS), "`variations` must be a sequence of Variations"),
        (lambda: Randomized(PENDULUM, ("mass",)), "`variations` must be a sequence of Variations"),
        (lambda: Randomized((PENDULUM, PARAMS), (MASS,)), "`env` must be an environment"),
        (lambda: probe(PENDULUM), "`env` must be an envs.physics.Randomized, .* got 'Pendulum-v1'"),
        (lambda: probe(ENV, num_steps=0), "`num_steps` must be at least 1, got 0"),
        (lambda: Variation("mass", 0.0, 1.0, log=True), "'mass' must be greater than 0 to draw"),
        (lambda: Variation("mass", 0.5, 1.0, how="times"), "`how` must be one of"),
        (lambda: Randomized(PENDULUM, ()), "`variations` must hold at least one"),
        (lambda: Randomized(PENDULUM, (MASS, MASS)), "each quantity once, got mass twice"),
        (
            lambda: Randomized(PENDULUM, (Variation("mas", 0.5, 1),)),
            "unknown quantity of Pendulum 'mas'; did you mean 'mass'",
        ),
        (lambda: Randomized(PENDULUM, (Variation("frixion", 0.5, 1),)), "unknown quantity of Pendulum"),
        (lambda: Randomized(PENDULUM, (Variation("max_steps", 0.5, 1),)), "must be an array of floats"),
        (lambda: Randomized(PENDULUM, (Variation("mass", 0.0, 1),)), "keep mass greater than 0, but 0 "),
        (
            lambda: Randomized(PENDULUM, (Variation("mass", -2.0, 1.0, how="add"),)),
            r"keep mass greater than 0, but -2 \(add\) makes it -1",
        ),
        (
            lambda: Randomized(PENDULUM, (Variation("gear", -3.0, 1.0, how="set"),)),
            "keep torque_limit at least 0",
        ),
        (lambda: Randomized(ARM, (Variation("link_mass", 1, 2, select=(3,)),)), "`select` of 'link_mass'"),
        (
            lambda: ENV.with_ranges(ENV.default_params(), {"mss": 1.0}),
            "unknown variation 'mss'; did you mean",
        ),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": (2.0, 1.0)}), "at most `high`"),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": (1.0, 2.0, 3.0)}), "or one number"),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": float("nan")}), "must be finite"),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": -1.0}), "greater than 0 to draw"),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": "ab"}), "or one number, got 'ab'"),
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": (1.0, None)}), r"got \(1.0, None\)"),
        # An array is no pair: in ranges of several robots it is a number of each.
        (lambda: ENV.with_ranges(ENV.default_params(), {"mass": np.array([1, 2])}), "or one number, got arr"),
        (
            lambda: ENV.with_ranges(ENV.default_params(), [("mass", 1.0)]),
            "`ranges` must be a mapping from mass",
        ),
        (
            lambda: ENV.at(ENV.default_params(), jnp.ones(3)),
            r"`values` must have shape \[2\], one each of mass, length, got \(3,\)",
        ),
        (lambda: ENV.at(ENV.default_params(), 1.0), r"`values` must have shape \[2\], .*, got \(\)"),
        (lambda: ENV.at(ENV.default_params(), None), r"`values` must have shape \[2\], .*, got \(\)"),
        (
            lambda: ENV.at(ENV.default_params(), {"mass": 1.0}),
            r"`values` must have shape \[2\], .*, got a map",
        ),
        (
            lambda: ENV.at(ENV.default_params(), ["a", "b"]),
            r"`values` must have shape \[2\], .*, got \['a', 'b'",
        ),
        (lambda: ENV.grid(ENV.default_params(), {"length": [1.0, -1.0]}), "at least 0"),
        (lambda: ENV.grid(ENV.default_params(), {}), "`axes` must name at least one quantity"),
        (
            lambda: ENV.grid(ENV.default_params(), {"mass": []}),
            "`axes` of 'mass' must hold at least one numb",
        ),
        (
            lambda: ENV.grid(ENV.default_params(), {"mass": 1.0}),
            "`axes` of 'mass' must hold at least one num",
        ),
        (lambda: ENV.grid(ENV.default_params(), {"mss": [1.0]}), "unknown variation 'mss'; did you mean"),
    ],
)
def test_impossible_robots_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_number_of_values_is_checked_where_they_are_traced_too():
    env = Randomized(PENDULUM, (MASS,))
    with pytest.raises(ValueError, match=r"`values` must have shape \[1\], one each of mass, got \(3,\)"):
        jax.eval_shape(lambda values: env.at(env.default_params(), values), jnp.ones(3))


def test_ranges_of_several_robots_take_a_number_of_each():
    wide = ENV.at(ENV.default_params(), jnp.ones((3, 2)))
    params = ENV.with_ranges(wide, {"mass": (0.5, np.array([0.6, 0.7, 0.8])), "length": jnp.full(3, 0.9)})
    np.testing.assert_allclose(params.values["low"], [[0.5, 0.9]] * 3)
    np.testing.assert_allclose(params.values["high"][:, 0], [0.6, 0.7, 0.8])


def test_bad_ranges_are_refused_before_a_compile():
    params = ENV.default_params()
    bad = params.replace(values=params.values | {"low": jnp.array([3.0, 1.0])})
    with pytest.raises(ValueError, match="`low` of 'mass' must be at most `high`"):
        jax.eval_shape(lambda key: VecEnv(ENV, 2).reset(key, bad), jax.random.key(0))


# On real physics -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["spring", "positional", "generalized", "mjx"])
def test_quantities_matter_on_every_engine_of_brax(backend):
    pytest.importorskip("brax")
    pendulum, _ = envs.make("brax/inverted_pendulum", backend=backend)
    scaled = [Variation(name, 0.5, 2.0) for name in ("mass", "gear", "gravity")]
    if backend in ("spring", "positional"):  # this robot has none to scale there
        scaled.append(Variation("damping", 0.0, 1.0, how="add"))
    else:
        scaled.append(Variation("damping", 0.5, 2.0))
        scaled.append(Variation("armature", 0.0, 1.0, how="add"))  # none to scale here, either
    assert min(probe(Randomized(pendulum, tuple(scaled))).values()) > 1e-3
    # A robot that touches nothing has no friction.
    with pytest.raises(ValueError, match=r"'friction' must matter|'friction' changes nothing"):
        probe(Randomized(pendulum, (Variation("friction", 0.5, 2.0),)))
