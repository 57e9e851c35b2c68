"""The result of a segmentation: logits, from which the mask of any size follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

STRIP_VALUES = 2**24  # logits that are enlarged at a time: 64 MiB
NEGLIGIBLE = 30.0  # a logit that much below another has a probability below 1e-13


@dataclass(frozen=True)
class LabelRegion:
    """What a mask says of one label.

    Args:
        label: its name.
        share: of the photo's pixels, from 0 to 1.
        box: left, top, right, bottom of its pixels, right and bottom exclusive; None where it has none.
        confidence: mean probability over its pixels; 0 where it has none.
    """

    label: str
    share: float
    box: tuple[int, int, int, int] | None
    confidence: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which label each pixel of a photo shows.

    Args:
        labels: the K names.
        logits: (1 + K, h, w) float32 on the CPU, the background's first; -inf there where there is none. They are of
            the photo as the tower saw it, at a lower resolution than the photo.
        size: (H, W) of the photo.
        threshold: a pixel whose best label is less probable than this is background.
        islands: connected pixels of one label that are a smaller share of the photo than this join what is around them.
    """

    labels: tuple[str, ...]
    logits: Tensor
    size: tuple[int, int]
    threshold: float = 0.0
    islands: float = 0.0

    @property
    def mask(self) -> np.ndarray:
        """(H, W) uint8: 0 for the background, k for the label k - 1."""
        return self._resolved[0]

    @property
    def probability(self) -> np.ndarray:
        """(H, W) float16 in [0, 1]: of what the mask says."""
        return self._resolved[1]

    @property
    def has_background(self) -> bool:
        """Whether a pixel may be none of the labels."""
        return self.threshold > 0 or bool(torch.isfinite(self.logits[0]).any())

    @cached_property
    def _resolved(self) -> tuple[np.ndarray, np.ndarray]:
        mask, sure = np.zeros(self.size, np.uint8), np.zeros(self.size, np.float16)
        rivals = self._rivals()
        for rows, logits in self._strips(rivals):
            probabilities = logits.softmax(0)
            best, place = probabilities[1:].max(0)
            found = (best >= self.threshold) & (best > probabilities[0])
            mask[rows] = torch.where(found, rivals[1:][place], 0).numpy()
            other = torch.maximum(probabilities[0], 1 - best)  # background by its own logit, or since no label fits
            sure[rows] = torch.where(found, best, other).numpy()
        return without_islands(mask, sure, self.islands)

    def _rivals(self) -> Tensor:
        """Places in the logits: the background, and the labels that have a share in any probability.

        Of many labels most are nowhere near the best, and a large photo takes as long as it has rivals. What lies
        between two cells is no lower than the lower of them, so that the highest minimum is below the best everywhere.
        """
        flat = self.logits.flatten(1)
        high = flat.amax(1)
        near = high > flat.amin(1).max() - NEGLIGIBLE
        near[0] = near[1 + high[1:].argmax()] = True
        return near.nonzero().flatten()

    def _strips(self, rivals: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the photo, a part at a time, and some of their logits: bilinear between cell centres."""
        (height, width), count = self.size, len(rivals)
        filled = self.logits[rivals].clamp(min=-1e4)  # between -inf and a number lies no number
        step = max(1, STRIP_VALUES // max(1, count * width))
        source = ((torch.arange(height) + 0.5) * filled.shape[1] / height - 0.5).clamp(0, filled.shape[1] - 1)
        for top in range(0, height, step):
            at = source[top : top + step]
            upper = at.floor().long()
            lower = (upper + 1).clamp(max=filled.shape[1] - 1)
            share = (at - upper)[None, :, None]
            part = filled[:, upper] * (1 - share) + filled[:, lower] * share
            yield slice(top, top + step), F.interpolate(part[None], (len(at), width), mode="bilinear")[0]

    def regions(self) -> list[LabelRegion]:
        """What the mask says of each label, in the order of the labels."""
        return list(self._regions)

    @cached_property
    def _regions(self) -> list[LabelRegion]:  # asked for by the table, the overlay and the notes
        counts = np.bincount(self.mask.ravel(), minlength=1 + len(self.labels))
        return [
            self._region(value, label) if counts[value] else LabelRegion(label, 0.0, None, 0.0)
            for value, label in enumerate(self.labels, 1)
        ]

    def _region(self, value: int, label: str) -> LabelRegion:
        own = self.mask == value
        rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        return LabelRegion(label, float(own.mean()), box, float(self.probability[own].astype(float).mean()))


def without_islands(mask: np.ndarray, sure: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A mask and its probabilities, each small component replaced by the nearest pixel of a larger one.

    Args:
        mask, sure: (H, W).
        share: components (4-connected) of fewer pixels than this share of all are small; where all are, they stay.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.measure import label

    least = share * mask.size
    if least <= 1:
        return mask, sure
    parts = label(mask, background=-1, connectivity=1)
    small = np.bincount(parts.ravel())[parts] < least
    if not small.any() or small.all():
        return mask, sure
    rows, columns = distance_transform_edt(small, return_distances=False, return_indices=True)
    return mask[rows, columns], sure[rows, columns]
