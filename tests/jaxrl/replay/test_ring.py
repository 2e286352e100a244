"""The ring against lists: whatever was drawn is what a Python loop over the same history finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.memory import num_bytes
from jaxrl.replay import Ring, Step, prioritized, uniform

GAMMA = 0.9
ROWS, ENVS = 12, 3


def history(key, length, envs=ENVS):
    """Return random steps `[length, envs]`, each observation a number of its own, and the true s' of each."""
    k1, k2, k3 = jax.random.split(key, 3)
    done = jax.random.bernoulli(k1, 0.3, (length, envs))
    terminated = done & jax.random.bernoulli(k2, 0.4, (length, envs))
    obs = jnp.arange(length * envs, dtype=jnp.int32).reshape(length, envs)
    following = jnp.concatenate([obs[1:], jnp.full((1, envs), -1, jnp.int32)])
    # What only the true last observation can show: a negative number.
    next_obs = jnp.where(done, -1000 - obs, following)
    steps = Step(
        obs=obs,
        action=obs % 5,
        reward=jax.random.normal(k3, (length, envs)),
        terminated=terminated,
        truncated=done & ~terminated,
    )
    return steps, next_obs


def filled(ring, steps, next_obs):
    """Return the ring after all of the history, a block at a time, in one program."""
    blocks = jax.tree.map(lambda x: x.reshape(-1, ring.block, *x.shape[1:]), (steps, next_obs))

    def add(state, at):
        i, (block, last) = at
        return ring.add(state, block, last, i * ring.block), None

    empty = ring.init(jax.tree.map(lambda x: x[0], steps))
    count = len(jax.tree.leaves(blocks)[0])
    return jax.jit(lambda blocks: jax.lax.scan(add, empty, (jnp.arange(count), blocks))[0])(blocks)


def expected(steps, next_obs, t, env, n):
    """Return `(obs, action, reward, discount, next_obs or None)` of the transition that begins at time t."""
    reward, discount = 0.0, 1.0
    for k in range(n):
        reward += discount * float(steps.reward[t + k, env])
        discount *= GAMMA
        if steps.terminated[t + k, env]:
            return int(steps.obs[t, env]), int(steps.action[t, env]), reward, 0.0, None
        if steps.truncated[t + k, env]:
            break
    return int(steps.obs[t, env]), int(steps.action[t, env]), reward, discount, int(next_obs[t + k, env])


@pytest.mark.parametrize(
    ("length", "n", "block"), [(8, 1, 1), (12, 3, 1), (40, 1, 4), (41, 3, 1), (48, 5, 6)]
)
def test_transitions_are_those_of_the_history(length, n, block):
    steps, next_obs = history(jax.random.key(length), length)
    ring = Ring(ROWS * ENVS, ENVS, block=block, lookahead=n, num_finals=ROWS)
    state = filled(ring, steps, next_obs)
    oldest, count = (int(x) for x in ring.drawable(jnp.int32(length)))
    assert count == min(length, ROWS) - n
    row, env = (x.reshape(-1) for x in jnp.meshgrid((oldest + jnp.arange(count)) % ROWS, jnp.arange(ENVS)))
    drawn = jax.jit(lambda row, env: ring.transitions(state, row, env, GAMMA, n))(row, env)
    first = length - min(length, ROWS)
    assert np.all(drawn.valid == 1)
    ends = set()
    for i, (r, e) in enumerate(zip(row.tolist(), env.tolist(), strict=True)):
        t = first + (r - oldest) % ROWS
        obs, action, reward, discount, last = expected(steps, next_obs, t, e, n)
        assert (drawn.obs[i], drawn.action[i]) == (obs, action)
        np.testing.assert_allclose(drawn.reward[i], reward, atol=1e-5)
        np.testing.assert_allclose(drawn.discount[i], discount, atol=1e-6)
        if last is not None:
            assert drawn.next_obs[i] == last
        ends.add("terminated" if last is None else "truncated" if last < 0 else "on")
    assert ends == {"terminated", "truncated", "on"}


