"""Grounding: the phrases of a sentence in a photo, by the regions of it that a frozen joint space matches to them.

>>> grounder = Grounder(space, GroundConfig("a red cup on a table"))             # doctest: +SKIP
>>> found = grounder(photo)                                                      # doctest: +SKIP
>>> found.phrases[0].text, found.boxes[0], found.scores[0]                       # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.api import opened_space
from clipx.errors import InputError
from clipx.modalities.detect.boxes import Grounding, Phrase, non_maximum_suppression
from clipx.modalities.detect.phrases import CHUNKERS, noun_phrases, spoken_phrase
from clipx.modalities.detect.proposals import method_named, propose
from clipx.modalities.detect.regions import RegionEncoder
from clipx.modalities.detect.views import dense_views
from clipx.pictures import as_rgb
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

OVERLAP = 0.5  # the IoU above which the worse of two boxes of one phrase is left out


@dataclass(frozen=True)
class GroundConfig:
    """How phrases are found.

    Args:
        sentence: whose noun phrases are looked for.
        top: boxes of each phrase, at least 1.
        proposals: a method of ``propose``.
        limit: of proposals in a photo, at least 1.
        regions: how a box is looked at, ``"dense"`` or ``"crops"``; see ``RegionEncoder``.
        path, short_sides_px: of the dense features, as in ``DetectConfig``; those of the map of a phrase, too.
        temperature: of the softmax over regions, above 0; the logits of ``RegionEncoder.logits`` are divided by it.
        objectness: the exponent of the proposal's own score, which the share of a region is multiplied by; at least 0.
        chunker: see ``noun_phrases``.
        prompts: the sentences around a phrase, as ``ZeroShotClassifier`` takes them.

    Raises:
        InputError: numbers out of range, or an unknown chunker.
    """

    sentence: str = ""
    top: int = 1
    proposals: str = "selective"
    limit: int = 500
    regions: Literal["dense", "crops"] = "dense"
    path: str = "value"
    short_sides_px: Sequence[int] = (320, 448, 640, 896)
    temperature: float = 1.0
    objectness: float = 1.0
    chunker: str = "rules"
    prompts: str = "photo"

    def __post_init__(self):
        if isinstance(self.short_sides_px, str) or not self.short_sides_px or min(self.short_sides_px) < 1:
            raise InputError("short_sides_px must be a list of sizes of at least 1 pixel")
        object.__setattr__(self, "short_sides_px", tuple(self.short_sides_px))  # how a frozen dataclass sets its own
        if not isinstance(self.sentence, str):
            raise InputError(f"a sentence must be text, got {type(self.sentence).__name__}")
        if self.top < 1 or self.limit < 1:
            raise InputError(f"top and limit must be at least 1, got {self.top} and {self.limit}")
        if not 0 < self.temperature < math.inf:  # NaN fails too
            raise InputError(f"the temperature must be above 0, got {self.temperature:g}")
        if not 0 <= self.objectness < math.inf:
            raise InputError(f"the exponent of objectness must be at least 0, got {self.objectness:g}")
        if self.regions not in ("dense", "crops"):
            raise InputError(f"regions are dense or crops, got {self.regions!r}")
        if self.chunker not in CHUNKERS:
            raise InputError(f"no chunker named {self.chunker!r}", remedy=f"known: {', '.join(CHUNKERS)}")


class Grounder:
    """Finds the phrases of one sentence in photos.

    Args:
        space: frozen; its image tower needs dense features unless ``config.regions`` is ``"crops"``.
        config: see there.
        head: of the regions, see ``RegionEncoder``.

    Raises:
        InputError: a sentence without a noun, or unknown proposals.
        VocabularyError: a phrase with words that an embedded space does not know.
    """

    def __init__(self, space: JointSpace, config: GroundConfig, head: Any = None):
        method_named(config.proposals)
        self.space, self.config = space, config
        self.phrases = tuple(noun_phrases(config.sentence, config.chunker))
        self.weights = phrase_vectors(space, self.phrases, config.prompts).to(space.device)  # (P, D)
        self.regions = region_encoder(space, config, head)

    def __call__(self, photo: Tensor) -> Grounding:
        """The best boxes of each phrase.

        Args:
            photo: (3, H, W) RGB in [0, 1], any size.

        Returns:
            Up to ``top`` boxes of each phrase that do not overlap much, best first. A score is the box's share in the
            softmax over all regions of the photo: which region fits best, not whether any shows the phrase.

        Raises:
            InputError: what is no photo. UnsupportedError: the tower has no dense features.
        """
        boxes, scores = region_scores(self.space, self.regions, photo, self.weights, self.config)
        size = int(photo.shape[1]), int(photo.shape[2])
        return best_boxes(size, self.config.sentence, self.phrases, boxes, scores, self.config.top)

    def maps(self, photo: Tensor) -> Tensor:
        """(3, H, W) photo -> (P, H, W): how well each place fits each phrase; see ``phrase_maps``."""
        return phrase_maps(self.space, photo, self.weights, self.config.short_sides_px, self.config.path)


def ground(photo: Any, sentence: str, space: JointSpace | str | None = None, **settings: Any) -> Grounding:
    """Where the phrases of a sentence are in one photo.

    >>> found = ground("kitchen.jpg", "a red cup on a table")                    # doctest: +SKIP
    >>> found.phrases[found.phrase_index[0]].text, found.boxes[0]                # doctest: +SKIP

    Args:
        photo: what ``clipx.pictures.as_rgb`` takes: a file, a PIL picture, an (H, W, 3) array or a (3, H, W) tensor.
        sentence: in English; its noun phrases are looked for.
        space: the joint space or its name; the default space when left out.
        settings: other fields of ``GroundConfig``.

    Raises:
        FileError: no readable picture. InputError: no noun in the sentence, or a setting out of range. VocabularyError:
            an embedded space does not know a word. UnsupportedError: the tower has no dense features.
    """
    grounder = Grounder(opened_space(space, backend="torch"), GroundConfig(sentence, **settings))
    return grounder(torch.from_numpy(as_rgb(photo)))


def phrase_vectors(space: JointSpace, phrases: Sequence[Phrase], prompts: str = "photo") -> Tensor:
    """(P, D) unit vectors of phrases, without the determiners that they begin with.

    Raises:
        VocabularyError: a word that an embedded space does not know.
    """
    words = [" ".join(spoken_phrase(phrase.text).lower().split()) for phrase in phrases]
    different = list(dict.fromkeys(words))
    vectors = torch.from_numpy(ZeroShotClassifier(space, different, prompts).weights.vectors)
    return vectors[[different.index(word) for word in words]]


def region_encoder(space: JointSpace, config: GroundConfig, head: Any = None) -> RegionEncoder:
    """What looks at the boxes of a photo as the config says."""
    return RegionEncoder(space, config.regions, head, path=config.path, short_sides_px=config.short_sides_px)


def region_scores(
    space: JointSpace, regions: RegionEncoder, photo: Tensor, vectors: Tensor, config: GroundConfig
) -> tuple[np.ndarray, np.ndarray]:
    """The proposals of a photo and the softmax over them of each phrase: (R, 4) boxes, (R, P) float32 shares.

    Args:
        space, regions: see ``region_encoder``.
        photo: (3, H, W) RGB in [0, 1].
        vectors: (P, D) unit rows of the space.
        config: its sentence is not used.
    """
    photo = space.checked(photo[None])[0].clamp(0, 1)
    proposals = propose(photo, config.proposals, config.limit, space)
    logits = regions.logits(photo, proposals.boxes, vectors).cpu().double().numpy() / config.temperature
    logits += config.objectness * np.log(proposals.scores.astype(np.float64).clip(1e-9))[:, None]
    shares = np.exp(logits - logits.max(axis=0))
    return proposals.boxes, (shares / shares.sum(axis=0)).astype(np.float32)


def best_boxes(
    size: tuple[int, int], sentence: str, phrases: Sequence[Phrase], boxes: np.ndarray, scores: np.ndarray, top: int
) -> Grounding:
    """The ``top`` boxes of each phrase that do not overlap a better one, all of them best first.

    Args:
        size: (height, width) of the photo.
        sentence, phrases: P phrases of a sentence.
        boxes, scores: (R, 4) and (R, P).
        top: boxes of each phrase.
    """
    kept = [non_maximum_suppression(boxes, scores[:, k], OVERLAP)[:top] for k in range(len(phrases))]
    row = np.concatenate(kept)
    index = np.repeat(np.arange(len(phrases), dtype=np.int64), [len(rows) for rows in kept])
    order = np.argsort(-scores[row, index], kind="stable")
    row, index = row[order], index[order]
    return Grounding(size, sentence, tuple(phrases), boxes[row], index, scores[row, index])


def phrase_maps(
    space: JointSpace, photo: Tensor, vectors: Tensor, short_sides_px: Sequence[int], path: str = "value"
) -> Tensor:
    """How well each place of a photo fits each phrase: products with the dense features, see ``dense_views``.

    Args:
        space: its image tower needs dense features.
        photo: (3, H, W) float RGB in [0, 1].
        vectors: (P, D) unit rows of that space.
        short_sides_px, path: as of ``dense_views``.

    Returns:
        (P, H, W) float32, on the CPU.
    """
    with torch.no_grad():
        cells = dense_views(space, photo, short_sides_px, path)
        products = torch.einsum("ndhw,pd->nphw", cells, vectors.to(space.device)).cpu()
    size = int(photo.shape[1]), int(photo.shape[2])
    return F.interpolate(products, size, mode="bilinear", align_corners=False)[0]


def highest_point(scores: Tensor) -> tuple[float, float]:
    """(x, y) of the middle of the pixel with the highest score of a (H, W) map; the first of several."""
    place = int(scores.argmax())
    return place % scores.shape[1] + 0.5, place // scores.shape[1] + 0.5
