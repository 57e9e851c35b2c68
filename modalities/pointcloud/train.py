"""Teaching a point tower by the vectors of a projection's pictures; no labels are needed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.modalities.pointcloud.cloud import Cloud, about_y, turned
from clipx.modalities.pointcloud.tower import PointNet, PointTower, seen
from clipx.training import prepare_folder, train
from clipx.training.loop import join
from clipx.training.teacher import StudentConfig, kept_vectors

if TYPE_CHECKING:
    from clipx.modalities.pointcloud.encoder import PointCloud

BLOCK = 64  # clouds whose vectors are written at a time


@dataclass(frozen=True)
class TowerTrainConfig(StudentConfig):
    """What the tower is, and how it learns."""

    points: int = field(default=256, metadata={"help": "points that it looks at"})
    width: int = field(default=64, metadata={"help": "of its first layers"})
    turns: int = field(default=4, metadata={"help": "turns about the up axis that the teacher looks at"})
    batch_size: int = field(default=32, metadata={"help": "clouds a step"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < 16 or self.width < 8:
            raise InputError("points must be at least 16, width at least 8", where="train")
        if self.turns < 1:
            raise InputError(f"turns must be at least 1, got {self.turns}", where="train")


def fit_tower(
    teacher: PointCloud,
    clouds: Sequence[Cloud],
    config: TowerTrainConfig,
    out: str | PathLike[str],
    *,
    resume: bool = False,
    stop_after: int | None = None,
) -> PointTower:
    """Teach a tower what a projection's pictures say of clouds.

    The teacher looks at each cloud at several turns about its up axis; the student is given some of the points of one
    of them, with jitter and scale at random.

    Args:
        teacher: the modality, set to the projection; its space's device computes.
        clouds: N samples of it.
        config: what is trained, and how.
        out: folder for the teacher's vectors, the checkpoint and the loss curve.
        resume: go on from what is there, with the same result, bit for bit.
        stop_after: see ``clipx.training.train``.

    Raises:
        InputError: fewer than two clouds, or ``out`` holds another run.
        KeyboardInterrupt: a signal; the checkpoint is written.
    """
    if len(clouds) < 2:
        raise InputError(f"{len(clouds)} clouds, a tower needs two", where="train pointcloud")
    out, space = prepare_folder(out, resume), teacher.space
    join(space.device)
    vectors = teacher_vectors(teacher, clouds, config.turns, out / "teacher")
    network = _new(space.dim, config)
    points = [seen(cloud, 2 * config.points) for cloud in clouds]
    identity = {"tower": asdict(config), "of": _digest(teacher, clouds, config.turns)}
    how: dict[str, Any] = {"identity": identity, "resume": resume, "device": space.device, "stop_after": stop_after}
    train(network, _loss(points, vectors, config), config.plan, out, **how)
    settings = asdict(config) | {"clouds": len(clouds)}
    return PointTower(network.eval().requires_grad_(False), space.id, teacher.config.projection, settings)


def _new(dim: int, config: TowerTrainConfig) -> PointNet:
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(config.seed)
        return PointNet(dim, config.points, config.width)


def teacher_vectors(teacher: PointCloud, clouds: Sequence[Cloud], turns: int, folder: Path) -> Tensor:
    """(N, T, D) what the projection's pictures say of each cloud at each turn; kept in ``folder``."""
    vectors = torch.zeros(len(clouds), turns, teacher.space.dim)

    def look(some: range) -> Tensor:
        views = [turned(clouds[i], 2 * math.pi * turn / turns) for i in some for turn in range(turns)]
        return torch.from_numpy(teacher.encode(views).vectors).view(len(some), turns, -1)

    def of(some: range) -> str:
        return _digest(teacher, clouds[some.start : some.stop], turns)

    kept_vectors("looking at clouds", vectors, BLOCK, folder, of, look)
    return vectors


def _digest(teacher: PointCloud, clouds: Sequence[Cloud], turns: int) -> str:
    total = hashlib.sha256(f"{teacher.space.id} {teacher.config} {turns}".encode())
    for cloud in clouds:
        mesh = (cloud.mesh.vertices, cloud.mesh.triangles, cloud.mesh.colors) if cloud.mesh else ()
        for array in (cloud.points, cloud.normals, cloud.colors, *mesh):
            total.update(b"none" if array is None else repr((array.dtype, array.shape)).encode() + array.tobytes())
        total.update(f"{cloud.up} {cloud.as_stored}".encode())
    return total.hexdigest()


def _loss(
    points: Sequence[np.ndarray], vectors: Tensor, config: TowerTrainConfig
) -> Callable[[nn.Module, int, int], dict[str, Tensor]]:
    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([config.seed, draw])
        clouds = rng.choice(len(points), config.batch_size, replace=len(points) < config.batch_size)
        turns = rng.integers(0, config.turns, config.batch_size)
        given = [
            _as_seen(points[i], 2 * math.pi * turn / config.turns, config.points, rng)
            for i, turn in zip(clouds.tolist(), turns.tolist(), strict=True)
        ]
        where = next(module.parameters()).device
        student = F.normalize(module(torch.from_numpy(np.stack(given)).to(where)), dim=1)
        return config.loss(student, vectors[clouds, turns].to(where))

    return loss_of


def _as_seen(points: np.ndarray, angle: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """(``count``, 3) of the points, turned by about that angle, with jitter and scale."""
    some = points[rng.permutation(len(points))[:count]]
    moved = about_y(some, angle + rng.normal(scale=0.1)) * rng.uniform(0.9, 1.1)
    return (moved + rng.normal(scale=0.01, size=moved.shape)).astype(np.float32)
