"""Words -> boxes: proposals, scored in the joint space by how much more of a label they show than what is around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.api import opened_space
from clipx.errors import InputError
from clipx.modalities.detect.boxes import Detections, Proposals, as_boxes, non_maximum_suppression
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.presence import Presence
from clipx.modalities.detect.proposals import method_named, propose
from clipx.modalities.detect.regions import RegionEncoder
from clipx.pictures import as_rgb
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

HALF = 3.0  # a box with this many times the share of one that shows nothing has a score of .5


def detect(photo: Any, labels: Sequence[str], space: JointSpace | str | None = None, **settings: Any) -> Detections:
    """The boxes of what labels name in one photo.

    >>> found = detect("street.jpg", ["car", "dog"])                            # doctest: +SKIP
    >>> found.names[0], found.boxes[0], found.scores[0]                         # doctest: +SKIP

    Args:
        photo: what ``clipx.pictures.as_rgb`` takes: a file, a PIL picture, an (H, W, 3) array or a (3, H, W) tensor.
        labels: K >= 1 different labels.
        space: the joint space or its name; the default space when left out.
        settings: other fields of ``DetectConfig``.

    Raises:
        FileError: no readable picture. InputError: no labels, one twice, or a setting out of range. VocabularyError:
            an embedded space does not know a word. UnsupportedError: the tower has no dense features.
    """
    detector = Detector(opened_space(space, backend="torch"), DetectConfig(labels=labels, **settings))
    return detector(torch.from_numpy(as_rgb(photo)))


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
        crops = RegionEncoder(space, "crops", **shared)
        self.regions = crops if config.regions == "crops" else RegionEncoder(space, "dense", head, **shared)
        self.crops = crops if config.regions == "both" else None  # of the best boxes, looked at once more
        self.presence = Presence(space, self.labels) if config.presence > 0 else None

    def __call__(self, photo: Tensor, proposals: Proposals | None = None) -> Detections:
        """The detections in a photo, best first.

        Args:
            photo: (3, H, W) RGB in [0, 1], any size.
            proposals: boxes to choose from; those of the config's method by default.

        Raises:
            InputError: what is no photo, or boxes without area in it.
        """
        return selected(self.scored(photo, proposals), self.config)

    def scored(self, photo: Tensor, proposals: Proposals | None = None) -> Detections:
        """Every label in every box that was looked at, box after box: what ``selected`` chooses from.

        Args:
            photo, proposals: as in the call.
        """
        config = self.config
        if proposals is None:
            proposals = propose(photo, config.proposals, config.limit, self.space)
        proposals = proposals.first(config.limit)
        size = int(photo.shape[-2]), int(photo.shape[-1])
        boxes, objectness = as_boxes(proposals.boxes, size), proposals.scores.astype(np.float64) ** config.objectness
        if config.regions == "crops":
            boxes, objectness = boxes[: config.crop_limit], objectness[: config.crop_limit]
        words, own = len(self.weights), len(self.labels)
        more = self.weights[:0] if self.presence is None else self.presence.every
        # in float64, which MPS has not
        logits = self.regions.logits(photo, boxes, torch.cat([self.weights, more])).cpu().double()
        there = None if self.presence is None else self.presence(photo, logits[:, words:].numpy(), objectness)
        shares = self.probabilities(logits[:, :words])
        if self.crops is not None:
            best = np.sort(np.argsort(-(shares.max(axis=1) * objectness), kind="stable")[: config.crop_limit])
            boxes, objectness = boxes[best], objectness[best]
            cropped = self.probabilities(self.crops.logits(photo, boxes, self.weights).cpu().double())
            shares = shares[best] ** config.dense_weight * cropped ** (1 - config.dense_weight)
        every = scores(shares * objectness[:, None], words, config)
        labels = np.tile(np.arange(own, dtype=np.int64), len(boxes))
        return Detections(size, self.labels, np.repeat(boxes, own, axis=0), labels, every.ravel(), there)

    def probabilities(self, logits: Tensor) -> np.ndarray:
        """(R, K) float64: the labels' part of a softmax over them, the words of the background, and the background.

        exp(l_k / t) / (exp(m / t) + sum over j of exp(l_j / t)), with temperature t and margin m.

        Args:
            logits: l of ``RegionEncoder.logits``, of labels and words of the background: (R, K + W) float64.
        """
        every = torch.cat([logits, logits.new_full((len(logits), 1), self.config.margin)], dim=1)
        return (every / self.config.temperature).softmax(dim=1)[:, : len(self.labels)].numpy()


def scores(shares: np.ndarray, words: int, config: DetectConfig) -> np.ndarray:
    """r / (r + ``HALF``), with r = share / share of a box that shows no more than what is around it: float32 in [0, 1].

    Such a box has logits of 0, so its share is 1 / (words + exp(m / t)): the more words, the lower. A score says the
    same whatever their number.

    Args:
        shares: of the softmax, times objectness; of any shape.
        words: labels and words of the background.
        config: ``margin`` m and ``temperature`` t of it.
    """
    nothing = np.logaddexp(np.log(words), config.margin / config.temperature)  # minus the logarithm of its share
    with np.errstate(divide="ignore", over="ignore"):  # a share may be 0
        return (1 / (1 + HALF * np.exp(-np.log(shares) - nothing))).astype(np.float32)


def selected(found: Detections, config: DetectConfig) -> Detections:
    """Detections that reach the threshold, without those that overlap a better one of their label; the ``top`` best.

    Args:
        found: R boxes with labels and scores, in any order.
        config: ``threshold``, ``relative``, ``presence``, ``overlap`` and ``top`` of it.
    """
    best = np.zeros(len(found.labels), np.float32)
    np.maximum.at(best, found.label_index, found.scores)
    clear = found.scores >= np.maximum(config.threshold, config.relative * best[found.label_index])
    if found.presence is not None:
        clear &= found.presence[found.label_index] >= config.presence
    rows = np.flatnonzero(clear)
    kept = non_maximum_suppression(found.boxes[rows], found.scores[rows], config.overlap, found.label_index[rows])
    return found.of(rows[kept[: config.top]])
