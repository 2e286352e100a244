"""Pictures of worlds with NumPy and Pillow only: no window, no display server.

Drawing: `tiles` for everything on a grid, `Canvas` for lines and polygons, `frame` for any environment.
Writing: `png`, `gif`, `html`, or `save`, which chooses by the suffix. A file appears whole or not at all.
"""

import base64
import html as html_module
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

RGB = tuple[int, int, int]
Point = tuple[float, float]

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
_SUPERSAMPLE = 4


class Canvas:
    """A surface to draw on in the world's own coordinates, y upwards, with smooth edges.

    Args:
      width: pixels.
      height: pixels.
      x: the world's coordinates of the left and the right edge.
      y: the world's coordinates of the lower and the upper edge.
      background: the colour of the empty surface.

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
    sprites: Sequence[tuple[int, int, Tile]] = (),
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
    size = size or int(np.clip(480 // max(height, width), 8, 64))
    stacks = [[[legend[kind]] for kind in row] for row in cells]
    if shade is not None:
        for row, column in np.argwhere(~np.isnan(shade)):
            stacks[row][column].append(Tile(_heat(shade).item(row, column)))
    for row, column, tile in sprites:
        stacks[row][column].append(tile)
    return np.vstack([np.hstack([_tile(tuple(stack), size) for stack in row]) for row in stacks])


def heat_map(values: Any, size: int | None = None) -> np.ndarray:
    """Return a matrix as coloured cells, `[H * size, W * size, 3]` uint8, dark for its least value.

    >>> heat_map(np.eye(3), size=8).shape
    (24, 24, 3)
    """
    values = np.asarray(values, float)
    return tiles(np.zeros(values.shape, int), (Tile(GREY),), shade=values, size=size)


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


def png(frame: Any, path: str | Path) -> Path:
    """Write one `[H, W, 3]` uint8 frame as PNG and return the path; missing folders are made.

    Raises:
      ValueError: if `frame` is not a picture.
    """
    return _write(path, lambda file: Image.fromarray(_checked([frame])[0]).save(file, format="PNG"))


def gif(frames: Sequence[Any], path: str | Path, fps: float = 20.0) -> Path:
    """Write frames as an endless GIF with one palette for all (no flicker) and return the path.

    Args:
      frames: `[H, W, 3]` uint8 each; smaller ones are padded to the largest.
      path: where to.
      fps: frames a second, at most 50, which is what viewers can show.

    Raises:
      ValueError: if there is no frame, one is not a picture, or `fps` is out of range.
    """
    _check_fps(fps)
    pictures = _checked(frames)
    palette, table = _shared_palette(pictures)
    images = []
    for picture in pictures:
        image = Image.fromarray(table[_packed(picture)])
        image.putpalette(palette.tobytes())
        images.append(image)

    def save(file: BinaryIO) -> None:
        images[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=1000 / fps,
            loop=0,
            optimize=False,
        )

    return _write(path, save)


def html(frames: Sequence[Any], path: str | Path, fps: float = 20.0) -> Path:
    """Write frames as one self-contained page with play, pause and a slider, and return the path.

    Args:
      frames: `[H, W, 3]` uint8 each; smaller ones are padded to the largest.
      path: where to.
      fps: frames a second.

    Raises:
      ValueError: if there is no frame, one is not a picture, or `fps` is out of range.
    """
    _check_fps(fps)
    encoded = []
    for picture in _checked(frames):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        encoded.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    page = (
        _PAGE.replace("@TITLE@", html_module.escape(Path(path).stem))
        .replace("@LAST@", str(len(encoded) - 1))
        .replace("@PERIOD@", f"{1000 / fps:.3f}")
        .replace("@FIRST@", encoded[0])
        .replace("@FRAMES@", json.dumps(encoded))
    )
    return _write(path, lambda file: file.write(page.encode()))


def save(frames: Sequence[Any], path: str | Path, fps: float = 20.0) -> Path:
    """Write frames as the suffix of `path` says (.png: the last frame; .gif; .html) and return the path.

    Raises:
      ValueError: if the suffix is another, or the frames do not do.
    """
    suffix = Path(path).suffix.lower()
    writers: dict[str, Callable[[], Path]] = {
        ".png": lambda: png(_checked(frames)[-1], path),
        ".gif": partial(gif, frames, path, fps),
        ".html": partial(html, frames, path, fps),
    }
    if suffix not in writers:
        raise ValueError(f"`path` must end in {', '.join(writers)}, got {str(path)!r}")
    return writers[suffix]()


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
    canvas.disc((0.5, 0.5), 0.36, _blend(ink, PAPER, 0.35))
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
def _tile(stack: tuple[Tile, ...], size: int) -> np.ndarray:
    fills = [tile.fill for tile in stack if tile.fill is not None]
    fill = fills[-1] if fills else PAPER
    canvas = Canvas(size, size, (0.0, 1.0), (0.0, 1.0), fill)
    legible = INK if np.dot(fill, (0.299, 0.587, 0.114)) > 120 else PAPER
    for tile in stack:
        ink = tile.ink or legible
        if tile.glyph in _GLYPHS:
            _GLYPHS[tile.glyph](canvas, ink)
        elif tile.glyph:
            canvas.text((0.5, 0.5), tile.glyph, 0.8 * size / max(len(tile.glyph), 1.6), ink)
    picture = canvas.array().copy()
    picture[-1, :] = picture[:, -1] = _blend(fill, INK, 0.12)
    picture.flags.writeable = False
    return picture


def _blend(color: RGB, other: RGB, share: float) -> RGB:
    r, g, b = (round((1 - share) * c + share * o) for c, o in zip(color, other, strict=True))
    return r, g, b


def _heat(values: Any) -> np.ndarray:
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


def _checked(frames: Sequence[Any]) -> list[np.ndarray]:
    pictures = [np.ascontiguousarray(frame) for frame in frames]
    if not pictures:
        raise ValueError("`frames` must hold at least one frame, got none")
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or 0 in picture.shape:
            raise ValueError(
                f"a frame must be a [height, width, 3] array of uint8, got {picture.shape} of {picture.dtype}"
            )
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    return [_padded(picture, height, width) for picture in pictures]


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    padded = np.full((height, width, 3), PAPER, np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    return padded


def _check_fps(fps: float) -> None:
    if not 0 < fps <= 50:
        raise ValueError(f"`fps` must be above 0 and at most 50, got {fps}")


def _packed(picture: np.ndarray) -> np.ndarray:
    channels = picture.astype(np.int32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def _shared_palette(pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return `(palette [256, 3] uint8, table [2**24] uint8 from packed colour to palette index)`.

    The 64 commonest colours are kept exactly; the rest is shared out by median cut over distinct colours, not
    over pixels, so that small things keep their colour.
    """
    seen = np.zeros(1 << 24, bool)
    for picture in pictures:
        seen[_packed(picture)] = True
    colors = np.flatnonzero(seen)
    sample = np.concatenate([_packed(p).ravel() for p in pictures[:: max(1, len(pictures) // 8)]])
    common, counts = np.unique(sample, return_counts=True)
    exact = common[np.argsort(-counts, kind="stable")[: 256 if len(colors) <= 256 else 64]]
    chosen = colors if len(colors) <= 256 else np.concatenate([exact, _median_cut(colors, 256 - len(exact))])
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(chosen)] = _unpacked(chosen)
    table = np.zeros(1 << 24, np.uint8)
    # Photographs hold too many colours to search for each: those share the entry of their coarse colour.
    keys = colors if len(colors) <= 1 << 15 else np.unique(colors & 0xF8F8F8 | 0x040404)
    nearest = np.concatenate([_nearest(part, chosen) for part in np.array_split(keys, 1 + len(keys) // 4096)])
    table[keys] = nearest
    if keys is not colors:
        table[colors] = table[colors & 0xF8F8F8 | 0x040404]
        table[exact] = np.arange(len(exact))
    return palette, table


def _median_cut(colors: np.ndarray, count: int) -> np.ndarray:
    image = Image.fromarray(_unpacked(colors)[None]).quantize(count, Image.Quantize.MEDIANCUT)
    palette = np.array(image.getpalette() or (), np.uint8)[: 3 * count].reshape(-1, 3)
    return np.unique(_packed(palette))


def _unpacked(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.uint8)


def _nearest(colors: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    a, b = _unpacked(colors).astype(np.int32), _unpacked(chosen).astype(np.int32)
    return ((a[:, None] - b[None]) ** 2).sum(-1).argmin(1).astype(np.uint8)


def _write(path: str | Path, save: Callable[[BinaryIO], Any]) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial_file, "wb") as file:
            save(file)
        os.replace(partial_file, path)
    finally:
        partial_file.unlink(missing_ok=True)
    return path


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title>
<style>
:root { color-scheme: light dark; font: 15px system-ui, sans-serif }
body { display: grid; justify-content: center; gap: 12px; margin: 24px }
img { display: block; max-width: min(92vw, 720px); border-radius: 8px; image-rendering: auto }
div { display: flex; gap: 12px; align-items: center }
input { flex: 1 } button { font: inherit; width: 5em } output { min-width: 5em; text-align: right }
</style></head><body>
<img id="frame" alt="@TITLE@" src="@FIRST@">
<div><button id="play">Pause</button>
<input id="at" type="range" min="0" max="@LAST@" value="0"><output id="no"></output></div>
<script>
const frames = @FRAMES@, period = @PERIOD@;
const image = document.getElementById("frame"), at = document.getElementById("at");
const play = document.getElementById("play"), no = document.getElementById("no");
let running = true;
function show(i) { at.value = i; image.src = frames[i]; no.textContent = i + " / " + (frames.length - 1); }
function run(on) { running = on; play.textContent = on ? "Pause" : "Play"; }
play.onclick = () => run(!running);
at.oninput = () => { run(false); show(+at.value); };
document.onkeydown = (e) => {
  if (e.target === play || e.target === at) return;
  if (e.key === " ") { run(!running); e.preventDefault(); }
  const by = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
  if (by) { run(false); show((+at.value + by + frames.length) % frames.length); }
};
setInterval(() => running && show((+at.value + 1) % frames.length), period);
show(0);
</script></body></html>
"""
