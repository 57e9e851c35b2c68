"""Orthographic depth images of small discs: the render of CLIP2Point.

Method: Huang et al., "CLIP2Point: Transfer CLIP to Point Cloud Classification with Image-Depth Pre-training", ICCV
2023. Radius, grey levels and views are those of the released code.
"""

from __future__ import annotations

import torch
from torch import Tensor

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx.modalities.pointcloud.projection.raster import Pairs, boxes, nearest
from clipx.modalities.pointcloud.projection.views import check, look, turned

RESOLUTION = 224
RADIUS = 0.02  # in units of the unit sphere: 2.24 pixels of 224
FARTHEST = 200 / 255  # the grey of the farthest point of a cloud whose nearest one touches the camera
DISTANCE = 1.0  # of the camera from the centre
VIEWS = (*(look(azimuth, 0) for azimuth in (0, 90, 180, 270)), look(180, 90), look(0, -90))


def ortho_splat(points: Tensor, resolution: int = RESOLUTION, backend: str = "auto") -> Tensor:
    """Orthographic depth images of point clouds, as CLIP2Point draws them: discs, near is dark, on white.

    A pixel whose centre is within the radius of a point takes the depth z of the nearest such point, from a camera on
    the unit sphere; its grey is (z - min) / max * 200/255 over the picture's drawn pixels.

    Args:
        points: (N, P, 3) floating, in the unit sphere, +y up. A point with a NaN is not drawn.
        resolution: side of the picture in pixels; it shows [-1, 1] of each axis.
        backend: see `kernel.wanted`.

    Returns:
        (N, 6, R, R) in [0, 1]: from +z, +x, -z, -x, from above (+z is up) and from below (+z is up).

    Raises:
        InputError: wrong shape or dtype, resolution < 1.
    """
    check(points, resolution, "ortho_splat")
    if kernel.wanted(backend, points):
        return kernel.ortho(points, VIEWS, RADIUS, DISTANCE, FARTHEST, resolution)
    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, VIEWS)  # (N, V, P, 3): right, down, forward
    clouds, views, count, _ = placed.shape
    depth = (placed[..., 2] + DISTANCE).flatten()  # (K,) of K = N V P discs
    column, row = ((placed[..., axis].flatten() + 1) * (resolution / 2) for axis in (0, 1))
    reach = RADIUS * resolution / 2
    drawn = torch.where((depth >= 0) & (row + column).isfinite(), 0.0, torch.nan)

    def cover(pairs: Pairs) -> tuple[Tensor, Tensor]:
        x, y = pairs.column + 0.5 - column[pairs.thing], pairs.row + 0.5 - row[pairs.thing]
        far = torch.where(x * x + y * y < reach * reach, depth[pairs.thing], torch.inf)
        canvas = torch.div(pairs.thing, count, rounding_mode="floor")
        return (canvas * resolution + pairs.row) * resolution + pairs.column, far

    parts = boxes(column - reach + drawn, column + reach, row - reach + drawn, row + reach, resolution)
    z = nearest(parts, cover, clouds * views * resolution**2, depth)[0].view(clouds, views, resolution**2)
    covered = z.isfinite()
    least = z.amin(2, keepdim=True).nan_to_num(posinf=0)
    z = torch.where(covered, z, 0)
    most = z.amax(2, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
    grey = torch.where(covered, (z - least) / most * FARTHEST, 1)
    return grey.to(points.dtype).unflatten(2, (resolution, resolution))
