"""A photo as the dense view of a tower gets it: at several sizes, within a bound of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.space import JointSpace

MAX_CELLS = 4096  # that a tower encodes at once: a panorama is scaled down to them


def dense_views(space: JointSpace, photo: Tensor, short_sides_px: Sequence[int], path: str = "value") -> Tensor:
    """The mean of the dense features of a photo at several sizes: (1, D, h, w) float32 of the largest one.

    Cells are scaled by photo (``unit="picture"`` of ``JointSpace.dense_image``), so that where a picture's vector is
    the mean of its cells those of plain background stay short. Towers that take one size only see the photo once.

    Args:
        space: its image tower needs dense features.
        photo: (3, H, W) RGB in [0, 1].
        short_sides_px: to what the photo's shorter side is scaled, up or down.
        path: as in ``JointSpace.dense_image``.

    Raises:
        InputError: what is no photo. UnsupportedError: the tower has no dense features.
    """
    if not isinstance(photo, Tensor) or photo.ndim != 3:
        raise InputError("a photo must be a (3, H, W) tensor")
    pixels = space.checked(photo[None]).clamp(0, 1)
    if not space.backbone.any_size:
        return space.dense_image(pixels, path=path, resize=True, unit="picture")
    height, width = pixels.shape[-2:]
    most = math.sqrt(MAX_CELLS * math.prod(space.backbone.stride) / (height * width))
    views = []
    for side in sorted(short_sides_px):
        scale = min(side / min(height, width), most)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        views.append(space.dense_image(space.preprocess.sample(pixels, size).clamp(0, 1), path=path, unit="picture"))
    finest = tuple(views[-1].shape[-2:])
    return torch.stack([F.interpolate(one, finest, mode="bilinear", align_corners=False) for one in views]).mean(0)
