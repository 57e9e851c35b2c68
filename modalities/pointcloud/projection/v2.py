"""Solid-looking depth images: the realistic projection of PointCLIP V2.

Method: Zhu et al., "PointCLIP V2: Prompting CLIP and GPT for Powerful 3D Open-world Learning", ICCV 2023. Views and
constants are those of the released code, whose own output is the golden file of the tests.
"""

from __future__ import annotations

from math import exp, pi

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx._arrays import A, to_array
from clipx.modalities.pointcloud.projection.arrays import alike, checked, to_tensor
from clipx.modalities.pointcloud.projection.v1 import TOP_BOTTOM
from clipx.modalities.pointcloud.projection.views import euler, product

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


def pointclip_v2(points: A, resolution: int = RESOLUTION, backend: str = "auto") -> A:
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
    points = checked(points, resolution - 2, "pointclip_v2")
    grid = VIEWS, resolution, DEPTH, (FILL, BIAS, *SMOOTH)
    if kernel.wanted(backend, points):
        return alike(kernel.v2(to_array(points), *grid), points)
    from clipx.modalities.pointcloud.projection.plain.v2 import v2

    return alike(v2(to_tensor(points), *grid), points)
