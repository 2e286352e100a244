"""`Canvas`: lines, polygons, discs and text in the coordinates of what is drawn."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.render.colors import PAPER, RGB

Point = tuple[float, float]
_SUPERSAMPLE = 4


class Canvas:
    """A surface to draw on in the world's own coordinates, y upwards, with smooth edges.

    Args:
      width: pixels.
      height: pixels.
      x: the world's coordinates of the left and the right edge.
      y: the world's coordinates of the lower and the upper edge.
      background: the colour of the empty surface.

    >>> from envs.render import ORANGE
    >>> canvas = Canvas(40, 20, (0, 2), (0, 1))
    >>> canvas.disc((1, 0.5), 0.25, ORANGE)
    >>> canvas.array().shape, canvas.array()[10, 20].tolist()
    ((20, 40, 3), [238, 125, 49])
    """

    def __init__(self, width: int, height: int, x: Point, y: Point, background: RGB = PAPER):
        self._image = Image.new("RGB", (width * _SUPERSAMPLE, height * _SUPERSAMPLE), background)
        self._draw = ImageDraw.Draw(self._image)
        self._origin = (x[0], y[1])
        self._scale = (width * _SUPERSAMPLE / (x[1] - x[0]), height * _SUPERSAMPLE / (y[1] - y[0]))

    def polygon(self, points: Sequence[Point], color: RGB) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._pixel(point) for point in points], fill=color)

    def line(self, start: Point, end: Point, width: float, color: RGB) -> None:
        """Draw a straight line with round ends, `width` pixels wide."""
        a, b = np.array(self._pixel(start)), np.array(self._pixel(end))
        radius = width * _SUPERSAMPLE / 2
        along = (b - a) / max(float(np.hypot(*(b - a))), 1e-9)
        side = radius * np.array([-along[1], along[0]])
        self._draw.polygon([tuple(p) for p in (a + side, b + side, b - side, a - side)], fill=color)
        for end_point in (a, b):
            self._draw.ellipse([*(end_point - radius), *(end_point + radius)], fill=color)

    def disc(self, centre: Point, radius: float, color: RGB) -> None:
        """Fill a disc; the radius is in units of x."""
        (x, y), r = self._pixel(centre), radius * self._scale[0]
        self._draw.ellipse([x - r, y - r, x + r, y + r], fill=color)

    def text(self, centre: Point, text: str, size: float, color: RGB) -> None:
        """Write one line around a point, `size` pixels high."""
        font = ImageFont.load_default(size * _SUPERSAMPLE)
        self._draw.text(self._pixel(centre), text, fill=color, font=font, anchor="mm")

    def array(self) -> np.ndarray:
        """Return the picture, `[height, width, 3]` uint8."""
        return np.asarray(self._image.reduce(_SUPERSAMPLE))

    def _pixel(self, point: Point) -> Point:
        x = (float(point[0]) - self._origin[0]) * self._scale[0]
        return x, (self._origin[1] - float(point[1])) * self._scale[1]
