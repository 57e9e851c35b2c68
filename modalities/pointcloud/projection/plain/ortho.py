"""The definition of `kernel.ortho`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clipx.modalities.pointcloud.projection.plain.raster import Pairs, boxes, nearest
from clipx.modalities.pointcloud.projection.views import Matrix, turned


def ortho(points: Tensor, views: Sequence[Matrix], radius: float, distance: float, grey: float, size: int) -> Tensor:
    """(N, P, 3) -> (N, V, R, R) in [0, 1]; see `ortho.ortho_splat`."""
    exact = points if points.dtype == torch.float64 else points.float()
    placed = turned(exact, views)  # (N, V, P, 3): right, down, forward
    clouds, cameras, count, _ = placed.shape
    depth = (placed[..., 2] + distance).flatten()  # (K,) of K = N V P discs
    column, row = ((placed[..., axis].flatten() + 1) * (size / 2) for axis in (0, 1))
    reach = radius * size / 2
    drawn = torch.where((depth >= 0) & (row + column).isfinite(), 0.0, torch.nan)

    def cover(pairs: Pairs) -> tuple[Tensor, Tensor]:
        x, y = pairs.column + 0.5 - column[pairs.thing], pairs.row + 0.5 - row[pairs.thing]
        far = torch.where(x * x + y * y < reach * reach, depth[pairs.thing], torch.inf)
        canvas = torch.div(pairs.thing, count, rounding_mode="floor")
        return (canvas * size + pairs.row) * size + pairs.column, far

    parts = boxes(column - reach + drawn, column + reach, row - reach + drawn, row + reach, size)
    z = nearest(parts, cover, clouds * cameras * size**2, depth)[0].view(clouds, cameras, size**2)
    covered = z.isfinite()
    least = z.amin(2, keepdim=True).nan_to_num(posinf=0)
    z = torch.where(covered, z, 0)
    most = z.amax(2, keepdim=True).clamp(min=torch.finfo(z.dtype).tiny)
    shade = torch.where(covered, (z - least) / most * grey, 1)
    return shade.to(points.dtype).unflatten(2, (size, size))
