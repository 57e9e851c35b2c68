"""A sliding grid: boxes that know nothing of the photo, the control of all other proposals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from clipx.modalities.detect.boxes import Proposals

if TYPE_CHECKING:
    from clipx.space import JointSpace

ASPECTS = (1.0, 0.5, 2.0)  # width / height, as a multiple of the photo's
SHRINK = math.sqrt(0.5)  # from one size to the next: half the area


def grid(photo: Tensor, limit: int, space: JointSpace | None = None) -> Proposals:
    """Windows of three aspects from the whole photo downwards, half overlapping, each of objectness 1.

    Args:
        photo: (3, H, W).
        limit: of boxes; sizes go down as long as all windows of a size fit.
        space: not used.
    """
    height, width = photo.shape[-2:]
    found = np.array([[0, 0, width, height]], np.float32)
    side = SHRINK
    while min(height, width) * side >= 2:
        more = np.array(list(_windows(height, width, side)), np.float32)
        if len(found) + len(more) > limit:
            break
        found, side = np.concatenate([found, more]), side * SHRINK
    found = found[:limit]
    return Proposals(found, np.ones(len(found), np.float32))


def _windows(height: int, width: int, side: float) -> Iterator[tuple[float, float, float, float]]:
    """All windows whose area is ``side`` squared of the photo's; those longer than it are cut to it."""
    for aspect in ASPECTS:
        w, h = min(width, side * width * math.sqrt(aspect)), min(height, side * height / math.sqrt(aspect))
        for top in np.linspace(0, height - h, 1 + math.ceil((height - h) / (h / 2))):
            for left in np.linspace(0, width - w, 1 + math.ceil((width - w) / (w / 2))):
                yield left, top, left + w, top + h
