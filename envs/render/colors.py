"""The colours of pictures, and what makes colours of numbers."""

from typing import Any

import numpy as np

RGB = tuple[int, int, int]

PAPER: RGB = (250, 250, 252)
INK: RGB = (38, 45, 61)
GREY: RGB = (188, 194, 206)
WALL_GREY: RGB = (86, 95, 115)
FLOOR_BLUE: RGB = (228, 236, 245)
DEEP_BLUE: RGB = (44, 72, 120)
ORANGE: RGB = (238, 125, 49)
GREEN: RGB = (62, 160, 97)
LIGHT_GREEN: RGB = (209, 236, 213)
# Distinguishable without colour vision, after Okabe and Ito (2008), yellow and black left out, extended.
CHANNELS: tuple[RGB, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
    (170, 170, 170),
    (148, 103, 189),
    (140, 86, 75),
)
# Five points of matplotlib's "viridis", joined by straight lines.
_HEAT = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)


def blend(color: RGB, other: RGB, share: float) -> RGB:
    """Return `color` with a `share` in [0, 1] of another.

    >>> blend((0, 0, 0), (100, 200, 50), 0.5)
    (50, 100, 25)
    """
    r, g, b = (round((1 - share) * c + share * o) for c, o in zip(color, other, strict=True))
    return r, g, b


def heat(values: Any) -> np.ndarray:
    """Return an object array of RGB tuples, `values` scaled from their least to their greatest."""
    values = np.asarray(values, float)
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    level = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1) * (len(_HEAT) - 1)
    # 64 levels keep the cache of tiles and the palette of a GIF small.
    level = np.round(level * 16) / 16
    colors = np.empty(values.shape, object)
    channels = [np.interp(level, np.arange(len(_HEAT)), _HEAT[:, c]).round().astype(int) for c in range(3)]
    for index in np.ndindex(*values.shape):
        colors[index] = tuple(int(channel[index]) for channel in channels)
    return colors
