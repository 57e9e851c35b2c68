"""Solid-looking depth images: the realistic projection of PointCLIP V2.

Method: Zhu et al., "PointCLIP V2: Prompting CLIP and GPT for Powerful 3D Open-world Learning", ICCV 2023. Views and
constants are those of the released code, whose own output is the golden file of the tests.
"""

from __future__ import annotations

from math import exp, pi

import torch
import torch.nn.functional as F
from torch import Tensor

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx.modalities.pointcloud.projection.v1 import TOP_BOTTOM
from clipx.modalities.pointcloud.projection.views import check, euler, product, turned

RESOLUTION = 112  # side of the grid; the picture is two pixels smaller
DEPTH = 8  # cells of the grid from near to far
FILL = 0.8  # of the canvas by the cloud's longest side
BIAS = 0.2  # of the depth: the farthest points keep some grey
_SIGMA = 3.0  # cells: of the 3 x 3 Gaussian
_E = exp(-1 / (2 * _SIGMA**2))
SMOOTH = (_E / (1 + 2 * _E), 1 / (1 + 2 * _E))  # its weights along one axis: of a neighbour, of the cell itself

# Eight around the cloud, the four oblique ones first, then top and bottom, each tilted a little to show more surface.
VIEWS = tuple(
    product(euler(0.0, tilt, 0.0), euler(*angles))
    for angles, tilt in [((k * pi / 4, 0.0, pi / 2), pi / 9) for k in (1, 3, 5, 7, 0, 2, 4, 6)]
    + [(angles, pi / 15) for angles in TOP_BOTTOM]
)


def pointclip_v2(points: Tensor, resolution: int = RESOLUTION, backend: str = "auto") -> Tensor:
    """Depth images of point clouds as PointCLIP V2 draws them: quantised, made dense, smoothed and squeezed.

    Each of ten views turns the cloud, fits its box to the canvas, lays the points into a grid of 8 cells in depth, lets
    every one fill 7 x 7 cells, smooths, and keeps the greatest value along each line of sight.

    Args:
        points: (N, P, 3) floating, of any size and place, +y up. Half precision is projected in float32. A point with
            a NaN is not drawn: rows of NaN pad clouds of different sizes to one batch.
        resolution: side of the grid in cells.
        backend: see `kernel.wanted`.

    Returns:
        (N, 10, R - 2, R - 2) in [0, 1]: near is dark, far is light, the ground is white.

    Raises:
        InputError: wrong shape or dtype, resolution < 3.
    """
    check(points, resolution - 2, "pointclip_v2")
    if kernel.wanted(backend, points):
        return kernel.v2(points, VIEWS, resolution, DEPTH, (FILL, BIAS, *SMOOTH))
    grid = quantise(points, resolution)
    flat = grid.flatten(0, 1)[:, None]  # (N * V, 1, D, R, R)
    dense = F.max_pool3d(flat, (1, 7, 7), stride=1, padding=(0, 2, 2))[:, 0]
    image = _smooth(_smooth(dense, 2), 3).amax(1)
    top = image.amax((1, 2), keepdim=True)
    shown = 1 - image / torch.where(top > 0, top, 1)
    return shown.to(points.dtype).unflatten(0, grid.shape[:2])


def quantise(points: Tensor, resolution: int = RESOLUTION) -> Tensor:
    """The first step: (N, P, 3) points -> (N, 10, 8, R, R) grid; a cell holds its greatest depth, an empty one 0."""
    check(points, resolution - 2, "pointclip_v2")
    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, VIEWS)  # (N, V, P, 3)
    drawn = placed.isfinite().all(-1)
    inf = torch.inf
    high = torch.where(drawn[..., None], placed, -inf).amax(2, keepdim=True)  # (N, V, 1, 3)
    low = torch.where(drawn[..., None], placed, inf).amin(2, keepdim=True)
    fitted = (placed - (high + low) / 2) / (high - low).amax(-1, keepdim=True) * 2
    x, y, z = fitted.unbind(-1)
    row, column = (torch.ceil((axis * FILL + 1) / 2 * resolution).clamp(1, resolution - 2) for axis in (x, y))
    depth = ((z + 1) / 2 + BIAS) / (1 + BIAS) * (DEPTH - 2)  # 1 to 6
    cell = (depth.ceil().clamp(0, DEPTH - 1) * resolution + row) * resolution + column
    drawn = drawn & cell.isfinite()  # a single point has no box to fit
    value = torch.where(drawn, depth.clamp(1, DEPTH - 2), 0)
    empty = value.new_zeros(*value.shape[:2], DEPTH * resolution * resolution)
    grid = empty.scatter_reduce(2, torch.where(drawn, cell, 0).long(), value, "amax")
    return grid.unflatten(2, (DEPTH, resolution, resolution))


def _smooth(grid: Tensor, axis: int) -> Tensor:
    """The Gaussian along one axis, with zeros beyond the border."""
    side, middle = SMOOTH
    none = torch.zeros_like(grid.narrow(axis, 0, 1))
    before = torch.cat([none, grid.narrow(axis, 0, grid.shape[axis] - 1)], axis)
    after = torch.cat([grid.narrow(axis, 1, grid.shape[axis] - 1), none], axis)
    return (before + after) * side + grid * middle
