"""Regions of like colour, and how well boxes keep to them: what every proposal of a photo's own is ranked by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from clipx.modalities.detect.boxes import Proposals, non_maximum_suppression

PIXELS = 240 * 180  # that a photo is reduced to: selective search takes a fifth of a second then
SCALES = (20.0, 60.0, 150.0)  # k of Felzenszwalb and Huttenlocher (2004), for values in [0, 1]
SIGMA = 0.8  # pixels, theirs
MIN_PX = 11  # of a region
MIN_SIDE = 1 / 40  # of the photo's shorter side; a narrower box shows less than a cell of most towers
SAME = 0.9  # IoU above which two proposals are one


def reduced(photo: Tensor, pixels: int = PIXELS) -> np.ndarray:
    """(3, H, W) RGB in [0, 1] -> (h, w, 3) CIE L*a*b* in [0, 1], at most about ``pixels`` pixels large."""
    from skimage.color import rgb2lab
    from torch.nn import functional as F

    height, width = photo.shape[-2:]
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = photo[None].float().cpu()
    if size != (height, width):
        small = F.interpolate(small, size, mode="bilinear", antialias=True, align_corners=False)
    lab = rgb2lab(small[0].clamp(0, 1).permute(1, 2, 0).numpy()).astype(np.float32)
    return (lab + np.array([0, 128, 128], np.float32)) / np.array([100, 255, 255], np.float32)


def segments(lab: np.ndarray, scales: Sequence[float] = SCALES) -> list[np.ndarray]:
    """Graph-based regions at several scales: (h, w, 3) -> maps (h, w) int64, labels from 0, fine to coarse."""
    from skimage.segmentation import felzenszwalb

    found = (felzenszwalb(lab, scale=k, sigma=SIGMA, min_size=MIN_PX, channel_axis=-1) for k in scales)
    return [np.unique(one, return_inverse=True)[1].reshape(lab.shape[:2]).astype(np.int64) for one in found]


def straddling(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """How little the regions stick out of each box: 1 where every region is wholly inside or wholly outside.

    SS(w) = 1 - sum over regions s of min(\\|s and not w\\|, \\|s and w\\|) / \\|w\\| (Alexe, Deselaers and Ferrari,
    "Measuring the Objectness of Image Windows", PAMI 2012, equation 4), at least 0.

    Args:
        boxes: (R, 4) in pixels of the map; they are rounded to whole ones, at least one.
        regions: (h, w) int64, labels from 0.

    Returns:
        (R,) float32 in [0, 1].
    """
    height, width = regions.shape
    low = np.floor(boxes[:, :2] + 0.5).astype(np.int64).clip(0, [width - 1, height - 1])
    high = np.floor(boxes[:, 2:] + 0.5).astype(np.int64).clip(low + 1, [width, height])
    total = np.bincount(regions.ravel())
    found = np.zeros(len(boxes), np.float32)
    for i, (left, top, right, bottom) in enumerate(np.concatenate([low, high], axis=1).tolist()):
        inside = np.bincount(regions[top:bottom, left:right].ravel(), minlength=len(total))
        found[i] = 1 - np.minimum(inside, total - inside).sum() / inside.sum()
    return found.clip(0, 1)


def objectness(boxes: np.ndarray, size: tuple[int, int], maps: Sequence[np.ndarray]) -> np.ndarray:
    """Mean ``straddling`` over the scales but the finest, which keeps to almost any box.

    Args:
        boxes: (R, 4) in pixels of the photo.
        size: (height, width) of the photo.
        maps: as ``segments`` gives them, of the reduced photo.

    Returns:
        (R,) float32 in [0, 1].
    """
    coarse = maps[1:] or maps
    factor = np.array([coarse[0].shape[1] / size[1], coarse[0].shape[0] / size[0]] * 2, np.float32)
    return np.stack([straddling(boxes * factor, one) for one in coarse]).mean(axis=0)


def ranked(boxes: np.ndarray, size: tuple[int, int], maps: Sequence[np.ndarray], limit: int) -> Proposals:
    """Boxes in any order -> the best of them by ``objectness``, without narrow ones and near-duplicates.

    The whole photo is always one of them.
    """
    whole = np.array([[0, 0, size[1], size[0]]], np.float32)
    boxes = np.unique(np.concatenate([boxes, whole]), axis=0).astype(np.float32)
    wide = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= MIN_SIDE * min(size)
    boxes = boxes[wide]
    scores = objectness(boxes, size, maps)
    kept = non_maximum_suppression(boxes, scores, SAME)[:limit]
    return Proposals(boxes[kept], scores[kept])
