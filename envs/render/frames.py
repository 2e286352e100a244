"""`frame`: a picture of any environment's state, or at least of what is observed of it."""

from typing import Any

import jax
import numpy as np

from envs.render.canvas import Canvas
from envs.render.colors import CHANNELS, INK, ORANGE
from envs.render.tiles import heat_map


def text_frame(text: str) -> np.ndarray:
    """Return lines of text as a picture, letter by letter on a raster, `[height, width, 3]` uint8.

    >>> text_frame("S.G").ndim
    3
    """
    lines = text.splitlines() or [""]
    columns, rows = max(20, *map(len, lines)), len(lines)
    canvas = Canvas(12 * columns + 16, 22 * rows + 16, (0, 12 * columns + 16), (22 * rows + 16, 0))
    for row, line in enumerate(lines):
        for column, letter in enumerate(line):
            canvas.text((14 + 12 * column, 19 + 22 * row), letter, 16, INK)
    return canvas.array()


def observation_frame(obs: Any) -> np.ndarray:
    """Return a picture of any observation, `[height, width, 3]` uint8.

    `[H, W, 3]` bytes of at least 16 pixels a side are a picture already; `[H, W, C]` (MinAtar and its like)
    become cells, one colour a channel, the first on top; `[H, W]` become a heat map; vectors become
    bars around zero, squashed by x / (1 + |x|) so that frames are comparable; scalars are written out.

    >>> observation_frame(np.zeros((10, 10, 4), bool)).shape
    (480, 480, 3)
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(obs)]
    array = leaves[0] if len(leaves) == 1 else np.concatenate([leaf.astype(float).ravel() for leaf in leaves])
    if array.ndim == 0:
        return text_frame(f"observation {array.item():.6g}")
    if array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8 and min(array.shape[:2]) >= 16:
        return _enlarge(array)
    if array.ndim == 3:
        return _channel_frame(array.astype(float))
    if array.ndim == 2:
        return heat_map(array)
    return _bar_frame(array.astype(float).ravel())


def frame(env: Any, state: Any, params: Any, obs: Any = None) -> np.ndarray:
    """Return a picture of any environment's state, `[height, width, 3]` uint8.

    Its own `frame` if it has one, else its observation as a picture if that is an image, else its `ascii`,
    else its observation.

    Args:
      env: the environment.
      state: one state, unbatched.
      params: its parameters.
      obs: the observation of that state; needed where `env` has neither `frame` nor `ascii`.

    Raises:
      ValueError: if there is nothing to draw.

    >>> import envs
    >>> env, params = envs.make("FourRooms-v1")
    >>> frame(env, env.reset(jax.random.key(0), params)[0], params).shape
    (468, 468, 3)
    """
    if hasattr(env, "frame"):
        return np.asarray(env.frame(state, params))
    is_image = hasattr(obs, "ndim") and obs.ndim >= 2
    if hasattr(env, "ascii") and not is_image:
        return text_frame(env.ascii(state, params))
    if obs is None:
        name = getattr(env, "id", type(env).__name__)
        raise ValueError(f"`obs` must be given for {name!r}, which has neither `frame` nor `ascii`")
    return observation_frame(obs)


def _channel_frame(array: np.ndarray) -> np.ndarray:
    height, width, channels = array.shape
    strength = np.clip(array / max(1.0, array.max(initial=0.0)), 0, 1)
    picture = np.broadcast_to(np.array(INK, float), (height, width, 3))
    for channel in reversed(range(channels)):
        color = np.array((255, 255, 255) if channels == 1 else CHANNELS[channel % len(CHANNELS)], float)
        alpha = strength[..., channel, None]
        picture = (1 - alpha) * picture + alpha * color
    size = int(np.clip(480 // max(height, width), 1, 64))
    picture = np.repeat(np.repeat(picture.round().astype(np.uint8), size, axis=0), size, axis=1)
    if size >= 8:
        picture[size - 1 :: size] = picture[size - 1 :: size] // 4 * 3
        picture[:, size - 1 :: size] = picture[:, size - 1 :: size] // 4 * 3
    return picture


def _bar_frame(vector: np.ndarray) -> np.ndarray:
    squashed = np.nan_to_num(vector) / (1 + np.abs(np.nan_to_num(vector)))
    bars = max(len(squashed), 1)
    canvas = Canvas(max(160, min(40 * bars, 480)), 160, (0, bars), (-1.05, 1.05))
    for index, value in enumerate(squashed):
        box = [(index + 0.15, 0), (index + 0.85, 0), (index + 0.85, value), (index + 0.15, value)]
        canvas.polygon(box, CHANNELS[0] if value >= 0 else ORANGE)
    canvas.line((0, 0), (bars, 0), 1.5, INK)
    return canvas.array()


def _enlarge(picture: np.ndarray) -> np.ndarray:
    factor = max(1, 240 // max(picture.shape[:2]))
    return np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
