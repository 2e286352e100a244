"""Training by a curriculum: one program, traced ranges, exact resume, and ranges that grow by themselves."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
import jaxrl
from envs.core import Step
from envs.physics import ADR, LEVEL, Expandable, Randomized, Variation
from envs.spaces import Box
from jaxrl.agents import ppo, reinforce
from jaxrl.curriculum import WithCurriculum

CONFIG = ppo.Config(
    num_envs=8, num_steps=25, num_epochs=1, num_minibatches=1, hidden_sizes=(8,), total_steps=1e6
)


@dataclass(frozen=True)
class Scale:
    """Episodes of five steps that earn 1 each while the weight is light enough, whatever is done."""

    id: str = "Scale-v0"

    def default_params(self):
        return {"weight": jnp.float32(1.0), "breaks_at": jnp.float32(3.0)}

    def time_limit(self, params):
        return jnp.int32(5)

    def reset(self, key, params):
        return jnp.int32(0), jnp.ones(1)

    def step(self, key, state, action, params):
        reward = (params["weight"] < params["breaks_at"]).astype(jnp.float32)
        return state + 1, Step(jnp.ones(1), reward, jnp.bool_(False), state + 1 >= 5)

    def observation_space(self, params):
        return Box(-1.0, 1.0, (1,))

    def action_space(self, params):
        return Box(-1.0, 1.0, (1,))


ENV = Expandable(
    Scale(),
    (Variation("weight", 1.0, 1.0),),
    limits=((0.5, 8.0),),
    threshold_low=1.0,
    threshold_high=4.0,
    growth=0.1,
    min_episodes=4.0,
)
PARAMS = ENV.default_params()


def train(make, params, key, iterations=40):
    algorithm = make(ENV, params, CONFIG)

    def step(state, t):
        return algorithm.step(state, t)

    return jax.lax.scan(step, algorithm.init(key), jnp.arange(iterations))


def test_a_range_grows_to_where_it_is_no_longer_safe_for_each_seed_its_own():
    traces = []

    @jax.jit
    @jax.vmap
    def run(params, key):
        traces.append(None)
        return train(WithCurriculum(ppo.make, ADR), params, key)

    keys = jax.random.split(jax.random.key(0), 3)

    def rows(breaks_at):
        inner = {**PARAMS.env, "breaks_at": jnp.float32(breaks_at)}
        return PARAMS.replace(env=inner)

    params = jax.tree.map(lambda *xs: jnp.stack(xs), *map(rows, (3.0, 6.0, 99.0)))
    state, metrics = run(params, keys)
    high, low = np.asarray(state.curriculum.high[:, 0]), np.asarray(state.curriculum.low[:, 0])
    np.testing.assert_allclose(low, 0.5, rtol=1e-6)  # light weights are safe: down to the limit
    # The end stays within a step of 0.75 around the weight that breaks, or at the limit.
    assert abs(high[0] - 3.0) <= 0.76 and abs(high[1] - 6.0) <= 0.76
    assert high[2] == pytest.approx(8.0)
    grown = np.asarray(metrics["range_high_weight"])
    assert grown.shape == (3, 40) and (np.diff(grown[2]) >= 0).all()
    # Other numbers, of the worlds and of the curriculum, run the same program.
    params = params.replace(values=params.values | {"growth": jnp.full(3, 0.02, jnp.float32)})
    finer = np.asarray(run(params, keys)[0].curriculum.high[:, 0])
    assert abs(finer[0] - 3.0) <= 0.16 and abs(finer[1] - 6.0) <= 0.16 and 6.16 < finer[2] < 8.0
    assert len(traces) == 1


def test_a_curriculum_that_moves_nothing_is_the_algorithm_itself():
    values = PARAMS.values | {"limit_low": PARAMS.values["low"], "limit_high": PARAMS.values["high"]}
    fixed, key = PARAMS.replace(values=values), jax.random.key(1)
    plain, expected = jax.jit(lambda key: train(ppo.make, fixed, key, 3))(key)
    state, metrics = jax.jit(lambda key: train(WithCurriculum(ppo.make, ADR), fixed, key, 3))(key)
    for x, y in zip(jax.tree.leaves(state.inner.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(metrics["episode_return"], expected["episode_return"], rtol=1e-6)


def test_resumed_equals_uninterrupted():
    algorithm = WithCurriculum(ppo.make, ADR)(ENV, PARAMS, CONFIG)

    @jax.jit
    def advance(state, start, stop):
        return jax.lax.fori_loop(start, stop, lambda t, state: algorithm.step(state, t)[0], state)

    start = algorithm.init(jax.random.key(0))
    whole = advance(start, 0, 6)
    halves = advance(advance(start, 0, 3), 3, 6)
    for x, y in zip(jax.tree.leaves(whole), jax.tree.leaves(halves), strict=True):
        is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        x, y = (jax.random.key_data(z) if is_key else z for z in (x, y))
        np.testing.assert_array_equal(x, y)
    assert float(whole.curriculum.high[0]) > float(start.curriculum.high[0])


def test_sweeps_and_evaluations_take_it_as_they_take_any_algorithm():
    make = WithCurriculum(ppo.make, LEVEL)
    configs = jaxrl.grid(CONFIG, learning_rate=[1e-3, 1e-4])
    keys = jax.random.split(jax.random.key(0), 2)
    where = Randomized(Scale(), ENV.variations)
    held_out = where.with_ranges(where.default_params(), {"weight": (4.0, 5.0)})
    states, history = jaxrl.sweep(
        make, ENV, PARAMS, configs, keys, 800, evaluations=2, eval_env=(where, held_out)
    )
    assert history.episode_return.shape == (2, 2, 2, 16)
    np.testing.assert_array_equal(history.episode_return, 0.0)  # all of these weights break
    np.testing.assert_array_equal(history.metrics["level"][..., -1] > 0.0, True)
    assert np.asarray(states.curriculum.level).shape == (2, 2)
    assert make == WithCurriculum(ppo.make, LEVEL)  # equal by value: a second sweep compiles nothing


@pytest.mark.parametrize("curriculum", [ADR, LEVEL], ids=["adr", "level"])
def test_one_learner_on_several_devices_has_one_curriculum(curriculum):
    """Devices judge by the episodes of all: their params stay equal, though their robots differ."""
    config = CONFIG.replace(axis_name="data")
    params = PARAMS.replace(env={**PARAMS.env, "breaks_at": jnp.float32(2.0)})

    def run(key, start):
        algorithm = WithCurriculum(ppo.make, curriculum)(ENV, params, config)
        state = algorithm.init(start)
        state = state.replace(inner=state.inner.replace(key=key))
        return jax.lax.scan(algorithm.step, state, jnp.arange(12))

    run = jax.vmap(run, in_axes=(0, None), axis_name="data")
    state, metrics = jax.jit(run)(jax.random.split(jax.random.key(2), 2), jax.random.key(0))
    assert np.ptp(metrics["episode_return"], axis=0).max() > 0
    for x in jax.tree.leaves(state.curriculum):
        np.testing.assert_array_equal(x[0], x[1])


def test_a_curriculum_needs_ranges_that_can_grow():
    with pytest.raises(ValueError, match=r"`curriculum` must be an envs\.physics\.Curriculum, .*'ADR'"):
        WithCurriculum(ppo.make, "ADR")(ENV, PARAMS, CONFIG)
    with pytest.raises(ValueError, match=r"must be an envs\.physics\.Expandable"):
        WithCurriculum(ppo.make, ADR)(*envs.make("Pendulum-v1"), CONFIG)


def test_a_sweep_knows_the_time_limit_of_its_params():
    """An algorithm that is made again within its step once fell back to the default's limit, 100 steps."""
    robot, _ = envs.make("PointRobot-v1")
    env = Expandable(robot, (Variation("mass", 1.0, 1.0),), limits=((0.5, 2.0),))
    params = env.default_params()
    params = params.replace(env=params.env.replace(max_steps=jnp.int32(10)))
    config = reinforce.Config(num_envs=2, num_steps=10, baseline=False, num_minibatches=1, hidden_sizes=(4,))
    keys = jax.random.split(jax.random.key(0), 2)
    sizes = {"evaluations": 1, "eval_episodes": 2}
    _, swept = jaxrl.sweep(WithCurriculum(reinforce.make, ADR), env, params, config, keys, 40, **sizes)
    algorithm = WithCurriculum(reinforce.make, ADR)(env, params, config)
    _, alone = jax.jit(lambda key: jaxrl.train(algorithm, key, 40, **sizes))(keys[1])
    assert int(alone.episode_length.max()) == 10
    np.testing.assert_allclose(swept.episode_return[0, 1], alone.episode_return, rtol=1e-4)


def test_a_module_in_the_place_of_make_is_refused():
    message = r"`make` must be an algorithm's function, for instance jaxrl.agents.ppo.make, got"
    for wrong in (ppo, None):
        with pytest.raises(ValueError, match=message):
            WithCurriculum(wrong, ADR)(ENV, PARAMS, CONFIG)
        with pytest.raises(ValueError, match=message):
            jaxrl.sweep(wrong, ENV, PARAMS, CONFIG, jax.random.split(jax.random.key(0), 2), 400)
