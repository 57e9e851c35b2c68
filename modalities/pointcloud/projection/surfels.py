"""Pictures of point clouds as solids: every point a small disc of the surface, hidden ones removed, lit.

Method: surface splatting (Zwicker et al., "Surface Splatting", SIGGRAPH 2001) with normals by principal components
(Hoppe et al., "Surface Reconstruction from Unorganized Points", SIGGRAPH 1992). A z-buffer of the discs removes what is
hidden. Removing hidden points first (Katz et al., "Direct Visibility of Point Sets", SIGGRAPH 2007) was tried on twelve
procedural shapes of 1,024 points: with its radius at 10^1.5 to 10^2.5 of the cloud's it drew farther from the renders
of the meshes, beyond that it changed nothing.

The constants were chosen on fifty procedural shapes of the classes of ModelNet10, by how surely a small space (see
examples/recipes) named their pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import clipx.modalities.pointcloud.projection.kernel as kernel
import clipx.modalities.pointcloud.projection.open3d_backend as open3d_backend
import clipx.modalities.pointcloud.projection.solid as solid
from clipx._arrays import A, to_array
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.arrays import alike, checked, single, to_tensor
from clipx.modalities.pointcloud.projection.discs import BLEND, CLOSE, MOST_STEPS, THICK, discs, length
from clipx.modalities.pointcloud.projection.views import RING, Matrix, turned

RESOLUTION = 224


def shaded(
    points: A,
    normals: Any = None,
    colors: Any = None,
    resolution: int = RESOLUTION,
    views: Sequence[Matrix] = RING,
    backend: str = "auto",
) -> A:
    """Pictures of point clouds as lit solids.

    Args:
        points: (N, P, 3) floating, of any size and place, +y up. Rows of NaN pad clouds of different sizes.
        normals: (N, P, 3) of the surface, of any length and sign; where they are not finite, or none are given, they
            are estimated.
        colors: (N, P, 3) RGB in [0, 1]; NaN, or none at all, is light grey.
        resolution: side of the picture in pixels. It is drawn twice as fine, then averaged.
        views: the V cameras' axes; by default eight around the cloud, looking down by 20 degrees.
        backend: see `kernel.wanted`. By open3d, normals are estimated and hidden points removed.

    Returns:
        (N, V, 3, R, R) in [0, 1], on white; in each view the cloud fills 86 % of the picture.

    Raises:
        InputError: wrong shape or dtype, a cloud without two different points.
        MissingDependencyError: open3d is wanted and not installed.
    """
    points, by_open3d = checked(points, resolution, "shaded"), backend == "open3d"
    shape = tuple(points.shape)  # type: ignore[attr-defined]
    for name, given in (("normals", normals), ("colors", colors)):
        if given is not None and tuple(given.shape) != shape:
            raise InputError(f"{name} must be {shape}, got {tuple(given.shape)}", where="shaded")
    if not kernel.wanted(backend, points, normals, colors, known=kernel.SOLID_BACKENDS):
        from clipx.modalities.pointcloud.projection.plain.surfels import surfels

        given = to_tensor(points), to_tensor(normals), to_tensor(colors)
        return alike(surfels(*given, resolution, views, by_open3d), points)
    none = np.full(shape, np.nan, np.float32)
    places, across, hues = (none if one is None else single(to_array(one)) for one in (points, normals, colors))
    drawn = np.empty((len(none), len(views), 3, resolution, resolution), np.float32)
    for i in range(len(none)):
        drawn[i] = _draw(places[i], across[i], hues[i], resolution, views, by_open3d)
    return alike(drawn, points)


@np.errstate(divide="ignore", invalid="ignore")  # what has no extent from one side is a dot
def _draw(
    points: np.ndarray, normals: np.ndarray, colors: np.ndarray, resolution: int, views: Sequence[Matrix],
    by_open3d: bool,
) -> np.ndarray:  # fmt: skip
    """One cloud: (V, 3, R, R)."""
    kept = np.isfinite(points).all(1)
    ball, normals = solid.unit_ball(points[kept]), normals[kept]
    if by_open3d:
        known = np.isfinite(normals).all(1, keepdims=True) & (normals != 0).any(1, keepdims=True)
        normals = np.where(known, normals, open3d_backend.normals(ball))
    shape = discs(ball, normals)
    colour = np.nan_to_num(colors[kept], nan=solid.GREY).clip(0, 1)
    scene = solid.before(shape.centre, views, resolution * solid.FINE)
    radius = float(length(shape.axes).mean())
    steps = (CLOSE * radius / solid.DISTANCE * scene.focal_px).astype(np.int64).clip(1, MOST_STEPS)  # (V,)
    normal = turned(shape.normal, views)  # (V, P, 3)
    if by_open3d:  # a disc without a normal covers nothing
        normal[~open3d_backend.visible(scene.points)] = 0
    axes = turned(shape.axes.reshape(-1, 3), views).reshape(len(views), -1, 2, 3)  # (V, P, 2, 3)
    return kernel.surfels(scene, normal, axes, colour, THICK * radius, BLEND, steps)
