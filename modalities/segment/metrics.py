"""How well a mask agrees with the truth: IoU, pixel accuracy, boundary F."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipx.errors import InputError
from clipx.metrics import confusion

TOLERANCE = 0.0075  # of a boundary, as a share of the picture's diagonal (Perazzi et al., CVPR 2016)


class Confusion:
    """Counts of pixels by true and predicted class, over any number of photos.

    Args:
        classes: K, how many there are.
        ignored: the value of true pixels that are not judged.
    """

    def __init__(self, classes: int, ignored: int = 255):
        self.ignored = ignored
        self.table = np.zeros((classes, classes), np.int64)  # row: the true class
        self.boundary = np.zeros((classes, 2))  # sum of F over photos, photos

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count a photo: two (H, W) arrays of integers from 0 to K - 1. Raises InputError."""
        if predicted.shape != truth.shape or predicted.ndim != 2:
            raise InputError(f"a mask of {predicted.shape} pixels, the truth has {truth.shape}")
        judged = truth != self.ignored
        self.table += confusion(predicted[judged], truth[judged], len(self.table))
        filled = _filled(truth, judged)
        for label in np.unique(truth[judged]):
            self.boundary[label] += boundary_f(predicted == label, filled == label), 1

    @property
    def per_class(self) -> np.ndarray:
        """(K,) intersection over union; NaN of a class that is neither in the truth nor predicted."""
        right = np.diag(self.table)
        union = self.table.sum(0) + self.table.sum(1) - right
        return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)

    @property
    def in_truth(self) -> np.ndarray:
        """(K,) whether any true pixel is of the class."""
        return self.table.sum(1) > 0

    @property
    def miou(self) -> float:
        """Mean IoU of the classes that are in the truth or predicted, as in mmsegmentation."""
        return float(np.nanmean(self.per_class)) if self.table.any() else float("nan")

    def miou_of(self, classes: Any) -> float:
        """Mean IoU of some classes, those among them that are in the truth."""
        chosen = [i for i in classes if self.in_truth[i]]
        return float(self.per_class[chosen].mean()) if chosen else float("nan")

    def figures(self) -> dict[str, float]:
        """``miou``; ``miou_in_truth``, of the classes that occur in the truth; ``pixel_accuracy``; ``boundary_f``."""
        total, (f, photos) = self.table.sum(), self.boundary.T
        return {
            "miou": self.miou,
            "miou_in_truth": self.miou_of(range(len(self.table))),
            "pixel_accuracy": float(np.trace(self.table) / total) if total else float("nan"),
            "boundary_f": float((f[photos > 0] / photos[photos > 0]).mean()) if photos.any() else float("nan"),
        }


def boundary_f(predicted: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """Harmonic mean of how much of each boundary lies near the other one (Martin et al., TPAMI 2004).

    Args:
        predicted, truth: (H, W) bool.
        tolerance: how near, as a share of the diagonal; at least one pixel.
    """
    from scipy.ndimage import distance_transform_edt

    near = max(1.0, tolerance * float(np.hypot(*truth.shape)))
    edges = _edge(predicted), _edge(truth)
    if not edges[0].any() or not edges[1].any():
        return float(edges[0].any() == edges[1].any())
    share = [float((distance_transform_edt(~other)[own] <= near).mean()) for own, other in (edges, edges[::-1])]
    return 2 * share[0] * share[1] / sum(share) if sum(share) else 0.0


def _edge(mask: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a neighbour that is not of it; the picture's border is no boundary."""
    inner = np.pad(mask, 1, constant_values=True)
    return mask & ~(inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:])


def _filled(truth: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """The truth, pixels that are not judged being of the nearest class: VOC has a band of them along each boundary."""
    from scipy.ndimage import distance_transform_edt

    if judged.all() or not judged.any():
        return truth
    rows, columns = distance_transform_edt(~judged, return_distances=False, return_indices=True)
    return truth[rows, columns]
