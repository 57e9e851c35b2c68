"""Strokes as a generator of ``clipx.optimise``: a latent of coloured curves -> a picture (CLIPDraw's setting)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.sketch.initial import initial_strokes
from clipx.modalities.sketch.raster import rasterize

PIXELS = 10.0  # of a canvas of 224 a unit of the latent moves a control point
CANVAS = 224
COLORS = 3


class StrokeGenerator:
    """Cubic strokes on white, each with a colour of its own.

    A latent is (N, 11): eight coordinates of four control points, in units of 10 pixels of a 224-pixel canvas, and the
    logits of red, green and blue.

    >>> found = clipx.optimise(StrokeGenerator(16), "a red apple", l2=0)            # doctest: +SKIP

    Args:
        strokes: N, at least 1.
        size: side of the picture in pixels.
        width_px: of a stroke.
        seed: of the first strokes.

    Raises:
        InputError: a count, size or width that is not positive, or a seed out of range.
    """

    def __init__(self, strokes: int = 16, size: int = CANVAS, width_px: float = 4.0, seed: int = 0):
        if size < 1 or not width_px > 0:
            raise InputError(f"size and width must be positive, got {size} and {width_px}", where="StrokeGenerator")
        self.size, self.width_px = size, width_px
        even = np.full((CANVAS, CANVAS), 1 / CANVAS**2)
        points = initial_strokes(even, strokes, seed, spread=0.2)
        colors = torch.randn(strokes, COLORS, generator=torch.Generator().manual_seed(seed))
        self._start = torch.cat([points.flatten(1) / PIXELS, colors], 1)

    def latent(self) -> Tensor:
        """(N, 11): short random strokes anywhere, of random colours."""
        return self._start.clone()

    def render(self, latent: Tensor) -> Tensor:
        """(N, 11) -> (1, 3, size, size) in [0, 1]."""
        points = latent[:, :-COLORS].unflatten(1, (4, 2)) * (PIXELS * self.size / CANVAS)
        return rasterize(points, self.size, self.width_px, color=torch.sigmoid(latent[:, -COLORS:]))[None]
