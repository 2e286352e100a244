"""Memory tasks against slow loops over their rules, and what can be had with and without memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.memory import MemoryChain, RepeatCopy, TMaze
from envs.tabular import extract


def play(env, params, actions, keys):
    """First observations `[K, ...]`, then states before, and steps `[K, T, ...]`."""

    @jax.jit
    def run(params, actions, keys):
        def one(key, actions):
            state, first = env.reset(key, params)

            def step(state, action):
                after, out = env.step(key, state, action, params)
                return after, (state, out)

            return first, jax.lax.scan(step, state, actions)[1]

        return jax.vmap(one)(keys, actions)

    return jax.device_get(run(params, jnp.asarray(actions), keys))


def test_memory_chain_follows_the_rules_of_bsuite():
    env, length = MemoryChain(num_bits=3), 4
    params = env.default_params().replace(length=jnp.int32(length))
    actions = np.random.default_rng(0).integers(0, 2, (64, length + 1))
    first, (states, steps) = play(env, params, actions, jax.random.split(jax.random.key(0), 64))
    for i in range(64):
        bits, query = states.bits[i, 0], int(states.query[i, 0])

        def seen(t, bits=bits, query=query):
            shown = 2 * bits - 1 if t == 0 else np.zeros(3)
            return [1 - t / length, query if t == length - 1 else 0, *shown]

        np.testing.assert_allclose(first[i], seen(0))
        np.testing.assert_allclose(steps.obs[i], [seen(t) for t in range(length + 1)])
        answer = 1.0 if actions[i, -1] == bits[query] else -1.0
        assert steps.reward[i].tolist() == [0.0] * length + [answer]
        assert steps.terminated[i].tolist() == [False] * length + [True]
        assert steps.metrics["regret"][i].sum() == 1 - answer
    assert set(states.query[:, 0].tolist()) == {0, 1, 2} and 0.3 < states.bits[:, 0].mean() < 0.7


def test_lengths_of_a_chain_are_mapped_over_in_one_program():
    env, _ = envs.make("MemoryChain-v1")
    actions = jnp.zeros(12, jnp.int32)

    def end(length):
        params = env.default_params().replace(length=length)
        state, _ = env.reset(jax.random.key(0), params)
        _, out = jax.lax.scan(lambda s, a: env.step(jax.random.key(0), s, a, params), state, actions)
        return jnp.argmax(out.terminated)

    assert jax.vmap(end)(jnp.arange(1, 11)).tolist() == list(range(1, 11))


def test_t_maze_pays_the_turn_that_the_sign_said():
    env = TMaze(max_length=5)
    params = env.default_params().replace(length=jnp.int32(3))
    mdp = jax.jit(lambda params: extract(env, params))(params)
    for sign, turn in ((0, 0), (1, 2)):
        state = env.state_at(sign * 6, params)
        rewards, seen = [], [np.asarray(env._observe(state, params)).tolist()]
        for action in (turn, 3, 1, 1, 1, 1, turn):
            state, out = env.step(jax.random.key(0), state, jnp.int32(action), params)
            rewards.append(round(float(out.reward), 3))
            seen.append(np.asarray(out.obs).tolist())
        assert rewards == [-0.1, -0.1, 0, 0, 0, -0.1, 4] and bool(out.terminated)
        assert seen == [[0, 1, 1] if sign == 0 else [1, 1, 0]] * 3 + [[1, 0, 1]] * 2 + [[0, 1, 0]] * 2 + [
            [0] * 3
        ]
        wrong = int(env.state_index(env.state_at(sign * 6 + 3, params), params))
        assert float(mdp.R[wrong, 2 - turn]) == pytest.approx(-0.1)
    values = np.zeros(env.num_states)
    for _ in range(10):
        values = (np.asarray(mdp.R) + np.asarray(mdp.P) @ values).max(axis=1)
    assert float(np.asarray(mdp.start) @ values) == pytest.approx(4)
    assert np.flatnonzero(mdp.terminal).tolist() == [env.num_states - 1]


@pytest.mark.parametrize("repeats", [1, 3])
def test_repeat_copy_pays_for_the_symbols_in_order(repeats):
    env = RepeatCopy(length=4, num_symbols=3)
    params = env.default_params().replace(repeats=jnp.int32(repeats))
    keys = jax.random.split(jax.random.key(0), 16)
    symbols = np.asarray(jax.vmap(lambda key: env.reset(key, params)[0].symbols)(keys))
    actions = np.tile(symbols, (1, 1 + repeats))
    actions[8:, 5] = (actions[8:, 5] + 1) % 3  # one mistake, in the second place
    first, (_, steps) = play(env, params, actions, keys)
    shown = np.concatenate([first[:, None], steps.obs], axis=1)
    assert np.array_equal(shown[:, :4].argmax(-1), symbols) and np.all(shown[:, 4:].argmax(-1) == 3)
    assert not steps.reward[:, :4].any()
    np.testing.assert_allclose(steps.reward[:8].sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(steps.reward[8:].sum(1), 1 - 2 / (4 * repeats), atol=1e-6)
    assert np.all(steps.terminated.argmax(1) == 4 * (1 + repeats) - 1)


def test_texts_and_frames_show_the_state():
    for id, text in (
        ("MemoryChain-v1", "bits "),
        ("TMaze-v1", "A" + "." * 10),
        ("RepeatCopy-v1", "read ["),
    ):
        env, params = envs.make(id)
        state, _ = env.reset(jax.random.key(0), params)
        after, _ = env.step(jax.random.key(0), state, jnp.int32(1), params)
        assert text in env.ascii(state, params) and env.ascii(after, params) != env.ascii(state, params)
        assert not np.array_equal(env.frame(after, params), env.frame(state, params))


def test_bad_sizes_are_refused():
    for make, message in (
        (lambda: MemoryChain(num_bits=0), "`num_bits` must be at least 1, got 0"),
        (lambda: MemoryChain(num_bits=1.5), "`num_bits` must be an integer, got 1.5"),
        (lambda: TMaze(max_length=2.5), "`max_length` must be an integer, got 2.5"),
        (lambda: RepeatCopy(length=2.5), "`length` must be an integer, got 2.5"),
        (lambda: TMaze(max_length=0), "`max_length` must be at least 1, got 0"),
        (lambda: RepeatCopy(length=0), "`length` must be at least 1, got 0"),
        (lambda: RepeatCopy(num_symbols=1), "`num_symbols` must be at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("length", [-1, 0, 6])
def test_a_corridor_of_impossible_length_keeps_walkers_inside(length):
    env = TMaze(max_length=5)
    params = env.default_params().replace(length=jnp.int32(length))
    cells = np.arange(6)
    for sign in range(2):
        following = np.asarray(extract(env, params).P)[sign * 6 + cells]
        assert np.allclose(following.sum(-1), 1)
        assert set(np.argwhere(following)[:, -1].tolist()) <= {
            *(sign * 6 + cells).tolist(),
            env.num_states - 1,
        }


@pytest.mark.parametrize("in_use", [-1, 0, 4])
def test_an_impossible_number_of_bits_asks_for_one_that_exists(in_use):
    env = MemoryChain(num_bits=3)
    params = env.default_params().replace(in_use=jnp.int32(in_use))
    queries = jax.vmap(lambda key: env.reset(key, params)[0].query)(jax.random.split(jax.random.key(0), 64))
    assert set(np.asarray(queries).tolist()) == ({0, 1, 2} if in_use == 4 else {0})
