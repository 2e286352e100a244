"""Records: the fields of a step side by side in memory, so that to look one up touches one place.

A replay that keeps an array a field is bound by cache misses once it is large: to draw one transition from
a million reads seven places far apart. Here numbers of the same size lie in one array, a record a row, in
the types they came in, bit by bit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

_CARRIERS = {1: "uint8", 2: "uint16", 4: "uint32"}


@dataclass(frozen=True)
class Field:
    """Where the leaves of a field are: for each leaf its carrier, first column, shape and type."""

    name: str
    treedef: Any
    leaves: tuple[tuple[str, int, tuple[int, ...], str], ...]

    def columns(self, carrier: str) -> tuple[int, int] | None:
        """Return the first column in the array of this type, and one past the last."""
        own = [(start, start + math.prod(shape)) for c, start, shape, _ in self.leaves if c == carrier]
        return (own[0][0], own[-1][1]) if own else None


@struct.dataclass
class Records:
    """Rows of records, with any leading axes.

    Attributes:
      arrays: by the name of an unsigned type, `[..., columns]`; bool and 8-bit numbers are in "uint8".
      fields: what the columns are.
    """

    arrays: dict[str, jax.Array]
    fields: tuple[Field, ...] = struct.field(pytree_node=False)

    def read(self, index: tuple, *names: str) -> dict[str, Any]:
        """Return some fields, by name, of the records at `index`, which must be in bounds.

        Args:
          index: one array an axis before the columns, of equal shapes `[...]`; () reads all.
          names: neighbours in the order of the fields, which come in one look-up.
        """
        chosen = [field for field in self.fields if field.name in names]
        parts = {}
        for carrier, array in self.arrays.items():
            bounds = [b for b in (field.columns(carrier) for field in chosen) if b]
            if bounds:
                first, last = bounds[0][0], bounds[-1][1]
                at = (*index, slice(first, last)) if index else (..., slice(first, last))
                parts[carrier] = first, array.at[at].get(mode="promise_in_bounds")
        return {field.name: _unpack(field, parts) for field in chosen}

    def write(self, values: Mapping[str, Any], position: jax.Array, axis: int) -> "Records":
        """Return the records with `values`, leaves `[..., *shape]`, from `position` on along an axis."""
        new = pack(self.fields, values)
        return replace(
            self,
            arrays={
                carrier: lax.dynamic_update_slice_in_dim(array, new[carrier], position, axis)
                for carrier, array in self.arrays.items()
            },
        )


def empty(example: Mapping[str, Any], batch_shape: tuple[int, ...]) -> Records:
    """Return `[*batch_shape]` records of zeros for fields like those of `example`, arrays or their shapes.

    Raises:
      ValueError: if a leaf's numbers take neither 1, 2 nor 4 bytes.

    >>> records = empty({"obs": jnp.zeros((2, 2), jnp.uint8), "reward": jnp.float32(0)}, (10,))
    >>> {carrier: array.shape for carrier, array in records.arrays.items()}
    {'uint8': (10, 4), 'uint32': (10, 1)}
    """
    fields, used = [], {}
    for name, tree in example.items():
        leaves, treedef = jax.tree.flatten(tree)
        places = []
        for leaf in leaves:
            size = np.dtype(leaf.dtype).itemsize
            if size not in _CARRIERS:
                raise ValueError(f"`{name}` must hold numbers of 1, 2 or 4 bytes, got {leaf.dtype}")
            carrier = _CARRIERS[size]
            start = used.get(carrier, 0)
            places.append((carrier, start, tuple(leaf.shape), np.dtype(leaf.dtype).name))
            used[carrier] = start + math.prod(leaf.shape)
        fields.append(Field(name, treedef, tuple(places)))
    arrays = {
        carrier: jnp.zeros((*batch_shape, columns), carrier) for carrier, columns in used.items() if columns
    }
    return Records(arrays=arrays, fields=tuple(fields))


def pack(fields: tuple[Field, ...], values: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return the arrays of records with these values, leaves `[..., *shape]`."""
    columns: dict[str, list[jax.Array]] = {}
    for field in fields:
        for (carrier, _, shape, dtype), leaf in zip(
            field.leaves, jax.tree.leaves(values[field.name]), strict=True
        ):
            leaf = leaf.astype(dtype)
            batch_shape = leaf.shape[: leaf.ndim - len(shape)]
            bits = leaf.astype(carrier) if dtype == "bool" else lax.bitcast_convert_type(leaf, carrier)
            columns.setdefault(carrier, []).append(bits.reshape(*batch_shape, math.prod(shape)))
    return {carrier: jnp.concatenate(parts, axis=-1) for carrier, parts in columns.items()}


def _unpack(field: Field, parts: dict[str, tuple[int, jax.Array]]) -> Any:
    leaves = []
    for carrier, start, shape, dtype in field.leaves:
        first, array = parts[carrier]
        bits = lax.slice_in_dim(array, start - first, start - first + math.prod(shape), axis=-1)
        bits = bits.reshape(*array.shape[:-1], *shape)
        leaves.append(bits != 0 if dtype == "bool" else lax.bitcast_convert_type(bits, dtype))
    return jax.tree.unflatten(field.treedef, leaves)
