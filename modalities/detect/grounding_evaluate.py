"""Grounding against true boxes: the pointing game and phrase accuracy at IoU .5, beside controls.

The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016): a point for every class
that is in a photo; a hit where it lies in any box of that class. Phrase accuracy (Plummer et al., Flickr30k Entities,
ICCV 2015): the best box of the phrase overlaps any box of that class with an IoU of at least .5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from clipx.errors import InputError
from clipx.metrics import bootstrap_ci95
from clipx.modalities.detect.boxes import Phrase, area, iou
from clipx.modalities.detect.data import BoxedPhoto
from clipx.modalities.detect.grounder import (
    GroundConfig,
    highest_point,
    phrase_maps,
    phrase_vectors,
    region_encoder,
    region_scores,
)
from clipx.pictures import read_rgb
from clipx.space import JointSpace
from clipx.task import OnProgress

GROUND, BOX = "ground", "ground, point in the middle of the box"
CENTRE, RANDOM = "control: the photo's centre", "control: random words"
IOU = 0.5
LARGE = 0.02  # share of the photo that the largest box of a class has at least, in the figures of large things


@dataclass
class GroundRow:
    """One way of grounding: of each class in each photo whether it was found.

    Args:
        pointed: whether the point lies in a box of the class.
        boxed: whether the best box overlaps one by ``IOU``.
    """

    pointed: list[bool] = field(default_factory=list)
    boxed: list[bool] = field(default_factory=list)

    def add(self, point: tuple[float, float], box: np.ndarray, truth: np.ndarray) -> None:
        """Judge a point (x, y) and a box (4,) by (B, 4) true boxes."""
        low, high = truth[:, :2], truth[:, 2:]
        self.pointed.append(bool(((low <= point) & (np.array(point) < high)).all(axis=1).any()))
        self.boxed.append(bool(iou(box[None].astype(np.float32), truth).max() >= IOU))


@dataclass(frozen=True)
class Judged:
    """What ``judge_grounding`` found.

    Args:
        rows: name -> row, all of the same M pairs of a photo and a class in it.
        large: (M,) whether the class has a box of at least ``LARGE`` of the photo.
        unknown: words that the space refuses, whose pairs are left out.
    """

    rows: dict[str, GroundRow]
    large: list[bool]
    unknown: tuple[str, ...]


def judge_grounding(
    space: JointSpace,
    photos: Sequence[BoxedPhoto],
    config: GroundConfig,
    seed: int = 0,
    head: Any = None,
    on_progress: OnProgress | None = None,
) -> Judged:
    """Look in each photo for each class that is in it, by the class's word.

    Besides the words' own row, whose point is the highest of the phrase's map, there are three: the point in the middle
    of the best box; the photo's centre and the whole photo as a box; and every word put in place by one of the set that
    is not in the photo.

    Args:
        space: the frozen joint space.
        photos: with true boxes; ignored ones have no part in it.
        config: its sentence is not used.
        seed: of the random words.
        head: of the regions, see ``RegionEncoder``.

    Raises:
        InputError: no class in any photo. UnsupportedError: the tower has no dense features.
    """
    rng, regions = np.random.default_rng(seed), region_encoder(space, config, head)
    rows = {name: GroundRow() for name in (GROUND, BOX, CENTRE, RANDOM)}
    every = sorted({label for one in photos for label in one.labels})
    unknown = tuple(label for label in every if space.unknown(label))
    known = [label for label in every if label not in unknown]
    vectors = phrase_vectors(space, [Phrase(word, 0, len(word)) for word in known], config.prompts) if known else None
    large: list[bool] = []
    for done, one in enumerate(photos, 1):
        truth = {label: _boxes_of(one, label) for label in known}
        present = [label for label in known if len(truth[label])]
        absent = [label for label in known if label not in one.labels] or known
        others = [absent[int(rng.integers(len(absent)))] for _ in present]
        if present and vectors is not None:
            photo = torch.from_numpy(read_rgb(one.path))
            rest = vectors[[known.index(word) for word in (*present, *others)]]
            boxes, scores = region_scores(space, regions, photo, rest, config)
            maps = phrase_maps(space, photo, rest, config.short_sides_px, config.path)
            height, width = photo.shape[1:]
            whole = np.array([0, 0, width, height], np.float32)
            for k, label in enumerate(present):
                own, other = (boxes[int(scores[:, i].argmax())] for i in (k, k + len(present)))
                rows[GROUND].add(highest_point(maps[k]), own, truth[label])
                rows[BOX].add(_middle(own), own, truth[label])
                rows[CENTRE].add(_middle(whole), whole, truth[label])
                rows[RANDOM].add(highest_point(maps[k + len(present)]), other, truth[label])
                large.append(bool(area(truth[label]).max() >= LARGE * height * width))
        if on_progress:
            on_progress(done, len(photos), "")
    if not large:
        raise InputError("no photo has a box of a class whose word the space knows")
    return Judged(rows, large, unknown)


def grounding_summary(found: Judged, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Row -> its figures in [0, 1], with 95 % bootstrap intervals over the pairs.

    Returns:
        ``pointing`` and ``accuracy`` with their ``_low`` and ``_high``; the same of the pairs of large things,
        ``pointing_large`` and ``accuracy_large``; None where there is no such pair.
    """
    large = np.array(found.large)
    summary: dict[str, dict[str, Any]] = {}
    for name, row in found.rows.items():
        figures: dict[str, Any] = {"pairs": len(large), "pairs_large": int(large.sum())}
        for figure, values in (("pointing", np.array(row.pointed)), ("accuracy", np.array(row.boxed))):
            low, high = bootstrap_ci95(values, seed)
            figures |= {figure: float(values.mean()), f"{figure}_low": low, f"{figure}_high": high}
            figures[f"{figure}_large"] = float(values[large].mean()) if large.any() else None
        summary[name] = figures
    return summary


def _boxes_of(photo: BoxedPhoto, label: str) -> np.ndarray:
    return photo.boxes[(np.array(photo.labels, object) == label) & ~photo.ignored]


def _middle(box: np.ndarray) -> tuple[float, float]:
    return float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
