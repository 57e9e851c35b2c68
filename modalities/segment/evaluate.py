"""Segmentation against the truth: figures of ways to a mask, their intervals, and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.index.kmeans import spherical_kmeans
from clipx.modalities.segment.data import IGNORED, MaskedPhotos
from clipx.modalities.segment.metrics import Confusion
from clipx.modalities.segment.segmenter import Segmenter
from clipx.space import JointSpace
from clipx.task import OnProgress
from clipx.zeroshot import ZeroShotClassifier

RESAMPLES, SHUFFLES = 1000, 1000
CLUSTERS = 8  # of the k-means oracle, in each photo
ONE_LABEL, ALL_BACKGROUND, ORACLE = "control: one label", "control: all background", "control: k-means oracle"
SHUFFLED = "control: shuffled words"

# Names of PASCAL VOC's classes that are no words, and what they mean.
VOC_WORDS = {
    "aeroplane": "airplane|aeroplane",
    "diningtable": "dining table|table",
    "motorbike": "motorcycle|motorbike",
    "pottedplant": "potted plant",
    "tvmonitor": "television|monitor",
}

Way = Callable[[Tensor, np.ndarray], np.ndarray]
"""A photo (3, H, W) and its truth (H, W) -> a mask (H, W); only an oracle looks at the truth."""


class Judged:
    """What one way found, over any number of photos: of each only as many numbers as there are classes.

    Args:
        classes: K, how many there are.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self.total = Confusion(classes)  # of all photos together
        self.photos: list[np.ndarray] = []  # of each (K, 3): pixels of a class that are right, true, predicted

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count a photo, see ``Confusion.add``."""
        one = Confusion(self.classes)
        one.add(predicted, truth)
        self.total.table += one.table
        self.total.boundary += one.boundary
        self.photos.append(np.stack([np.diag(one.table), one.table.sum(1), one.table.sum(0)], axis=1))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95 % bootstrap interval of ``miou`` over the photos."""
        counts, rng = np.stack(self.photos).astype(float), np.random.default_rng(seed)
        size = len(counts)
        found = []
        for _ in range(RESAMPLES):
            drawn = np.bincount(rng.integers(size, size=size), minlength=size).astype(float)
            right, true, predicted = np.tensordot(drawn, counts, 1).T
            union = true + predicted - right
            found.append((right[union > 0] / union[union > 0]).mean() if union.any() else np.nan)
        low, high = np.nanquantile(found, (0.025, 0.975))
        return float(low), float(high)

    def shuffled(self, background: int | None, seed: int = 0) -> np.ndarray:
        """``miou`` of 1,000 random assignments of the words to the classes; the background stays.

        A mask of shuffled words is the same mask, its labels exchanged: the table's columns.
        """
        table, rng = self.total.table, np.random.default_rng(seed)
        places = np.array([i for i in range(self.classes) if i != background])
        found = []
        for _ in range(SHUFFLES):
            other, columns = Confusion(self.classes), np.arange(self.classes)
            columns[places] = rng.permutation(places)
            other.table = table[:, columns]
            found.append(other.miou)
        return np.array(found)


def words_of(classes: Sequence[str], background: int | None) -> list[str]:
    """The classes without the background, as words."""
    return [VOC_WORDS.get(name, name) for i, name in enumerate(classes) if i != background]


def by_words(segmenter: Segmenter, background: int | None) -> Way:
    """The masks of a segmenter whose labels are the classes without the background, in their order."""
    return lambda photo, truth: _as_classes(segmenter(photo).mask, background)


def one_label(space: JointSpace, words: Sequence[str], background: int | None, prompts: str | None = None) -> Way:
    """Control: the whole photo is of the class that its vector names."""
    classifier = ZeroShotClassifier(space, [word.split("|")[0] for word in words], prompts or "photo")

    def way(photo: Tensor, truth: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            vector = space.encode_image(photo[None]).cpu().numpy()
        label = int((vector @ classifier.weights.vectors.T).argmax()) + 1
        return _as_classes(np.full(truth.shape, label, np.uint8), background)

    return way


def all_background(background: int) -> Way:
    """Control: nothing is found."""
    return lambda photo, truth: np.full(truth.shape, background, np.uint8)


def kmeans_oracle(segmenter: Segmenter) -> Way:
    """Control: clusters of a photo's features, each named by the truth: what the features could tell at best."""

    def way(photo: Tensor, truth: np.ndarray) -> np.ndarray:
        space = segmenter.space
        with torch.no_grad():
            one_size = not space.backbone.any_size
            cells = space.dense_image(segmenter.seen(photo), path=segmenter.path, resize=one_size)[0]
        vectors = cells.flatten(1).T.contiguous().cpu().numpy()
        centres = spherical_kmeans(vectors, min(CLUSTERS, len(vectors)))
        likeness = torch.from_numpy(centres @ vectors.T).view(len(centres), *cells.shape[1:])
        clusters = F.interpolate(likeness[None], truth.shape, mode="bilinear")[0].argmax(0).numpy()
        found = np.zeros(truth.shape, np.uint8)
        for cluster in range(len(centres)):
            own = truth[(clusters == cluster) & (truth != IGNORED)]
            found[clusters == cluster] = np.bincount(own).argmax() if len(own) else 0
        return found

    return way


def _as_classes(mask: np.ndarray, background: int | None) -> np.ndarray:
    """0 for none and k for the label k - 1 -> places among the classes."""
    if background is None:
        return np.maximum(mask, 1) - 1
    labels = np.arange(256)
    return np.where(mask == 0, background, np.where(mask <= background, labels[mask] - 1, mask)).astype(np.uint8)


def judge(ways: Mapping[str, Way], data: MaskedPhotos, on_progress: OnProgress | None = None) -> dict[str, Judged]:
    """Name -> what it finds on all photos.

    Raises:
        FileError: a mask of another size than its photo, or with values that are no class.
    """
    count = len(data.classes)
    found = {name: Judged(count) for name in ways}
    for done, one in enumerate(data.photos, 1):
        pixels, truth = one.read(count)
        photo = torch.from_numpy(pixels)
        for name, way in ways.items():
            found[name].add(way(photo, truth), truth)
        if on_progress:
            on_progress(done, len(data.photos), "")
    return found


def summary(found: Judged, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Figures, their interval, and the IoU of each class that occurs in the truth."""
    total = found.total
    per_class = {
        name: float(iou) for name, iou, there in zip(classes, total.per_class, total.in_truth, strict=True) if there
    }
    return {
        "figures": total.figures(),
        "ci95": {"miou": list(found.interval(seed))},
        "per_class": per_class,
    }


def chance(found: Judged, background: int | None, seed: int = 0) -> dict[str, Any]:
    """What shuffled words reach: the mean, the best, and how often they reach what the words do."""
    shuffled = found.shuffled(background, seed)
    return {
        "miou": float(shuffled.mean()),
        "best": float(shuffled.max()),
        "p": float((1 + (shuffled >= found.total.miou).sum()) / (1 + len(shuffled))),
        "shuffles": len(shuffled),
    }
