"""Raw depth images in perspective: the projection of PointCLIP V1.

Method: Zhang et al., "PointCLIP: Point Cloud Understanding by CLIP", CVPR 2022. The views, the splat and its half-pixel
shift are those of the released code, whose own output is the golden file of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx._device import widest
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.views import check, euler, turned


def pointclip_v1(
    points: Tensor, setting: str = "zero_shot", resolution: int | None = None, backend: str = "auto"
) -> Tensor:
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
    check(points, size, "pointclip_v1")

    views = [euler(*angles) for angles in camera.angles]
    if kernel.wanted(backend, points, light=points[..., 0].numel() * len(views) <= FEW):
        return kernel.v1(points, views, camera.distance, EPS, size)

    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, views)  # (N, V, P, 3)
    depth = placed[..., 2] + camera.distance  # (N, V, P)
    cell = torch.ceil((placed[..., :2] / (depth + EPS)[..., None] + 1) * (size / 2) - 0.5)  # (N, V, P, 2): row, column
    drawn = ((cell >= 0) & (cell <= size - 1)).all(-1) & (depth >= 0)
    pixel = torch.where(drawn, cell[..., 0] * size + cell[..., 1], 0).long()

    # Sums in float64 come out the same, once rounded, in whatever order a GPU adds them.
    wide = widest(points.device)
    depth = torch.where(drawn, depth, 0)
    weight = torch.where(drawn, 1 / (depth + EPS), 0).to(wide)
    canvas = torch.zeros(*weight.shape[:2], size * size, dtype=wide, device=points.device)
    mass = canvas.scatter_add(2, pixel, weight)
    total = canvas.scatter_add(2, pixel, weight * depth)
    image = torch.where(mass > 0, total / mass.clamp(min=torch.finfo(torch.float32).tiny), 0)
    return image.to(points.dtype).unflatten(2, (size, size))


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
FEW = 2**14  # points times views that torch splats in some milliseconds; numba takes half a second to load
