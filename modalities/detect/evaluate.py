"""Detections against true boxes: average precision and recall as COCO has them, beside controls."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clipx.errors import MissingDependencyError
from clipx.modalities.detect.boxes import Detections, Proposals, area, iou
from clipx.modalities.detect.config import DetectConfig
from clipx.modalities.detect.data import BoxedPhoto
from clipx.modalities.detect.detector import Detector
from clipx.modalities.detect.proposals import propose
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import OnProgress

GRID, SHUFFLED = "control: sliding grid", "control: shuffled words"
RESAMPLES = 200
MOST = 100  # detections in a photo that COCO counts
RECALLED = (10, 100)  # proposals
UNNAMED = "box"  # the label of a proposal, whatever it is of
LARGE = 0.1  # of a photo's area: a thing that nobody overlooks


@dataclass
class Row:
    """One way of detection and what it found in each photo.

    Args:
        config: its settings; the labels are those of each photo's set.
        found: N detections.
        proposals: N sets of boxes that it chose from.
        seconds: that the N photos took, proposals and scores.
    """

    config: DetectConfig
    found: list[Detections] = field(default_factory=list)
    proposals: list[Proposals] = field(default_factory=list)
    seconds: float = 0.0


def judge(
    space: JointSpace,
    photos: Sequence[BoxedPhoto],
    config: DetectConfig,
    seed: int = 0,
    present: bool = False,
    on_progress: OnProgress | None = None,
) -> dict[str, Row]:
    """Name -> row: the config's own, that of a sliding grid of as many boxes, and that of shuffled words.

    Args:
        space: the frozen joint space.
        photos: N photos with true boxes.
        config: its labels are not used.
        seed: of the shuffled words.
        present: choose from the labels that are in the photo, not from all of the set.
    """
    rows = {"detect": Row(config), GRID: Row(replace(config, proposals="grid")), SHUFFLED: Row(config)}
    detectors: dict[tuple[tuple[str, ...], str], Detector] = {}
    for done, one in enumerate(photos, 1):
        pixels = torch.from_numpy(read_rgb(one.path))
        labels = tuple(dict.fromkeys(one.labels)) if present else one.vocabulary
        for name in ("detect", GRID):
            row, key = rows[name], (labels, name)
            if labels and key not in detectors:
                detectors[key] = Detector(space, replace(row.config, labels=labels))
            _detect(row, detectors[key] if labels else None, pixels, space)
        own = rows["detect"]
        rows[SHUFFLED].found.append(shuffled(own.found[-1], seed))
        rows[SHUFFLED].proposals.append(own.proposals[-1])
        if on_progress:
            on_progress(done, len(photos), "")
    rows[SHUFFLED].seconds = rows["detect"].seconds
    return rows


def _detect(row: Row, detector: Detector | None, pixels: Tensor, space: JointSpace) -> None:
    start = time.perf_counter()
    proposals = propose(pixels, row.config.proposals, row.config.limit, space)
    size = int(pixels.shape[1]), int(pixels.shape[2])
    none = Detections(size, (), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    row.found.append(none if detector is None else detector(pixels, proposals))
    row.proposals.append(proposals)
    row.seconds += time.perf_counter() - start


def shuffled(found: Detections, seed: int) -> Detections:
    """The same boxes and scores, each label given out for another one: what boxes and scores alone are worth."""
    order = np.random.default_rng(seed).permutation(len(found.labels))
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)  # no label keeps its own place, unless it is the only one
    return replace(found, label_index=other[found.label_index].astype(np.int64)) if len(order) else found


# ------------------------------------------------------------------------------------- labels that are not in a photo


def image_rates(
    space: JointSpace,
    photos: Sequence[BoxedPhoto],
    config: DetectConfig,
    absent: int,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """True and false positive rates of whole photos: how often a label that is in one gets a box, and one that is not.

    Args:
        space: the frozen joint space.
        photos: N photos with true boxes. Labels with a box that is to be ignored are not looked for; photos without
            another label are left out.
        config: its labels are not used.
        absent: labels of the set that are not in the photo, drawn for each photo, or all where there are fewer.
        seed: of the draw.

    Returns:
        ``n``, the photos that count; ``present``, ``large`` (a true box covers a tenth of the photo) and ``absent``:
        each the number ``n`` of labels and the share ``found`` that got a box; ``boxes``: how many there are and the
        shares ``right50`` and ``right30`` of them that have an IoU of .5 and .3 with a true box of their label. A share
        of nothing is NaN.
    """
    counted = 0
    table = []  # label after label: is it there, is it large, has it a box
    overlaps: list[float] = []
    for number, one in enumerate(photos):
        vague = {label for label, ignored in zip(one.labels, one.ignored, strict=True) if ignored}
        own = [label for label in dict.fromkeys(one.labels) if label not in vague]
        others = [label for label in one.vocabulary if label not in one.labels]
        rng = np.random.default_rng([seed, number])
        drawn = [others[k] for k in sorted(rng.permutation(len(others))[:absent])]
        if own:
            counted += 1
            pixels = torch.from_numpy(read_rgb(one.path))
            found = Detector(space, replace(config, labels=(*own, *drawn)))(pixels)
            for label in (*own, *drawn):
                true = one.boxes[[name == label for name in one.labels]]
                large = label in own and area(true).max() >= LARGE * pixels.shape[1] * pixels.shape[2]
                boxes = found.boxes[[name == label for name in found.names]]
                table.append((label in own, large, len(boxes) > 0))
                overlaps += iou(boxes, true).max(axis=1).tolist() if len(true) else [0.0] * len(boxes)
        if on_progress:
            on_progress(number + 1, len(photos), "")
    there, large, got = np.array(table, bool).reshape(-1, 3).T
    best = np.array(overlaps)
    share = lambda which: float(which.mean()) if len(which) else float("nan")  # noqa: E731
    rows = {"present": there, "large": large, "absent": ~there}
    figures: dict[str, Any] = {"n": counted}
    figures |= {name: {"n": int(of.sum()), "found": share(got[of])} for name, of in rows.items()}
    return figures | {"boxes": {"n": len(best), "right50": share(best >= 0.5), "right30": share(best >= 0.3)}}


# --------------------------------------------------------------------------------------------------- COCO's figures


def coco_tools() -> tuple[Any, Any]:
    """The modules ``coco`` and ``cocoeval``. Raises MissingDependencyError: pycocotools is not installed."""
    try:
        return import_module("pycocotools.coco"), import_module("pycocotools.cocoeval")
    except ImportError as error:
        remedy = "pip install 'clipx-modalities[detect]'"
        raise MissingDependencyError("average precision needs pycocotools", remedy=remedy) from error


class CocoFigures:
    """Average precision over labels, or recall whatever the label, by pycocotools.

    AP is the mean over IoU .50 to .95 and over the labels that occur; ignored boxes count neither way.

    Args:
        photos: N photos with true boxes.
        found: N times (boxes (R, 4), R labels, scores (R,)); with ``by_label=False`` the labels are not used.
        by_label: whether a box must have the label of what it covers.
        most: boxes of a photo that are counted, best first.

    Raises:
        MissingDependencyError: pycocotools is not installed.
    """

    def __init__(
        self,
        photos: Sequence[BoxedPhoto],
        found: Sequence[tuple[np.ndarray, Sequence[str], np.ndarray]],
        by_label: bool = True,
        most: int = MOST,
    ):
        coco, cocoeval = coco_tools()
        self.names = sorted({name for one in photos for name in (*one.vocabulary, *one.labels)} | {UNNAMED})
        with contextlib.redirect_stdout(io.StringIO()):
            truth, result = coco.COCO(), coco.COCO()
            for own, boxes in ((truth, _true_boxes(photos, self.names)), (result, _found_boxes(found, self.names))):
                images = [{"id": i, "width": 1, "height": 1} for i in range(1, len(photos) + 1)]
                categories = [{"id": k, "name": name} for k, name in enumerate(self.names, 1)]
                own.dataset = {"images": images, "categories": categories, "annotations": boxes}
                own.createIndex()
            self.engine = cocoeval.COCOeval(truth, result, "bbox")
            self.engine.params.useCats = int(by_label)
            self.engine.params.maxDets = [most]
            self.engine.params.areaRng, self.engine.params.areaRngLbl = [[0, 1e10]], ["all"]
            self.engine.evaluate()
            self.engine.accumulate()

    def figures(self) -> dict[str, float]:
        """``ap50``, ``ap`` and ``ar``, each in [0, 1]; NaN where no label occurs."""
        precision, recall = self.engine.eval["precision"], self.engine.eval["recall"]
        every = {"ap50": precision[0], "ap": precision, "ar": recall}
        return {name: float(v[v > -1].mean()) if (v > -1).any() else float("nan") for name, v in every.items()}

    def per_label(self) -> dict[str, dict[str, float]]:
        """Label that occurs -> its ``ap50`` and ``ap``."""
        found = {}
        for k, name in enumerate(self.names):
            own = self.engine.eval["precision"][:, :, k]
            if (own > -1).any():
                found[name] = {"ap50": float(own[0].mean()), "ap": float(own.mean())}
        return found

    def resampled(self, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
        """``ap50`` of photos drawn with replacement: (resamples,). The same seed draws the same photos."""
        engine, rng = self.engine, np.random.default_rng(seed)
        kept, kept_eval = engine.evalImgs, engine.eval
        photos = len(engine.params.imgIds)
        every = np.empty(len(kept), object)
        every[:] = kept
        table = every.reshape(-1, photos)  # label after label
        drawn = []
        with contextlib.redirect_stdout(io.StringIO()):
            for _ in range(resamples):
                engine.evalImgs = list(table[:, rng.integers(0, photos, photos)].ravel())
                engine.accumulate()
                drawn.append(self.figures()["ap50"])
        engine.evalImgs, engine.eval = kept, kept_eval
        return np.array(drawn)


def _true_boxes(photos: Sequence[BoxedPhoto], names: Sequence[str]) -> list[dict[str, Any]]:
    return _numbered(
        _annotation(i, names.index(label), box) | {"iscrowd": int(ignored)}
        for i, one in enumerate(photos, 1)
        for box, label, ignored in zip(one.boxes.tolist(), one.labels, one.ignored.tolist(), strict=True)
    )


def _found_boxes(
    found: Sequence[tuple[np.ndarray, Sequence[str], np.ndarray]], names: Sequence[str]
) -> list[dict[str, Any]]:
    return _numbered(
        _annotation(i, names.index(label), box) | {"score": score}
        for i, (boxes, labels, scores) in enumerate(found, 1)
        for box, label, score in zip(boxes.tolist(), labels, scores.tolist(), strict=True)
    )


def _annotation(image: int, label: int, box: Sequence[float]) -> dict[str, Any]:
    left, top, right, bottom = box
    sides = [left, top, right - left, bottom - top]
    return {"image_id": image, "category_id": label + 1, "bbox": sides, "area": sides[2] * sides[3], "iscrowd": 0}


def _numbered(annotations: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"id": number} for number, one in enumerate(annotations, 1)]


# ----------------------------------------------------------------------------------------------------------- summaries


def summary(photos: Sequence[BoxedPhoto], rows: Mapping[str, Row], seed: int) -> dict[str, dict[str, Any]]:
    """Name -> figures, their intervals over the photos, recall of the proposals, and figures of each label.

    ``difference`` is that of AP50 to the sliding grid on the same photos.
    """
    measured = {
        name: CocoFigures(photos, [(d.boxes, d.names, d.scores) for d in row.found]) for name, row in rows.items()
    }
    drawn = {name: one.resampled(seed) for name, one in measured.items()}
    found = {}
    for name, row in rows.items():
        recalls = {
            f"ar{most}": CocoFigures(
                photos, [(p.boxes, [UNNAMED] * len(p), p.scores) for p in row.proposals], by_label=False, most=most
            ).figures()["ar"]
            for most in RECALLED
        }
        found[name] = {
            **measured[name].figures(),
            "ap50_interval": _ends(drawn[name]),
            "difference": _ends(drawn[name] - drawn[GRID]),
            "proposals": {"method": row.config.proposals, "mean": float(np.mean([len(p) for p in row.proposals]))}
            | recalls,
            "seconds_per_photo": row.seconds / len(photos),
            "per_label": measured[name].per_label(),
        }
    return found


def _ends(values: np.ndarray) -> list[float]:
    """The ends of the 95 % percentile interval."""
    return [float(v) for v in np.nanpercentile(values, [2.5, 97.5])]
