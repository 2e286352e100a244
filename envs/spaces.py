"""Observation and action spaces: what values an environment emits and accepts.

Spaces are frozen and hashable by value, so that they can be static arguments of a jitted
function. They hold no arrays: bounds are tuples or scalars and become arrays on demand.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.checks import check_size

Bound = float | tuple


@dataclass(frozen=True)
class Discrete:
    """The integers 0, ..., n - 1.

    >>> Discrete(3).contains(2), Discrete(3).contains(3)
    (True, False)
    """

    n: int
    dtype: Any = jnp.int32

    def __post_init__(self):
        check_size("n", self.n)
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a value: a scalar's."""
        return ()

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a uniform draw, a scalar of `dtype`."""
        return jax.random.randint(key, (), 0, self.n, self.dtype)

    def contains(self, x: Any) -> bool:
        """Return whether a concrete `x` has the shape, the dtype kind and a value of the space."""
        x = np.asarray(x)
        return x.shape == () and np.issubdtype(x.dtype, np.integer) and 0 <= int(x) < self.n


@dataclass(frozen=True)
class MultiDiscrete:
    """A vector of integers, entry i in 0, ..., nvec[i] - 1.

    >>> MultiDiscrete((2, 3)).contains(np.array([1, 2]))
    True
    """

    nvec: tuple[int, ...]
    dtype: Any = jnp.int32

    def __post_init__(self):
        object.__setattr__(self, "nvec", tuple(int(n) for n in self.nvec))
        if not self.nvec or min(self.nvec) < 1:
            raise ValueError(f"`nvec` must hold positive integers, got {self.nvec}")
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a value: `(len(nvec),)`."""
        return (len(self.nvec),)

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a uniform draw, `[len(nvec)]` of `dtype`."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self.nvec), self.dtype)

    def contains(self, x: Any) -> bool:
        """Return whether a concrete `x` has the shape, the dtype kind and a value of the space."""
        x = np.asarray(x)
        return (
            x.shape == self.shape
            and np.issubdtype(x.dtype, np.integer)
            and bool(np.all((x >= 0) & (x < np.array(self.nvec))))
        )


@dataclass(frozen=True)
class Box:
    """Arrays of a shape and dtype between `low` and `high` (scalars, or nested tuples of that shape).

    >>> Box(-1.0, 1.0, (2,)).contains(np.zeros(2, np.float32))
    True
    """

    low: Bound
    high: Bound
    shape: tuple[int, ...] = ()
    dtype: Any = jnp.float32

    def __post_init__(self):
        object.__setattr__(self, "low", _hashable(self.low))
        object.__setattr__(self, "high", _hashable(self.high))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        try:
            low, high = self.bounds()
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"`low` and `high` must fit the shape {self.shape} and {self.dtype}, "
                f"got {self.low} and {self.high}"
            ) from error
        if not np.all(low <= high):
            raise ValueError(f"`low` must be at most `high`, got {self.low} and {self.high}")

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `(low, high)` as NumPy arrays of the space's shape and dtype."""
        low, high = (
            np.broadcast_to(np.asarray(bound, dtype=self.dtype), self.shape)
            for bound in (self.low, self.high)
        )
        return low, high

    def sample(self, key: jax.Array) -> jax.Array:
        """Return a draw of the space's shape and dtype: uniform where both bounds are finite, else normal."""
        low, high = self.bounds()
        if np.issubdtype(low.dtype, np.integer):
            return _random_integers(key, low, high)
        if low.dtype == bool:
            return jax.random.bernoulli(key, shape=self.shape)
        finite = np.isfinite(low) & np.isfinite(high)
        key_uniform, key_normal = jax.random.split(key)
        uniform = jax.random.uniform(
            key_uniform, self.shape, self.dtype, np.where(finite, low, 0), np.where(finite, high, 1)
        )
        normal = jax.random.normal(key_normal, self.shape, self.dtype)
        return jnp.where(finite, uniform, jnp.clip(normal, low, high))

    def contains(self, x: Any) -> bool:
        """Return whether a concrete `x` has the shape, the dtype and values within the bounds."""
        x = np.asarray(x)
        low, high = self.bounds()
        return (
            x.shape == self.shape
            and x.dtype == np.dtype(self.dtype)
            and bool(np.all((x >= low) & (x <= high)))
        )


@dataclass(frozen=True)
class Dict:
    """Named spaces; values are dictionaries with the same keys.

    >>> Dict({"a": Discrete(2)}).contains({"a": 1})
    True
    """

    spaces: Mapping[str, "Space"]

    def __post_init__(self):
        object.__setattr__(self, "spaces", dict(sorted(self.spaces.items())))
        for name, space in self.spaces.items():
            if not isinstance(space, Space):
                raise ValueError(f"`spaces` must hold spaces, got {space!r} under {name!r}")

    def __hash__(self):
        return hash(tuple(self.spaces.items()))

    def sample(self, key: jax.Array) -> dict[str, Any]:
        """Return a dictionary of independent draws."""
        keys = jax.random.split(key, len(self.spaces))
        return {name: s.sample(k) for (name, s), k in zip(self.spaces.items(), keys, strict=True)}

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a dictionary with the space's keys and values within their spaces."""
        return (
            isinstance(x, Mapping)
            and x.keys() == self.spaces.keys()
            and all(space.contains(x[name]) for name, space in self.spaces.items())
        )


