"""Few-shot classification: a few labelled embeddings of any modality become a classifier.

``CacheModel`` (Tip-Adapter) trains nothing, ``LinearProbe`` is CLIP's own protocol, ``InterViewAdapter`` (PointCLIP
V1) learns to mix the views of one thing, ``ViewSearch`` only weighs them, ``CoOp`` learns what to say around labels.
Each answers as a ``ZeroShotClassifier`` does, by ``labels``, ``logits`` and ``predict``, and is saved as one
.safetensors file. ``fit_shots`` is the protocol of few-shot figures.

Where a sample has V views, each of them can use the view vectors instead of their mean, which discards information:
an embedding then holds N * V rows, sample by sample and the views in one order, for N targets and N answers. Of
(N, V, D) vectors that is ``Embedding(vectors.reshape(-1, space.dim), space.id, "pointcloud")``.

>>> zeroshot = ZeroShotClassifier(space, classes)                                          # doctest: +SKIP
>>> shots = few_shot_draw(targets, 16, seed=0)                                             # doctest: +SKIP
>>> cache = CacheModel.fit(train[shots], targets[shots], zeroshot.weights, space.logit_scale)     # doctest: +SKIP
>>> cache.predict(test, top_k=1)[0][0].label                                               # doctest: +SKIP
'chair'
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from os import PathLike

import numpy as np
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import FileError, InputError
from clipx.fewshot.adapter import AdapterConfig, AdapterNetwork, InterViewAdapter, smoothed_cross_entropy
from clipx.fewshot.base import SUFFIX, FewShotClassifier, Shots
from clipx.fewshot.cache import CacheModel
from clipx.fewshot.coop import CoOp, CoOpConfig
from clipx.fewshot.probe import LinearProbe
from clipx.fewshot.view_search import ViewSearch
from clipx.files import parse_tensors, read_bytes
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

__all__ = [
    "METHODS",
    "AdapterConfig",
    "AdapterNetwork",
    "CacheModel",
    "CoOp",
    "CoOpConfig",
    "FewShotClassifier",
    "InterViewAdapter",
    "LinearProbe",
    "Shots",
    "ViewSearch",
    "few_shot_draw",
    "fit_shots",
    "load_classifier",
    "shots_needed",
    "smoothed_cross_entropy",
]

VALIDATION_SHOTS = 4  # rows of each class, or as many as there are shots: what CLIP's few-shot protocol holds back


def few_shot_draw(labels: Sequence[Hashable], shots: int, seed: int = 0) -> list[int]:
    """Draw ``shots`` rows of every class.

    A class's draw depends on the seed, its name and its own rows only, not on what other classes there are or in what
    order. Draws of one seed are nested: the first 4 of 16 shots are the draw of 4 shots, so that
    ``set(few_shot_draw(labels, 20)) - set(few_shot_draw(labels, 16))`` are 4 rows a class to validate on.

    Args:
        labels: N class names or numbers.
        shots: rows of each class, at least 1.
        seed: at least 0; same seed, same rows.

    Returns:
        shots * K row numbers in rising order.

    Raises:
        InputError: no labels, ``shots`` or ``seed`` out of range, or classes with fewer rows, all in one line.
    """
    if shots < 1 or seed < 0:
        raise InputError(f"shots must be at least 1 and seed at least 0, got {shots} and {seed}")
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels):
        rows.setdefault(str(label), []).append(row)
    if not rows:
        raise InputError("there are no labels to draw from")
    if short := [f"{name} {len(own)}" for name, own in rows.items() if len(own) < shots]:
        raise InputError(f"too few rows for {shots} shots a class: {', '.join(short)}", remedy="draw fewer shots")
    drawn: list[int] = []
    for name, own in rows.items():
        order = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()]).permutation(len(own))
        drawn += [own[i] for i in order[:shots]]
    return sorted(drawn)


def load_classifier(path: str | PathLike) -> FewShotClassifier:
    """Read what ``save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or not such a file.
    """
    data = read_bytes(path, (SUFFIX,), max_bytes=4 * 2**30)
    try:
        tensors, about = parse_tensors(data, "clipx")
        return {cls.kind: cls for cls in _CLASSES}[about["kind"]]._restore(tensors, about)
    except Exception as error:  # whatever safetensors, json or torch trip over in a damaged or foreign file
        raise FileError(
            f"is no few-shot classifier ({error.__class__.__name__}: {error})",
            where=path,
            remedy="fit it again",
        ) from error


def shots_needed(method: str, shots: int) -> int:
    """How many rows of each class ``fit_shots`` takes for so many shots."""
    return shots + (min(VALIDATION_SHOTS, shots) if METHODS[method].validates else 0)


def fit_shots(
    method: str,
    embedding: Embedding,
    labels: Sequence[int],
    zeroshot: ZeroShotClassifier,
    shots: int,
    seed: int = 0,
    views: int = 1,
    split: str = "train",
    space: JointSpace | None = None,
) -> FewShotClassifier:
    """The protocol of few-shot figures: draw shots from a training split and fit one of ``METHODS`` as published.

    Args:
        method: a key of ``METHODS``. Nothing is chosen by hand; a method that validates, as the probe does for its C,
            gets min(4, shots) more rows of each class, drawn with the shots and never trained on.
        embedding: the split, N samples of V rows each.
        labels: N classes, integers into ``zeroshot.labels``.
        zeroshot: the zero-shot classifier, which provides class names and text weights.
        shots: of each class.
        seed: of the draw, and of the adapter's and CoOp's training.
        views: V.
        split: its name, which the classifier remembers.
        space: that of the embedding, whose text tower CoOp learns through; the other methods need none.

    Raises:
        InputError: an unknown method, or classes with too few rows, or CoOp without a space.
    """
    if method not in METHODS:
        raise InputError(f"unknown few-shot method {method!r}", remedy=f"one of {', '.join(METHODS)}")
    names = [zeroshot.labels[k] for k in labels]
    drawn, needed = few_shot_draw(names, shots, seed), shots_needed(method, shots)

    def rows(samples: Sequence[int]) -> tuple[Embedding, list[int]]:
        return embedding[[views * i + v for i in samples for v in range(views)]], [labels[i] for i in samples]

    held = rows(sorted(set(few_shot_draw(names, needed, seed)) - set(drawn))) if needed > shots else None
    return METHODS[method].from_shots(Shots(*rows(drawn), zeroshot, views, shots, seed, split, held, space))


_CLASSES: tuple[type[FewShotClassifier], ...] = (CacheModel, LinearProbe, InterViewAdapter, ViewSearch, CoOp)
METHODS = {cls.method: cls for cls in _CLASSES}
"""Name under ``--method`` -> the classifier."""
