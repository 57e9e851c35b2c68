"""The definition of `kernel.v1`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clipx._device import widest
from clipx.modalities.pointcloud.projection.views import Matrix, turned


def v1(points: Tensor, views: Sequence[Matrix], distance: float, eps: float, size: int) -> Tensor:
    """(N, P, 3) -> (N, V, R, R) raw depth; see `v1.pointclip_v1`."""
    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, views)  # (N, V, P, 3)
    depth = placed[..., 2] + distance  # (N, V, P)
    cell = torch.ceil((placed[..., :2] / (depth + eps)[..., None] + 1) * (size / 2) - 0.5)  # (N, V, P, 2): row, column
    drawn = ((cell >= 0) & (cell <= size - 1)).all(-1) & (depth >= 0)
    pixel = torch.where(drawn, cell[..., 0] * size + cell[..., 1], 0).long()

    # Sums in float64 come out the same, once rounded, in whatever order a GPU adds them.
    wide = widest(points.device)
    depth = torch.where(drawn, depth, 0)
    weight = torch.where(drawn, 1 / (depth + eps), 0).to(wide)
    canvas = torch.zeros(*weight.shape[:2], size * size, dtype=wide, device=points.device)
    mass = canvas.scatter_add(2, pixel, weight)
    total = canvas.scatter_add(2, pixel, weight * depth)
    image = torch.where(mass > 0, total / mass.clamp(min=torch.finfo(torch.float32).tiny), 0)
    return image.to(points.dtype).unflatten(2, (size, size))
