"""What a state takes of memory, predicted from its shapes, so that what does not fit is refused at once."""

import math
import os
from typing import Any

import jax
import numpy as np


def num_bytes(state: Any) -> int:
    """Return the bytes that a state takes, also of shapes alone as `jax.eval_shape` gives them.

    >>> num_bytes(np.zeros((10, 2), np.uint8))
    20
    """
    return sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(state))


def check_replay(name: str, size: int, state: Any) -> None:
    """Check that a replay fits in the memory of a device, before anything is allocated.

    Args:
      name: of the argument that decides on its size.
      size: that argument, in transitions.
      state: the replay's state, or its shapes.

    Raises:
      ValueError: with the predicted bytes, and how large it may be.
    """
    available, needed = _available(), num_bytes(state)
    if available is not None and needed > available:
        raise ValueError(
            f"`{name}` must fit in memory: {size:,} transitions take {_size(needed)} of {_size(available)}; "
            f"at most {int(size * available / needed):,} fit"
        )


def check_cells(name: str, state: Any, cells: int, num_devices: int) -> None:
    """Check that the states of all cells fit in the memory of their devices, before anything is compiled.

    It is the least that a sweep needs: a program's temporaries come on top.

    Args:
      name: of the arguments that decide on the number of cells.
      state: of one cell, or its shapes; keys are not counted.
      cells: how many there are.
      num_devices: that they are spread over; devices of a host share its memory.

    Raises:
      ValueError: with the predicted bytes, and how many cells fit.
    """
    available = _available()
    if available is None:
        return
    if jax.default_backend() != "cpu":
        available *= num_devices
    arrays = [x for x in jax.tree.leaves(state) if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended)]
    one = num_bytes(arrays)
    if one * cells > available:
        raise ValueError(
            f"{name} must make cells that fit in memory: {cells:,} of {_size(one)} each take "
            f"{_size(one * cells)} of {_size(available)}; at most {available // one:,} fit"
        )


def _available() -> int | None:
    """Return the memory of the first device, or of the host if that is where arrays live, if it is known."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