Space = Discrete | MultiDiscrete | Box | Dict


def flat_size(space: Space) -> int:
    """Return how many numbers encode a value of `space` as a vector, integers one-hot.

    >>> flat_size(Dict({"a": Discrete(3), "b": Box(0, 1, (2, 2))}))
    7
    """
    match space:
        case Discrete():
            return space.n
        case MultiDiscrete():
            return sum(space.nvec)
        case Box():
            return math.prod(space.shape)
        case Dict():
            return sum(flat_size(s) for s in space.spaces.values())
    raise TypeError(f"`space` must be a Discrete, MultiDiscrete, Box or Dict, got {type(space).__name__}")


def as_action(space: Space, action: Any) -> Any:
    """Return `action` as a world may rely on it: of the space's shape and dtype, integers within their range.

    An integer outside of its range is the nearest one inside, so that no state leaves its bounds because an
    action did; nothing can be raised inside a compiled program. Real numbers are left as they are: how far a
    world follows them beyond their bounds is its own rule.

    Args:
      space: of actions.
      action: one action of it, unbatched; may be traced.

    Raises:
      ValueError: if the shape, or the kind of number, is another one. Both are known while tracing.

    >>> int(as_action(Discrete(3), 7)), int(as_action(Discrete(3), -1))
    (2, 0)
    >>> as_action(Discrete(3), jnp.array([0, 1]))
    Traceback (most recent call last):
    ...
    ValueError: `action` must be one integer of Discrete(n=3, dtype=dtype('int32')), got int32[2]
    """
    if isinstance(space, Dict):
        return {name: as_action(part, action[name]) for name, part in space.spaces.items()}
    array = jnp.asarray(action)
    is_box = isinstance(space, Box)
    fits = is_box or jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool
    if array.shape != space.shape or not fits:
        what = f"{'' if is_box else 'integer '}{list(space.shape)}" if space.shape else "one integer"
        raise ValueError(f"`action` must be {what} of {space}, got {array.dtype}{list(array.shape)}")
    if isinstance(space, Box):
        if jnp.issubdtype(space.dtype, jnp.integer):
            array = jnp.clip(array, *space.bounds())
        return array.astype(space.dtype)
    last = space.n - 1 if isinstance(space, Discrete) else np.array(space.nvec) - 1
    return jnp.clip(array.astype(jnp.int32), 0, last).astype(space.dtype)


def to_gymnasium(space: Space) -> Any:
    """Return the same space as a `gymnasium.spaces.Space` (imports gymnasium)."""
    from gymnasium import spaces as gym_spaces

    match space:
        case Discrete():
            return gym_spaces.Discrete(space.n, dtype=np.dtype(space.dtype).type)
        case MultiDiscrete():
            return gym_spaces.MultiDiscrete(list(space.nvec), dtype=np.dtype(space.dtype).type)
        case Box():
            low, high = space.bounds()
            return gym_spaces.Box(low, high, space.shape, np.dtype(space.dtype).type)
        case Dict():
            return gym_spaces.Dict({name: to_gymnasium(s) for name, s in space.spaces.items()})
    raise TypeError(f"`space` must be a Discrete, MultiDiscrete, Box or Dict, got {type(space).__name__}")


def to_gymnax(space: Space) -> Any:
    """Return the same space as a `gymnax` space (imports gymnax, which has no MultiDiscrete)."""
    from gymnax.environments import spaces as gymnax_spaces

    match space:
        case Discrete():
            return gymnax_spaces.Discrete(space.n)
        case Box():
            low, high = space.bounds()
            return gymnax_spaces.Box(jnp.asarray(low), jnp.asarray(high), space.shape, space.dtype)
        case Dict():
            return gymnax_spaces.Dict({name: to_gymnax(s) for name, s in space.spaces.items()})
    raise TypeError(f"gymnax has no counterpart of {type(space).__name__}")


def _hashable(bound: Any) -> Bound:
    if np.ndim(bound) == 0:
        return bound.item() if hasattr(bound, "item") else bound
    return tuple(_hashable(b) for b in bound)


def _random_integers(key: jax.Array, low: np.ndarray, high: np.ndarray) -> jax.Array:
    """Return uniform integers from `low` to `high`, both included, which may be the limits of their dtype."""
    limits = np.iinfo(low.dtype)
    # `randint` excludes its upper bound, and one more than the largest integer cannot be written: draw from
    # one less and add 1, or, where there is nothing less either, draw bits.
    all_bits = (low == limits.min) & (high == limits.max)
    shift = ((high == limits.max) & ~all_bits).astype(low.dtype)
    key_bits, key = jax.random.split(key)
    stop = high + (high < limits.max).astype(low.dtype)
    draw = jax.random.randint(key, low.shape, low - shift, stop, low.dtype)
    if not all_bits.any():
        return draw + shift
    bits = jax.random.bits(key_bits, low.shape, np.dtype(f"uint{limits.bits}"))
    return jnp.where(all_bits, jax.lax.bitcast_convert_type(bits, low.dtype), draw + shift)
