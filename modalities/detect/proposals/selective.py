"""Selective search: regions that merge by colour, texture, size and fill, and the box of every region on the way.

Uijlings et al., "Selective Search for Object Recognition", IJCV 2013, section 3: graph-based regions
(Felzenszwalb and Huttenlocher 2004) at several scales, each merged greedily until one region is left.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from clipx.modalities.detect.boxes import Proposals
from clipx.modalities.detect.proposals.segments import ranked, reduced, segments

if TYPE_CHECKING:
    from clipx.space import JointSpace

COLOR_BINS, TEXTURE_BINS, ORIENTATIONS = 25, 10, 8  # section 3.2


def selective(photo: Tensor, limit: int, space: JointSpace | None = None) -> Proposals:
    """The boxes of all regions of all scales, ranked by how well they keep to regions; see ``objectness``.

    Args:
        photo: (3, H, W) RGB in [0, 1].
        limit: of boxes.
        space: not used.
    """
    size = int(photo.shape[-2]), int(photo.shape[-1])
    lab = reduced(photo)
    maps = segments(lab)
    color, texture = quantized_colors(lab), quantized_textures(lab)
    boxes = np.concatenate([merged(one, color, texture) for one in maps])
    boxes = boxes * np.array([size[1] / lab.shape[1], size[0] / lab.shape[0]] * 2, np.float32)
    return ranked(boxes, size, maps, limit)


def quantized_colors(lab: np.ndarray) -> np.ndarray:
    """(H, W, 3) in [0, 1] -> (H, W, 3) int64: the bin of each channel, counted through."""
    bins = (lab * COLOR_BINS).astype(np.int64).clip(0, COLOR_BINS - 1)
    return bins + np.arange(3) * COLOR_BINS


def quantized_textures(lab: np.ndarray) -> np.ndarray:
    """(H, W, 3) in [0, 1] -> (H, W, 24) int64: bins of each channel's slope in 8 directions, counted through."""
    from skimage.filters import gaussian

    padded = np.pad(gaussian(lab, sigma=1, channel_axis=-1), ((1, 1), (1, 1), (0, 0)), mode="edge")
    down, right = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2, (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    angles = np.arange(ORIENTATIONS) * (2 * np.pi / ORIENTATIONS)
    slopes = [(np.cos(a) * right + np.sin(a) * down).clip(min=0) for a in angles]  # opposite directions: both signs
    stacked = np.concatenate(slopes, axis=-1)
    top = np.maximum(stacked.max(axis=(0, 1)), 1e-6)
    bins = (stacked / top * TEXTURE_BINS).astype(np.int64).clip(0, TEXTURE_BINS - 1)
    return bins + np.arange(stacked.shape[-1]) * TEXTURE_BINS


def histograms(regions: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
    """The histogram of each region, whose values sum to 1.

    Args:
        regions: (H, W) int64, 0 to R - 1.
        bins: (H, W, C) int64 in 0 .. count - 1.

    Returns:
        (R, count) float32.
    """
    total = int(regions.max()) + 1
    keys = regions[..., None] * count + bins
    found = np.bincount(keys.ravel(), minlength=total * count).reshape(total, count).astype(np.float32)
    return found / found.sum(axis=1, keepdims=True)


def merged(regions: np.ndarray, color: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Merge the two most similar neighbours until one region is left.

    Args:
        regions: (H, W) int, labels 0 to R - 1.
        color, texture: as ``quantized_colors`` and ``quantized_textures`` give.

    Returns:
        (2 R - 1, 4) float32 boxes of all regions: those at the start, then each as it is made; the last is the whole.
    """
    regions = np.asarray(regions, np.int64)
    first, pixels = int(regions.max()) + 1, regions.size
    table = _Table(regions, color, texture)
    neighbors = _neighbors(regions)
    pairs = np.array([(i, j) for i in range(first) for j in neighbors[i] if i < j], np.int64).reshape(-1, 2)
    likeness = table.similarity(pairs[:, 0], pairs[:, 1], pixels)
    heap = [(-s, i, j) for s, (i, j) in zip(likeness.tolist(), pairs.tolist(), strict=True)]
    heapq.heapify(heap)
    alive = np.zeros(2 * first - 1, bool)
    alive[:first] = True
    new = first
    while heap:
        _, i, j = heapq.heappop(heap)
        if not (alive[i] and alive[j]):
            continue
        alive[[i, j]] = False
        alive[new] = True
        table.merge(i, j, new)
        around = (neighbors.pop(i) | neighbors.pop(j)) - {i, j}
        neighbors[new] = around
        others = sorted(around)
        for other in others:
            neighbors[other] -= {i, j}
            neighbors[other].add(new)
        if others:
            beside = np.array(others)
            likeness = table.similarity(np.full(len(beside), new), beside, pixels)
            for s, other in zip(likeness.tolist(), others, strict=True):
                heapq.heappush(heap, (-s, other, new))
        new += 1
    return table.boxes[:new].astype(np.float32)


class _Table:
    """Size, box and histograms of up to 2 R - 1 regions."""

    def __init__(self, regions: np.ndarray, color: np.ndarray, texture: np.ndarray):
        first = int(regions.max()) + 1
        counts = 3 * COLOR_BINS, texture.shape[-1] * TEXTURE_BINS
        self.size = np.zeros(2 * first - 1, np.float64)
        self.size[:first] = np.bincount(regions.ravel(), minlength=first)
        self.boxes = np.zeros((2 * first - 1, 4), np.float64)
        self.boxes[:first] = region_boxes(regions)
        # both histograms side by side: their intersections are summed, so one sum does
        self.histogram = np.zeros((2 * first - 1, sum(counts)), np.float32)
        self.histogram[:first, : counts[0]] = histograms(regions, color, counts[0])
        self.histogram[:first, counts[0] :] = histograms(regions, texture, counts[1])

    def similarity(self, i: np.ndarray, j: np.ndarray, pixels: int) -> np.ndarray:
        """Equation 6 with all four parts: colour + texture + size + fill, each in [0, 1]."""
        shared = np.minimum(self.histogram[i], self.histogram[j]).sum(axis=1)
        size = self.size[i] + self.size[j]
        low = np.minimum(self.boxes[i, :2], self.boxes[j, :2])
        high = np.maximum(self.boxes[i, 2:], self.boxes[j, 2:])
        around = (high - low).prod(axis=1)
        return shared + (1 - size / pixels) + (1 - (around - size) / pixels)

    def merge(self, i: int, j: int, new: int) -> None:
        """Make region ``new`` of two others."""
        a, b = self.size[i], self.size[j]
        self.size[new] = a + b
        self.histogram[new] = (a * self.histogram[i] + b * self.histogram[j]) / (a + b)
        self.boxes[new, :2] = np.minimum(self.boxes[i, :2], self.boxes[j, :2])
        self.boxes[new, 2:] = np.maximum(self.boxes[i, 2:], self.boxes[j, 2:])


def region_boxes(regions: np.ndarray) -> np.ndarray:
    """(H, W) int64, labels 0 to R - 1, each of which occurs -> (R, 4) boxes."""
    count = int(regions.max()) + 1
    y, x = np.indices(regions.shape)
    flat = regions.ravel()
    found = np.zeros((count, 4))
    found[:, :2] = max(regions.shape)
    for column, values in ((0, x), (1, y)):
        np.minimum.at(found[:, column], flat, values.ravel())
        np.maximum.at(found[:, column + 2], flat, values.ravel() + 1)
    return found


def _neighbors(regions: np.ndarray) -> dict[int, set[int]]:
    """Region -> regions that touch it, by an edge of a pixel."""
    found: dict[int, set[int]] = {i: set() for i in range(int(regions.max()) + 1)}
    beside: list[Any] = [(regions[:, :-1], regions[:, 1:]), (regions[:-1], regions[1:])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in beside])
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    for i, j in pairs.tolist():
        found[i].add(j)
        found[j].add(i)
    return found
