"""Pictures as files: PNG, GIF, or a page that plays them. A file appears whole or not at all."""

import base64
import html as html_module
import io
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from envs.render.colors import PAPER

_PAGE = Path(__file__).with_name("page.html")


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
        _PAGE.read_text(encoding="utf-8")
        .replace("@TITLE@", html_module.escape(Path(path).stem))
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
