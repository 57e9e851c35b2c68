"""Clips to learn from: their frame vectors, computed once and cached, and what is said of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipx.cache import CachedVectors
from clipx.datasets import LabelledData
from clipx.errors import InputError
from clipx.modalities.video.films import Clip, Film
from clipx.modalities.video.modality import Video
from clipx.parts import Parts, Time
from clipx.pipeline import Encoded, encode
from clipx.prompts import sentences
from clipx.space import JointSpace
from clipx.zeroshot import known_templates

PROMPTS = "action"


class _Frames(Video):
    """Films whose parts are their frames."""

    def parts(self, samples: Sequence[Clip | Film]) -> Parts:
        return self.frame_parts(samples)


def frame_vectors(
    video: Video, data: LabelledData, cache: Path | None = None, on_clip: Callable[[int], None] = lambda count: None
) -> list[np.ndarray]:
    """The unit vectors of each clip's frames: N arrays (T_i, D), in the order of their times.

    Args:
        video: which frames are looked at, and in which space.
        data: N clips.
        cache: folder in which they are kept, and from which they are taken when they are there.
        on_clip: called with the number of clips that were done.

    Raises:
        FileError, InputError: a clip cannot be read.
    """
    reader = _Frames(video.space, video.config)
    store = None if cache is None else CachedVectors(cache, video.space.dim, separate=True)
    found = []
    for batch in encode(data.items, reader, separate=(Time,), cache=store, batch=8):
        found += [one.vectors.rows for one in batch if isinstance(one, Encoded)]
        on_clip(len(batch))
    return found


@dataclass(frozen=True)
class Texts:
    """What is said of N clips.

    Args:
        names: C labels or sentences.
        vectors: (V, C, D) unit vectors: V ways to say each of them.
        owner: (N,) int, which of them each clip has.
        labels: whether they are labels; else captions.
    """

    names: list[str]
    vectors: Tensor
    owner: Tensor
    labels: bool

    @property
    def mean(self) -> Tensor:
        """(C, D) unit vectors, the mean of the V ways."""
        return torch.nn.functional.normalize(self.vectors.mean(0), dim=1)


def label_texts(space: JointSpace, data: LabelledData, prompts: str = PROMPTS) -> Texts:
    """Labels as texts, in every template of a set.

    Raises:
        InputError: fewer than two labels. VocabularyError: words that the space does not know.
    """
    names = sorted(set(data.classes))
    if len(names) < 2:
        raise InputError(f"{len(names)} labels, a head needs two", where=data.name)
    known, _ = known_templates(space, prompts, names[0])
    said = sentences(names, known)
    space.require_words([name for own in said for name in own])
    vectors = space.encode_text([one for own in said for one in own]).reshape(len(names), -1, space.dim)
    owner = torch.tensor([names.index(label) for label in data.labels])
    return Texts(names, torch.from_numpy(vectors.transpose(1, 0, 2).copy()), owner, labels=True)


def caption_texts(space: JointSpace, data: LabelledData) -> Texts:
    """Captions as texts, each as it stands.

    Raises:
        InputError: fewer than two captions. VocabularyError: words that the space does not know.
    """
    names = list(dict.fromkeys(data.labels))
    if len(names) < 2:
        raise InputError(f"{len(names)} captions, a head needs two", where=data.name)
    space.require_words(names)
    places = {name: i for i, name in enumerate(names)}
    owner = torch.tensor([places[caption] for caption in data.labels])
    return Texts(names, torch.from_numpy(space.encode_text(names))[None], owner, labels=False)


def alike(frames: Sequence[np.ndarray]) -> list[bytes]:
    """For each clip what is equal for clips whose frames are, as those of one clip in several rows or files are."""
    return [hashlib.sha256(np.ascontiguousarray(own).tobytes()).digest() for own in frames]


def digest(frames: Sequence[np.ndarray], texts: Texts) -> str:
    """A hash of what a run learns from, so that another run's checkpoint is refused."""
    found = hashlib.sha256(texts.vectors.numpy().tobytes() + texts.owner.numpy().tobytes())
    for own in frames:
        found.update(np.ascontiguousarray(own).tobytes())
        found.update(len(own).to_bytes(8, "little"))
    return found.hexdigest()
