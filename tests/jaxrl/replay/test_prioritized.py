"""The sum tree against a list of weights, and prioritised replay against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.replay import Ring, prioritized, reservoir, sum_tree


@pytest.mark.parametrize("size", [1, 16, 17, 300])
def test_sum_tree_equals_a_list(size):
    rng = np.random.default_rng(size)
    weights, tree = np.zeros(size, np.float32), sum_tree.init(size)
    for _ in range(20):
        index = rng.choice(size, min(size, 8), replace=False)
        new = (rng.random(len(index)) * rng.integers(0, 2, len(index))).astype(np.float32)
        weights[index] = new
        tree = sum_tree.update(tree, jnp.asarray(index, jnp.int32), jnp.asarray(new))
    weights[0] = 1.0
    tree = sum_tree.update(tree, jnp.array([0]), jnp.array([1.0]))
    np.testing.assert_array_equal(tree[0][:size], weights)
    np.testing.assert_allclose(tree[-1][0], weights.sum(), rtol=1e-6)
    cumulated = np.cumsum(weights, dtype=np.float64)
    mass = rng.random(1000) * cumulated[-1]
    # Away from the edges, where rounding decides.
    mass = mass[np.abs(mass[:, None] - cumulated).min(axis=1) > 1e-4]
    found, weight = sum_tree.find(tree, jnp.asarray(mass, jnp.float32))
    np.testing.assert_array_equal(found, np.searchsorted(cumulated, mass, side="right"))
    np.testing.assert_array_equal(weight, weights[np.asarray(found)])
    edges, weight = sum_tree.find(tree, jnp.array([0.0, tree[-1][0], tree[-1][0] * 1.001], jnp.float32))
    assert np.all(weights[np.asarray(edges)] > 0)
    np.testing.assert_array_equal(weight, weights[np.asarray(edges)])


def test_an_index_that_comes_twice_leaves_the_sums_right():
    tree = sum_tree.update(sum_tree.init(40), jnp.array([5, 5, 30]), jnp.array([1.0, 3.0, 2.0]))
    np.testing.assert_allclose(tree[-1][0], tree[0].sum())


def after_rows(ring, count):
    priorities = prioritized.init(ring)
    for written in range(0, count, ring.block):
        priorities = prioritized.add(priorities, ring, jnp.int32(written))
    return priorities


@pytest.mark.parametrize(("block", "lookahead"), [(1, 1), (1, 3), (4, 2), (2, 5)])
@pytest.mark.parametrize("count", [4, 8, 20, 24])
def test_only_what_can_be_drawn_has_weight(block, lookahead, count):
    ring = Ring(12 * 2, 2, block=block, lookahead=lookahead)
    weights = np.asarray(after_rows(ring, count).tree[0][:24]).reshape(12, 2)
    oldest, drawable = (int(x) for x in ring.drawable(jnp.int32(count)))
    has_weight = np.zeros(12, bool)
    has_weight[(oldest + np.arange(drawable)) % 12] = True
    np.testing.assert_array_equal(weights > 0, np.stack([has_weight] * 2, axis=1))


@pytest.mark.parametrize(("rows", "block", "lookahead"), [(4, 4, 1), (4, 2, 3), (6, 3, 4), (12, 4, 2)])
def test_a_write_gives_each_place_one_weight(rows, block, lookahead, monkeypatch):
    """New rows of a small ring take the place of what they complete; on a GPU either weight might stay."""
    written = []
    update = sum_tree.update
    monkeypatch.setattr(
        sum_tree,
        "update",
        lambda tree, index, weight: written.append((index, weight)) or update(tree, index, weight),
    )
    after_rows(Ring(rows * 2, 2, block=block, lookahead=lookahead), 3 * rows)
    assert len(written) == 3 * rows // block
    for index, weight in written:
        places = {}
        for place, x in zip(index.tolist(), weight.tolist(), strict=True):
            assert places.setdefault(place, x) == x


def test_frequencies_and_weights_follow_the_definition():
    ring, alpha, beta, size = Ring(8 * 2, 2), 0.6, 0.4, 50_000
    priorities = after_rows(ring, 8)
    places = np.arange(14)
    error = np.linspace(0.0, 3.0, 14)
    priorities = prioritized.update(
        priorities,
        ring,
        jnp.asarray(places // 2),
        jnp.asarray(places % 2),
        jnp.asarray(error, jnp.float32),
        alpha,
    )
    p = (error + 1e-6) ** alpha
    chance = p / p.sum()
    row, env, weight = prioritized.sample(jax.random.key(0), priorities, ring, jnp.int32(8), size, beta)
    index = np.asarray(row) * 2 + np.asarray(env)
    counts = np.bincount(index, minlength=14)
    # Stratified draws deviate less than independent ones.
    np.testing.assert_allclose(counts / size, chance, atol=4 * np.sqrt(0.1 / size))
    expected = (14 * chance[index]) ** -beta
    np.testing.assert_allclose(weight, expected / expected.max(), rtol=1e-3)
    assert float(priorities.largest) == pytest.approx(p.max(), rel=1e-5)


def test_draws_follow_the_weights_by_chi_squared():
    """A batch of one is a plain draw: over many keys the counts are multinomial."""
    ring, draws = Ring(40 * 3, 3), 20_000
    weights = np.random.default_rng(0).random(120).astype(np.float32) ** 3
    weights[[0, 17, 118]] = 0.0
    tree = sum_tree.update(sum_tree.init(120), jnp.arange(120), jnp.asarray(weights))
    priorities = prioritized.Priorities(tree=tree, largest=jnp.float32(1))
    keys = jax.random.split(jax.random.key(5), draws)
    row, env, weight = jax.jit(
        jax.vmap(lambda key: prioritized.sample(key, priorities, ring, jnp.int32(90), 1, 1.0))
    )(keys)
    counts = np.bincount(np.asarray(row * 3 + env).reshape(-1), minlength=120)
    expected = draws * weights / weights.sum()
    assert np.all(counts[weights == 0] == 0)
    likely = expected > 5
    chi2 = np.sum((counts - expected)[likely] ** 2 / expected[likely])
    # Mean k, variance 2 k; six deviations.
    assert chi2 < likely.sum() + 6 * np.sqrt(2 * likely.sum())
    np.testing.assert_allclose(weight, 1.0, rtol=1e-6)


def test_priorities_are_updated_without_a_copy_of_the_leaves():
    """A draw that reads the leaves beside the next write would make XLA copy all of them at each step."""
    ring = Ring(4096 * 2, 2)

    def step(priorities, key):
        row, env, weight = prioritized.sample(key, priorities, ring, jnp.int32(4000), 8, 0.4)
        return prioritized.update(priorities, ring, row, env, weight, 0.6), jnp.sum(weight)

    def steps(priorities, keys):
        return jax.lax.scan(step, priorities, keys)

    keys = jax.random.split(jax.random.key(0), 3)
    program = jax.jit(steps, donate_argnums=0).lower(prioritized.init(ring), keys).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4 * ring.capacity


def test_new_places_start_with_the_largest_weight():
    ring = Ring(8, 1)
    priorities = after_rows(ring, 4)
    priorities = prioritized.update(priorities, ring, jnp.array([0]), jnp.array([0]), jnp.array([7.0]), 1.0)
    priorities = prioritized.add(priorities, ring, jnp.int32(4))
    np.testing.assert_allclose(priorities.tree[0][:5], [7, 1, 1, 7, 0], rtol=1e-5)


def test_a_reservoir_is_a_uniform_sample_of_everything():
    capacity, items, runs = 5, 40, 4000

    def run(key):
        k1, k2 = jax.random.split(key)
        kept = reservoir.add(k1, reservoir.init(jnp.int32(0), capacity), jnp.arange(17))
        return reservoir.add(k2, kept, jnp.arange(17, items)).items

    kept = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), runs)))
    assert all(len(set(row)) == capacity for row in kept.tolist())
    counts = np.bincount(kept.reshape(-1), minlength=items)
    chance = capacity / items
    deviation = (counts - runs * chance) / np.sqrt(runs * chance * (1 - chance))
    assert np.abs(deviation).max() < 4.5
