"""Point clouds to depth images, in plain torch: the projection of PointCLIP V1.

Method: Zhang et al., "PointCLIP: Point Cloud Understanding by CLIP", CVPR 2022. The views, the splat and its half-pixel
shift are those of the released code, whose own output is the golden file of the tests.

``pointclip_v1`` turns clouds into raw depth and ``to_input`` brings that to the size a joint space looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.errors import InputError


def pointclip_v1(points: Tensor, setting: str = "zero_shot", resolution: int | None = None) -> Tensor:
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

    Returns:
        (N, V, R, R) raw depth in the unit of ``points`` (about 0.6 to 2.6 for a unit sphere; 0 is empty), on the
        device and in the dtype of ``points``. Of the four side views the rows run along -y; the columns along
        +x, -z, -x, +z; the depth along +z, +x, -z, -x.

    Raises:
        InputError: unknown setting, wrong shape or dtype, resolution < 1.
    """
    if setting not in SETTINGS:
        raise InputError(f"unknown setting {setting!r}", where="pointclip_v1", remedy=f"one of {', '.join(SETTINGS)}")
    if points.ndim != 3 or points.shape[-1] != 3 or not points.is_floating_point():
        raise InputError(f"points must be floating (N, P, 3), got {tuple(points.shape)} {points.dtype}")
    camera = SETTINGS[setting]
    size = camera.resolution if resolution is None else resolution
    if size < 1:
        raise InputError(f"resolution must be at least 1, got {size}")

    exact = points if points.dtype == torch.float64 else points.float()
    turned = _rotate(exact, camera.angles)  # (N, V, P, 3)
    depth = turned[..., 2] + camera.distance  # (N, V, P)
    cell = torch.ceil((turned[..., :2] / (depth + _EPS)[..., None] + 1) * (size / 2) - 0.5)  # (N, V, P, 2): row, column
    drawn = ((cell >= 0) & (cell <= size - 1)).all(-1) & (depth >= 0)
    pixel = torch.where(drawn, cell[..., 0] * size + cell[..., 1], 0).long()

    # Sums in float64 come out the same, once rounded, in whatever order a GPU adds them. (MPS has no float64.)
    wide = torch.float32 if points.device.type == "mps" else torch.float64
    depth = torch.where(drawn, depth, 0)
    weight = torch.where(drawn, 1 / (depth + _EPS), 0).to(wide)
    canvas = torch.zeros(*weight.shape[:2], size * size, dtype=wide, device=points.device)
    mass = canvas.scatter_add(2, pixel, weight)
    total = canvas.scatter_add(2, pixel, weight * depth)
    image = torch.where(mass > 0, total / mass.clamp(min=torch.finfo(torch.float32).tiny), 0)
    return image.to(points.dtype).unflatten(2, (size, size))


def to_input(depth: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Depth images at the size and with the three channels that an image tower takes.

    Enlarged as published (bilinear, corners aligned). Made smaller, every source pixel weighs in (antialiased): a
    bilinear look-up would step over the single pixels that points are.

    Args:
        depth: (..., R, R) floating.
        size: height and width in pixels, or both at once.

    Returns:
        (..., 3, H, W), three equal channels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    flat = depth.reshape(-1, 1, *depth.shape[-2:])
    if (height, width) != tuple(depth.shape[-2:]):
        if height >= depth.shape[-2] and width >= depth.shape[-1]:
            flat = F.interpolate(flat, (height, width), mode="bilinear", align_corners=True)
        else:
            flat = F.interpolate(flat, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return flat.expand(-1, 3, -1, -1).reshape(*depth.shape[:-2], 3, height, width)


@dataclass(frozen=True)
class Camera:
    """One set of views: Euler angles about x, y, z in radians, distance to the centre, side of the canvas in pixels."""

    angles: tuple[tuple[float, float, float], ...]
    distance: float
    resolution: int


_SIDES = tuple((i * pi / 2, 0.0, pi / 2) for i in range(4))
_OBLIQUE = tuple((a * pi / 4, b * pi / 4, pi / 2) for a in (5, 7) for b in (-1, 1))
_TOP_BOTTOM = ((0.0, -pi / 2, pi / 2), (0.0, pi / 2, pi / 2))

# The order of the views matters: the weights of V1's inter-view adapter are tied to it.
SETTINGS = {
    "zero_shot": Camera(_SIDES + _TOP_BOTTOM, distance=1.6, resolution=128),
    "few_shot": Camera(_SIDES + _OBLIQUE + _TOP_BOTTOM, distance=1.4, resolution=224),
}
_EPS = 1e-12  # the released code's


def _rotate(points: Tensor, angles: Sequence[tuple[float, float, float]]) -> Tensor:
    """(N, P, 3) -> (N, V, P, 3): every cloud turned by every view."""
    matrices = torch.tensor([_matrix(*a) for a in angles], dtype=points.dtype, device=points.device)  # (V, 3, 3)
    # Written out: the rounding of a matmul may change with the batch, and rounding decides cells.
    x, y, z = points[:, None, :, None, :].unbind(-1)  # (N, 1, P, 1)
    mx, my, mz = matrices[None, :, None].unbind(-1)  # (1, V, 1, 3)
    return x * mx + y * my + z * mz


def _matrix(x: float, y: float, z: float) -> tuple[tuple[float, ...], ...]:
    """Rotation matrix Rx Ry Rz, to be applied to column vectors."""
    rx = torch.tensor([[1, 0, 0], [0, cos(x), -sin(x)], [0, sin(x), cos(x)]], dtype=torch.float64)
    ry = torch.tensor([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]], dtype=torch.float64)
    rz = torch.tensor([[cos(z), -sin(z), 0], [sin(z), cos(z), 0], [0, 0, 1]], dtype=torch.float64)
    return tuple(map(tuple, (rx @ ry @ rz).tolist()))
