"""Boxes and what is found in them. A box is (left, top, right, bottom) in pixels, right and bottom exclusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipx.errors import InputError


@dataclass(frozen=True)
class Proposals:
    """Where something may be, whatever it is.

    Args:
        boxes: (R, 4) float32 in pixels of the photo.
        scores: (R,) float32 objectness in [0, 1], best first.
    """

    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def first(self, limit: int) -> Proposals:
        """The ``limit`` best of them."""
        return Proposals(self.boxes[:limit], self.scores[:limit])


@dataclass(frozen=True)
class Detections:
    """Which label is where in a photo.

    Args:
        size: (height, width) of the photo in pixels.
        labels: K labels.
        boxes: (R, 4) float32 in pixels of the photo.
        label_index: (R,) int64, which of the labels each box shows.
        scores: (R,) float32 in [0, 1], best first.
        presence: (K,) float32 in [0, 1] of each label, see ``Presence``; None where it was not asked for.
    """

    size: tuple[int, int]
    labels: tuple[str, ...]
    boxes: np.ndarray
    label_index: np.ndarray
    scores: np.ndarray
    presence: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The label of each box."""
        return [self.labels[k] for k in self.label_index.tolist()]

    def of(self, rows: np.ndarray) -> Detections:
        """Those of the rows, in their order."""
        return replace(self, boxes=self.boxes[rows], label_index=self.label_index[rows], scores=self.scores[rows])


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence that names a thing.

    Args:
        text: of the phrase.
        start, end: where it stands in the sentence: ``sentence[start:end] == text``.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Grounding:
    """Which phrase of a sentence is where in a photo.

    Args:
        size: (height, width) of the photo in pixels.
        sentence: as it was given.
        phrases: P phrases of it, in the order of the sentence.
        boxes: (R, 4) float32 in pixels of the photo.
        phrase_index: (R,) int64, which of the phrases each box shows.
        scores: (R,) float32, best first.
    """

    size: tuple[int, int]
    sentence: str
    phrases: tuple[Phrase, ...]
    boxes: np.ndarray
    phrase_index: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def as_boxes(boxes: np.ndarray | Sequence[Sequence[float]], size: tuple[int, int] | None = None) -> np.ndarray:
    """(R, 4) float32 boxes of whatever holds such numbers, cut at the photo's border where its size is given.

    Args:
        boxes: R times left, top, right, bottom; R may be 0.
        size: (height, width) of the photo.

    Raises:
        InputError: another shape, values that are not finite, or a box without area, before or after the cut.
    """
    found = np.asarray(boxes, np.float32)
    found = found.reshape(0, 4) if found.size == 0 else found
    if found.ndim != 2 or found.shape[1] != 4:
        raise InputError(f"boxes must be (R, 4): left, top, right, bottom; got {found.shape}")
    if not np.isfinite(found).all():
        raise InputError("a box holds NaN or infinity", where=f"box {int((~np.isfinite(found)).any(1).argmax())}")
    if size is not None:
        found = found.clip(0, np.array([size[1], size[0]] * 2, np.float32))
    empty = area(found) <= 0
    if empty.any():
        cut = "" if size is None else f" within the photo of {size[0]} x {size[1]} pixels"
        raise InputError(f"the box has no area{cut}", where=f"box {int(empty.argmax())}")
    return found


def area(boxes: np.ndarray) -> np.ndarray:
    """(R, 4) boxes -> (R,) square pixels; 0 where right <= left or bottom <= top."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clip(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of one set with every one of another: (A, 4), (B, 4) -> (A, B) in [0, 1].

    0 where both are without area.
    """
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0).astype(np.float32)


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Square pixels that every box of one set shares with every one of another: (A, 4), (B, 4) -> (A, B)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return area(np.concatenate([low, high], axis=-1))


def scaled(boxes: np.ndarray, factor: float, size: tuple[int, int]) -> np.ndarray:
    """Boxes with the same middles and ``factor`` times the sides, cut at the border of a photo of (height, width)."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) * (factor / 2)
    grown = np.concatenate([middle - half, middle + half], axis=1)
    return grown.clip(0, np.array([size[1], size[0]] * 2)).astype(np.float32)


def non_maximum_suppression(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, groups: np.ndarray | None = None
) -> np.ndarray:
    """Rows that remain when each box, best first, removes those that overlap it more than ``threshold``.

    Args:
        boxes, scores: (R, 4), (R,).
        threshold: an IoU in [0, 1].
        groups: (R,) int64; boxes of different groups, such as labels, do not remove each other.

    Returns:
        (M,) int64 rows, best first; of equal scores the earlier row first.

    Raises:
        InputError: a threshold out of range, or counts that differ.
    """
    import torch
    from torchvision.ops import nms

    if not 0 <= threshold <= 1:  # NaN fails too
        raise InputError(f"the overlap must be in [0, 1], got {threshold:g}")
    groups = np.zeros(len(boxes), np.int64) if groups is None else groups
    if not len(boxes) == len(scores) == len(groups):
        raise InputError(f"{len(boxes)} boxes, {len(scores)} scores and {len(groups)} groups: counts differ")
    kept = []
    for group in np.unique(groups):  # each on its own: offsetting the boxes by group would round them
        rows = np.flatnonzero(groups == group)
        order = rows[np.argsort(-scores[rows], kind="stable")]
        ranks = torch.arange(len(order), 0, -1, dtype=torch.float32)  # in place of scores: ties keep their order
        kept.append(order[nms(torch.from_numpy(boxes[order]).float(), ranks, threshold).numpy()])
    rows = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
    return rows[np.argsort(-scores[rows], kind="stable")]
