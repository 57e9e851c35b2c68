"""A native point tower: points -> vector without a picture, taught by the vectors of the projection's pictures.

Two edge convolutions (DGCNN, Wang et al., ACM TOG 2019, arXiv 1801.07829) over the nearest neighbours in space, whose
graph is not recomputed between them, then the largest and the mean of all points (PointNet, Qi et al., CVPR 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


class EdgeNet(nn.Module):
    """(B, P, 3) points, +y up, in the unit sphere -> (B, D), not normalised.

    Args:
        dim: D.
        points: P, what it looks at of each cloud.
        neighbours: of each point, itself included.
        width: of the first edge convolution; the others are multiples of it.
    """

    def __init__(self, dim: int, points: int = 512, neighbours: int = 8, width: int = 32):
        super().__init__()
        self.shape = {"dim": dim, "points": points, "neighbours": neighbours, "width": width}
        self.first, self.second = EdgeConv(3, width), EdgeConv(width, 2 * width)
        self.each = nn.Sequential(nn.Linear(3 * width, 16 * width), _Norm(16 * width), nn.ReLU())
        self.top = nn.Sequential(
            nn.Linear(32 * width, 16 * width), nn.BatchNorm1d(16 * width), nn.ReLU(), nn.Linear(16 * width, dim)
        )

    def forward(self, points: Tensor) -> Tensor:
        near = nearest(points, self.shape["neighbours"])
        one = self.first(points, near)
        two = self.second(one, near)
        each = self.each(torch.cat([one, two], dim=2))
        return self.top(torch.cat([each.amax(1), each.mean(1)], dim=1))


class EdgeConv(nn.Module):
    """relu(norm(the largest over a point's neighbours j of W [x_i, x_j - x_i])): (B, P, C) -> (B, P, width).

    W [x_i, x_j - x_i] = U x_i + V x_j, so that both products are made once a point and not once an edge. DGCNN takes
    the largest after the norm, whose statistics are then those of all edges.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.own, self.other = nn.Linear(channels, width), nn.Linear(channels, width, bias=False)
        self.norm = _Norm(width)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        """``near``: (B, P, K) numbers of the neighbours."""
        batch, points, count = near.shape
        first = torch.arange(batch, device=near.device)[:, None, None] * points
        other = self.other(x).flatten(0, 1).index_select(0, (near + first).flatten())  # whole rows: 10 x a gather
        largest = other.view(batch, points, count, -1).max(2).values
        return F.relu(self.norm(self.own(x) + largest))


class _Norm(nn.BatchNorm1d):
    """BatchNorm over (B, P, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)


def nearest(points: Tensor, count: int) -> Tensor:
    """(B, P, 3) -> (B, P, ``count``) numbers of the nearest points, the point itself among them."""
    squares = (points * points).sum(2)
    far = squares[:, :, None] + squares[:, None] - 2 * points @ points.transpose(1, 2)
    return far.topk(min(count, points.shape[1]), dim=2, largest=False, sorted=False).indices


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

    network: EdgeNet
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
            network = EdgeNet(**facts.pop("shape"))
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
