"""Devices: meshes, independent cells over them, one learner's data over them, several processes.

A cell is one (configuration, seed). Cells never talk to each other, so each device runs its share
of the same program with `jax.shard_map`; one device is the same path.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

CELL_AXIS = "cell"
DATA_AXIS = "data"


def cell_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a one-dimensional mesh over which cells are dealt: all devices, or those given."""
    return _mesh(CELL_AXIS, devices)


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a one-dimensional mesh over which one learner's environments are dealt."""
    return _mesh(DATA_AXIS, devices)


def over_cells(
    fn: Callable[[Any, Any], Any], mesh: Mesh, spelling: Literal["shard_map", "pmap"] = "shard_map"
) -> Callable[[Any, Any], Any]:
    """Return `fn` for a batch of cells, spread over the mesh.

    Args:
      fn: `(cell, shared) -> result` for one cell.
      mesh: as `cell_mesh` returns it.
      spelling: "shard_map", to be jitted by the caller, or "pmap", which compiles by itself. Both
        give equal numbers.

    Returns:
      `(cells, shared) -> results`; the leading axis of every leaf of `cells` must be a multiple of
      the number of devices (see `pad`).
    """
    batched = jax.vmap(fn, in_axes=(0, None))
    if spelling == "shard_map":
        (axis,) = mesh.axis_names
        # Loop carries start from constants, which the varying-manual-axes check rejects; cells are
        # independent.
        return jax.shard_map(
            batched,
            mesh=mesh,
            in_specs=(PartitionSpec(axis), PartitionSpec()),
            out_specs=PartitionSpec(axis),
            check_vma=False,
        )
    if spelling != "pmap":
        raise ValueError(f"`spelling` must be 'shard_map' or 'pmap', got {spelling!r}")
    mapped = jax.pmap(batched, in_axes=(0, None), devices=list(mesh.devices.flat))

    def run(cells, shared):
        deal = jax.tree.map(lambda x: x.reshape((mesh.size, -1, *x.shape[1:])), cells)
        return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), mapped(deal, shared))

    return run


def over_data(fn: Callable[[jax.Array, Any], Any], mesh: Mesh) -> Callable[[jax.Array, Any], Any]:
    """Return `fn` run on every device at once, able to average over the axis `"data"`.

    Args:
      fn: `(key, shared) -> result`; an agent whose config has `axis_name="data"` averages its
        gradients and statistics over the devices, each of which steps its own environments.
      mesh: as `data_mesh` returns it.

    Returns:
      `(keys [D], shared) -> results`, whose leaves gain a leading axis `[D]`. Parameters stay equal
      along it if they start so.
    """

    def block(keys, shared):
        return jax.tree.map(lambda x: x[None], fn(keys[0], shared))

    return jax.shard_map(
        block,
        mesh=mesh,
        in_specs=(PartitionSpec(DATA_AXIS), PartitionSpec()),
        out_specs=PartitionSpec(DATA_AXIS),
        check_vma=False,
    )


def pad(tree: Any, multiple: int) -> Any:
    """Return `tree` with its leading axis padded to a multiple, by repeating the last row.

    >>> pad(np.arange(3), 2)
    array([0, 1, 2, 2])
    """
    num = jax.tree.leaves(tree)[0].shape[0]
    index = np.minimum(np.arange(-(-num // multiple) * multiple), num - 1)
    return tree if len(index) == num else jax.tree.map(lambda x: x[index], tree)


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Join the processes of a cluster, before anything else touches jax's devices.

    Without arguments SLURM, Open MPI, Kubernetes and Cloud TPU are recognised. Sweeps over
    independent seeds do not need it: give each process seeds of its own, and merge their tables.

    Args:
      coordinator: "host:port" of process 0.
      num_processes: how many there are.
      process_id: which one this is.
    """
    jax.distributed.initialize(coordinator, num_processes, process_id)


def _mesh(axis: str, devices: Sequence[jax.Device] | None) -> Mesh:
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("`devices` must name at least one device, got none")
    return jax.make_mesh((len(devices),), (axis,), axis_types=(AxisType.Auto,), devices=devices)
