"""Raw depth images in perspective: the projection of PointCLIP V1.

Method: Zhang et al., "PointCLIP: Point Cloud Understanding by CLIP", CVPR 2022. The views, the splat and its half-pixel
shift are those of the released code, whose own output is the golden file of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, prod

import numpy as np

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx._arrays import A, to_array
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.arrays import alike, checked, to_tensor
from clipx.modalities.pointcloud.projection.views import Matrix, euler, turned


def pointclip_v1(points: A, setting: str = "zero_shot", resolution: int | None = None, backend: str = "auto") -> A:
    """Perspective depth images of point clouds, as PointCLIP V1 draws them.

    Each view turns the cloud, pushes it ``distance`` away from the camera and splats every point on one pixel. A pixel
    holds the harmonic mean of the depths of its points, an empty one 0. Points behind the camera or off the canvas are
    dropped. The order of the points does not matter, and no cloud depends on the others of its batch.

    Args:
        points: (N, P, 3) floating, in the unit sphere, +y up. Half precision is projected in float32. A point with a
            NaN is not drawn: rows of NaN pad clouds of different sizes to one batch.
        setting: ``"zero_shot"`` (6 views of 128 px from distance 1.6: four around the y axis, top, bottom) or
            ``"few_shot"`` (10 views of 224 px from distance 1.4: four oblique ones come before top and bottom).
        resolution: side of the square canvas in pixels, if not the setting's own.
        backend: see `kernel.wanted`.

    Returns:
        (N, V, R, R) raw depth in the unit of ``points`` (about 0.6 to 2.6 for a unit sphere; 0 is empty), on the
        device and in the dtype of ``points``. Of the four side views the rows run along -y; the columns along
        +x, -z, -x, +z; the depth along +z, +x, -z, -x.

    Raises:
        InputError: unknown setting, wrong shape or dtype, resolution < 1.
    """
    if setting not in SETTINGS:
        raise InputError(f"unknown setting {setting!r}", where="pointclip_v1", remedy=f"one of {', '.join(SETTINGS)}")
    camera = SETTINGS[setting]
    size = camera.resolution if resolution is None else resolution
    points = checked(points, size, "pointclip_v1")
    views = [euler(*angles) for angles in camera.angles]
    if kernel.wanted(backend, points):
        given = to_array(points)
        few = backend == "auto" and given.size // 3 * len(views) <= FEW
        return alike((splat if few else kernel.v1)(given, views, camera.distance, EPS, size), points)
    from clipx.modalities.pointcloud.projection.plain.v1 import v1

    return alike(v1(to_tensor(points), views, camera.distance, EPS, size), points)


def splat(points: np.ndarray, views: Sequence[Matrix], distance: float, eps: float, size: int) -> np.ndarray:
    """As `kernel.v1` to the bit, by NumPy alone: slower, but done before numba would be loaded."""
    shape = len(points), len(views), size, size
    with np.errstate(all="ignore"):  # what is nowhere, beside or behind the camera is left out
        x, y, z = np.moveaxis(turned(points, views), -1, 0)  # (N, V, P)
        depth = z + np.float32(distance)
        far = depth + np.float32(eps)
        row, column = (np.ceil((along / far + 1) * (size / 2) - 0.5) for along in (x, y))
        drawn = (row >= 0) & (row <= size - 1) & (column >= 0) & (column <= size - 1) & (depth >= 0)
    n, v, _ = drawn.nonzero()
    pixel = np.ravel_multi_index((n, v, row[drawn].astype(int), column[drawn].astype(int)), shape)
    weight = (1 / far[drawn]).astype(np.float64)
    mass, total = (np.bincount(pixel, terms, prod(shape)) for terms in (weight, weight * depth[drawn]))
    return np.divide(total, mass, out=np.zeros(prod(shape)), where=mass > 0).astype(np.float32).reshape(shape)


@dataclass(frozen=True)
class Camera:
    """One set of views: Euler angles about x, y, z in radians, distance to the centre, side of the canvas in pixels."""

    angles: tuple[tuple[float, float, float], ...]
    distance: float
    resolution: int


_SIDES = tuple((i * pi / 2, 0.0, pi / 2) for i in range(4))
_OBLIQUE = tuple((a * pi / 4, b * pi / 4, pi / 2) for a in (5, 7) for b in (-1, 1))
TOP_BOTTOM = ((0.0, -pi / 2, pi / 2), (0.0, pi / 2, pi / 2))

# The order of the views matters: the weights of V1's inter-view adapter are tied to it.
SETTINGS = {
    "zero_shot": Camera(_SIDES + TOP_BOTTOM, distance=1.6, resolution=128),
    "few_shot": Camera(_SIDES + _OBLIQUE + TOP_BOTTOM, distance=1.4, resolution=224),
}
EPS = 1e-12  # the released code's
FEW = 2**14  # points times views that NumPy splats in 2 ms; numba takes a quarter of a second to load