def test_what_was_written_is_read_whatever_its_type():
    """Also infinities, NaN and negative zero, and types of one, two and four bytes side by side."""
    ring = Ring(6 * 2, 2)
    numbers = jnp.array([[0.0, -0.0], [jnp.inf, jnp.nan], [1e-45, -3.5]], jnp.float32)
    obs = {
        "image": jnp.arange(2 * 2 * 3, dtype=jnp.uint8).reshape(2, 2, 3) + 250,
        "mask": jnp.array([[True, False], [False, True]]),
        "half": jnp.array([1.5, -jnp.inf], jnp.bfloat16),
        "small": jnp.array([-3, 3], jnp.int8),
    }
    step = Step(
        obs=obs,
        action=jnp.array([[1.5], [-2.5]]),
        reward=jnp.array([1.0, 2.0]),
        terminated=jnp.array([True, False]),
        truncated=jnp.array([False, True]),
        extras=(numbers[:2], jnp.array([2**31, 7], jnp.uint32)),
    )
    block = jax.tree.map(lambda x: x[None], step)
    state = ring.add(ring.init(step), block, block.obs, jnp.int32(2))
    stored = jax.tree.map(lambda x: x[2], state.steps)
    for before, after in zip(jax.tree.leaves(step), jax.tree.leaves(stored), strict=True):
        assert before.dtype == after.dtype and before.shape == after.shape
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()


def test_numbers_of_eight_bytes_are_refused():
    step = Step(*(jax.ShapeDtypeStruct((2,), t) for t in ("float64", "int32", "float32", "bool", "bool")))
    with pytest.raises(ValueError, match="`obs` must hold numbers of 1, 2 or 4 bytes, got float64"):
        Ring(8, 2).init(step)


@pytest.mark.parametrize("length", [8, 10, 12, 14, 24, 26])
def test_nothing_unwritten_is_drawn_and_nothing_across_the_write_position(length):
    """Published replays drew empty places, and stretches that jump from the newest step to the oldest."""
    ring = Ring(ROWS * ENVS, ENVS, block=2, lookahead=4, num_finals=ROWS)
    time = jnp.broadcast_to(jnp.arange(1, length + 1, dtype=jnp.int32)[:, None], (length, ENVS))
    no = jnp.zeros((length, ENVS), bool)
    steps = Step(obs=time, action=time, reward=time.astype(jnp.float32), terminated=no, truncated=no)
    state = filled(ring, steps, time + 1)
    written, size = jnp.int32(length), 300
    everywhere = prioritized.init(ring)
    for start in range(0, length, ring.block):
        everywhere = prioritized.add(everywhere, ring, jnp.int32(start))
    for row, env in (
        uniform.sample(jax.random.key(0), ring, written, size),
        prioritized.sample(jax.random.key(1), everywhere, ring, written, size, 0.4)[:2],
    ):
        drawn = ring.sequences(state, row, env, 4)
        first = max(length - ROWS, 0) + 1
        np.testing.assert_array_equal(np.unique(drawn.steps.obs[:, 0]), np.arange(first, length - 3))
        assert np.all(np.diff(drawn.steps.obs, axis=1) == 1)
        np.testing.assert_array_equal(drawn.next_obs, drawn.steps.obs + 1)
        several = ring.transitions(state, row, env, 1.0, 4)
        np.testing.assert_array_equal(several.next_obs, several.obs + 4)
        np.testing.assert_array_equal(several.reward, 4 * several.obs + 6)


def test_a_lost_last_observation_is_marked():
    """With one slot an environment only its latest truncation is known; nothing else is affected."""
    steps, next_obs = history(jax.random.key(0), 30)
    ring = Ring(ROWS * ENVS, ENVS, num_finals=1)
    state = filled(ring, steps, next_obs)
    row, env = (x.reshape(-1) for x in jnp.meshgrid((30 + jnp.arange(ROWS - 1)) % ROWS, jnp.arange(ENVS)))
    drawn = ring.transitions(state, row, env, GAMMA)
    times = 30 - ROWS + (np.asarray(row) - 30) % ROWS
    truncated = np.asarray(steps.truncated)
    # The newest row counts too: it has taken the slot, though it cannot be drawn itself.
    latest = [max(np.flatnonzero(truncated[:, e]), default=-1) for e in range(ENVS)]
    lost = [truncated[t, e] and t != latest[e] for t, e in zip(times, env.tolist(), strict=True)]
    assert 0 < sum(lost) < len(lost)
    np.testing.assert_array_equal(drawn.valid, 1.0 - np.array(lost))


