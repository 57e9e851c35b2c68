"""The definition of `kernel.v2`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.modalities.pointcloud.projection.views import Matrix, turned


def v2(
    points: Tensor, views: Sequence[Matrix], size: int, depth: int, constants: tuple[float, float, float, float]
) -> Tensor:
    """(N, P, 3) -> (N, V, R - 2, R - 2) in [0, 1]; see `v2.pointclip_v2`.

    Args:
        points, views: as there.
        size: R, the side of the grid in cells.
        depth: D, its cells from near to far.
        constants: FILL, BIAS and the two of SMOOTH.
    """
    grid = quantise(points, views, size, depth, constants[:2])
    flat = grid.flatten(0, 1)[:, None]  # (N * V, 1, D, R, R)
    dense = F.max_pool3d(flat, (1, 7, 7), stride=1, padding=(0, 2, 2))[:, 0]
    image = _smooth(_smooth(dense, 2, constants[2:]), 3, constants[2:]).amax(1)
    top = image.amax((1, 2), keepdim=True)
    shown = 1 - image / torch.where(top > 0, top, 1)
    return shown.to(points.dtype).unflatten(0, grid.shape[:2])


def quantise(points: Tensor, views: Sequence[Matrix], size: int, layers: int, constants: tuple[float, float]) -> Tensor:
    """The first step: (N, P, 3) points -> (N, V, D, R, R) grid; a cell holds its greatest depth, an empty one 0."""
    fill, bias = constants
    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, views)  # (N, V, P, 3)
    drawn = placed.isfinite().all(-1)
    inf = torch.inf
    high = torch.where(drawn[..., None], placed, -inf).amax(2, keepdim=True)  # (N, V, 1, 3)
    low = torch.where(drawn[..., None], placed, inf).amin(2, keepdim=True)
    fitted = (placed - (high + low) / 2) / (high - low).amax(-1, keepdim=True) * 2
    x, y, z = fitted.unbind(-1)
    row, column = (torch.ceil((axis * fill + 1) / 2 * size).clamp(1, size - 2) for axis in (x, y))
    depth = ((z + 1) / 2 + bias) / (1 + bias) * (layers - 2)  # 1 to 6
    cell = (depth.ceil().clamp(0, layers - 1) * size + row) * size + column
    drawn = drawn & cell.isfinite()  # a single point has no box to fit
    value = torch.where(drawn, depth.clamp(1, layers - 2), 0)
    empty = value.new_zeros(*value.shape[:2], layers * size * size)
    grid = empty.scatter_reduce(2, torch.where(drawn, cell, 0).long(), value, "amax")
    return grid.unflatten(2, (layers, size, size))


def _smooth(grid: Tensor, axis: int, weights: tuple[float, float]) -> Tensor:
    """The Gaussian along one axis, with zeros beyond the border."""
    side, middle = weights
    none = torch.zeros_like(grid.narrow(axis, 0, 1))
    before = torch.cat([none, grid.narrow(axis, 0, grid.shape[axis] - 1)], axis)
    after = torch.cat([grid.narrow(axis, 1, grid.shape[axis] - 1), none], axis)
    return (before + after) * side + grid * middle
