"""Pictures of robots in MuJoCo's terms: the geometry of a model at the places of its bodies."""

from typing import Any

import numpy as np

from envs.render.colors import DEEP_BLUE, GREEN, GREY, ORANGE, RGB, WALL_GREY
from envs.render.scene import Camera, Solid, rotation, scene

# MuJoCo's numbers of what can be drawn; a cylinder and an ellipsoid are drawn as a capsule and a sphere.
_PLANE = 0
_KINDS = {2: "sphere", 3: "capsule", 4: "sphere", 5: "capsule", 6: "box"}
# Colours by how many joints lie between a body and the world.
_COLORS: tuple[RGB, ...] = (GREY, ORANGE, WALL_GREY, DEEP_BLUE, GREEN)


def picture(
    model: Any, body_pos: Any, body_quat: Any, camera: Camera, sizes: Any = None, tile: float = 1.0
) -> np.ndarray:
    """Return a picture of a model, `[300, 400, 3]` uint8.

    Args:
      model: anything with MuJoCo's arrays `geom_type`, `geom_bodyid`, `geom_pos`, `geom_quat`, `geom_size`
        and `body_parentid`.
      body_pos: `[bodies, 3]`, the world's origin first.
      body_quat: `[bodies, 4]`.
      camera: from where.
      sizes: `[geoms, 3]`, in place of the model's.
      tile: edge of the floor's tiles.
    """
    parents = np.asarray(model.body_parentid)
    body_pos, body_quat = np.asarray(body_pos, float), np.asarray(body_quat, float)
    geom_pos, geom_quat = np.asarray(model.geom_pos, float), np.asarray(model.geom_quat, float)
    sizes = np.asarray(model.geom_size if sizes is None else sizes, float)
    solids, floor = [], None
    for i, (kind, body) in enumerate(zip(model.geom_type, model.geom_bodyid, strict=True)):
        turn = rotation(body_quat[body])
        centre = body_pos[body] + turn @ geom_pos[i]
        if int(kind) == _PLANE:
            floor = float(centre[2])
        elif int(kind) in _KINDS:
            axes, color = turn @ rotation(geom_quat[i]), _COLORS[min(_depth(parents, body), len(_COLORS) - 1)]
            solids.append(Solid(_KINDS[int(kind)], centre, axes, sizes[i], color))  # type: ignore[arg-type]
    return scene(solids, camera, floor, tile)


def _depth(parents: np.ndarray, body: int) -> int:
    """Return how many bodies lie between `body` and the world, itself included.

    >>> _depth(np.array([0, 0, 1]), 2)
    2
    """
    return 0 if body == 0 else 1 + _depth(parents, int(parents[body]))
