"""Point clouds and meshes to pictures: every projection behind one call.

>>> clouds = np.random.default_rng(0).random((2, 1024, 3)) - 0.5         # (N, P, 3), +y up
>>> pictures = project("pointclip_v2", clouds)                           # (2, 10, 1, 110, 110)
>>> PROJECTIONS["pointclip_v2"].views, PROJECTIONS["pointclip_v2"].normalize
(10, False)

Each projection is an ordinary function of arrays or tensors. `plain` has their definitions, in plain torch; `kernel`
draws the same on the CPU without torch, many times faster. `open3d_backend` lets open3d, where installed, do the
geometry of the lit ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import pi
from typing import Any

import numpy as np

from clipx._arrays import is_tensor, to_array
from clipx.errors import InputError
from clipx.modalities.pointcloud.projection.kernel import BACKENDS, SOLID_BACKENDS
from clipx.modalities.pointcloud.projection.mesh import mesh_raster
from clipx.modalities.pointcloud.projection.ortho import ortho_splat
from clipx.modalities.pointcloud.projection.pixels import in_colour, resized, to_input
from clipx.modalities.pointcloud.projection.surfels import shaded
from clipx.modalities.pointcloud.projection.v1 import SETTINGS, pointclip_v1
from clipx.modalities.pointcloud.projection.v2 import pointclip_v2

__all__ = [
    "PROJECTIONS",
    "SETTINGS",
    "Projection",
    "ViewWeights",
    "get_projection",
    "mesh_raster",
    "ortho_splat",
    "pointclip_v1",
    "pointclip_v2",
    "project",
    "resized",
    "shaded",
    "to_input",
]


def project(
    name: str,
    points: Any,
    triangles: Any = None,
    normals: Any = None,
    colors: Any = None,
    resolution: int | None = None,
    backend: str = "auto",
) -> Any:
    """Draw clouds or meshes by the projection of that name.

    Args:
        name: a key of ``PROJECTIONS``.
        points: (N, P, 3) floating tensor, or what makes a float32 array, +y up, in the unit sphere (the mean at the
            origin, the farthest point at distance 1) for those of PointCLIP V1 and CLIP2Point; the others bring any
            size and place into the picture. Rows of NaN pad clouds of different sizes. Of meshes: the vertices.
        triangles: (N, F, 3) int64 rows of the points, padded with -1; for ``mesh_raster``, which demands it.
        normals, colors: (N, P, 3), where there are any; those that a projection does not use are ignored.
        resolution: side of what is drawn; the projection's own if None.
        backend: ``"plain"``, ``"numba"`` (float32 on the CPU, without gradients) or ``"auto"``; for ``shaded`` and
            ``mesh_raster`` also ``"open3d"``.

    Returns:
        (N, V, C, R, R), C = 1 or 3: what the image tower is to look at once ``resized``, a tensor of a tensor and else
        an array. It does not depend on the other clouds of the batch.

    Raises:
        InputError: an unknown name or backend, wrong shapes, no triangles for ``mesh_raster``, nothing to draw.
        MissingDependencyError: open3d is wanted and not installed.
    """
    entry = get_projection(name)
    entry.require_backend(backend)
    if not is_tensor(points):
        points = np.asarray(points, np.float32)
    if entry.mesh and triangles is None:
        raise InputError(f"{name} draws triangles, and a point cloud has none", remedy="take shaded")
    given = {"triangles": triangles, "normals": normals, "colors": colors}
    options = {key: given[key] for key in entry.takes} | ({} if resolution is None else {"resolution": resolution})
    drawn = entry.draw(points, **options, backend=backend)
    return drawn if drawn.ndim == 5 else drawn[:, :, None]


def get_projection(name: str) -> Projection:
    """The entry of that name. Raises InputError where there is none."""
    if name not in PROJECTIONS:
        raise InputError(f"unknown projection {name!r}", remedy=f"one of {', '.join(PROJECTIONS)}")
    return PROJECTIONS[name]


@dataclass(frozen=True)
class ViewWeights:
    """Weights of a projection's views, and what they were fitted on."""

    values: tuple[float, ...]
    fitted_on: str


