"""`overlay`: values, a policy, visits or action values, drawn on the cells of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from envs.render.canvas import Canvas, Point
from envs.render.colors import INK, PAPER, RGB, heat
from envs.render.tiles import ARROWS, Sprite, Tile

_SIDES: tuple[tuple[Point, Point], ...] = (
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((1, 0), (1, 1)),
    ((0, 1), (1, 1)),
)
_PLACES: tuple[Point, ...] = ((0.22, 0.5), (0.5, 0.17), (0.78, 0.5), (0.5, 0.83))
_FEWEST_PIXELS = 40  # of a cell, for numbers to be legible


@dataclass(frozen=True)
class Wedges:
    """A cell cut into four triangles, for what is known of the ways out of it: left, down, right, up.

    Attributes:
      fills: the triangles' colours.
      texts: what is written in them, where the cell is large enough.
    """

    fills: tuple[RGB, ...]
    texts: tuple[str, ...]
    fill: None = None

    def draw(self, canvas: Canvas, size: int, ink: RGB) -> None:
        """Draw on a canvas of the unit square, `size` pixels wide."""
        for (start, end), fill in zip(_SIDES, self.fills, strict=True):
            canvas.polygon([start, (0.5, 0.5), end], fill)
        for corner in ((0, 0), (0, 1)):
            canvas.line(corner, (1 - corner[0], 1 - corner[1]), max(size / 64, 0.5), PAPER)
        if size >= _FEWEST_PIXELS:
            for place, text, fill in zip(_PLACES, self.texts, self.fills, strict=True):
                legible = INK if np.dot(fill, (0.299, 0.587, 0.114)) > 120 else PAPER
                canvas.text(place, text, 0.2 * size, legible)


class Overlay(NamedTuple):
    """What `overlay` makes for `tiles`: sprites, and a shade `[H, W]` (NaN where there is none) or None."""

    sprites: list[Sprite]
    shade: np.ndarray | None


def overlay(
    where: Any,
    *,
    values: Any = None,
    policy: Any = None,
    visits: Any = None,
    q: Any = None,
    headings: Sequence[int] = (0, 1, 2, 3),
    size: int = 64,
) -> Overlay:
    """Return sprites and a shade for `tiles` that show what is known about the cells of a grid.

    Cells are tinted by `q` (each way out for itself), else by `values`, else by `visits` (on a logarithmic
    scale), from low (dark) to high (bright). Numbers are written where cells have 40 pixels or more and no
    arrow is in the way.

    Args:
      where: `[H, W]` bool, the cells to draw on.
      values: `[H, W]` or `[H * W]` numbers.
      policy: `[H, W]` or `[H * W]` actions, or probabilities with a last axis `[A]`: an arrow for every
        action that is at least half as likely as the likeliest; none where all are equally likely.
      visits: `[H, W]` or `[H * W]` counts.
      q: `[H, W, A]` or `[H * W, A]` action values.
      headings: of each action: 0 left, 1 down, 2 right, 3 up.
      size: pixels of a cell.

    Raises:
      ValueError: if an array does not fit `where` and `headings`.

    >>> shown = overlay([[True, False]], values=[0.5, 0.0], size=64)
    >>> shown.shade.tolist(), shown.sprites[0][2].glyph
    ([[0.5, nan]], '.50')
    """
    where = np.asarray(where, bool)
    headings = tuple(headings)
    if q is not None and sorted(headings) != [0, 1, 2, 3]:
        raise ValueError(f"`headings` must hold 0, 1, 2 and 3 once each for `q`, got {headings}")
    at = [(int(r), int(c)) for r, c in np.argwhere(where)]
    sprites: list[Sprite] = []
    shade = numbers = None
    if q is not None:
        q = _fitted("q", q, where.shape, len(headings))
        colors = heat(np.where(where[..., None], q, np.nan))
        order = [headings.index(heading) for heading in range(4)]
        for r, c in at:
            fills = tuple(colors[r, c, a] for a in order)
            sprites.append((r, c, Wedges(fills, tuple(_short(q[r, c, a]) for a in order))))
    elif values is not None:
        numbers = shade = _fitted("values", values, where.shape)
    if visits is not None:
        visits = _fitted("visits", visits, where.shape)
        shade = np.log1p(visits) if shade is None and q is None else shade
        numbers = visits if q is None else None
    if policy is not None:
        sprites += _arrows(policy, at, where.shape, headings)
    elif numbers is not None and size >= _FEWEST_PIXELS:
        # Spaces around them give short numbers the size of longer ones.
        sprites += [(r, c, Tile(None, f"{_short(numbers[r, c]):^3}")) for r, c in at]
    return Overlay(sprites, None if shade is None else np.where(where, shade, np.nan))


def _arrows(
    policy: Any, at: list[tuple[int, int]], shape: tuple[int, ...], headings: tuple[int, ...]
) -> list[Sprite]:
    if np.size(policy) == np.prod(shape):
        moves = _fitted("policy", policy, shape).astype(int)
        if moves.size and not 0 <= moves.min() <= moves.max() < len(headings):
            raise ValueError(f"`policy` must hold actions from 0 to {len(headings) - 1}, got {moves}")
        return [(r, c, ARROWS[headings[moves[r, c]]]) for r, c in at]
    likely = _fitted("policy", policy, shape, len(headings))
    return [
        (r, c, ARROWS[headings[a]])
        for r, c in at
        if not np.ptp(likely[r, c]) <= 1e-6
        for a in np.flatnonzero(likely[r, c] >= 0.5 * likely[r, c].max())
    ]


def _fitted(name: str, array: Any, shape: tuple[int, ...], actions: int | None = None) -> np.ndarray:
    array = np.asarray(array, float)
    wanted = shape if actions is None else (*shape, actions)
    if array.size != np.prod(wanted):
        raise ValueError(f"`{name}` must have shape {wanted}, or flat cells, got {array.shape}")
    return array.reshape(wanted)


def _short(value: float) -> str:
    """Return a number in at most four characters, as far as it goes."""
    if float(value).is_integer() and abs(value) < 10_000:
        return str(int(value))
    digits = 2 if abs(value) < 0.995 else 1 if abs(value) < 9.95 else 0
    text = f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.{digits}f}"
    return "0" if float(text) == 0 else text
