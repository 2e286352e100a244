"""R2D2: its targets against a slow loop, its memory across resets and time limits, and what it learns."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from jaxrl.agents import dqn, r2d2
from jaxrl.ops import rescaling
from jaxrl.replay import Ring, Step
from jaxrl.train import run_interval, train

SIZES = {"hidden_sizes": (6,), "memory_size": 5, "head_sizes": (4,)}
T, B = 10, 2


def config(**fields):
    return r2d2.Config(**(SIZES | {"burn_in": 3, "n_step": 3, "gamma": 0.9} | fields))


@pytest.fixture(scope="module")
def case():
    """Return a network, two sets of parameters, and stretches with ends, also in the burn-in."""
    env, params = envs.make("CartPole-v1")
    model = r2d2.network(env, params, config())
    online, target = (jax.jit(model.init)(jax.random.key(seed)) for seed in (0, 1))
    rng = np.random.default_rng(0)
    terminated, truncated = np.zeros((2, T, B), bool)
    terminated[[1, 6], [0, 1]] = True
    truncated[[2, 5], [1, 0]] = True
    x = rng.normal(size=(T, B, 4)).astype(np.float32)
    next_x = np.concatenate([x[1:], rng.normal(size=(1, B, 4)).astype(np.float32)])
    next_x[truncated] = rng.normal(size=(2, 4))  # the true last observation, not the first of what follows
    stretch = r2d2.Stretch(
        memory=tuple(rng.normal(size=(2, B, 5)).astype(np.float32)),
        x=np.swapaxes(x, 0, 1),
        action=rng.integers(0, 2, (B, T)),
        reward=(10 * rng.normal(size=(B, T))).astype(np.float32),
        next_x=np.swapaxes(next_x, 0, 1),
        terminated=terminated.T,
        truncated=truncated.T,
        weight=np.ones(B, np.float32),
    )
    return model, online, target, jax.tree.map(jnp.asarray, stretch)


@partial(jax.jit, static_argnums=2)
def errors_of(*args):
    return r2d2.td_errors(*args)[0]


def slow_errors(model, online, target, stretch, config):
    """Return the errors by a loop over steps, one environment and one network evaluation at a time."""

    one = jax.jit(model.step)
    stretch = jax.tree.map(np.asarray, stretch)

    def h(x):
        return np.sign(x) * (np.sqrt(abs(x) + 1) - 1) + 1e-3 * x if config.rescaling else x

    def inverse(y):
        """Invert h by bisection."""
        if not config.rescaling:
            return y
        low, high = -1e4, 1e4
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if h(middle) < y else (low, middle)
        return low

    errors = np.zeros((T, B))
    for b in range(B):
        memory = dict.fromkeys(("online", "target"), tuple(m[b] for m in stretch.memory))
        q, value = [], []
        for t in range(T):
            ended = stretch.terminated[b, t] or stretch.truncated[b, t]
            following = {}
            for name, params in (("online", online), ("target", target)):
                memory[name], now = one(params, memory[name], stretch.x[b, t])
                if name == "online":
                    q.append(now[stretch.action[b, t]])
                _, following[name] = one(params, memory[name], stretch.next_x[b, t])
                if ended:
                    memory[name] = jax.tree.map(np.zeros_like, memory[name])
            best = np.argmax(following["online" if config.double else "target"])
            value.append(inverse(following["target"][best]))
        for t in range(config.burn_in, T):
            total, factor, i = 0.0, 1.0, t
            while True:
                total += factor * stretch.reward[b, i]
                factor *= config.gamma
                if stretch.terminated[b, i]:
                    break
                if stretch.truncated[b, i] or i - t == config.n_step - 1 or i == T - 1:
                    total += factor * value[i]
                    break
                i += 1
            errors[t, b] = h(total) - q[t]
    return errors[config.burn_in :]


@pytest.mark.parametrize(
    "options",
    [{}, {"double": False, "rescaling": False}, {"n_step": 1, "burn_in": 0}, {"n_step": 50, "double": False}],
)
def test_errors_equal_a_slow_loop(case, options):
    options = config(**options)
    errors = errors_of(*case[1:3], case[0], case[3], options)
    np.testing.assert_allclose(errors, slow_errors(*case, options), rtol=1e-4, atol=1e-4)


def test_a_stretch_of_which_a_last_observation_is_lost_does_not_count():
    """Two truncations in one environment of a ring that keeps the last observation of one of them."""
    ring = Ring(capacity=12, num_envs=2, block=6, lookahead=5)
    truncated = jnp.zeros((6, 2), bool).at[jnp.array([1, 3]), 0].set(True)
    steps = Step(jnp.zeros((6, 2, 1)), truncated, jnp.zeros((6, 2)), ~truncated & False, truncated)
    steps = steps.replace(extras=jnp.zeros((6, 2, 4)))
    state = ring.add(ring.init(jax.tree.map(lambda x: x[0], steps)), steps, steps.obs, jnp.int32(0))
    drawing = r2d2.stretches(config(burn_in=2, sequence_length=3))
    drawn = drawing.draw(ring, state, jnp.zeros(2, jnp.int32), jnp.arange(2), lambda obs: obs)
    assert drawing.lookahead == 5 and drawn.x.shape == (2, 5, 1) and drawn.memory.shape == (2, 4)
    np.testing.assert_array_equal(drawn.weight, [0, 1])


def test_burn_in_gives_what_following_from_the_start_gives(case):
    """With the true memory stored, the errors after a burn-in are the last of those without."""
    model, online, target, stretch = case
    without = errors_of(online, target, model, stretch, config(burn_in=0))
    with_ = errors_of(online, target, model, stretch, config(burn_in=4))
    np.testing.assert_allclose(with_, without[4:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_burn_in_makes_up_for_a_memory_that_is_out_of_date(cell):
    model = r2d2.network(*envs.make("CartPole-v1"), config(cell=cell))
    online = jax.jit(model.init)(jax.random.key(0))
    rng, rows = np.random.default_rng(0), 64
    x = rng.normal(size=(T, rows, 4)).astype(np.float32)
    start = model.initial_memory((rows,))
    other = jax.tree.map(lambda zeros: rng.normal(size=zeros.shape).astype(np.float32), start)
    unroll, first = jax.jit(model.unroll), jnp.zeros((T, rows), bool)
    q, expected = (unroll(online, memory, x, first)[1] for memory in (other, start))
    distance = np.abs(q - expected).mean(axis=(1, 2))
    assert distance[8] < 0.2 * distance[0]


def test_no_gradient_flows_into_targets_or_the_burn_in(case):
    model, online, target, stretch = case

    def total(online, target, x):
        return jnp.sum(r2d2.td_errors(online, target, model, replace(stretch, x=x), config())[0])

    own, others, inputs = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(online, target, stretch.x)
    assert all(jnp.any(x != 0) for x in jax.tree.leaves(own["params"]["recurrent"]))
    assert all(jnp.all(x == 0) for x in jax.tree.leaves(others))
    assert jnp.all(inputs[:, :3] == 0) and jnp.any(inputs[:, 3:] != 0)


def test_the_scale_of_values_is_undone_exactly():
    import rlax

    x = jnp.array([-3e4, -100.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 100.0, 3e4])
    for epsilon in (0.0, 1e-3, 0.1):
        np.testing.assert_allclose(
            rescaling.unscale(rescaling.rescale(x, epsilon), epsilon), x, rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(
            rescaling.rescale(x, epsilon), rlax.signed_hyperbolic(x, epsilon), rtol=1e-5, atol=1e-6
        )
        if epsilon:
            np.testing.assert_allclose(
                rescaling.unscale(x / 100, epsilon),
                rlax.signed_parabolic(x / 100, epsilon),
                rtol=2e-3,
                atol=1e-3,
            )


def test_priorities_mix_the_largest_and_the_mean_error():
    errors = jnp.array([[1.0, 0.0], [-3.0, 2.0]])
    np.testing.assert_allclose(r2d2.priority(errors, 0.9), [0.9 * 3 + 0.1 * 2, 0.9 * 2 + 0.1 * 1])


SMALL = SIZES | {
    "num_envs": 4,
    "batch_size": 8,
    "buffer_size": 80,
    "learning_starts": 40,
    "burn_in": 2,
    "sequence_length": 4,
    "target_update_period": 12,
    "total_steps": 400.0,
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noisy": True}, "`noisy` must be False for R2D2"),
        ({"learning_starts": 24}, r"`learning_starts` must be at least .* = 28, got 24"),
        (
            {"buffer_size": 24, "learning_starts": 24},
            "`buffer_size` must hold more than 6 steps|`learning_starts`",
        ),
        ({"largest_error_weight": 1.5}, "`largest_error_weight` must be at least 0 and at most 1, got 1.5"),
        ({"cell": "rnn"}, "`cell` must be one of 'gru', 'lstm', got 'rnn'"),
        ({"buffer_size": 10**12}, "`buffer_size` must fit in memory"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        r2d2.make(*envs.make("CartPole-v1"), r2d2.Config(**(SMALL | fields)))


def test_continuous_actions_are_refused():
    with pytest.raises(ValueError, match="`env` must have discrete actions, but 'Pendulum-v1' takes Box"):
        r2d2.make(*envs.make("Pendulum-v1"), r2d2.Config())


def test_the_stored_memory_is_that_of_the_episode_so_far():
    """Without learning: each stored memory is what following the episode from its first step gives."""
    env, params = envs.make("CartPole-v1")
    options = r2d2.Config(**(SMALL | {"learning_starts": 80, "cell": "gru"}))
    algorithm = r2d2.make(env, params, options)
    state = jax.jit(lambda key: run_interval(algorithm, algorithm.init(key), 0, 19)[0])(jax.random.key(0))
    steps = jax.tree.map(lambda x: x[:19], state.ring.steps)
    ended = steps.terminated | steps.truncated
    assert ended.any()
    first = jnp.concatenate([jnp.ones((1, 4), bool), ended[:-1]])
    model = r2d2.network(env, params, options)
    memories, _ = jax.jit(model.unroll)(state.params, model.initial_memory((4,)), steps.obs, first)
    before = jnp.concatenate([jnp.zeros_like(memories[:1]), memories[:-1]])
    expected = jnp.where(first[..., None], 0.0, before)
    np.testing.assert_allclose(steps.extras, expected, atol=1e-6)
    assert np.abs(steps.extras).max() > 0.01


def test_a_time_limit_is_no_terminal_state():
    """Reward 1 a step for ever, cut after 5 steps: the value is 1 / (1 - gamma), not that of five rewards."""
    env, params = envs.make("RandomMDP-v1", num_states=2, num_actions=2)
    params = params.replace(R=jnp.ones_like(params.R), terminal=jnp.zeros(2, bool), max_steps=jnp.int32(5))
    fields = {"batch_size": 32, "buffer_size": 400, "learning_rate": 1e-2, "gamma": 0.8, "n_step": 2}
    fields |= {"cell": "gru"}  # an LSTM, which keeps more at first, comes as near more slowly
    options = r2d2.Config(**(SMALL | fields), polyak_tau=0.1, epsilon_end=1.0)
    algorithm = r2d2.make(env, params, options)
    run = jax.jit(lambda key: run_interval(algorithm, algorithm.init(key), 0, 4000))
    state, metrics = run(jax.random.key(0))
    policy = algorithm.policy(state)
    value, memory = [], policy.init()
    value_of, act = jax.jit(policy.value), jax.jit(policy.act)
    for obs in (0, 1, 0, 1, 1):
        value.append(value_of(jnp.int32(obs), memory))
        _, memory = act(jnp.int32(obs), memory, jax.random.key(1))
    np.testing.assert_allclose(value, 5.0, atol=0.15)
    assert float(metrics["episode_length"]) == 5
    assert all(np.isfinite(x) for name, x in metrics.items() if not name.startswith("episode_"))


@pytest.mark.slow
def test_memory_solves_what_no_reaction_can():
    """MemoryChain of 10 steps: a bit shown at the beginning is asked for at the end. Without memory: 0."""
    world, num_steps = envs.make("MemoryChain-v1"), 40_000
    shared = {"num_envs": 16, "learning_starts": 800, "buffer_size": 16_000, "learning_rate": 3e-3}
    shared |= {"batch_size": 32, "total_steps": float(num_steps), "target_update_period": 160}
    keys = jax.vmap(jax.random.key)(jnp.arange(8))

    def scores(algorithm):
        def run(key):
            return train(algorithm, key, num_steps, evaluations=4, eval_episodes=32)[1].episode_return

        return np.asarray(jax.jit(jax.vmap(run))(keys).mean(axis=-1))[:, -1]

    recurrent = r2d2.Config(**shared, memory_size=16, hidden_sizes=(16,), head_sizes=(16,), burn_in=0)
    remembering = scores(r2d2.make(*world, recurrent.replace(sequence_length=11)))
    reacting = scores(dqn.make(*world, dqn.Config(**shared, hidden_sizes=(32,))))
    assert np.all(remembering == 1.0), remembering
    assert np.all(np.abs(reacting) <= 0.75) and abs(reacting.mean()) < 0.3, reacting
