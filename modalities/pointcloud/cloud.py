"""A sample of the point-cloud modality, and how it becomes pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, sin
from typing import Any, cast

import numpy as np

from clipx._arrays import to_array
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection import get_projection, project

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Mesh:
    """Triangles in the frame of a ``Cloud``; of tensors the values are kept.

    Args:
        vertices: (Q, 3) float32.
        triangles: (F, 3) int64 rows of the vertices.
        colors: (Q, 3) float32 RGB in [0, 1], or None.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray | None = None

    def __post_init__(self):
        _keep_arrays(self, "vertices", "triangles", "colors")


@dataclass(frozen=True)
class Cloud:
    """A sample of the point-cloud modality; of tensors the values are kept.

    Args:
        points: (P, 3) float32 in any unit, P >= 2, not all equal.
        up: the axis that points up, ``"x"``, ``"y"`` or ``"z"``.
        source: where it came from, for messages.
        normals: (P, 3) float32, of either sign, or None.
        colors: (P, 3) float32 RGB in [0, 1], or None.
        mesh: the mesh that the points were drawn from, where the projection draws triangles.
        as_stored: draw the points where they are, as benchmarks' released loaders do, instead of in the unit sphere.

    Raises:
        InputError: wrong shape or dtype, fewer than two different points, NaN or infinite coordinates, unknown axis.
    """

    points: np.ndarray
    up: str = "y"
    source: str | None = None
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    mesh: Mesh | None = None
    as_stored: bool = False

    def __post_init__(self):
        _keep_arrays(self, "points", "normals", "colors")
        points = self.points
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype != np.float32:
            raise InputError(
                f"points must be (P, 3) float32, got {tuple(points.shape)} {points.dtype}", where=self.source
            )
        for name, given in (("normals", self.normals), ("colors", self.colors)):
            if given is not None and (given.shape != points.shape or given.dtype != np.float32):
                got = f"{tuple(given.shape)} {given.dtype}"
                raise InputError(f"{name} must be {tuple(points.shape)} float32, got {got}", where=self.source)
        if not np.isfinite(points).all():
            raise InputError("NaN or infinite coordinates, or beyond float32's range", where=self.source)
        if len(points) < 2 or (points == points[0]).all():
            raise InputError(f"a cloud needs two different points, got {len(points)}, all equal", where=self.source)
        require_axis(self.up, AXES, self.source)


def draw(clouds: Sequence[Cloud], projection: str, size: int, angle: float = 0.0, backend: str = "auto") -> np.ndarray:
    """Clouds of any sizes, centred, scaled, upright -> (N, V, C, R, R) float32; see ``projection.project``.

    Args:
        clouds: at least one, each with a mesh where the projection draws triangles.
        projection: its name.
        size: side in pixels of the pictures of a projection that has no size of its own.
        angle: radians by which the clouds are turned about the up axis first.
        backend: what draws them, one of the projection's.

    Raises:
        InputError: an unknown projection or backend, or a cloud without a mesh for a projection of meshes.
        MissingDependencyError: open3d is wanted and not installed.
    """
    entry = get_projection(projection)

    def batch(values: Callable[[Cloud], np.ndarray], padding: float = np.nan) -> np.ndarray:
        rows = [values(cloud) for cloud in clouds]
        padded = np.full((len(rows), max(map(len, rows)), 3), padding, rows[0].dtype)
        for place, own in zip(padded, rows, strict=True):
            place[: len(own)] = own
        return padded

    def stand(directions: np.ndarray | None, cloud: Cloud) -> np.ndarray:
        """(P, 3) turned; NaN where there are none."""
        if directions is None:
            return np.full_like(cloud.points, np.nan)
        return about_y(upright(directions, cloud.up), angle)

    options: dict[str, np.ndarray] = {}
    if entry.mesh:
        for cloud in clouds:
            require_mesh(cloud.mesh is not None, projection, cloud.source)

        def mesh_of(cloud: Cloud) -> Mesh:
            return cast(Mesh, cloud.mesh)

        points = batch(lambda cloud: stand(mesh_of(cloud).vertices, cloud))
        options["triangles"] = batch(lambda cloud: mesh_of(cloud).triangles, -1)
        options["colors"] = batch(lambda cloud: _or_nan(mesh_of(cloud).colors, mesh_of(cloud).vertices))
    else:
        points = batch(lambda cloud: stand(cloud.points if cloud.as_stored else unit_sphere(cloud.points), cloud))
        if "normals" in entry.takes:
            options["normals"] = batch(lambda cloud: stand(cloud.normals, cloud))
        if "colors" in entry.takes:
            options["colors"] = batch(lambda cloud: _or_nan(cloud.colors, cloud.points))
    return project(projection, points, resolution=None if entry.fixed else size, backend=backend, **cast(Any, options))


def unit_sphere(points: np.ndarray) -> np.ndarray:
    """(P, 3) -> (P, 3) with the mean at the origin and the farthest point at distance 1, as PointCLIP's data come."""
    exact = points.astype(np.float64)
    centred = exact - exact.mean(0)
    return (centred / np.linalg.norm(centred, axis=1).max()).astype(points.dtype)


def upright(points: np.ndarray, up: str) -> np.ndarray:
    """(P, 3) with axis ``up`` pointing up -> (P, 3) with +y up: a rotation, so that left stays left."""
    x, y, z = points.T
    return np.stack({"x": (-y, x, z), "y": (x, y, z), "z": (x, z, -y)}[up], axis=1)


def about_y(points: np.ndarray, angle: float) -> np.ndarray:
    """(P, 3) turned about +y by that angle in radians."""
    if angle == 0:
        return points
    x, y, z = points.T
    return np.stack([x * cos(angle) + z * sin(angle), y, z * cos(angle) - x * sin(angle)], axis=1)


def turned(cloud: Cloud, angle: float) -> Cloud:
    """The cloud, its normals and its mesh turned about its up axis by that angle in radians; +y points up then."""

    def turn(given: np.ndarray) -> np.ndarray:
        return about_y(upright(given, cloud.up), angle).astype(np.float32)

    mesh = cloud.mesh and replace(cloud.mesh, vertices=turn(cloud.mesh.vertices))
    normals = None if cloud.normals is None else turn(cloud.normals)
    return replace(cloud, points=turn(cloud.points), up="y", normals=normals, mesh=mesh)


def require_axis(axis: str, known: Sequence[str], where: str | None) -> None:
    """Raise InputError unless the up axis is a known one."""
    if axis not in known:
        raise InputError(f"the up axis must be {', '.join(known[:-1])} or {known[-1]}, got {axis!r}", where=where)


def require_mesh(found: bool, projection: str, where: str | None) -> None:
    """Raise InputError unless triangles were found for a projection that draws them."""
    if not found:
        what = f"is a cloud without triangles, which {projection} cannot draw"
        raise InputError(what, where=where, remedy="take --projection shaded")


def _or_nan(colors: np.ndarray | None, points: np.ndarray) -> np.ndarray:
    return np.full_like(points, np.nan) if colors is None else colors


def _keep_arrays(sample: Any, *names: str) -> None:
    for name in names:
        if (value := getattr(sample, name)) is not None:
            object.__setattr__(sample, name, to_array(value))
