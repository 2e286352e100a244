"""`tiles`: everything that lies on a grid, from a few drawings, each made once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np

from envs.render.canvas import Canvas, Point
from envs.render.colors import (
    DEEP_BLUE,
    FLOOR_BLUE,
    GREEN,
    GREY,
    INK,
    LIGHT_GREEN,
    ORANGE,
    PAPER,
    RGB,
    WALL_GREY,
    blend,
    heat,
)


@dataclass(frozen=True)
class Tile:
    """How a cell looks: a filled square, a glyph on it, or both.

    Attributes:
      fill: the square's colour; None leaves what lies below, for sprites that stand on other tiles.
      glyph: "hole", "disc", "ring", "flag", "diamond", "cross", "brick", "left", "down", "right", "up";
        anything else is written as text.
      ink: the glyph's colour; None is dark or light, whichever reads better on the fill.
    """

    fill: RGB | None
    glyph: str = ""
    ink: RGB | None = None

    def draw(self, canvas: Canvas, size: int, ink: RGB) -> None:
        """Draw the glyph on a canvas of the unit square, `size` pixels wide; `ink` is for what has none."""
        if self.glyph in _GLYPHS:
            _GLYPHS[self.glyph](canvas, self.ink or ink)
        elif self.glyph:
            canvas.text((0.5, 0.5), self.glyph, 0.8 * size / max(len(self.glyph), 1.6), self.ink or ink)


class Drawing(Protocol):
    """What can lie on a cell: hashable, with a fill or None, like `Tile`."""

    @property
    def fill(self) -> RGB | None:
        """The square's colour, or None."""
        ...

    def draw(self, canvas: Canvas, size: int, ink: RGB) -> None:
        """Draw on a canvas of the unit square, `size` pixels wide, in `ink` unless it has its own."""
        ...


Sprite = tuple[int, int, Drawing]


# Floor, wall, pit, goal: the codes of `envs.gridworlds.grid`.
GRID_TILES = (
    Tile(FLOOR_BLUE),
    Tile(WALL_GREY, "brick", (103, 113, 135)),
    Tile(FLOOR_BLUE, "hole", DEEP_BLUE),
    Tile(LIGHT_GREEN, "flag", GREEN),
)
AGENT = Tile(None, "disc", ORANGE)
START = Tile(None, "ring", GREY)
ARROWS = tuple(Tile(None, heading) for heading in ("left", "down", "right", "up"))
WIND = tuple(Tile(None, heading, (160, 186, 214)) for heading in ("left", "down", "right", "up"))


def tiles(
    cells: Any,
    legend: Sequence[Tile],
    sprites: Sequence[Sprite] = (),
    shade: Any = None,
    size: int | None = None,
) -> np.ndarray:
    """Return the picture of a grid, `[H * size, W * size, 3]` uint8.

    Args:
      cells: `[H, W]` integers, indices into `legend`.
      legend: how each kind of cell looks.
      sprites: `(row, column, tile)`, drawn on top in this order.
      shade: `[H, W]` numbers that tint the cells from low (dark) to high (bright); NaN leaves a cell alone.
      size: pixels a cell; by default such that the longer side has about 480.

    Raises:
      ValueError: if `cells` is not a matrix of indices into `legend`.

    >>> tiles([[0, 3]], GRID_TILES, [(0, 0, AGENT)], size=10).shape
    (10, 20, 3)
    """
    cells = np.asarray(cells)
    if cells.ndim != 2 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(f"`cells` must be a matrix of integers, got shape {cells.shape} of {cells.dtype}")
    if cells.size == 0 or cells.min() < 0 or cells.max() >= len(legend):
        raise ValueError(f"`cells` must hold indices into the {len(legend)} tiles of `legend`, got {cells}")
    height, width = cells.shape
    size = size or tile_size(height, width)
    stacks: list[list[list[Drawing]]] = [[[legend[kind]] for kind in row] for row in cells]
    if shade is not None:
        for row, column in np.argwhere(~np.isnan(shade)):
            stacks[row][column].append(Tile(heat(shade).item(row, column)))
    for row, column, tile in sprites:
        stacks[row][column].append(tile)
    return np.vstack([np.hstack([_tile(tuple(stack), size) for stack in row]) for row in stacks])


