"""`contact_sheet`: many pictures on one, each with its name below."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from envs.render.canvas import Canvas
from envs.render.colors import INK, PAPER


def contact_sheet(pictures: Mapping[str, Any], columns: int = 6, size: int = 200) -> np.ndarray:
    """Return pictures side by side, row by row, `[rows * (size + 40), columns * (size + 20), 3]` uint8.

    Args:
      pictures: `[H, W, 3]` uint8 by name; each is scaled to fit and keeps its shape.
      columns: how many stand in a row.
      size: pixels of the longer side of each.

    Raises:
      ValueError: if there is no picture, or `columns` or `size` is not positive.

    >>> contact_sheet({"a": np.zeros((8, 4, 3), np.uint8)}, columns=2, size=80).shape
    (120, 200, 3)
    """
    if not pictures or columns < 1 or size < 1:
        raise ValueError(
            f"`pictures` must not be empty, `columns` and `size` at least 1, got {len(pictures)} pictures, "
            f"{columns} and {size}"
        )
    width, height, rows = size + 20, size + 40, -(-len(pictures) // columns)
    sheet = np.full((rows * height, columns * width, 3), PAPER, np.uint8)
    for index, (name, picture) in enumerate(pictures.items()):
        top, left = index // columns * height, index % columns * width
        scale = size / max(np.shape(picture)[:2])
        shape = [max(1, round(scale * side)) for side in np.shape(picture)[:2]]
        small = np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.LANCZOS))
        y, x = top + 8 + (size - shape[0]) // 2, left + 10 + (size - shape[1]) // 2
        sheet[y : y + shape[0], x : x + shape[1]] = small
        label = Canvas(width, 28, (0, width), (0, 28))
        label.text((width / 2, 16), name, min(15.0, 1.75 * width / max(len(name), 1)), INK)
        sheet[top + size + 10 : top + size + 38, left : left + width] = label.array()
    return sheet
