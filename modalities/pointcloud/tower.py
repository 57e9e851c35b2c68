"""A native point tower: points -> vector without a picture, taught by the vectors of the projection's pictures.

PointNet (Qi et al., CVPR 2017, arXiv 1612.00593) without its learned alignments: the same layers for each point, then
the largest and the mean over all points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import SpaceMismatchError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, sha256_of, write_model
from clipx.modalities.pointcloud.cloud import Cloud, unit_sphere, upright

if TYPE_CHECKING:
    from clipx.space import JointSpace

_KEY = "clipx_point_tower"
_AT_ONCE = 32  # clouds in a batch
_FACTS = ("space_id", "projection", "settings")


class PointNet(nn.Module):
    """(B, P, 3) points, +y up, in the unit sphere -> (B, D), not normalised.

    Args:
        dim: D.
        points: P, what it looks at of each cloud.
        width: of the first two layers; the others have four times as many.
    """

    def __init__(self, dim: int, points: int = 256, width: int = 64):
        super().__init__()
        self.shape = {"dim": dim, "points": points, "width": width}
        sizes = (3, width, width, 4 * width)
        layers = [(nn.Linear(a, b), _Norm(b), nn.ReLU()) for a, b in pairwise(sizes)]
        self.each = nn.Sequential(*chain(*layers))
        self.top = nn.Sequential(
            nn.Linear(8 * width, 4 * width), nn.BatchNorm1d(4 * width), nn.ReLU(), nn.Linear(4 * width, dim)
        )

    def forward(self, points: Tensor) -> Tensor:
        each = self.each(points)
        return self.top(torch.cat([each.amax(1), each.mean(1)], dim=1))


class _Norm(nn.BatchNorm1d):
    """BatchNorm over (B, P, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)


@dataclass(frozen=True)
class PointTower:
    """A tower of one space.

    Args:
        network: its layers.
        space_id: the only space that its vectors are of.
        projection: whose pictures taught it, see ``CloudConfig``; their prompts suit its vectors.
        settings: how it learned, as JSON has it.
        sha256: of its file; "" where it was not read from one.
    """

    network: PointNet
    space_id: str
    projection: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def encode(self, clouds: Sequence[Cloud]) -> np.ndarray:
        """(N, D) unit vectors of N clouds, which do not depend on the batch."""
        place, rows = next(self.network.parameters()).device, []
        for start in range(0, len(clouds), _AT_ONCE):
            some = [seen(cloud, self.network.shape["points"]) for cloud in clouds[start : start + _AT_ONCE]]
            with torch.no_grad():
                found = self.network(torch.from_numpy(np.stack(some)).to(place))
            rows.append(F.normalize(found, dim=1).cpu().numpy())
        return np.concatenate(rows)

    def save(self, path: str | PathLike) -> Path:
        """Write one .safetensors file. Raises FileError: another suffix, or it cannot be written."""
        facts = {name: getattr(self, name) for name in _FACTS} | {"shape": self.network.shape}
        return write_model(path, self.network.state_dict(), _KEY, facts)


def load_tower(path: str | PathLike, space: JointSpace) -> PointTower:
    """Read what ``PointTower.save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or no tower. SpaceMismatchError: it was taught by another space.
    """
    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**31)

    def build(tensors: dict[str, Tensor], facts: dict[str, Any]) -> PointTower:
        with torch.device("meta"):  # a wrong size then takes no memory
            network = PointNet(**facts.pop("shape"))
        network.load_state_dict(tensors, assign=True)
        return PointTower(network.eval().requires_grad_(False), sha256=sha256_of(data), **facts)

    found = restore_model(data, _KEY, build, "point tower", path, "train one with clipx train pointcloud")
    if found.space_id != space.id or found.network.shape["dim"] != space.dim:
        raise SpaceMismatchError(
            f"the tower was taught by space {found.space_id}, this is {space.id}",
            where=path,
            remedy="take that space, or train again with clipx train pointcloud",
        )
    found.network.to(space.device)
    return found


def seen(cloud: Cloud, count: int) -> np.ndarray:
    """(``count``, 3) float32 points of a cloud, upright, in the unit sphere; of a smaller one some are repeated."""
    points = unit_sphere(upright(cloud.points, cloud.up))
    order = np.random.default_rng(0).permutation(len(points))
    return np.ascontiguousarray(points[np.resize(order, count)], dtype=np.float32)
