"""The point-cloud modality: a cloud or a mesh is encoded as pictures of it."""

from __future__ import annotations

import copy
import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import is_tensor, numbers, unit_rows
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.modalities.pointcloud.cloud import AXES, Cloud, Mesh, draw, require_axis, require_mesh, upright
from clipx.modalities.pointcloud.files import READERS, Geometry, estimate_up, holds_points, read_geometry, sample_mesh
from clipx.modalities.pointcloud.projection import PROJECTIONS, get_projection, in_colour, resized
from clipx.modality import Modality, Shape
from clipx.parts import Parts

if TYPE_CHECKING:
    from clipx.modalities.pointcloud.tower import PointTower
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

_CLOUDS_AT_ONCE = 16  # bounds the memory of a long list


@dataclass(frozen=True)
class CloudConfig:
    """Settings of ``PointCloud``."""

    projection: str = field(
        default="pointclip_v1", metadata={"help": f"how the cloud is drawn: {', '.join(PROJECTIONS)}"}
    )
    up: str | None = field(
        default=None,
        metadata={"help": "axis that points up: x, y, z, or auto for a guess; default: what the file says, else y"},
    )
    points: int = field(default=1024, metadata={"help": "points drawn from a mesh, and kept of a larger cloud"})
    seed: int = field(default=0, metadata={"help": "seed of that draw"})
    weighting: str = field(
        default="uniform",
        metadata={
            "help": "of the views: uniform, entropy (the surer a view is of one of the labels, the more it counts), or "
            "published weights, fitted on test labels, by name: " + ", ".join(PROJECTIONS["pointclip_v2"].weights)
        },
    )
    weights: tuple[float, ...] | None = field(
        default=None, metadata={"help": "your own weight of each view, none negative; default: by weighting"}
    )
    tta: int = field(
        default=1,
        metadata={"help": "turns about the up axis whose vectors are averaged: test-time augmentation, each as slow"},
    )
    point_tower: str | None = field(
        default=None,
        metadata={"help": "a point tower that clipx train pointcloud wrote, in place of pictures; one for each space"},
    )
    backend: str = field(
        default="auto",
        metadata={"help": "what draws it: auto, plain, numba, or for shaded and mesh_raster open3d, where installed"},
    )

    def __post_init__(self):
        entry = get_projection(self.projection)
        entry.require_backend(self.backend)
        if self.up is not None:
            require_axis(self.up, (*AXES, "auto"), "up")
        if self.points < 2:
            raise InputError(f"points must be at least 2, got {self.points}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if self.tta < 1:
            raise InputError(f"tta must be at least 1, got {self.tta}")
        known = ("uniform", "entropy", *entry.weights)
        if self.weighting not in known:
            raise InputError(
                f"{self.projection} knows no weighting {self.weighting!r}", remedy=f"one of {', '.join(known)}"
            )
        if self.weights is not None and not (
            len(self.weights) == entry.views and min(self.weights) >= 0 and 0 < sum(self.weights) < float("inf")
        ):
            raise InputError(f"weights must be {entry.views} numbers >= 0, not all 0, got {self.weights}")
        if self.point_tower is not None:  # an index keeps it, and is searched from other folders
            object.__setattr__(self, "point_tower", str(Path(self.point_tower).expanduser().absolute()))
            if self.tta > 1 or self.weighting != "uniform" or self.weights is not None:
                raise InputError(
                    "a tower makes no views: tta, weighting and weights are for pictures", where="point_tower"
                )
        if self.weights is not None and self.weighting != "uniform":
            raise InputError("weights and weighting exclude each other", remedy="leave one out")

    @property
    def view_weights(self) -> tuple[float, ...]:
        """The weight of each of the V views; all 1 where ``weighting`` is by entropy."""
        entry = get_projection(self.projection)
        if self.weighting in entry.weights:
            return entry.weights[self.weighting].values
        return self.weights or (1.0,) * entry.views


class PointCloud(Modality):
    """Point clouds and meshes, encoded as pictures of them, by default PointCLIP's.

    Points are drawn uniformly from the surface of a mesh. The cloud is centred, scaled to the unit sphere, turned
    upright and drawn from V sides by ``Config.projection``, whose entry in ``projection.PROJECTIONS`` says whether the
    tower's own mean and standard deviation apply. The vector is the weighted mean of the unit vectors of all pictures,
    of unit norm.
    """

    name = "pointcloud"
    suffixes = tuple(READERS)
    prompts = "pointclip"  # of the class; an instance has those of its projection
    array_key = "points"
    objects = "points as a (P, 3) array"
    Config = CloudConfig

    config: CloudConfig

    def __init__(self, space: JointSpace, config: Any = None):
        super().__init__(space, config)
        self._classifier: ZeroShotClassifier | None = None
        self.tower: PointTower | None = None
        self._read_as = self.config
        if self.config.point_tower is not None:
            from clipx.modalities.pointcloud.tower import load_tower

            self.tower = load_tower(self.config.point_tower, self.space)
            self.context = self.tower.sha256
            enough = max(self.config.points, self.tower.network.shape["points"])  # else it would see points twice
            self._read_as = replace(self.config, points=enough)
        entry = get_projection(self.tower.projection if self.tower else self.config.projection)
        self.prompts = entry.prompts
        if self.config.weighting in entry.weights:
            self.tuned_on = entry.weights[self.config.weighting].fitted_on
        elif self.config.weights is not None:
            self.tuned_on = "unknown: the view weights were given"

    @property
    def domain(self) -> str:  # type: ignore[override]  # a class attribute elsewhere
        return get_projection(self.config.projection).domain

    def bind(self, classifier: ZeroShotClassifier) -> PointCloud:
        """Itself, or with ``weighting="entropy"`` one that weighs the views by the classifier's confidence."""
        if self.config.weighting != "entropy":
            return self
        bound = copy.copy(self)
        bound._classifier = classifier
        weights = classifier.weights.vectors
        bound.context = hashlib.sha256(weights.tobytes() + repr(classifier.logit_scale).encode()).hexdigest()
        return bound

    @classmethod
    def claims(cls, path: str | PathLike) -> bool:
        """All but prose (a ``.txt`` whose first row is no point) and other arrays (an ``.npz`` without ``points``)."""
        if str(path).lower().endswith(".npz"):
            try:
                with zipfile.ZipFile(path) as archive:
                    return "points.npy" in archive.namelist()
            except (OSError, zipfile.BadZipFile):
                return True
        return holds_points(path)

    def load(self, path: str | PathLike, up: str | None = None) -> Cloud:
        """Read a cloud or a mesh. ``Config.up`` wins over ``up``, and that over the axis that the file names.

        Raises:
            FileError: see ``read_geometry``.
            InputError: fewer than two different points, a mesh without area, or a cloud for a projection of meshes.
        """
        return load_cloud(path, self._read_as, up)

    def shape(self, path: str | PathLike) -> Shape:
        """All points or triangles of a file, upright by the axis that ``load`` takes."""
        found = read_geometry(path)
        points = upright(found.points, up_axis(found, self.config))
        return Shape(points, found.triangles, found.colors)

    def from_array(self, array: Any, up: str | None = None, **about: Any) -> Cloud:
        """A (P, 3) array or tensor -> a sample. ``Config.up`` wins over ``up``.

        Raises:
            InputError: wrong shape or type, NaN, fewer than two different points, or a projection of meshes.
        """
        points = numbers(array)
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
            raise InputError(f"points must be (P, 3) numbers, got {points.shape} {points.dtype}")
        return to_cloud(Geometry(points.astype(np.float64), up=None if up is None else str(up)), self._read_as)

    @classmethod
    def takes(cls, value: Any) -> bool:
        """(P, 3) arrays and tensors, but 8-bit ones, which are pictures."""
        if not (isinstance(value, np.ndarray) or is_tensor(value)):
            return False
        return value.ndim == 2 and value.shape[1] == 3 and str(value.dtype).removeprefix("torch.") != "uint8"

    def from_object(self, value: Any) -> Cloud:
        """What ``from_array`` takes; the up axis is the config's."""
        return self.from_array(value)

    @classmethod
    def read_set(cls, path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
        """ModelNet40's and ScanObjectNN's files, see ``benchmarks.read_benchmark``."""
        from clipx.modalities.pointcloud.benchmarks import read_benchmark

        return read_benchmark(path, where)

    def parts(self, samples: Sequence[Cloud]) -> Parts:
        """The views of the projection, turn after turn of ``tta``: T * V of each cloud; one part each by a tower."""
        if self.tower is not None:
            return Parts.whole(self.tower.encode(samples))
        return Parts.views(self._views(samples))

    def pool(self, parts: Parts) -> np.ndarray:
        """The mean of the views, weighted as the config says.

        Raises:
            InputError: the weights depend on labels, and none are known.
        """
        if self.tower is not None:
            return parts.mean()
        views, config = parts.stacked(), self.config  # (N, T * V, D)
        if self._classifier is not None:
            flat = Embedding(parts.vectors, self.space.id, self.name)
            weights = self._classifier.confidence(flat).reshape(views.shape[:2]).clip(min=1e-6)
        elif config.weighting == "entropy":
            raise InputError(
                "weighting=entropy weighs views by what they say of the labels, and no labels are known",
                where=self.name,
                remedy="classify, or call bind(classifier) first",
            )
        else:
            weights = np.array(config.view_weights * config.tta, np.float32)
        return unit_rows((views * weights[..., None]).sum(1))

    @property
    def weighs_parts(self) -> bool:  # type: ignore[override]  # a class attribute elsewhere
        return self.config.weighting != "uniform" or self.config.weights is not None

    def _views(self, samples: Sequence[Cloud]) -> np.ndarray:
        entry, config = get_projection(self.config.projection), self.config
        rows = []
        for start in range(0, len(samples), _CLOUDS_AT_ONCE):
            some, turns = samples[start : start + _CLOUDS_AT_ONCE], []
            for turn in range(config.tta):
                drawn = self._draw(some, entry.turn * turn / config.tta)  # (N, V, C, R, R)
                pixels = in_colour(resized(drawn, self.space.image_size))
                vectors = self.space.encode_image(pixels.reshape(-1, *pixels.shape[2:]), normalize=entry.normalize)
                turns.append(vectors.reshape(*drawn.shape[:2], -1))
            rows.append(np.concatenate(turns, axis=1))
        return np.concatenate(rows)

    def pictures(self, sample: Cloud) -> np.ndarray:
        """The V pictures, (V, 3, R, R). Of raw depth, empty is black and the farthest point white."""
        shown = get_projection(self.config.projection).visible(self._draw([sample]))[0]
        return shown.copy()  # grey is one channel, broadcast to three

    def _draw(self, samples: Sequence[Cloud], angle: float = 0.0) -> np.ndarray:
        return draw(samples, self.config.projection, max(self.space.image_size), angle, self.config.backend)

    @classmethod
    def example(cls) -> Cloud:
        """A spring of 512 points, wound about the y axis."""
        turn = np.linspace(0, 6 * np.pi, 512, dtype=np.float32)
        return Cloud(np.stack([np.cos(turn), turn / 6, np.sin(turn)], axis=1))


def load_cloud(path: str | PathLike, config: CloudConfig, up: str | None = None) -> Cloud:
    """Read a cloud or a mesh as those settings say; see ``PointCloud.load``."""
    found = read_geometry(path)
    if up is not None:
        require_axis(up, AXES, str(path))
        found = replace(found, up=up)
    return to_cloud(found, config, str(path))


def up_axis(found: Geometry, config: CloudConfig) -> str:
    """The axis that points up: the config's, else the file's, else y."""
    up = config.up or found.up or "y"
    return estimate_up(found.points, found.triangles) if up == "auto" else up


def to_cloud(found: Geometry, config: CloudConfig, source: str | None = None) -> Cloud:
    """What a file or an array holds -> a sample: points drawn or thinned, centred, the up axis known.

    Raises:
        InputError: see ``PointCloud.load``.
    """
    takes = get_projection(config.projection).takes
    whole = found if found.triangles is not None and "triangles" in takes else None
    require_mesh(whole is not None or "triangles" not in takes, config.projection, source)
    up = up_axis(found, config)
    points, normals, colors = found.points, found.normals, found.colors
    if found.triangles is not None:
        drawn = sample_mesh(found, config.points, config.seed, where=source)
        points, normals, colors = drawn.points, drawn.normals, drawn.colors
    # PointCLIP keeps the first 1,024 points of data sets whose points are shuffled. A scan stores its points in
    # order, so the first ones would be a corner of the object: draw them instead.
    elif len(points) > config.points:
        kept = np.random.default_rng(config.seed).permutation(len(points))[: config.points]
        points = points[kept]
        normals, colors = (None if given is None else given[kept] for given in (normals, colors))

    def single(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32)

    with np.errstate(over="ignore", invalid="ignore"):  # Cloud refuses what float32 cannot hold
        # Centred before float32: map coordinates in the millions would lose their decimals.
        centre = points.mean(axis=0) if len(points) else 0.0
        mesh = None
        if whole is not None and whole.triangles is not None:
            hues = None if whole.colors is None else single(whole.colors)
            mesh = Mesh(single(whole.points - centre), whole.triangles, hues)
        kept_normals = single(normals) if normals is not None and "normals" in takes else None
        kept_colors = single(colors) if colors is not None and "colors" in takes else None
        return Cloud(single(points - centre), up, source, kept_normals, kept_colors, mesh)
