"""Words -> boxes: proposals, scored in the joint space by how much more of a label they show than what is around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.detect.boxes import Detections, Proposals, as_boxes, non_maximum_suppression
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.proposals import method_named, propose
from clipx.modalities.detect.regions import RegionEncoder
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier


def detect(
    photo: str | PathLike | Tensor, labels: Sequence[str], space: JointSpace | str | None = None, **settings: Any
) -> Detections:
    """The boxes of what labels name in one photo.

    >>> found = detect("street.jpg", ["car", "dog"])                            # doctest: +SKIP
    >>> found.names[0], found.boxes[0], found.scores[0]                         # doctest: +SKIP

    Args:
        photo: a picture file, or (3, H, W) RGB in [0, 1].
        labels: K >= 1 different labels.
        space: the joint space or its name; the default space when left out.
        settings: other fields of ``DetectConfig``.

    Raises:
        FileError: no readable picture. InputError: no labels, one twice, or a setting out of range. VocabularyError:
            an embedded space does not know a word. UnsupportedError: the tower has no dense features.
    """
    if not isinstance(space, JointSpace):
        from clipx.spaces.loading import load_space

        space = load_space(space, backend="torch") if space else load_space(backend="torch")
    detector = Detector(space, DetectConfig(labels=labels, **settings))
    return detector(photo if isinstance(photo, Tensor) else torch.from_numpy(read_rgb(photo)))


class Detector:
    """``detect`` for many photos: the labels are embedded once.

    Args:
        space: the frozen joint space.
        config: what is looked for, and how.
        head: of the regions, see ``RegionEncoder``.

    Raises:
        InputError: as ``detect``.
    """

    def __init__(self, space: JointSpace, config: DetectConfig, head: Any = None):
        method_named(config.proposals)
        words = ZeroShotClassifier(space, (*config.labels, *config.background), config.prompts)
        if not config.labels:
            raise InputError("the list of labels is empty", remedy="give at least one label")
        self.space, self.config = space, config
        self.labels = words.labels[: len(config.labels)]
        self.weights = torch.from_numpy(words.weights.vectors).to(space.device)  # (K + background words, D)
        shared: dict[str, Any] = {"path": config.path, "short_sides_px": config.short_sides_px, "ring": config.ring}
        shared |= {"crop_scales": config.crop_scales, "seed": config.seed}
        self.dense = RegionEncoder(space, "dense", head, **shared) if config.regions != "crops" else None
        self.crops = RegionEncoder(space, "crops", **shared) if config.regions != "dense" else None

    def __call__(self, photo: Tensor, proposals: Proposals | None = None) -> Detections:
        """The detections in a photo, best first.

        Args:
            photo: (3, H, W) RGB in [0, 1], any size.
            proposals: boxes to choose from; those of the config's method by default.

        Raises:
            InputError: what is no photo, or boxes without area in it.
        """
        config = self.config
        if proposals is None:
            proposals = propose(photo, config.proposals, config.limit, self.space)
        proposals = proposals.first(config.limit)
        size = int(photo.shape[-2]), int(photo.shape[-1])
        boxes, objectness = as_boxes(proposals.boxes, size), proposals.scores.astype(np.float64) ** config.objectness
        if self.dense is not None:
            shares = self.probabilities(self.dense, photo, boxes)
        if self.crops is not None:
            if self.dense is None:
                boxes, objectness = boxes[: config.crop_limit], objectness[: config.crop_limit]
                shares = self.probabilities(self.crops, photo, boxes)
            else:
                best = np.sort(np.argsort(-(shares.max(axis=1) * objectness), kind="stable")[: config.crop_limit])
                boxes, objectness = boxes[best], objectness[best]
                cropped = self.probabilities(self.crops, photo, boxes)
                shares = shares[best] ** config.dense_weight * cropped ** (1 - config.dense_weight)
        scores = (shares * objectness[:, None]).astype(np.float32)
        return selected(Detections(size, self.labels, boxes, *_flat(scores)), config)

    def probabilities(self, regions: RegionEncoder, photo: Tensor, boxes: np.ndarray) -> np.ndarray:
        """(R, K) float64: the labels' part of a softmax over them, the words of the background, and the background.

        exp(l_k / t) / (exp(m / t) + sum over j of exp(l_j / t)), with logits l of ``RegionEncoder.logits``, temperature
        t and margin m.
        """
        logits = regions.logits(photo, boxes, self.weights).double()
        every = torch.cat([logits, logits.new_full((len(logits), 1), self.config.margin)], dim=1)
        return (every / self.config.temperature).softmax(dim=1)[:, : len(self.labels)].cpu().numpy()


def _flat(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R, K) -> label of each of the R * K pairs, and its score, row after row."""
    return np.tile(np.arange(scores.shape[1], dtype=np.int64), len(scores)), scores.ravel()


def selected(found: Detections, config: DetectConfig) -> Detections:
    """Detections that reach the threshold, without those that overlap a better one of their label; the ``top`` best.

    Args:
        found: of R boxes and K labels: (R, 4) boxes, and R * K labels and scores, row after row.
        config: ``threshold``, ``overlap`` and ``top`` of it.
    """
    boxes = np.repeat(found.boxes, len(found.labels), axis=0)
    rows = np.flatnonzero(found.scores >= config.threshold)
    kept = non_maximum_suppression(boxes[rows], found.scores[rows], config.overlap, found.label_index[rows])
    return replace(found, boxes=boxes).of(rows[kept[: config.top]])
