"""Pictures at the size and with the channels that an image tower takes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def to_input(depth: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Depth images at the size and with the three channels that an image tower takes.

    Args:
        depth: (..., R, R) floating.
        size: height and width in pixels, or both at once.

    Returns:
        (..., 3, H, W), three equal channels.
    """
    return resized(depth[..., None, :, :], size).expand(*depth.shape[:-2], 3, -1, -1)


def resized(pictures: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Pictures of any number of channels at another size.

    Enlarged as PointCLIP publishes it (bilinear, corners aligned). Made smaller, every source pixel weighs in
    (antialiased): a bilinear look-up would step over the single pixels that points are.

    Args:
        pictures: (..., C, R, R) floating.
        size: height and width in pixels, or both at once.

    Returns:
        (..., C, H, W).
    """
    height, width = (size, size) if isinstance(size, int) else size
    if (height, width) == tuple(pictures.shape[-2:]):
        return pictures
    flat = pictures.reshape(-1, *pictures.shape[-3:])
    if height >= flat.shape[-2] and width >= flat.shape[-1]:
        flat = F.interpolate(flat, (height, width), mode="bilinear", align_corners=True)
    else:
        flat = F.interpolate(flat, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return flat.reshape(*pictures.shape[:-2], height, width)
