"""Pictures of meshes: triangles in a z-buffer, lit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import clipx.modalities.pointcloud.projection.kernel as kernel
import clipx.modalities.pointcloud.projection.solid as solid
from clipx._arrays import A, to_array
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.arrays import alike, checked, single, to_tensor
from clipx.modalities.pointcloud.projection.corners import corner_normals
from clipx.modalities.pointcloud.projection.views import RING, Matrix

RESOLUTION = 224


def mesh_raster(
    vertices: A,
    triangles: Any,
    colors: Any = None,
    resolution: int = RESOLUTION,
    views: Sequence[Matrix] = RING,
    backend: str = "auto",
) -> A:
    """Pictures of meshes as solids: z-buffered, lit from both sides, smooth where the surface is.

    Args:
        vertices: (N, Q, 3) floating, of any size and place, +y up. Rows of NaN pad meshes of different sizes.
        triangles: (N, F, 3) int64 rows of the vertices; rows of -1 pad meshes of different sizes.
        colors: (N, Q, 3) RGB in [0, 1]; NaN, or none at all, is light grey.
        resolution: side of the picture in pixels. It is drawn twice as fine, then averaged.
        views: the V cameras' axes; by default eight around the mesh, looking down by 20 degrees.
        backend: see `kernel.wanted`. By open3d, rays find the triangles.

    Returns:
        (N, V, 3, R, R) in [0, 1], on white; in each view the mesh fills 86 % of the picture.

    Raises:
        InputError: wrong shape or dtype, a row that is no vertex, a mesh without triangles or without extent.
        MissingDependencyError: open3d is wanted and not installed.
    """
    vertices, rows = checked(vertices, resolution, "mesh_raster"), to_array(triangles)
    count, corners, _ = shape = tuple(vertices.shape)  # type: ignore[attr-defined]
    if rows.ndim != 3 or rows.shape[-1] != 3 or len(rows) != count or rows.dtype.kind not in "iu":
        raise InputError(f"triangles must be integer (N, F, 3), got {rows.shape}", where="mesh_raster")
    if rows.size and int(rows.max()) >= corners:
        raise InputError(f"a triangle has a corner that is none of {corners:,} vertices", where="mesh_raster")
    if colors is not None and tuple(colors.shape) != shape:
        raise InputError(f"colors must be {shape}, got {tuple(colors.shape)}", where="mesh_raster")
    by_open3d = backend == "open3d"  # rays tell what is seen, and the plain version lights it
    if not kernel.wanted(backend, vertices, colors, known=kernel.SOLID_BACKENDS) or by_open3d:
        from clipx.modalities.pointcloud.projection.plain.mesh import mesh

        given = to_tensor(vertices), to_tensor(triangles), to_tensor(colors)
        return alike(mesh(*given, resolution, views, by_open3d), vertices)
    points = to_array(vertices)
    drawn = np.empty((count, len(views), 3, resolution, resolution), np.float32)
    hues = np.full(shape, np.nan, np.float32) if colors is None else single(to_array(colors))
    for i in range(count):
        drawn[i] = _draw(points[i], rows[i], hues[i], resolution, views)
    return alike(drawn, vertices)


@np.errstate(divide="ignore", invalid="ignore")  # what has no extent from one side is a dot
def _draw(
    vertices: np.ndarray, triangles: np.ndarray, colors: np.ndarray, resolution: int, views: Sequence[Matrix]
) -> np.ndarray:
    """One mesh: (V, 3, R, R)."""
    whole = ((triangles >= 0) & np.isfinite(vertices).all(1)[triangles.clip(min=0)]).all(1)
    used, corners = np.unique(triangles[whole], return_inverse=True)
    if not len(used):
        raise InputError("a mesh without triangles cannot be drawn by mesh_raster", remedy="take shaded for clouds")
    corners = corners.reshape(-1, 3).astype(np.int64)
    points = solid.unit_ball(vertices[used])
    scene = solid.before(points, views, resolution * solid.FINE)
    colour = np.nan_to_num(colors[used], nan=solid.GREY).clip(0, 1)[corners]  # (F, 3 corners, 3)
    return kernel.mesh(scene, views, corners, corner_normals(points, corners), colour)
