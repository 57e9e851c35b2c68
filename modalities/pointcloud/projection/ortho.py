"""Orthographic depth images of small discs: the render of CLIP2Point.

Method: Huang et al., "CLIP2Point: Transfer CLIP to Point Cloud Classification with Image-Depth Pre-training", ICCV
2023. Radius, grey levels and views are those of the released code.
"""

from __future__ import annotations

import clipx.modalities.pointcloud.projection.kernel as kernel
from clipx._arrays import A, to_array
from clipx.modalities.pointcloud.projection.arrays import alike, checked, to_tensor
from clipx.modalities.pointcloud.projection.views import look

RESOLUTION = 224
RADIUS = 0.02  # in units of the unit sphere: 2.24 pixels of 224
FARTHEST = 200 / 255  # the grey of the farthest point of a cloud whose nearest one touches the camera
DISTANCE = 1.0  # of the camera from the centre
VIEWS = (*(look(azimuth, 0) for azimuth in (0, 90, 180, 270)), look(180, 90), look(0, -90))


def ortho_splat(points: A, resolution: int = RESOLUTION, backend: str = "auto") -> A:
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
    points = checked(points, resolution, "ortho_splat")
    camera = VIEWS, RADIUS, DISTANCE, FARTHEST, resolution
    if kernel.wanted(backend, points):
        return alike(kernel.ortho(to_array(points), *camera), points)
    from clipx.modalities.pointcloud.projection.plain.ortho import ortho

    return alike(ortho(to_tensor(points), *camera), points)
