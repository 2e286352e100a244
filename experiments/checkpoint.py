"""The checkpoint of a run: state and history of its finished chunks, in one file.

One file because one rename is atomic and two are not: whenever the process dies, the state and the
history on disk belong together. That, and 3 ms against 50 ms a save, is why it is an npz of the
leaves and not orbax, which writes a folder; orbax is the tool for states that span hosts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.store import StoreError, read_arrays, write_arrays

FORMAT = 1
"""Version of the checkpoint's layout; files of another version are refused."""


def save(path: Path, hash: str, state: Any, history: Mapping[str, np.ndarray], progress: int) -> None:
    """Write state and history of a run as one file, replacing the last checkpoint in one step.

    Args:
      path: the run folder.
      hash: the spec's, checked when it is loaded.
      state: a pytree of arrays; typed PRNG keys are stored through their data.
      history: named arrays of what was measured so far.
      progress: how many chunks `state` and `history` cover.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    header = {
        "format": FORMAT,
        "hash": hash,
        "progress": progress,
        "leaves": [_describe(keys, leaf) for keys, leaf in leaves],
        # A key's dtype names its implementation by a tag that cannot be turned back into it.
        "key_impls": {
            str(i): str(jax.random.key_impl(leaf)) for i, (_, leaf) in enumerate(leaves) if _is_key(leaf)
        },
    }
    arrays = {"header": np.array(json.dumps(header))}
    arrays |= {f"state/{i:05d}": _to_numpy(leaf) for i, (_, leaf) in enumerate(leaves)}
    arrays |= {f"history/{name}": np.asarray(value) for name, value in history.items()}
    write_arrays(Path(path) / "checkpoint.npz", arrays)


def exists(path: Path) -> bool:
    """Return whether the run folder `path` holds a checkpoint."""
    return (Path(path) / "checkpoint.npz").is_file()


def load(path: Path, hash: str, template: Any) -> tuple[Any, dict[str, np.ndarray], int]:
    """Return `(state, history, progress)` as `save` wrote them, leaves as NumPy arrays or typed keys.

    Args:
      path: the run folder.
      hash: of the spec that is to go on.
      template: the state's pytree of `jax.ShapeDtypeStruct`, as `jax.eval_shape` gives it.

    Raises:
      StoreError: if the file is missing or damaged, of another format, from another configuration, or if its
        leaves differ from the template's in name, shape or dtype (the first difference is named).
    """
    file = Path(path) / "checkpoint.npz"
    arrays = read_arrays(file)
    try:
        header = json.loads(arrays.pop("header").item())
        version, stored = header["format"], header["hash"]
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise StoreError(f"{file} is damaged: it has no readable header; remove it to start over") from error
    if version != FORMAT:
        raise StoreError(f"{file} has format {version}, this version reads {FORMAT}; remove it to start over")
    if stored != hash:
        raise StoreError(
            f"{file} is from another configuration ({stored}, not {hash}); remove it to start over"
        )
    expected, treedef = jax.tree_util.tree_flatten_with_path(template)
    want = [_describe(keys, leaf) for keys, leaf in expected]
    if header["leaves"] != want:
        raise StoreError(
            f"{file} does not fit this program: {_difference(header['leaves'], want)}; "
            f"continue with the version in manifest.json, or remove the file to start over"
        )
    try:
        stored_leaves = [arrays[f"state/{i:05d}"] for i in range(len(want))]
    except KeyError as error:
        raise StoreError(f"{file} is damaged: {error} is missing; remove it to start over") from error
    impls = header["key_impls"]
    leaves = [
        _from_numpy(array, leaf, impls.get(str(i)))
        for i, (array, (_, leaf)) in enumerate(zip(stored_leaves, expected, strict=True))
    ]
    history = {k.removeprefix("history/"): v for k, v in arrays.items() if k.startswith("history/")}
    return jax.tree_util.tree_unflatten(treedef, leaves), history, int(header["progress"])


def _describe(keys: Any, leaf: Any) -> dict[str, Any]:
    return {"path": jax.tree_util.keystr(keys), "shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def _difference(stored: list[dict], want: list[dict]) -> str:
    stored_by_path, want_by_path = ({d["path"]: d for d in side} for side in (stored, want))
    for path in [*want_by_path, *stored_by_path]:
        have, need = stored_by_path.get(path), want_by_path.get(path)
        if have is None:
            return f"the state's {path} is not in it"
        if need is None:
            return f"its {path} is not in the state"
        if have != need:
            stored_as, needed = (f"{side['dtype']}{side['shape']}" for side in (have, need))
            return f"{path} is {stored_as} in it and {needed} in the state"
    return "the leaves are in another order"


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> np.ndarray:
    if _is_key(leaf):
        return np.asarray(jax.random.key_data(leaf))
    array = np.asarray(leaf)
    # npz knows NumPy's own dtypes only; bfloat16 and its kin travel as their bits.
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.dtype.itemsize}")


def _from_numpy(array: np.ndarray, leaf: Any, key_impl: str | None) -> Any:
    if key_impl is not None:
        return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=key_impl)
    return array.view(leaf.dtype).reshape(leaf.shape)
