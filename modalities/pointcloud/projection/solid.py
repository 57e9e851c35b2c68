"""What the lit projections share: an object brought into the picture, and its light.

Camera axes: +x right, +y down, +z forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.views import Matrix, turned

DISTANCE = 4.0  # of the camera from the centre of an object of radius 1: a mild perspective
FILL = 0.86  # of the picture by the object's longer side
FINE = 2  # pictures are drawn so many times finer, then averaged
GREY = 0.85  # the colour of what has none
GROUND = 1.0  # white

# Light from above, from the left and from the camera's side, and some from everywhere, more of it from above.
KEY = (-0.46, -0.68, -0.57)  # towards the light, of length 1
AMBIENT, SKY, DIRECT = 0.38, 0.12, 0.55


class Scene(NamedTuple):
    """Points before V cameras, as arrays or as tensors.

    Args:
        points: (V, P, 3) in camera axes.
        focal_px, centre_px: (V,) and (V, 2), what brings x / z and y / z to pixels.
        side: of the picture in pixels.
    """

    points: Any
    focal_px: Any
    centre_px: Any
    side: int


def unit_ball(points: np.ndarray) -> np.ndarray:
    """(P, 3) float32 with the middle of their box at the origin and the farthest at distance 1.

    Raises:
        InputError: no two different points.
    """
    if len(points):
        points = points - (points.max(0) + points.min(0)) / 2
        radius = np.sqrt((points * points).sum(1).max())
        if radius > 0:
            return points / radius
    raise InputError("a shape needs two different points to be drawn")


def before(points: np.ndarray, views: Sequence[Matrix], side: int) -> Scene:
    """Points (P, 3) of `unit_ball` before each camera, so that each picture of that side is filled equally."""
    placed = turned(points, views)  # (V, P, 3)
    placed[..., 2] += DISTANCE
    flat = placed[..., :2] / placed[..., 2:]
    low, high = flat.min(1), flat.max(1)  # (V, 2)
    focal = FILL * side / (high - low).max(1)
    return Scene(placed, focal, side / 2 - (low + high) / 2 * focal[:, None], side)
