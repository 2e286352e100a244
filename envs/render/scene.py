"""`scene`: solids over a floor as they look through a camera, by casting rays with NumPy: no display, no GPU.

Exact for spheres, capsules and boxes, which is what robots in simulators are made of; with shadows on the
floor and smooth edges. A picture of a robot takes about 0.2 s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from envs.render.colors import FLOOR_BLUE, PAPER, RGB

_SUPERSAMPLE = 2
_LIGHT = np.array([-0.35, -0.45, 0.82]) / np.linalg.norm([-0.35, -0.45, 0.82])
_AMBIENT, _SHADOW = 0.5, 0.7
# Beyond this multiple of the camera's distance the floor has faded into the background.
_HORIZON = 4.0


@dataclass(frozen=True, eq=False)
class Solid:
    """A body to draw.

    Attributes:
      kind: "sphere", "capsule" (along its own z axis) or "box".
      centre: `[3]`.
      rotation: `[3, 3]`, whose columns are the body's axes.
      size: `[3]`: radius; radius and half length without the caps; or half the edges.
      color: of its surface.
    """

    kind: Literal["sphere", "capsule", "box"]
    centre: np.ndarray
    rotation: np.ndarray
    size: np.ndarray
    color: RGB

    @property
    def reach(self) -> float:
        """Radius of a sphere around the centre that holds the solid."""
        if self.kind == "sphere":
            return float(self.size[0])
        if self.kind == "capsule":
            return float(self.size[0] + self.size[1])
        return float(np.linalg.norm(self.size))


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from: `distance` away from `target`.

    Attributes:
      target: what is in the middle of the picture.
      distance: to it.
      azimuth: degrees, from which side: 0 looks along y (x to the right), 90 against x.
      elevation: degrees, from how high.
      opening: degrees, the vertical angle of view.
    """

    target: tuple[float, float, float]
    distance: float
    azimuth: float = 0.0
    elevation: float = 20.0
    opening: float = 35.0


def scene(
    solids: Sequence[Solid],
    camera: Camera,
    floor: float | None = 0.0,
    tile: float = 1.0,
    width: int = 400,
    height: int = 300,
) -> np.ndarray:
    """Return a picture of solids, `[height, width, 3]` uint8.

    Args:
      solids: what to draw; those with numbers that are not finite are left out.
      camera: from where.
      floor: height of a floor with a chequered pattern, None for no floor.
      tile: edge of its tiles.
      width: pixels.
      height: pixels.

    >>> ball = Solid("sphere", np.zeros(3), np.eye(3), np.ones(3), (255, 0, 0))
    >>> picture = scene([ball], Camera((0, 0, 0), 6.0), floor=None, width=40, height=30)
    >>> picture.shape, bool(picture[15, 20, 0] > 2 * picture[15, 20, 1]), picture[0, 0].tolist()
    ((30, 40, 3), True, [250, 250, 252])
    """
    solids = [s for s in solids if np.isfinite(s.centre).all() and np.isfinite(s.rotation).all()]
    eye, rays = _rays(camera, width * _SUPERSAMPLE, height * _SUPERSAMPLE)
    origins = np.broadcast_to(eye, rays.shape)
    colors = np.broadcast_to(np.array(PAPER, float), rays.shape).copy()
    nearest = np.full(len(rays), np.inf)
    if floor is not None:
        _paint_floor(colors, nearest, eye, rays, floor, tile, camera.distance, solids)
    for solid in solids:
        rows, distance = _hits(solid, origins, rays)
        seen = distance < nearest[rows]
        rows, distance = rows[seen], distance[seen]
        nearest[rows] = distance
        normal = _normals(solid, eye + distance[:, None] * rays[rows])
        light = _AMBIENT + (1 - _AMBIENT) * np.maximum(normal @ _LIGHT, 0.0)
        colors[rows] = light[:, None] * np.array(solid.color, float)
    shape = (height, _SUPERSAMPLE, width, _SUPERSAMPLE, 3)
    return colors.reshape(shape).mean(axis=(1, 3)).round().clip(0, 255).astype(np.uint8)


