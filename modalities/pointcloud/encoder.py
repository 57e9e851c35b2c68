"""The point-cloud sense: a cloud is what a joint space sees in its depth images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clipx.errors import InputError
from clipx.modalities.pointcloud.files import READERS, read_geometry, sample_surface
from clipx.modalities.pointcloud.projection import SETTINGS, pointclip_v1, to_input
from clipx.modality import Modality

if TYPE_CHECKING:
    from clipx.space import JointSpace

# Name -> (N, P, 3) points in the unit sphere, +y up -> (N, V, R, R) raw depth.
PROJECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "pointclip_v1": partial(pointclip_v1, setting="zero_shot"),
    "pointclip_v1_few_shot": partial(pointclip_v1, setting="few_shot"),
}
_VIEWS = {"pointclip_v1": len(SETTINGS["zero_shot"].angles), "pointclip_v1_few_shot": len(SETTINGS["few_shot"].angles)}
_CLOUDS_AT_ONCE = 16  # bounds the memory of a long list


@dataclass(frozen=True)
class Cloud:
    """A sample of the point-cloud sense.

    Args:
        points: (P, 3) float32 in any unit, P >= 2, not all equal.
        up: the axis that points up, ``"x"``, ``"y"`` or ``"z"``.
        source: where it came from, for messages.

    Raises:
        InputError: wrong shape or dtype, fewer than two different points, NaN or infinite coordinates, unknown axis.
    """

    points: Tensor
    up: str = "y"
    source: str | None = None

    def __post_init__(self):
        points = self.points
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype != torch.float32:
            raise InputError(
                f"points must be (P, 3) float32, got {tuple(points.shape)} {points.dtype}", where=self.source
            )
        if not points.isfinite().all():
            raise InputError("NaN or infinite coordinates, or beyond float32's range", where=self.source)
        if len(points) < 2 or (points == points[0]).all():
            raise InputError(f"a cloud needs two different points, got {len(points)}, all equal", where=self.source)
        _require_axis(self.up, self.source)


class PointCloud(Modality):
    """Point clouds and meshes, seen as PointCLIP sees them.

    A mesh is first turned into a cloud, by drawing points uniformly from its surface. The cloud is centred, scaled to
    the unit sphere, turned upright and projected to V depth images; the space encodes them as raw depth (no mean, no
    standard deviation, as published), and the vector is the weighted mean of the V unit vectors, of unit norm.
    """

    name = "pointcloud"
    suffixes = tuple(READERS)
    prompts = "pointcloud"
    array_key = "points"

    @dataclass(frozen=True)
    class Config:
        projection: str = field(
            default="pointclip_v1", metadata={"help": f"how the cloud is drawn: {', '.join(PROJECTIONS)}"}
        )
        up: str | None = field(
            default=None, metadata={"help": "axis that points up, x, y or z; default: what the file says, else y"}
        )
        points: int = field(default=1024, metadata={"help": "points drawn from a mesh, and kept of a larger cloud"})
        seed: int = field(default=0, metadata={"help": "seed of that draw"})
        weights: tuple[float, ...] | None = field(
            default=None, metadata={"help": "weight of each view, none negative; default: all equal"}
        )

        def __post_init__(self):
            if self.projection not in PROJECTIONS:
                raise InputError(f"unknown projection {self.projection!r}", remedy=f"one of {', '.join(PROJECTIONS)}")
            if self.up is not None:
                _require_axis(self.up, "up")
            if self.points < 2 or self.seed < 0:
                raise InputError(f"points must be at least 2 and seed at least 0, got {self.points} and {self.seed}")
            views = _VIEWS[self.projection]
            if self.weights is not None and not (
                len(self.weights) == views and min(self.weights) >= 0 and 0 < sum(self.weights) < float("inf")
            ):
                raise InputError(f"weights must be {views} numbers >= 0, not all 0, got {self.weights}")

    config: Config

    def __init__(self, space: JointSpace, config: Any = None):
        super().__init__(space, config)
        self._project = PROJECTIONS[self.config.projection]
        self._weights = self.config.weights or (1.0,) * _VIEWS[self.config.projection]

    def load(self, path: str | PathLike) -> Cloud:
        """Read a cloud or a mesh. ``Config.up`` wins over the axis that the file names.

        Raises:
            FileError: see ``read_geometry``.
            InputError: fewer than two different points, or a mesh without area.
        """
        found = read_geometry(path)
        points = found.points
        if found.triangles is not None:
            points = sample_surface(points, found.triangles, self.config.points, self.config.seed, where=str(path))
        return self._cloud(points, found.up, str(path))

    def from_array(self, array: Any, up: str | None = None, **about: Any) -> Cloud:
        """(P, 3) numbers -> a sample. ``Config.up`` wins over ``up``.

        Raises:
            InputError: wrong shape or type, NaN, or fewer than two different points.
        """
        points = np.asarray(array)
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
            raise InputError(f"points must be (P, 3) numbers, got {points.shape} {points.dtype}")
        return self._cloud(points.astype(np.float64), None if up is None else str(up), None)

    def _cloud(self, points: np.ndarray, up: str | None, source: str | None) -> Cloud:
        # PointCLIP keeps the first 1,024 points of data sets whose points are shuffled. A scan stores its points in
        # order, so the first ones would be a corner of the object: draw them instead.
        if len(points) > self.config.points:
            points = np.random.default_rng(self.config.seed).permutation(points)[: self.config.points]
        with np.errstate(over="ignore", invalid="ignore"):  # Cloud refuses what float32 cannot hold
            if len(points):  # centred before float32: map coordinates in the millions would lose their decimals
                points = points - points.mean(axis=0)
            return Cloud(torch.from_numpy(points.astype(np.float32)), self.config.up or up or "y", source)

    def vectors(self, samples: Sequence[Cloud]) -> Tensor:
        weights = torch.tensor(self._weights)[:, None]  # (V, 1)
        rows = []
        for start in range(0, len(samples), _CLOUDS_AT_ONCE):
            depth = self._depth(samples[start : start + _CLOUDS_AT_ONCE])  # (N, V, R, R)
            pixels = to_input(depth, self.space.image_size).flatten(0, 1)  # (N * V, 3, H, W)
            views = self.space.encode_image(pixels, normalize=False).unflatten(0, depth.shape[:2])  # (N, V, D)
            rows.append(F.normalize((views * weights.to(views)).sum(1), dim=1))
        return torch.cat(rows)

    def pictures(self, sample: Cloud) -> Tensor:
        """The V depth images, (V, 3, R, R): empty is black, the farthest point white."""
        depth = self._depth([sample])[0].cpu()
        return to_input(depth / depth.max().clamp(min=1e-12), depth.shape[-1])

    def _depth(self, clouds: Sequence[Cloud]) -> Tensor:
        """Clouds of any sizes -> (N, V, R, R) raw depth on the space's device."""
        points = [upright(unit_sphere(cloud.points), cloud.up) for cloud in clouds]
        return self._project(pad_sequence(points, batch_first=True, padding_value=torch.nan).to(self.space.device))

    @classmethod
    def example(cls) -> Cloud:
        """A spring of 512 points, wound about the y axis."""
        turn = torch.linspace(0, 6 * torch.pi, 512)
        return Cloud(torch.stack([turn.cos(), turn / 6, turn.sin()], dim=1))


def unit_sphere(points: Tensor) -> Tensor:
    """(P, 3) -> (P, 3) with the mean at the origin and the farthest point at distance 1, as PointCLIP's data come."""
    exact = points.to("cpu", torch.float64)
    centred = exact - exact.mean(0)
    return (centred / torch.linalg.vector_norm(centred, dim=1).max()).to(points.dtype)


def upright(points: Tensor, up: str) -> Tensor:
    """(P, 3) with axis ``up`` pointing up -> (P, 3) with +y up: a rotation, so that left stays left."""
    x, y, z = points.unbind(1)
    return torch.stack({"x": (-y, x, z), "y": (x, y, z), "z": (x, z, -y)}[up], dim=1)


def _require_axis(axis: str, where: str | None) -> None:
    if axis not in ("x", "y", "z"):
        raise InputError(f"the up axis must be x, y or z, got {axis!r}", where=where)
