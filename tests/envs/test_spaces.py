import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.spaces import Box, Dict, Discrete, MultiDiscrete, as_action, flat_size, to_gymnasium, to_gymnax

SPACES = {
    "discrete": Discrete(3),
    "int8": Discrete(5, jnp.int8),
    "multi": MultiDiscrete((2, 5, 1)),
    "unit": Box(0.0, 1.0, (2, 3)),
    "rows": Box((-1.0, -jnp.inf), (1.0, jnp.inf), (2,)),
    "half": Box(0.0, jnp.inf, (4,)),
    "unbounded": Box(-jnp.inf, jnp.inf),
    "pixels": Box(0, 255, (2, 2, 3), jnp.uint8),
    "integers": Box(-2, 3, (2,), jnp.int32),
    "all integers": Box(-(2**31), 2**31 - 1, (3,), jnp.int32),
    "bytes": Box(((-128, -5), (0, 120)), ((127, -5), (127, 127)), (2, 2), jnp.int8),
    "flags": Box(False, True, (3,), jnp.bool_),
    "point": Box(1.0, 1.0, (1, 1)),
    "dict": Dict({"b": Discrete(2), "a": Box(-1.0, 1.0, (2,)), "c": Dict({"d": MultiDiscrete((3,))})}),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_samples_lie_in_their_space_and_depend_on_the_key(space):
    keys = jax.random.split(jax.random.key(0), 20)
    draws = jax.tree.map(np.asarray, jax.jit(jax.vmap(space.sample))(keys))
    assert all(space.contains(jax.tree.map(lambda x, i=i: x[i], draws)) for i in range(20))
    if space != SPACES["point"]:
        assert all((x != x[:1]).any() for x in jax.tree.leaves(draws))
    again = jax.jit(space.sample)(keys[0])
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[0], y, rtol=1e-6), draws, again)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_sampling_uses_a_key_once(space):
    with jax.debug_key_reuse(True):
        jax.jit(space.sample)(jax.random.key(0))


@pytest.mark.parametrize("name", ["discrete", "int8", "integers", "pixels", "bytes", "multi"])
def test_samples_are_uniform_up_to_the_last_value(name):
    space = SPACES[name]
    draws = np.asarray(jax.vmap(space.sample)(jax.random.split(jax.random.key(0), 4000))).reshape(4000, -1)
    match space:
        case Discrete():
            low, high = 0, space.n - 1
        case MultiDiscrete():
            low, high = 0, np.array(space.nvec) - 1
        case _:
            low, high = space.bounds()
    np.testing.assert_array_equal(draws.min(axis=0), np.broadcast_to(low, space.shape).ravel())
    np.testing.assert_array_equal(draws.max(axis=0), np.broadcast_to(high, space.shape).ravel())
    middle = np.broadcast_to(np.add(np.int64(low), high) / 2, space.shape).ravel()
    width = np.broadcast_to(np.subtract(np.int64(high), low) + 1, space.shape).ravel()
    assert np.all(np.abs(draws.mean(axis=0) - middle) < 5 * width / np.sqrt(12 * 4000) + 1e-9)


def test_equal_spaces_are_equal_hash_equal_and_serve_as_static_arguments():
    pairs = [
        (Discrete(3), Discrete(3, np.int32)),
        (Box(0.0, 1.0, (2,)), Box(0, 1, [2], np.float32)),
        (Box((0.0, 1.0), 2.0, (2,)), Box(np.array([0.0, 1.0]), jnp.float32(2.0), (2,), "float32")),
        (MultiDiscrete((2, 3)), MultiDiscrete(np.array([2, 3]))),
        (Dict({"a": Discrete(2), "b": Discrete(3)}), Dict({"b": Discrete(3), "a": Discrete(2)})),
    ]
    for a, b in pairs:
        assert a == b and hash(a) == hash(b)
    assert Discrete(3) != Discrete(4) and Discrete(3) != Discrete(3, jnp.int8)
    size = jax.jit(lambda space, x: x + flat_size(space), static_argnums=0)
    assert [int(size(space, 0)) for space in SPACES.values()] == [flat_size(s) for s in SPACES.values()]