def test_sequences_are_stretches_of_one_environment():
    steps, next_obs = history(jax.random.key(3), 31)
    ring = Ring(ROWS * ENVS, ENVS, lookahead=4, num_finals=ROWS)
    state = filled(ring, steps, next_obs)
    row, env = jnp.array([31 % ROWS, (31 + 7) % ROWS]), jnp.array([2, 0])
    drawn = ring.sequences(state, row, env, 4)
    for i, (start, e) in enumerate([(31 - ROWS, 2), (31 - ROWS + 7, 0)]):
        np.testing.assert_array_equal(drawn.steps.obs[i], steps.obs[start : start + 4, e])
        np.testing.assert_array_equal(drawn.steps.terminated[i], steps.terminated[start : start + 4, e])
        known = ~np.asarray(steps.terminated[start : start + 4, e])
        np.testing.assert_array_equal(
            np.asarray(drawn.next_obs[i])[known], np.asarray(next_obs)[start : start + 4, e][known]
        )


def test_draws_are_uniform():
    ring = Ring(ROWS * ENVS, ENVS, lookahead=2)
    size = 100_000
    for written in (7, 29):
        row, env = uniform.sample(jax.random.key(written), ring, jnp.int32(written), size)
        oldest, count = (int(x) for x in ring.drawable(jnp.int32(written)))
        places = np.bincount(((np.asarray(row) - oldest) % ROWS) * ENVS + np.asarray(env))
        assert len(places) == count * ENVS
        chi2 = np.sum((places - size / len(places)) ** 2) / (size / len(places))
        # Chi-squared of k degrees is about normal: mean k, variance 2 k; six deviations.
        assert chi2 < len(places) + 6 * np.sqrt(2 * len(places))


def test_a_write_under_vmap_stays_a_slice():
    """With a pointer that all seeds share, one slice write is all that touches the ring."""
    ring = Ring(8 * 4, 4)
    steps = Step(jnp.zeros((1, 4, 7)), *(jnp.zeros((1, 4), t) for t in (jnp.int32, jnp.float32, bool, bool)))
    state = jax.vmap(lambda _: ring.init(jax.tree.map(lambda x: x[0], steps)))(jnp.arange(3))
    batch = jax.tree.map(lambda x: jnp.stack([x] * 3), steps)
    add = jax.jit(jax.vmap(ring.add, in_axes=(0, 0, 0, None)), donate_argnums=0)
    program = add.lower(state, batch, batch.obs, jnp.int32(5)).compile().as_text()
    # All fields of a step are of four bytes in the end. Without fusion a scatter is a loop of slice writes.
    whole = "u32[3,4,8,10]"
    writes = [
        line
        for line in program.splitlines()
        if whole in line.partition(" = ")[2]
        and any(f" {kind}(" in line for kind in ("dynamic-update-slice", "scatter", "while"))
    ]
    assert len(writes) == 1
    assert " dynamic-update-slice(" in writes[0]


def test_observations_keep_their_type_and_are_stored_once():
    ring = Ring(1000 * 4, 4, num_finals=3)
    step = Step(
        jnp.zeros((4, 84, 84), jnp.uint8), *(jnp.zeros(4, t) for t in (jnp.int32, jnp.float32, bool, bool))
    )
    state = jax.eval_shape(ring.init, step)
    frame = 84 * 84
    # Action, reward and what ended the episode take four bytes each.
    assert num_bytes(state) == 4000 * (frame + 4 + 4 + 4) + 3 * 4 * frame + 4 * 4


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"capacity": 100, "num_envs": 3}, "`buffer_size` must be a multiple of .* = 3, got 100; try 99"),
        (
            {"capacity": 12, "num_envs": 3, "lookahead": 4},
            "more than 4 steps of each of 3 .*, got 12; try 18",
        ),
        ({"capacity": 12, "num_envs": 3, "block": 3}, "must be a multiple of .* = 9, got 12; try 9"),
        ({"capacity": 0, "num_envs": 3}, "`capacity` must be at least 1, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Ring(**sizes)
