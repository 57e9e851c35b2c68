"""Depth against the truth: estimators, and baselines that do not look at the photo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from clipx.modalities.depth import metrics
from clipx.modalities.depth.baselines import Baselines
from clipx.modalities.depth.estimator import Estimator
from clipx.modalities.depth.files import Pair, read_depth, read_rgb
from clipx.modalities.depth.fit import Fit
from clipx.modalities.depth.maps import DepthMap
from clipx.task import OnProgress

BLIND = "mean map of log depth"  # what rows are compared with, photo by photo

Way = Callable[[Tensor], DepthMap]
"""A photo (3, H, W) -> its map."""


def read_baselines(train: Sequence[Pair], on_progress: OnProgress | None = None) -> Baselines:
    """What the training fold says without a look at a photo."""

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for done, pair in enumerate(train, 1):
            yield read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)
            if on_progress:
                on_progress(done, len(train), "")

    return Baselines.from_pairs(pairs())


def ways(known: Baselines, estimators: Mapping[str, Estimator], controls: bool) -> dict[str, Way]:
    """Name -> way to a map: the baselines first; with ``controls`` also a ridge on colour and position."""
    blind = dict(known.rows())
    if controls:
        blind["control: ridge on colour and position"] = known.by_color_and_position
    found: dict[str, Way] = {name: partial(_blind, predict) for name, predict in blind.items()}
    return found | {name: partial(_estimated, one) for name, one in estimators.items()}


def _blind(predict: Callable[[Tensor], Tensor], pixels: Tensor) -> DepthMap:
    return DepthMap(predict(pixels))


def _estimated(estimator: Estimator, pixels: Tensor) -> DepthMap:
    """Without the responses, and where the truth is."""
    found = estimator(pixels[None])[0]
    return replace(found, depth=found.depth.cpu(), responses=None, words=())


@dataclass(frozen=True)
class Judged:
    """The errors of one way, photo by photo, and the unit of its maps."""

    unit: str
    figures: list[dict[str, float]]


def judge(
    rows: Mapping[str, Way],
    test: Sequence[Pair],
    protocol: str,
    alignment: str,
    on_progress: OnProgress | None = None,
) -> dict[str, Judged]:
    """Name -> errors on the test photos; see ``metrics.depth_metrics``."""
    figures: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
    units = {}
    for done, pair in enumerate(test, 1):
        pixels = read_rgb(pair.rgb)
        truth = DepthMap(read_depth(pair.depth, pair.encoding), source=pair.name)
        for row, predict in rows.items():
            depth = predict(pixels)
            units[row] = depth.unit
            figures[row].append(metrics.depth_metrics(depth, truth, protocol, alignment))
        if on_progress:
            on_progress(done, len(test), "")
    return {row: Judged(units[row], figures[row]) for row in rows}


def summary(found: Mapping[str, Judged], seed: int) -> dict[str, dict[str, Any]]:
    """Name -> unit, means with intervals, and differences to ``BLIND``, photo by photo."""
    blind = found[BLIND].figures
    return {
        row: {
            "unit": own.unit,
            "figures": metrics.mean_and_interval(own.figures, seed),
            "paired": metrics.paired(own.figures, blind, seed),
        }
        for row, own in found.items()
    }


# -------------------------------------------------------------------------------------------------- names and hashes


def row_names(fits: Mapping[Path, Fit]) -> dict[str, Path]:
    """Row -> file: what kind of fit it is; where several are of a kind the file's stem too, and then a number.

    Nothing of the folder, so that records are the same on every machine.
    """
    names = {
        path: ("words, fitted" if fit.words else "linear head") + " on the mean map" * fit.settings["mean_map"]
        for path, fit in fits.items()
    }
    names = {path: f"{name} ({path.stem})" if count > 1 else name for path, name, count, _ in _counted(names)}
    names = {path: f"{name} {nth}" if count > 1 else name for path, name, count, nth in _counted(names)}
    return {name: path for path, name in names.items()}


def _counted(names: Mapping[Path, str]) -> list[tuple[Path, str, int, int]]:
    """Each file and its name, how many share it, and which of them it is, from 1."""
    same = {name: [path for path in names if names[path] == name] for name in names.values()}
    return [(path, name, len(same[name]), same[name].index(path) + 1) for path, name in names.items()]


def file_rows(**folds: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """(use, name, scene, SHA-256, "") of each photo and each depth picture."""
    for use, pairs in folds.items():
        for pair in pairs:
            for path, name in ((pair.rgb, pair.name), (pair.depth, f"{pair.name} depth")):
                yield use, name, pair.label, hashlib.sha256(path.read_bytes()).hexdigest(), ""


def set_sha256(pairs: Sequence[Pair]) -> str:
    """Of the sorted (name, encoding, photo, depth): the same rows give the same hash anywhere."""
    total = hashlib.sha256()
    for pair in sorted(pairs, key=lambda pair: pair.name):
        contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (pair.rgb, pair.depth)]
        total.update("\0".join((pair.name, pair.encoding, *contents, "")).encode())
    return total.hexdigest()
