"""From a depth map to a coloured point cloud, and back to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.depth.maps import DepthMap

MAX_POINTS = 2**18


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels of the photo; the centre of the first pixel is at (0.5, 0.5).

    Args:
        fx, fy: focal lengths.
        cx, cy: where the axis meets the picture.

    Raises:
        InputError: a value that is not finite, or a focal length not above 0.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self):
        if not all(map(math.isfinite, (self.fx, self.fy, self.cx, self.cy))) or min(self.fx, self.fy) <= 0:
            raise InputError(f"intrinsics need focal lengths above 0, got {self.fx:g}, {self.fy:g}")

    @classmethod
    def from_fov(cls, fov_deg: float, height: int, width: int) -> Intrinsics:
        """Square pixels, the axis in the middle, ``fov_deg`` degrees from the left border to the right one."""
        if not 0 < fov_deg < 180:
            raise InputError(f"a field of view lies between 0 and 180 degrees, got {fov_deg:g}")
        focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls(focal, focal, width / 2, height / 2)


def lift(depth: DepthMap, camera: Intrinsics) -> Tensor:
    """Every known pixel as a point: (P, 3) metres, +x right, +y down, +z forward, in reading order.

    Raises:
        InputError: depth that is not in metres, or no pixel of known depth.
    """
    require_metric(depth)
    rows, columns = torch.nonzero(depth.known, as_tuple=True)
    if not len(rows):
        raise InputError("no pixel has a depth", where=depth.source)
    z = depth.depth[rows, columns].double()
    x = (columns.double() + 0.5 - camera.cx) / camera.fx * z
    y = (rows.double() + 0.5 - camera.cy) / camera.fy * z
    return torch.stack([x, y, z], dim=1).float()


def reproject(points: Tensor, camera: Intrinsics) -> tuple[Tensor, Tensor]:
    """(P, 3) -> where each is projected, (P, 2) as (x, y) in pixels, and its depth (P,)."""
    x, y, z = points.double().unbind(1)
    return torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], dim=1), z


def require_metric(depth: DepthMap) -> None:
    """Raise InputError for depth whose scale is unknown."""
    if depth.unit != "m":
        raise InputError(f"a cloud needs metres, this depth is {depth.unit}", where=depth.source)


def cloud(depth: DepthMap, pixels: Tensor, camera: Intrinsics, max_points: int = MAX_POINTS) -> tuple[Tensor, Tensor]:
    """The photo's points (P, 3) in metres, x right, y up, z towards the viewer, and their colours (P, 3) in [0, 1].

    Of larger photos every n-th row and column is kept.

    Args:
        depth: metres, (H, W).
        pixels: (3, H, W) RGB in [0, 1].
        camera: of the photo's own pixels.
        max_points: about how many at most.

    Raises:
        InputError: as ``lift``, or sizes that differ.
    """
    if tuple(pixels.shape[1:]) != tuple(depth.depth.shape):
        raise InputError(f"depth {tuple(depth.depth.shape)} of a photo {tuple(pixels.shape[1:])}", where=depth.source)
    values, pixels = depth.depth.cpu(), pixels.cpu()
    step = max(1, math.ceil(math.sqrt(int(depth.known.sum()) / max_points)))
    rows_kept, columns_kept = (slice(min(step // 2, side - 1), None, step) for side in values.shape)
    kept = torch.full_like(values, torch.nan)
    kept[rows_kept, columns_kept] = values[rows_kept, columns_kept]
    thinned = DepthMap(kept, depth.unit, source=depth.source)
    return lift(thinned, camera) * torch.tensor([1.0, -1.0, -1.0]), pixels[:, thinned.known].T


def cloud_ply(depth: DepthMap, pixels: Tensor, camera: Intrinsics, max_points: int = MAX_POINTS) -> tuple[bytes, int]:
    """The photo's coloured points as a binary PLY, and how many they are.

    The file is y up, which is how viewers and ``clipx views`` take a PLY.

    Args:
        depth, pixels, camera, max_points: see ``cloud``.

    Raises:
        InputError: as ``cloud``.
    """
    points, colors = cloud(depth, pixels, camera, max_points)
    rows = np.empty(len(points), [("at", "<f4", 3), ("rgb", "u1", 3)])
    rows["at"], rows["rgb"] = points.numpy(), (colors * 255).round().byte().numpy()
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment metres; x right, y up, z towards the viewer",
        f"element vertex {len(rows)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {color}" for color in ("red", "green", "blue")),
        "end_header",
    ]
    return "\n".join(header).encode() + b"\n" + rows.tobytes(), len(rows)
