"""Strokes while they are drawn: rows of numbers, which an optimiser moves, and the picture of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clipx.modalities.sketch.curves import CANVAS, parts
from clipx.modalities.sketch.raster import rasterize

if TYPE_CHECKING:
    from clipx.modalities.sketch.config import DrawConfig

# A row: x and y of each control point, then width, opacity, red, green and blue.
POINTS, WIDTH, ALPHA, COLOR = slice(0, -5), -5, -4, slice(-3, None)
AWAY = -1e4  # where strokes wait that a drawing has not: they draw nothing, and nothing moves them


def rows_of(points: Tensor, config: DrawConfig) -> Tensor:
    """(N, 3 S + 1, 2) -> (N, columns) black strokes."""
    rest = torch.tensor([config.width_px, 1.0, 0.0, 0.0, 0.0]).expand(len(points), -1)
    return torch.cat([points.flatten(1), rest], 1)


def points_of(rows: Tensor) -> Tensor:
    """(..., columns) -> (..., 3 S + 1, 2)."""
    return rows[..., POINTS].unflatten(-1, (-1, 2))


def paint(rows: Tensor, config: DrawConfig) -> Tensor:
    """(..., N, columns) -> (..., 1 or 3, 224, 224): one channel where all strokes are black."""
    curves, share = parts(points_of(rows), config.profile)
    width: float | Tensor = config.width_px
    if config.learn_width or config.profile != "even":
        own = rows[..., WIDTH] if config.learn_width else torch.full(rows.shape[:-1], config.width_px)
        width = (own[..., None] * share).flatten(-2)
    curves = curves.flatten(-4, -3)
    if not config.learn_color:
        return rasterize(curves, CANVAS, width)[..., :1, :, :]
    return rasterize(curves, CANVAS, width, rows[..., ALPHA], rows[..., COLOR])


def regularisers(rows: Tensor, picture: Tensor, config: DrawConfig) -> Tensor | None:
    """(R, N, columns) and their (R, C, 224, 224), on any device -> (R,) ``smooth`` x bends + ``ink`` x darkness.

    None where both weigh nothing. A stroke's bends are the mean squared second difference of its control points, in
    sides of the canvas.
    """
    terms = []
    if config.smooth:
        points = points_of(rows)
        drawn = points[..., 0, :1] != AWAY  # (R, N, 1)
        bends = (points.diff(n=2, dim=-2) / CANVAS).square().sum(-1) * drawn
        bent = bends.mean(-1).sum(-1) / drawn.sum((1, 2)).clamp(min=1)
        terms.append(config.smooth * bent.to(picture.device))
    if config.ink:
        terms.append(config.ink * (1 - picture).mean((1, 2, 3)))
    return torch.stack(terms).sum(0) if terms else None