def tile_size(height: int, width: int) -> int:
    """Return the pixels of a cell on a grid of so many rows and columns, 8 to 64, of about 480 in all.

    >>> tile_size(4, 12), tile_size(4, 4)
    (40, 64)
    """
    return int(np.clip(480 // max(height, width), 8, 64))


def heat_map(values: Any, size: int | None = None) -> np.ndarray:
    """Return a matrix as coloured cells, `[H * size, W * size, 3]` uint8, dark for its least value.

    >>> heat_map(np.eye(3), size=8).shape
    (24, 24, 3)
    """
    values = np.asarray(values, float)
    return tiles(np.zeros(values.shape, int), (Tile(GREY),), shade=values, size=size)


def _arrow(canvas: Canvas, ink: RGB, down: float, right: float) -> None:
    def turned(along: float, aside: float) -> Point:
        return 0.5 + along * right + aside * down, 0.5 - along * down + aside * right

    canvas.polygon([turned(*p) for p in ((-0.2, -0.035), (0.08, -0.035), (0.08, 0.035), (-0.2, 0.035))], ink)
    canvas.polygon([turned(*p) for p in ((0.06, -0.12), (0.24, 0.0), (0.06, 0.12))], ink)


def _brick(canvas: Canvas, ink: RGB) -> None:
    for low, joint in ((0.06, 0.3), (0.38, 0.7), (0.7, 0.3)):
        for left, right in ((0.06, joint - 0.03), (joint + 0.03, 0.94)):
            top = low + 0.24
            canvas.polygon([(left, low), (right, low), (right, top), (left, top)], ink)


def _hole(canvas: Canvas, ink: RGB) -> None:
    canvas.disc((0.5, 0.5), 0.36, blend(ink, PAPER, 0.35))
    canvas.disc((0.5, 0.47), 0.32, ink)


def _disc(canvas: Canvas, ink: RGB) -> None:
    canvas.disc((0.5, 0.5), 0.33, PAPER)
    canvas.disc((0.5, 0.5), 0.28, ink)


def _ring(canvas: Canvas, ink: RGB) -> None:
    angles = np.linspace(0, 2 * np.pi, 49)
    outer = [(0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a)) for a in angles]
    inner = [(0.5 + 0.24 * np.cos(a), 0.5 + 0.24 * np.sin(a)) for a in angles[::-1]]
    canvas.polygon(outer + inner, ink)


def _flag(canvas: Canvas, ink: RGB) -> None:
    canvas.polygon([(0.3, 0.14), (0.36, 0.14), (0.36, 0.86), (0.3, 0.86)], INK)
    canvas.polygon([(0.36, 0.84), (0.78, 0.66), (0.36, 0.48)], ink)


def _diamond(canvas: Canvas, ink: RGB) -> None:
    canvas.polygon([(0.5, 0.16), (0.82, 0.5), (0.5, 0.84), (0.18, 0.5)], ink)


def _cross(canvas: Canvas, ink: RGB) -> None:
    near, far = 0.22, 0.78
    for low, high in ((near, far), (far, near)):
        side = 0.05 if low < high else -0.05
        start, end = (
            ((near - 0.05, low + side), (near + 0.05, low - side)),
            ((far + 0.05, high - side), (far - 0.05, high + side)),
        )
        canvas.polygon([*start, *end], ink)


_GLYPHS: dict[str, Callable[[Canvas, RGB], None]] = {
    "hole": _hole,
    "disc": _disc,
    "ring": _ring,
    "flag": _flag,
    "diamond": _diamond,
    "cross": _cross,
    "brick": _brick,
    "left": partial(_arrow, down=0.0, right=-1.0),
    "down": partial(_arrow, down=1.0, right=0.0),
    "right": partial(_arrow, down=0.0, right=1.0),
    "up": partial(_arrow, down=-1.0, right=0.0),
}


@lru_cache(maxsize=4096)
def _tile(stack: tuple[Drawing, ...], size: int) -> np.ndarray:
    fills = [tile.fill for tile in stack if tile.fill is not None]
    fill = fills[-1] if fills else PAPER
    canvas = Canvas(size, size, (0.0, 1.0), (0.0, 1.0), fill)
    legible = INK if np.dot(fill, (0.299, 0.587, 0.114)) > 120 else PAPER
    for drawing in stack:
        drawing.draw(canvas, size, legible)
    picture = canvas.array().copy()
    picture[-1, :] = picture[:, -1] = blend(fill, INK, 0.12)
    picture.flags.writeable = False
    return picture
