"""Connected components of clustered dense features: boxes of what the space itself sees as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from clipx._arrays import unit_rows
from clipx.errors import InputError
from clipx.modalities.detect.boxes import Proposals
from clipx.modalities.detect.proposals.segments import ranked, reduced, segments
from clipx.modalities.detect.views import dense_views

if TYPE_CHECKING:
    from clipx.space import JointSpace

CLUSTERS = (2, 3, 4, 6, 8, 12)
FINER = 2  # the map of features is enlarged by this, so that borders fall between cells
SHORT_SIDE_PX = 720
STEPS = 20  # of Lloyd's algorithm


def components(photo: Tensor, limit: int, space: JointSpace | None = None) -> Proposals:
    """Boxes of the connected components of k clusters of the space's dense features, for several k.

    Args:
        photo: (3, H, W) RGB in [0, 1].
        limit: of boxes.
        space: whose image tower has dense features.

    Raises:
        InputError: no space. UnsupportedError: the tower has no dense features.
    """
    import torch
    from skimage.measure import label, regionprops
    from torch.nn import functional as F

    if space is None:
        raise InputError("these proposals need a space", where="components", remedy="give one")
    with torch.no_grad():
        (cells,) = dense_views(space, photo, (SHORT_SIDE_PX,))  # (D, h, w)
        fine = F.interpolate(cells[None].cpu(), scale_factor=FINER, mode="bilinear", align_corners=False)[0]
    rows = unit_rows(fine.flatten(1).T.numpy())
    size, shape = (int(photo.shape[-2]), int(photo.shape[-1])), tuple(fine.shape[1:])
    found = [np.zeros((0, 4))]
    for k in CLUSTERS:
        clusters = k_means(rows, min(k, len(rows))).reshape(shape)
        parts = regionprops(label(clusters, background=-1, connectivity=1))
        found.append(np.array([(left, top, right, bottom) for top, left, bottom, right in (p.bbox for p in parts)]))
    boxes = np.concatenate(found) * np.array([size[1] / shape[1], size[0] / shape[0]] * 2)
    return ranked(boxes.astype(np.float32), size, segments(reduced(photo)), limit)


def k_means(rows: np.ndarray, k: int) -> np.ndarray:
    """Lloyd's algorithm from k rows, each the farthest from those before it: (N, D) -> (N,) cluster of each row.

    Deterministic: the first centre is the row farthest from the mean.
    """
    rows = rows - rows.mean(axis=0)
    squares = (rows**2).sum(axis=1)
    centers = rows[squares.argmax()][None]
    nearest = ((rows - centers) ** 2).sum(axis=1)
    while len(centers) < k:
        centers = np.concatenate([centers, rows[nearest.argmax()][None]])
        nearest = np.minimum(nearest, ((rows - centers[-1]) ** 2).sum(axis=1))
    found = np.zeros(len(rows), np.int64)
    for _ in range(STEPS):
        distances = (centers**2).sum(axis=1) - 2 * rows @ centers.T
        before, found = found, distances.argmin(axis=1)
        if np.array_equal(before, found):
            break
        for i in np.unique(found):
            centers[i] = rows[found == i].mean(axis=0)
    return found
