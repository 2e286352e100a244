"""A checkpoint gives back what was saved, bit for bit, or says why it cannot."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import checkpoint, store
from experiments.store import StoreError

HASH = "0123456789ab"


def state():
    return {
        "key": jax.random.split(jax.random.key(3), 2),
        "other_key": jax.random.key(1, impl="rbg"),
        "half": jnp.array([[1.5, -0.0]], jnp.bfloat16),
        "float": jnp.array([jnp.nan, jnp.inf, 1e-40], jnp.float32),
        "int": jnp.int32(-7),
        "bool": jnp.array([True, False]),
        "empty": jnp.zeros((0, 3)),
        "none": None,
        "nested": ({"x": jnp.uint8(255)},),
    }


def bits(tree):
    def leaf(x):
        x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        return np.asarray(x).shape, str(x.dtype), np.asarray(x).tobytes()

    return jax.tree.map(leaf, tree)


def template():
    return jax.eval_shape(state)


def saved(path):
    checkpoint.save(path, HASH, state(), {"returns": np.arange(6.0).reshape(2, 3)}, progress=4)


def test_every_kind_of_leaf_survives_bit_for_bit(tmp_path):
    assert not checkpoint.exists(tmp_path)
    saved(tmp_path)
    assert checkpoint.exists(tmp_path)
    loaded, history, progress = checkpoint.load(tmp_path, HASH, template())
    assert bits(loaded) == bits(state())
    assert jax.tree.map(lambda x: x.dtype, loaded) == jax.tree.map(lambda x: x.dtype, state())
    assert jax.random.bits(loaded["key"][1]) == jax.random.bits(state()["key"][1])
    assert history["returns"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert progress == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"int": jnp.int32([1, 2])}, r"['int'] is int32[] in it and int32[2] in the state"),
        ({"int": jnp.float32(1)}, r"['int'] is int32[] in it and float32[] in the state"),
        ({"new": jnp.float32(1)}, r"the state's ['new'] is not in it"),
        ({"bool": None}, r"its ['bool'] is not in the state"),
        (
            {"other_key": jax.ShapeDtypeStruct((), jnp.uint32)},
            r"['other_key'] is key<rbg>[] in it and uint32[]",
        ),
    ],
)
def test_another_program_is_refused_and_the_first_difference_named(tmp_path, change, message):
    saved(tmp_path)
    with pytest.raises(StoreError) as caught:
        checkpoint.load(tmp_path, HASH, template() | change)
    assert message in str(caught.value)
    assert "does not fit this program" in str(caught.value)


def test_another_configuration_is_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(StoreError, match=r"from another configuration .0123456789ab, not ffffffffffff."):
        checkpoint.load(tmp_path, "ffffffffffff", template())


def rewrite(path, change):
    arrays = store.read_arrays(path / "checkpoint.npz")
    change(arrays)
    store.write_arrays(path / "checkpoint.npz", arrays)


def test_another_format_is_refused(tmp_path):
    saved(tmp_path)

    def change(arrays):
        header = json.loads(arrays["header"].item())
        arrays["header"] = np.array(json.dumps(header | {"format": 99}))

    rewrite(tmp_path, change)
    with pytest.raises(StoreError, match="has format 99, this version reads 1"):
        checkpoint.load(tmp_path, HASH, template())


@pytest.mark.parametrize("missing", ["header", "state/00003"])
def test_an_incomplete_file_is_refused(tmp_path, missing):
    saved(tmp_path)
    rewrite(tmp_path, lambda arrays: arrays.pop(missing))
    with pytest.raises(StoreError, match="is damaged"):
        checkpoint.load(tmp_path, HASH, template())


def test_a_file_cut_short_is_refused(tmp_path):
    saved(tmp_path)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StoreError, match=r"checkpoint.npz is damaged"):
        checkpoint.load(tmp_path, HASH, template())


def test_something_else_is_refused(tmp_path):
    (tmp_path / "checkpoint.npz").write_text("hello")
    with pytest.raises(StoreError, match=r"checkpoint.npz is damaged"):
        checkpoint.load(tmp_path, HASH, template())
    np.save(tmp_path / "checkpoint.npz.npy", np.arange(3))
    (tmp_path / "checkpoint.npz.npy").rename(tmp_path / "checkpoint.npz")
    with pytest.raises(StoreError, match=r"checkpoint.npz is damaged"):
        checkpoint.load(tmp_path, HASH, template())
