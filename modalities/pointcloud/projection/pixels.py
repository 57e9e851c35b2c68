"""Pictures at the size and with the channels that an image tower takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipx._arrays import A, is_tensor
from clipx.preprocess import resample


def to_input(depth: A, size: int | tuple[int, int]) -> A:
    """Depth images at the size and with the three channels that an image tower takes.

    Args:
        depth: (..., R, R) floating.
        size: height and width in pixels, or both at once.

    Returns:
        (..., 3, H, W), three equal channels.
    """
    return in_colour(resized(depth[..., None, :, :], size))  # type: ignore[index]


def in_colour(pictures: Any) -> Any:
    """(..., C, H, W), C = 1 or 3 -> (..., 3, H, W), without a copy."""
    shape = *pictures.shape[:-3], 3, *pictures.shape[-2:]
    return pictures.expand(shape) if is_tensor(pictures) else np.broadcast_to(pictures, shape)


def resized(pictures: A, size: int | tuple[int, int]) -> A:
    """Pictures of any number of channels at another size.

    Enlarged as PointCLIP publishes it (bilinear, corners aligned). Made smaller, every source pixel weighs in
    (antialiased): a bilinear look-up would step over the single pixels that points are.

    Args:
        pictures: (..., C, R, R) floating.
        size: height and width in pixels, or both at once.

    Returns:
        (..., C, H, W).
    """
    given: Any = pictures
    *batch, rows, columns = given.shape
    height, width = (size, size) if isinstance(size, int) else size
    if (height, width) == (rows, columns):
        return given
    larger = height >= rows and width >= columns
    if not is_tensor(given):
        given = enlarged(given, height, width) if larger else resample(given, (height, width), "bilinear")
        return given
    import torch.nn.functional as F

    given = given.reshape(-1, *given.shape[-3:])
    given = F.interpolate(given, (height, width), mode="bilinear", align_corners=larger, antialias=not larger)
    return given.reshape(*batch, height, width)


def enlarged(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """(..., R, R) -> (..., H, W) by what `F.interpolate` does with aligned corners."""
    return _stretched(_stretched(pictures, width, -1), height, -2)


def _stretched(pictures: np.ndarray, length: int, axis: int) -> np.ndarray:
    place = np.linspace(0, pictures.shape[axis] - 1, length)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, pictures.shape[axis] - 1)
    share = (place - before).astype(pictures.dtype)
    share = share[:, None] if axis == -2 else share
    return pictures.take(before, axis) * (1 - share) + pictures.take(after, axis) * share
