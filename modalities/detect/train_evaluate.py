"""A head of regions against true boxes: AP50 of base and of novel labels, beside dense scores without training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from clipx.modalities.detect.boxes import Detections
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.data import BoxedPhoto
from clipx.modalities.detect.detector import Detector
from clipx.modalities.detect.evaluate import CocoFigures
from clipx.modalities.detect.head import RegionHead
from clipx.modalities.detect.proposals import propose
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import OnProgress

DENSE, HEAD = "dense scores, untrained", "head"


def judge_head(
    space: JointSpace,
    photos: Sequence[BoxedPhoto],
    novel: Sequence[str],
    head: RegionHead,
    proposals: str = "selective",
    on_progress: OnProgress | None = None,
) -> dict[str, dict[str, float]]:
    """Row -> ``base_ap50``, ``novel_ap50`` and ``ap50`` of all labels in [0, 1]; NaN where no such label occurs.

    Both rows choose from the same boxes, and from all labels of the photos.

    Args:
        space: the frozen joint space.
        photos: with true boxes, none that the head was trained on.
        novel: the labels that training did not use.
        head: the trained head.
        proposals: a method of ``propose``.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """
    labels = tuple(sorted({label for one in photos for label in one.labels}))
    config = DetectConfig(labels=labels, proposals=proposals)
    detectors = {DENSE: Detector(space, config), HEAD: Detector(space, config, head)} if labels else {}
    found: dict[str, list[Detections]] = {name: [] for name in detectors}
    for done, one in enumerate(photos, 1):
        photo = torch.from_numpy(read_rgb(one.path))
        boxes = propose(photo, config.proposals, config.limit, space)
        for name, detector in detectors.items():
            found[name].append(detector(photo, boxes))
        if on_progress:
            on_progress(done, len(photos), "")
    return {name: _figures(photos, own, novel) for name, own in found.items()}


def _figures(photos: Sequence[BoxedPhoto], found: Sequence[Detections], novel: Sequence[str]) -> dict[str, float]:
    engine = CocoFigures(photos, [(one.boxes, one.names, one.scores) for one in found])
    per_label = {name: figures["ap50"] for name, figures in engine.per_label().items()}
    parts = {
        "base_ap50": [value for name, value in per_label.items() if name not in novel],
        "novel_ap50": [value for name, value in per_label.items() if name in novel],
        "ap50": list(per_label.values()),
    }
    return {name: float(np.mean(values)) if values else float("nan") for name, values in parts.items()}