def rotation(quaternion: Any) -> np.ndarray:
    """Return the matrix `[3, 3]` of a quaternion `[4]`, its real part first.

    >>> rotation([0.0, 0.0, 0.0, 1.0]).diagonal().tolist()  # half a turn about z
    [-1.0, -1.0, 1.0]
    """
    q = np.asarray(quaternion, float)
    w, x, y, z = q / max(float(np.linalg.norm(q)), 1e-12)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _rays(camera: Camera, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eye `[3]` and the unit directions `[height * width, 3]`, row by row."""
    around, up = math.radians(camera.azimuth), math.radians(camera.elevation)
    back = np.array([math.cos(up) * math.sin(around), -math.cos(up) * math.cos(around), math.sin(up)])
    right = np.array([math.cos(around), math.sin(around), 0.0])
    above = np.cross(back, right)
    half = math.tan(math.radians(camera.opening) / 2)
    x = (np.arange(width) + 0.5 - width / 2) / (height / 2) * half
    y = (height / 2 - np.arange(height) - 0.5) / (height / 2) * half
    rays = (x[None, :, None] * right + y[:, None, None] * above - back).reshape(-1, 3)
    return np.array(camera.target) + camera.distance * back, rays / np.linalg.norm(rays, axis=1)[:, None]


def _paint_floor(
    colors: np.ndarray,
    nearest: np.ndarray,
    eye: np.ndarray,
    rays: np.ndarray,
    floor: float,
    tile: float,
    distance: float,
    solids: Sequence[Solid],
) -> None:
    """Paint the floor into `colors` and note its distances in `nearest`."""
    rows = np.flatnonzero(rays[:, 2] * (floor - eye[2]) > 0)
    along = (floor - eye[2]) / rays[rows, 2]
    points = eye + along[:, None] * rays[rows]
    dark = np.floor(points[:, :2] / tile).sum(axis=1) % 2 > 0
    paint = np.array(FLOOR_BLUE, float) * np.where(dark, 0.93, 1.0)[:, None]
    lit = np.ones(len(rows))
    near = np.flatnonzero(along < _HORIZON * distance)
    towards = np.broadcast_to(_LIGHT, (len(near), 3))
    for solid in solids:
        lit[near[_hits(solid, points[near] + 1e-4 * _LIGHT, towards)[0]]] = _SHADOW
    fade = np.clip(along / (_HORIZON * distance), 0.0, 1.0)[:, None] ** 2
    colors[rows] = (1 - fade) * paint * lit[:, None] + fade * np.array(PAPER, float)
    nearest[rows] = along


def _hits(solid: Solid, origins: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rays meet the solid `[K]`, and how far from their origins `[K]`."""
    to = solid.centre - origins
    along = np.einsum("ij,ij->i", to, rays)
    aside = np.einsum("ij,ij->i", to, to) - along**2
    rows = np.flatnonzero((aside < solid.reach**2) & (along > -solid.reach))
    # In the body's own axes.
    origin, ray = -to[rows] @ solid.rotation, rays[rows] @ solid.rotation
    distance = {"sphere": _sphere, "capsule": _capsule, "box": _box}[solid.kind](origin, ray, solid.size)
    found = np.isfinite(distance) & (distance > 0)
    return rows[found], distance[found]


def _sphere(origin: np.ndarray, ray: np.ndarray, size: np.ndarray) -> np.ndarray:
    half = np.einsum("ij,ij->i", origin, ray)
    return -half - _root(half**2 - np.einsum("ij,ij->i", origin, origin) + size[0] ** 2)


def _capsule(origin: np.ndarray, ray: np.ndarray, size: np.ndarray) -> np.ndarray:
    radius, half_length = size[:2]
    a = np.maximum(ray[:, 0] ** 2 + ray[:, 1] ** 2, 1e-12)
    b = origin[:, 0] * ray[:, 0] + origin[:, 1] * ray[:, 1]
    c = origin[:, 0] ** 2 + origin[:, 1] ** 2 - radius**2
    tube = (-b - _root(b**2 - a * c)) / a
    z = origin[:, 2] + tube * ray[:, 2]
    nearest = np.where(np.isfinite(tube) & (np.abs(z) <= half_length), tube, np.inf)
    for end in (-half_length, half_length):
        cap = _sphere(origin - np.array([0.0, 0.0, end]), ray, size)
        nearest = np.fmin(nearest, np.where(np.isfinite(cap), cap, np.inf))
    return nearest


def _box(origin: np.ndarray, ray: np.ndarray, size: np.ndarray) -> np.ndarray:
    inverse = 1.0 / np.where(np.abs(ray) < 1e-12, 1e-12, ray)
    one, two = (-size - origin) * inverse, (size - origin) * inverse
    enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
    return np.where(enter <= leave, enter, np.inf)


def _root(x: np.ndarray) -> np.ndarray:
    """Return the square root, NaN where there is none."""
    return np.where(x >= 0, np.sqrt(np.maximum(x, 0.0)), np.nan)


def _normals(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Return the unit normals `[K, 3]` of a solid at points `[K, 3]` of its surface."""
    local = (points - solid.centre) @ solid.rotation
    if solid.kind == "capsule":
        local[:, 2] -= np.clip(local[:, 2], -solid.size[1], solid.size[1])
    if solid.kind == "box":
        share = local / solid.size
        face = np.abs(share).argmax(axis=1)
        local = np.zeros_like(local)
        local[np.arange(len(face)), face] = np.sign(share[np.arange(len(face)), face])
    normals = local @ solid.rotation.T
    return normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None]
