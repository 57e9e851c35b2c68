"""The strokes a drawing starts from: short random curves on pixels drawn from a map."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError

SEEDS = (0, 1000, 2000)  # CLIPasso draws each photo with these, and keeps the best
SPREAD = 0.05


def initial_strokes(probabilities: np.ndarray, count: int, seed: int, spread: float = SPREAD) -> Tensor:
    """Cubic strokes whose first points are drawn from a map, as CLIPasso initialises them.

    Args:
        probabilities: (H, W), sum 1; a pixel is drawn once at most.
        count: N, how many strokes.
        seed: of both random streams: numpy's for the pixels, Python's for the other points; 0 to 2**32 - 1.
        spread: of the canvas: the next control point lies within half of this from the last, on each axis.

    Returns:
        (N, 4, 2) float32, x (column) then y (row), in pixels. Points may lie off the canvas.

    Raises:
        InputError: as ``sample_pixels``.
    """
    starts = sample_pixels(probabilities, count, seed).tolist()
    height, width = probabilities.shape
    offsets = random.Random(seed)
    strokes = []
    for row, column in starts:
        x, y = column / width, row / height
        points = [(x, y)]
        for _ in range(3):
            x += spread * (offsets.random() - 0.5)
            y += spread * (offsets.random() - 0.5)
            points.append((x, y))
        strokes.append(points)
    return torch.tensor(strokes, dtype=torch.float32) * torch.tensor([width, height], dtype=torch.float32)


def sample_pixels(probabilities: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Pixels drawn without replacement: (N, 2), row then column, in the order drawn.

    Raises:
        InputError: ``count`` is less than 1 or more than the pixels that can be drawn, the map is no distribution, or
            the seed is out of range.
    """
    if count < 1:
        raise InputError(f"at least one stroke is needed, got {count}")
    if not 0 <= seed < 2**32:
        raise InputError(f"a seed must be 0 to 2**32 - 1, got {seed}")
    if probabilities.ndim != 2 or not (probabilities >= 0).all() or not abs(float(probabilities.sum()) - 1) < 1e-3:
        raise InputError("the map of start points must be (H, W), not negative, with sum 1")
    possible = int(np.count_nonzero(probabilities))
    if count > possible:
        raise InputError(f"the map has {possible:,} pixels to start a stroke from, {count:,} strokes were asked for")
    stream = np.random.RandomState(seed)
    drawn = stream.choice(probabilities.size, count, replace=False, p=probabilities.ravel())
    return np.stack(np.unravel_index(drawn, probabilities.shape), axis=1)
