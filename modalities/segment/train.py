"""Training a head on one part of a set's photos and measuring it on the other, beside the untrained path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.segment.data import BACKGROUND, MaskedPhoto, MaskedPhotos
from clipx.modalities.segment.features import Features, Sample, default_side, read_samples
from clipx.modalities.segment.group_fit import GroupConfig, fit_groups
from clipx.modalities.segment.groups import kmeans_means
from clipx.modalities.segment.head import Head
from clipx.modalities.segment.head_fit import HeadConfig, base_and_novel, fit_head, measure
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

FOLDS = 4


@dataclass(frozen=True)
class Plan:
    """What is learned from a set, and what it is measured on.

    Args:
        novel: labels that training does not see; () for none.
        test_share: of the photos, drawn by the seed; no photo is in both parts.
        short_side: pixels that a photo's shorter side is scaled to; by the space when None.
        prompts: what is said of a label.
        seed: of the draw, of weights and of batches.
    """

    novel: tuple[str, ...] = ()
    test_share: float = 1 / 3
    short_side: int | None = None
    prompts: Any = "photo"
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """A set as training reads it: two parts of samples, names, their vectors (K, D), places of base and novel labels.

    The background is no label: where it is, nothing is learned and nothing judged.
    """

    train: list[Sample]
    test: list[Sample]
    classes: tuple[str, ...]
    text: Tensor
    base: list[int]
    novel: list[int]


def labels_of_fold(classes: Sequence[str], fold: int) -> tuple[str, ...]:
    """The labels of one of four equal runs of the classes without the background, as Pascal-5i has them.

    Raises:
        InputError: no such fold, or no label in it.
    """
    names = [name for name in classes if name != BACKGROUND]
    size = -(-len(names) // FOLDS)
    if not 0 <= fold < FOLDS or not names[fold * size : (fold + 1) * size]:
        raise InputError(f"no fold {fold}", where="--fold", remedy=f"0 to {FOLDS - 1}")
    return tuple(names[fold * size : (fold + 1) * size])


def split(photos: MaskedPhotos, share: float, seed: int) -> tuple[list[MaskedPhoto], list[MaskedPhoto]]:
    """Photos to train on, and others to test on, drawn by the seed.

    Raises:
        InputError: a part would be empty.
    """
    count = round(share * len(photos.photos))
    if not 0 < count < len(photos.photos):
        raise InputError(
            f"{len(photos.photos)} photos cannot be split into {share:.0%} to test on and the rest",
            where=photos.name,
            remedy="give more photos, or another --test-share",
        )
    order = torch.randperm(len(photos.photos), generator=torch.Generator().manual_seed(seed)).tolist()
    return [photos.photos[i] for i in sorted(order[count:])], [photos.photos[i] for i in sorted(order[:count])]


def read(space: JointSpace, photos: MaskedPhotos, plan: Plan, on_photo: Callable[[], None] = lambda: None) -> Data:
    """Read both parts and run the frozen tower on every photo.

    Raises:
        InputError: a novel label that the set does not have, or no base label. FileError: a file cannot be read.
    """
    classes = photos.classes
    if missing := [name for name in plan.novel if name not in classes or name == BACKGROUND]:
        raise InputError(f"the set has no label {missing[0]!r}", where="--novel", remedy=", ".join(classes[:20]))
    labels = [i for i, name in enumerate(classes) if name != BACKGROUND]
    novel = [i for i in labels if classes[i] in plan.novel]
    base = [i for i in labels if i not in novel]
    if len(base) < 2:
        raise InputError(f"{len(base)} base labels are left", where="--novel", remedy="hold out fewer")
    text = torch.zeros(len(classes), space.dim)
    names = [classes[i] for i in labels]
    text[labels] = torch.from_numpy(ZeroShotClassifier(space, names, plan.prompts).weights.vectors)
    parts: list[list[Sample]] = []
    for part in split(photos, plan.test_share, plan.seed):
        parts.append([])
        for sample in read_samples(space, part, len(classes), plan.short_side or default_side(space)):
            parts[-1].append(sample)
            on_photo()
    return Data(parts[0], parts[1], classes, text, base, novel)


def train_lseg(
    space: JointSpace, data: Data, config: HeadConfig, out: str | PathLike, resume: bool = False
) -> tuple[Head, list[dict[str, Any]]]:
    """A head and its figures on the photos to test on, beside those of the untrained path; see ``fit_head``."""
    head = fit_head(space, data.train, data.classes, data.text, data.base, config, out, resume)
    ways = {"untrained": lambda features: features.dense, "head": _of(head)}
    return head, _figures(data, ways)


def train_groups(
    space: JointSpace, data: Data, config: GroupConfig, out: str | PathLike, resume: bool = False
) -> tuple[Head, list[dict[str, Any]]]:
    """Grouping blocks and their figures beside those of k-means on the same features; see ``fit_groups``.

    Both name a group by the mean of its places' dense vectors, and make as many groups of a photo.
    """
    head = fit_groups(space, data.train, config, out, resume)
    mean, std = head.network.mean, head.network.std

    def by_kmeans(features: Features) -> Tensor:
        return kmeans_means(features, mean, std, config.groups[1])

    ways = {"untrained": lambda features: features.dense, "k-means": by_kmeans, "groups": _of(head)}
    return head, _figures(replace(data, base=data.base + data.novel, novel=[]), ways)


def _of(head: Head) -> Callable[[Features], Tensor]:
    def dense(features: Features) -> Tensor:
        with torch.no_grad():
            return head.network(features, head.strength)

    return dense


def _figures(data: Data, ways: dict[str, Callable[[Features], Tensor]]) -> list[dict[str, Any]]:
    """Of each way: mean IoU of base labels, novel ones and all; all of them compete at every pixel."""
    found = []
    for name, dense_of in ways.items():
        counted = measure(data.test, dense_of, data.text, sorted(data.base + data.novel))
        figures = base_and_novel(counted, data.base, data.novel) if data.novel else {}
        found.append({"features": name, "miou": counted.miou_of(data.base + data.novel), **figures})
    return found
