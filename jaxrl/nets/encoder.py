"""From the observations of a space to the float arrays that networks take."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, flat_size


def encode(obs: Any, space: Space, flatten: bool = True) -> jax.Array:
    """Return an observation of `space`, or a batch of them, as float32.

    Integers of `Discrete` and `MultiDiscrete` become one-hot; a `Box` is cast, an image of bytes (uint8
    from 0 to 255) also divided by 255; the parts of a `Dict` are flattened and joined in the order of
    their names.

    Args:
      obs: what the space describes, with any number of batch axes before.
      space: the space of one observation.
      flatten: whether a `Box` of several axes becomes a vector; False keeps its shape, for a `CNN`.

    Returns:
      `[..., *encoded_shape(space, flatten)]` float32.

    Raises:
      ValueError: if `obs` does not end with the space's shape.

    >>> encode(jnp.array([2, 0]), Discrete(3)).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    match space:
        case Dict():
            parts = [encode(obs[name], part) for name, part in space.spaces.items()]
            return jnp.concatenate(parts, axis=-1)
        case Discrete():
            return jax.nn.one_hot(obs, space.n, dtype=jnp.float32)
        case MultiDiscrete():
            _batch_shape(obs, space)
            parts = [jax.nn.one_hot(obs[..., i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
            return jnp.concatenate(parts, axis=-1)
        case Box():
            batch_shape = _batch_shape(obs, space)
            x = jnp.asarray(obs).astype(jnp.float32)
            if _is_bytes(space):
                x = x / 255.0
            return x.reshape(*batch_shape, *encoded_shape(space, flatten))
    raise TypeError(f"`space` must be a Discrete, MultiDiscrete, Box or Dict, got {type(space).__name__}")


def encoded_shape(space: Space, flatten: bool = True) -> tuple[int, ...]:
    """Return the shape of one encoded observation of `space`.

    >>> encoded_shape(Box(0, 1, (10, 10, 4), jnp.bool_), flatten=False)
    (10, 10, 4)
    """
    if isinstance(space, Box) and space.shape and not flatten:
        return space.shape
    return (flat_size(space),)


def _batch_shape(obs: Any, space: Box | MultiDiscrete) -> tuple[int, ...]:
    shape = np.shape(obs)
    split = len(shape) - len(space.shape)
    if split < 0 or shape[split:] != space.shape:
        raise ValueError(f"`obs` must end with the space's shape {space.shape}, got {shape}")
    return shape[:split]


def _is_bytes(space: Box) -> bool:
    if np.dtype(space.dtype) != np.uint8 or math.prod(space.shape) == 0:
        return False
    low, high = space.bounds()
    return bool(low.min() == 0 and high.max() == 255)
