"""A simulation that diverges is truncated, counted and harms no other, in steps and in gradients."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.containment import LARGEST, are_sound, contained
from envs.core import Step
from envs.physics import PointRobotState, Randomized, Variation
from envs.vector import VecEnv
from jaxrl.agents import ppo

KEY = jax.random.key(0)
N, POISONED = 4, 1
OTHERS = np.array([0, 2, 3])
# What makes each world diverge, as factors of its constants.
POISONS = {
    "PlanarHopper-v1": {"damping": 1000.0},
    "PointRobot-v1": {"damping": 1e4},
    "Reacher-v1": {"damping": 1e4},
}


def poisoned(id):
    env, params = envs.make(id)
    return env, params, params.replace(**{n: getattr(params, n) * x for n, x in POISONS[id].items()})


def assert_finite(tree):
    for leaf in jax.tree.leaves(tree):
        assert not jnp.issubdtype(leaf.dtype, jnp.floating) or bool(jnp.isfinite(leaf).all())


def test_the_rule_by_hand():
    before = PointRobotState(jnp.ones(2), jnp.zeros(2), jnp.zeros(2), jnp.int32(3))
    after = PointRobotState(jnp.full(2, jnp.nan), jnp.full(2, jnp.inf), jnp.zeros(2), jnp.int32(4))
    yes, no = jnp.bool_(True), jnp.bool_(False)
    step = Step(jnp.full(2, jnp.nan), jnp.float32(jnp.inf), yes, no, {"x": jnp.float32(jnp.nan)})
    state, out = contained(yes, before, jnp.arange(2.0), after, step)
    jax.tree.map(np.testing.assert_array_equal, state, before.replace(t=jnp.int32(4)))
    assert out.obs.tolist() == [0, 1] and float(out.reward) == 0
    assert bool(out.truncated) and not bool(out.terminated)
    assert {name: float(x) for name, x in out.metrics.items()} == {"x": 0, "diverged": 1}
    state, out = contained(no, before, jnp.arange(2.0), after, step)
    jax.tree.map(np.testing.assert_array_equal, state, after)
    assert bool(out.terminated) and not bool(out.truncated) and float(out.metrics["diverged"]) == 0
    assert out.metrics["diverged"].dtype == jnp.float32
    largest = jnp.float32(LARGEST)
    assert bool(are_sound(0.99 * largest, -0.99 * largest)) and not bool(are_sound(jnp.zeros(2), -largest))


@pytest.mark.parametrize("id", POISONS)
def test_a_robot_that_diverges_is_truncated_counted_and_harms_no_other(id):
    env, params, poison = poisoned(id)
    vec = VecEnv(env, N, reset="fresh", params_dist=lambda key, params: params)
    first, obs = jax.jit(vec.reset)(KEY, params)
    changed = jax.tree.map(lambda x, y: x.at[POISONED].set(y), first.params, poison)

    @jax.jit
    def run(state):
        def step(state, key):
            key_action, key = jax.random.split(key)
            action = jax.random.uniform(key_action, (N, *env.action_space(params).shape), minval=-1, maxval=1)
            return vec.step(key, state, action, params)

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 60))

    _, usual = run(first)
    after, out = run(replace(first, params=changed))
    diverged = out.episode.metrics["diverged"]
    assert not diverged[:, OTHERS].any() and not usual.episode.metrics["diverged"].any()
    t = int(np.argmax(diverged[:, POISONED] > 0))
    assert float(diverged[t, POISONED]) == 1 and float(diverged.sum()) == 1  # then it starts anew, sound
    assert bool(out.truncated[t, POISONED]) and not bool(out.terminated[t, POISONED])
    assert float(out.reward[t, POISONED]) == 0
    last = out.next_obs[t - 1, POISONED] if t else obs[POISONED]
    np.testing.assert_array_equal(out.next_obs[t, POISONED], last)
    assert_finite((after, out))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[:, OTHERS], y[:, OTHERS]), out, usual)


@pytest.mark.parametrize("id", POISONS)
def test_constants_that_are_not_finite_are_contained_from_the_start_on(id):
    env, params = envs.make(id)
    lost = jax.tree.map(
        lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x, params
    )
    state, obs = jax.jit(env.reset)(KEY, lost)
    assert_finite(obs)
    _, out = jax.jit(env.step)(KEY, state, jnp.zeros(env.action_space(params).shape), lost)
    assert_finite(out)
    assert bool(out.truncated) and not bool(out.terminated) and float(out.metrics["diverged"]) == 1


@pytest.mark.parametrize("id", POISONS)
def test_a_robot_that_diverges_leaves_the_gradient_of_all_others_as_it_is(id):
    """Both ways of differentiating, with constants under which the very first step diverges."""
    env, params = envs.make(id)
    broken = params.replace(time_step=jnp.float32(1e9))
    both = jax.tree.map(lambda *x: jnp.stack(x), params, params, broken)
    state, _ = env.reset(KEY, params)

    def total(action, weight):
        def one(params):
            def step(state, _):
                state, out = env.step(KEY, state, action, params)
                return state, (out.reward + jnp.sum(out.obs), out.metrics["diverged"])

            return jax.lax.scan(step, state, length=3)[1]

        gained, diverged = jax.vmap(one)(both)
        return weight @ jnp.sum(gained, axis=1), diverged

    action = jnp.full(env.action_space(params).shape, 0.2)
    reverse = jax.jit(jax.grad(total, has_aux=True))
    expected, _ = reverse(action, jnp.array([1.0, 1.0, 0.0]))
    for gradient, diverged in (
        reverse(action, jnp.ones(3)),
        jax.jit(jax.jacfwd(total, has_aux=True))(action, jnp.ones(3)),
    ):
        assert diverged.sum(axis=1).tolist() == [0, 0, 3]
        assert float(jnp.abs(gradient).max()) > 1e-3
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_ppo_survives_robots_that_diverge():
    """One such episode used to leave NaN in the normalisers and the parameters of the whole seed."""
    env = Randomized(envs.make("PlanarHopper-v1")[0], (Variation("damping", 1.0, 400.0, log=True),))
    config = ppo.Config(
        num_envs=16,
        num_steps=32,
        num_epochs=1,
        num_minibatches=2,
        hidden_sizes=(8,),
        normalize_observations=True,
        normalize_rewards=True,
        total_steps=1024.0,
    )
    algorithm = ppo.make(env, env.default_params(), config)
    state, step = jax.jit(algorithm.init)(KEY), jax.jit(algorithm.step)
    seen = []
    for t in range(2):
        state, metrics = step(state, jnp.int32(t))
        seen.append(float(metrics["episode_diverged"]))
    assert_finite(state)
    assert max(seen) > 0
