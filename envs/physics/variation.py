"""One quantity that differs between robots, by its meaning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from envs.checks import as_number, check_env_like
from envs.core import Params
from envs.physics import fields

How = Literal["scale", "add", "set"]


@dataclass(frozen=True)
class Variation:
    """One quantity that differs between robots, and its range.

    Args:
      name: "mass", "friction", "damping", "gear", "gravity", ... as `envs.physics.fields` has them for a
        world; the number of a wrapper ("latency", "push", "sensor_noise"); or a path into the params.
      low: the lower end of the range.
      high: the upper end, the same for no variation.
      how: "scale" multiplies the nominal value, "add" adds to it, "set" takes its place. Gravity has the
        sign of its world: "set" it to -9.81 m/s^2 in Brax, and to 9.81 in the native worlds.
      log: draw uniformly in the logarithm, so that half and double are equally likely.
      select: which entries of the first axis vary (links, joints, motors); None for all.

    Raises:
      ValueError: if an argument has the wrong type, or if the range is not finite, not in order, or cannot
        be right for what varies.

    >>> Variation("mass", 0.5, 2.0, log=True).label
    'mass'
    """

    name: str
    low: float
    high: float
    how: How = "scale"
    log: bool = False
    select: tuple[int, ...] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name):
            raise ValueError(f"`name` must name a quantity, for instance 'mass', got {self.name!r}")
        if self.how not in get_args(How):
            raise ValueError(f"`how` must be one of {get_args(How)}, got {self.how!r}")
        if not isinstance(self.log, bool | np.bool_):
            raise ValueError(f"`log` of {self.name!r} must be True or False, got {self.log!r}")
        if self.select is not None:
            object.__setattr__(self, "select", _entries(self.name, self.select))
        object.__setattr__(self, "low", as_number(f"`low` of {self.label!r}", self.low))
        object.__setattr__(self, "high", as_number(f"`high` of {self.label!r}", self.high))
        self.check(self.low, self.high)

    @property
    def label(self) -> str:
        """The name, with the selected entries if there are such."""
        return self.name + ("" if self.select is None else str(list(self.select)))

    def check(self, low: float, high: float) -> None:
        """Check a range of this quantity.

        Raises:
          ValueError: naming the quantity and what is wrong with its range.
        """
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"the range of {self.label!r} must be finite, got [{low}, {high}]")
        if low > high:
            raise ValueError(f"`low` of {self.label!r} must be at most `high`, got [{low}, {high}]")
        if self.log and low <= 0:
            raise ValueError(f"`low` of {self.label!r} must be greater than 0 to draw logarithms, got {low}")
        if self.how == "scale" and low < 0:
            raise ValueError(
                f"`low` of {self.label!r} must be at least 0, for a factor below turns the sign, got {low}"
            )

    def check_select(self, path: str, shape: tuple[int, ...]) -> None:
        """Check that `select` names entries of a leaf of `shape` that lies at `path`.

        Raises:
          ValueError: naming the quantity and what there is to select.
        """
        if self.select is None:
            return
        if not shape:
            raise ValueError(
                f"`select` of {self.name!r} must be None, for {path} is one number, got {self.select}"
            )
        if not all(-shape[0] <= i < shape[0] for i in self.select):
            raise ValueError(
                f"`select` of {self.name!r} must hold entries of {path} {list(shape)}, got {self.select}"
            )
        if len({i % shape[0] for i in self.select}) < len(self.select):
            raise ValueError(
                f"`select` of {self.name!r} must hold each entry of {path} {list(shape)} once, "
                f"got {self.select}"
            )

    def nominal(self, params: Params, where: tuple[str, ...]) -> jax.Array:
        """Return the value `[]` that changes nothing: 1 for a factor, 0 for a summand, else what is there.

        Raises:
          ValueError: if several entries are set to one value that they do not all have, or may not: traced
            ones cannot be compared.
        """
        if self.how != "set":
            return jnp.float32(1.0 if self.how == "scale" else 0.0)
        leaf = jnp.ravel(self._selected(fields.read(params, where[0])))
        if leaf.size > 1 and (isinstance(leaf, Tracer) or np.ptp(leaf) > 0):
            got = (
                "traced (ask outside of jit)"
                if isinstance(leaf, Tracer)
                else np.array2string(np.asarray(leaf), threshold=8)
            )
            raise ValueError(
                f"{self.label!r} must have one nominal value where none is given, but how='set' puts one in "
                f"the place of all entries of {where[0]}, which are {got}; `select` equal ones or use "
                "how='scale'"
            )
        return leaf[0]

    def apply(self, params: Params, where: tuple[str, ...], value: jax.Array) -> Params:
        """Return `params` with this quantity, which lies at the paths `where`, changed by `value` `[]`."""
        first = fields.read(params, where[0])
        changed = {"scale": first * value, "add": first + value, "set": jnp.broadcast_to(value, first.shape)}
        new = self._chosen(changed[self.how], first)
        params = fields.write(params, where[0], new)
        if len(where) > 1:
            ratio = jnp.where(first == 0, 1.0, new / jnp.where(first == 0, 1.0, first))
            if self.how == "scale":  # the same for zeros, and exact
                ratio = self._chosen(jnp.broadcast_to(value, first.shape), jnp.ones_like(first))
            for path in where[1:]:
                leaf = fields.read(params, path)
                factor = ratio.reshape(ratio.shape + (1,) * (leaf.ndim - ratio.ndim))
                params = fields.write(params, path, leaf * factor)
        return params

    def _selected(self, leaf: jax.Array) -> jax.Array:
        return leaf if self.select is None else leaf[np.array(self.select)]

    def _chosen(self, new: jax.Array, old: jax.Array) -> jax.Array:
        if self.select is None:
            return new
        mask = np.zeros(old.shape[:1], bool)
        mask[list(self.select)] = True
        return jnp.where(mask.reshape(mask.shape + (1,) * (old.ndim - 1)), new, old)


def checked_variations(env: Any, variations: Any) -> tuple[Variation, ...]:
    """Return `variations` of `env` as a tuple.

    Raises:
      ValueError: if `env` is no environment, or `variations` are none.
    """
    check_env_like(env)
    example = 'for instance (Variation("mass", 0.5, 2.0),)'
    if not isinstance(variations, Sequence) or any(not isinstance(x, Variation) for x in variations):
        raise ValueError(f"`variations` must be a sequence of Variations, {example}, got {variations!r}")
    if not variations:
        raise ValueError(f"`variations` must hold at least one Variation, {example}, got none")
    return tuple(variations)


def _entries(name: str, select: Any) -> tuple[int, ...]:
    indices = np.asarray(select if isinstance(select, Sequence | np.ndarray) else None)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise ValueError(f"`select` of {name!r} must hold at least one index, as (0,) does, got {select!r}")
    if len(set(indices.tolist())) < len(indices):
        raise ValueError(f"`select` of {name!r} must hold each index once, got {select!r}")
    return tuple(int(i) for i in indices)