@pytest.mark.parametrize(
    "space, outside",
    [
        (Discrete(3), 3),
        (Discrete(3), -1),
        (Discrete(3), 1.0),
        (Discrete(3), np.array([1])),
        (MultiDiscrete((2, 5)), np.array([2, 0])),
        (MultiDiscrete((2, 5)), np.array([1])),
        (MultiDiscrete((2, 5)), np.array([0.0, 0.0])),
        (Box(0.0, 1.0, (2,)), np.array([0.0, 1.1], np.float32)),
        (Box(0.0, 1.0, (2,)), np.array([0.0, np.nan], np.float32)),
        (Box(0.0, 1.0, (2,)), np.array([0.0, 1.0])),  # float64
        (Box(0.0, 1.0, (2,)), np.zeros(3, np.float32)),
        (Box(-np.inf, np.inf), np.float32(np.nan)),
        (Dict({"a": Discrete(2)}), {"a": 2}),
        (Dict({"a": Discrete(2)}), {"b": 1}),
        (Dict({"a": Discrete(2)}), {"a": 1, "b": 1}),
        (Dict({"a": Discrete(2)}), 1),
    ],
)
def test_does_not_contain(space, outside):
    assert space.contains(outside) is False


def test_contains_its_bounds():
    space = Box((-0.1, -np.inf), (0.1, 7.0), (2,))
    low, high = space.bounds()
    assert low.dtype == np.float32
    assert space.contains(high) and space.contains(np.array([-0.1, -np.inf], np.float32))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: Discrete(0), "`n` must be at least 1, got 0"),
        (lambda: Discrete(2.5), "`n` must be an integer, got 2.5"),
        (lambda: Dict({"a": 3}), "`spaces` must hold spaces, got 3 under 'a'"),
        (
            lambda: Box(0, 300, (2,), np.uint8),
            r"`low` and `high` must fit the shape \(2,\) and uint8, got 0 and",
        ),
        (lambda: MultiDiscrete(()), "`nvec` must hold positive integers"),
        (lambda: MultiDiscrete((2, 0)), "`nvec` must hold positive integers"),
        (lambda: Box(1.0, 0.0), "`low` must be at most `high`"),
        (lambda: Box(np.nan, 0.0), "`low` must be at most `high`"),
        (lambda: Box((0.0, 0.0, 0.0), 1.0, (2,)), "`low` and `high` must fit the shape"),
        (lambda: flat_size("box"), "must be a Discrete, MultiDiscrete, Box or Dict"),
        (lambda: to_gymnasium(3), "must be a Discrete, MultiDiscrete, Box or Dict"),
    ],
)
def test_errors_name_the_argument(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        wrong()


def test_flat_size():
    sizes = [flat_size(SPACES[name]) for name in ("discrete", "multi", "unit", "unbounded", "dict")]
    assert sizes == [3, 8, 6, 1, 7]


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_gymnasium_counterpart_contains_our_samples_and_we_its(space):
    pytest.importorskip("gymnasium")
    theirs = to_gymnasium(space)
    theirs.seed(0)
    assert theirs.contains(jax.tree.map(np.asarray, space.sample(jax.random.key(1))))
    assert space.contains(theirs.sample())


def test_gymnax_counterpart():
    spaces = pytest.importorskip("gymnax.environments.spaces")
    assert to_gymnax(Discrete(3)).n == 3
    box = to_gymnax(SPACES["rows"])
    assert isinstance(box, spaces.Box) and box.shape == (2,) and bool(box.contains(jnp.zeros(2)))
    assert set(to_gymnax(Dict({"a": Discrete(2)})).spaces) == {"a"}
    with pytest.raises(TypeError, match="no counterpart of MultiDiscrete"):
        to_gymnax(MultiDiscrete((2,)))


def test_actions_come_out_of_their_space_whatever_goes_in():
    nested = Dict({"go": Discrete(3), "push": Box(-1.0, 1.0, (2,))})
    for action, expected in ((True, 1), (np.uint8(7), 2), (-(2**31), 0), (np.int32(1), 1)):
        chosen = as_action(Discrete(3), action)
        assert (int(chosen), chosen.dtype, chosen.weak_type) == (expected, jnp.int32, False)
    assert as_action(MultiDiscrete((2, 4)), np.array([-3, 9])).tolist() == [0, 3]
    grid = Box(0, (3, 200), (2,), "uint8")
    assert as_action(grid, np.array([-7, 300])).tolist() == [0, 200]
    assert as_action(grid, np.array([9, 7])).tolist() == [3, 7]
    out = as_action(nested, {"go": 5, "push": np.array([3, -4])})
    assert int(out["go"]) == 2 and out["push"].tolist() == [3.0, -4.0] and out["push"].dtype == jnp.float32
    for space, action, message in (
        (Discrete(3), 1.0, r"`action` must be one integer of .*, got float32\[\]"),
        (MultiDiscrete((2, 4)), 1, r"`action` must be integer \[2\] of .*, got int32\[\]"),
        (Box(-1.0, 1.0, (2,)), np.zeros(3), r"`action` must be \[2\] of .*, got float32\[3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            as_action(space, action)
