"""Pictures of worlds with NumPy and Pillow only: no window, no display server.

Drawing: `tiles` for everything on a grid, `overlay` for what is known about its cells, `Canvas` for lines and
polygons, `frame` for any environment. Writing: `png`, `gif`, `html`, or `save`, which chooses by the suffix.
"""

from envs.render.canvas import Canvas, Point
from envs.render.colors import (
    CHANNELS,
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
)
from envs.render.files import gif, html, png, save
from envs.render.frames import frame, observation_frame, text_frame
from envs.render.overlays import Overlay, Wedges, overlay
from envs.render.sheet import contact_sheet
from envs.render.tiles import AGENT, ARROWS, GRID_TILES, START, WIND, Tile, heat_map, tile_size, tiles

__all__ = [
    "AGENT",
    "ARROWS",
    "CHANNELS",
    "DEEP_BLUE",
    "FLOOR_BLUE",
    "GREEN",
    "GREY",
    "GRID_TILES",
    "INK",
    "LIGHT_GREEN",
    "ORANGE",
    "PAPER",
    "RGB",
    "START",
    "WALL_GREY",
    "WIND",
    "Canvas",
    "Overlay",
    "Point",
    "Tile",
    "Wedges",
    "contact_sheet",
    "frame",
    "gif",
    "heat_map",
    "html",
    "observation_frame",
    "overlay",
    "png",
    "save",
    "text_frame",
    "tile_size",
    "tiles",
]