@dataclass(frozen=True)
class Projection:
    """How shapes become pictures.

    Args:
        draw: the function: (N, P, 3) points and what ``takes`` names -> (N, V, R, R) or (N, V, 3, R, R).
        views: V.
        normalize: whether the tower's mean and standard deviation apply; else its pictures go in as they are.
        prompts: what is said of such pictures by default, a set of ``clipx.prompts``: PointCLIP's zero-shot one of
            depth, ``"rendering"`` of what looks like one. The papers' other sets go by name.
        domain: the picture domain that such pictures are of, where a space tells them from photos.
        turn: radians between neighbouring side views. Turned about the up axis by a part of it, a shape shows new
            sides.
        takes: what it draws besides the points: ``"triangles"``, ``"normals"``, ``"colors"``.
        fixed: whether it is drawn at its published size, whatever the tower's, then resized; else at the tower's.
        raw: whether its pictures hold depth, not grey levels in [0, 1].
        weights: published weights of the views, by name.
        backends: what can draw it.
    """

    draw: Callable[..., Any]
    views: int
    normalize: bool
    prompts: str
    turn: float
    domain: str
    takes: tuple[str, ...] = ()
    fixed: bool = True
    raw: bool = False
    weights: Mapping[str, ViewWeights] = field(default_factory=dict)
    backends: tuple[str, ...] = BACKENDS

    @property
    def mesh(self) -> bool:
        """Whether it draws triangles, so that it cannot draw a cloud of points."""
        return "triangles" in self.takes

    def require_backend(self, backend: str) -> None:
        """Raise InputError unless that backend can draw it."""
        if backend not in self.backends:
            name = next(name for name, entry in PROJECTIONS.items() if entry is self)
            what = f"{name} is not drawn by backend {backend!r}"
            raise InputError(what, remedy=f"one of {', '.join(self.backends)}")

    def visible(self, pictures: Any) -> np.ndarray:
        """Its (..., V, C, R, R) pictures as (..., V, 3, R, R) in [0, 1], for people; raw depth by its greatest."""
        shown = to_array(pictures)
        if self.raw:
            shown = shown / shown.max((-4, -3, -2, -1), keepdims=True).clip(min=1e-12)
        return in_colour(shown.clip(0, 1))


# Found by PointCLIP V2's authors by search on the test labels of the data set, for their prompts.
_V2_WEIGHTS = {
    f"{tower}_{data.lower()}": ViewWeights(values, f"test labels of {data}, with CLIP {tower}, by its authors")
    for data, tower, values in [
        ("ModelNet40", "rn50", (0.75, 0.75, 0.75, 0.75, 0.25, 0.5, 1.0, 1.0, 0.25, 0.25)),
        ("ModelNet40", "rn101", (0.75, 0.75, 0.75, 0.25, 0.5, 1.0, 0.75, 0.25, 0.25, 0.25)),
        ("ModelNet40", "vitb16", (0.75, 0.75, 0.75, 0.25, 0.75, 1.0, 0.25, 1.0, 0.75, 0.25)),
        ("ModelNet40", "vitb32", (0.75, 0.75, 0.75, 0.75, 0.25, 0.5, 0.5, 0.75, 0.5, 0.5)),
        ("ScanObjectNN", "rn50", (0.75, 0.75, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25, 0.25)),
        ("ScanObjectNN", "rn101", (0.5, 0.5, 0.5, 0.75, 0.5, 1.0, 1.0, 0.75, 0.25, 0.25)),
        ("ScanObjectNN", "vitb16", (0.75, 0.75, 0.75, 0.5, 0.5, 1.0, 0.75, 1.0, 0.25, 0.25)),
        ("ScanObjectNN", "vitb32", (0.75, 0.75, 0.75, 0.5, 0.75, 0.75, 0.5, 1.0, 0.5, 0.75)),
    ]
}

PROJECTIONS: dict[str, Projection] = {
    "pointclip_v1": Projection(
        partial(pointclip_v1, setting="zero_shot"), 6, normalize=False, prompts="pointclip", turn=pi / 2,
        domain="points", raw=True,
    ),
    "pointclip_v1_few_shot": Projection(
        partial(pointclip_v1, setting="few_shot"), 10, normalize=False, prompts="pointclip", turn=pi / 2,
        domain="points", raw=True,
    ),
    "pointclip_v2": Projection(
        pointclip_v2, 10, normalize=False, prompts="pointclip", turn=pi / 4, domain="depth", weights=_V2_WEIGHTS
    ),
    "ortho_splat": Projection(ortho_splat, 6, normalize=True, prompts="rendering", turn=pi / 2, domain="render"),
    "shaded": Projection(
        shaded, 8, normalize=True, prompts="rendering", turn=pi / 4, domain="render",
        takes=("normals", "colors"), fixed=False, backends=SOLID_BACKENDS,
    ),
    "mesh_raster": Projection(
        mesh_raster, 8, normalize=True, prompts="rendering", turn=pi / 4, domain="render",
        takes=("triangles", "colors"), fixed=False, backends=SOLID_BACKENDS,
    ),
}  # fmt: skip
