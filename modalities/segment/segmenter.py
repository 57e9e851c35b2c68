"""Photos -> segmentations, by words and a frozen space."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx._arrays import is_one_array
from clipx.api import opened_space
from clipx.dense import dense_logits
from clipx.errors import InputError, UnsupportedError
from clipx.index.vocabulary import null_vectors
from clipx.modalities.segment.config import AUTO, NONE, SegmentConfig
from clipx.modalities.segment.denoise import absent_classes, smooth_keys
from clipx.modalities.segment.features import best_path
from clipx.modalities.segment.head import load_head
from clipx.modalities.segment.maps import Segmentation
from clipx.modalities.segment.refine import REFINEMENTS
from clipx.pictures import as_rgb
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

LARGER = 1.25  # the photo's shorter side, in sides of the tower's own picture
LONGEST = 4096  # pixels: a side of what the tower looks at
MOST_LOGITS = 2**28  # of all labels at its size: 1 GiB
NOWHERE = -1e4  # a logit in place of -inf, which cannot be averaged
WHOLE = 8.0  # areas of a transformer's own picture: larger photos are seen through windows
NULL_DEVIATIONS = 2.5  # chosen on every second photo of a set of 68, see docs/modalities/segment.md


class Segmenter:
    """Segments photos by words.

    The background of ``("auto",)`` is a level of its own at each place: mean + 2.5 standard deviations of the cosines
    of 300 everyday nouns with it. A label that does not come above what unrelated words reach there is not shown
    there, however many labels there are.

    Args:
        space: its image tower needs dense features.
        config: with labels.

    Raises:
        InputError: no labels. VocabularyError: words that the space never saw. UnsupportedError: no dense features, or
            no keys to smooth by. FileError, SpaceMismatchError: the head cannot be read, or is of another space.
    """

    def __init__(self, space: JointSpace, config: SegmentConfig):
        if not config.labels:
            raise InputError("no labels", where="segment", remedy="name what to find: --labels cat,grass,sky")
        self.space, self.config = space, config
        self.path = space.backbone.known_path(best_path(space) if config.path == AUTO else config.path)
        if config.smooth_keys and not space.supports("keys"):
            raise UnsupportedError(
                "its image tower has no keys", where=space.name, remedy="leave smooth_keys at 0, or take a ViT space"
            )
        self._features = None if config.head is None else partial(load_head(config.head, space).dense, space)
        groups = [[word.strip() for word in label.split("|")] for label in config.labels]
        others: list[str] = []
        named = [word.strip() for text in config.background for word in text.split("|") if text not in (AUTO, NONE)]
        if named:
            known = {word.casefold() for group in groups for word in group}
            others = [word for word in named if word.casefold() not in known]
            if not others:
                raise InputError("every word of the background is a label", where="background", remedy="name others")
        words = list(dict.fromkeys(word for group in [others, *groups] for word in group))
        classifier = ZeroShotClassifier(space, words, config.prompts or "photo")
        self._groups = [torch.tensor([words.index(word) for word in group]) for group in groups]
        self._others = torch.tensor([words.index(word) for word in others])  # those of the background
        self._weights = torch.from_numpy(classifier.weights.vectors)
        if AUTO in config.background:
            self._weights = torch.cat([self._weights, _null_vectors(space)])
        self._words = len(words)

    def __call__(self, photo: Tensor) -> Segmentation:
        """A photo (3, H, W), float RGB in [0, 1], segmented.

        Raises:
            InputError: see ``JointSpace.dense_image``.
        """
        config = self.config
        seen = self.seen(photo)
        logits = self._logits(seen)
        logits = self._refined(self._cleaned(logits, seen), seen)
        threshold = 0.0 if config.background == (NONE,) else config.threshold
        size = int(photo.shape[-2]), int(photo.shape[-1])
        return Segmentation(config.names, logits.float().cpu(), size, threshold, config.islands)

    @property
    def side(self) -> int:
        """Pixels of the shorter side of what the tower sees."""
        if self.config.side is not None:
            return self.config.side
        return round((LARGER if self.space.backbone.any_size else 1) * min(self.space.image_size))

    def record(self) -> dict[str, Any]:
        """The config as JSON's own types, its defaults that depend on the space filled in."""
        return asdict(self.config) | {"path": None if self.config.head else self.path, "side": self.side}

    def seen(self, photo: Tensor) -> Tensor:
        """The photo as the tower looks at it: (1, 3, h, w), its shorter side ``config.side``, no side above 4096.

        It is smaller where the maps of many labels would be too large for memory.
        """
        pixels = self.space.checked(photo[None])
        height, width = pixels.shape[-2:]
        side = self.side
        most = MOST_LOGITS / (1 + len(self.config.labels))
        scale = min(side / min(height, width), LONGEST / max(height, width), math.sqrt(most / (height * width)))
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        return self.space.preprocess.sample(pixels, shape).clamp(0, 1)

    def _logits(self, seen: Tensor) -> Tensor:
        """(1, 3, h, w) -> (1 + labels, h / 4, w / 4), the background's first."""
        config, own = self.config, self.space.image_size
        window, stride = config.window, config.stride
        if window is None and not self.space.backbone.any_size:
            window = min(own)
        elif (
            window is None
            and not self.space.backbone.averages  # convolutions: memory grows as pixels do
            and seen.shape[-2] * seen.shape[-1] * max(config.scales) ** 2 > WHOLE * own[0] * own[1]
        ):
            window, stride = 2 * min(own), stride or min(own)
        size = max(1, seen.shape[-2] // 4), max(1, seen.shape[-1] // 4)
        with torch.no_grad():
            (logits,) = dense_logits(
                self.space, seen, self._weights, window=window, stride=stride, flip=config.flip, scales=config.scales,
                size=size, path=self.path, features=self._features, combine=self._combined,
            )  # fmt: skip
        if config.background == (NONE,):
            logits = torch.cat([torch.full_like(logits[:1], -torch.inf), logits])
        return logits if config.temperature is None else logits / (config.temperature * self.space.logit_scale)

    def _combined(self, logits: Tensor) -> Tensor:
        """(N, words, h, w) -> (N, labels, h, w), where there is a background (N, 1 + labels, h, w)."""
        found = [logits[:, group].amax(1) for group in self._groups]
        levels = [logits[:, self._others].amax(1)] if len(self._others) else []
        if AUTO in self.config.background:
            null = logits[:, self._words :]
            levels.append(null.mean(1) + NULL_DEVIATIONS * null.std(1, correction=0))
        if levels:
            found.insert(0, torch.stack(levels).amax(0))
        return torch.stack(found, 1)

    def _cleaned(self, logits: Tensor, seen: Tensor) -> Tensor:
        """Without labels that are nowhere probable; what is unsure as places with similar keys have it."""
        if self.config.denoise:
            logits = self._denoised(logits)
        return self._smoothed(logits, seen) if self.config.smooth_keys else logits

    def _denoised(self, logits: Tensor) -> Tensor:
        """``denoise_prompts``, but that the background is never left out, and gets what the absent labels had."""
        absent = absent_classes(logits, self.config.denoise)
        clean = logits.masked_fill(absent, NOWHERE)  # MaskCLIP's -100 is above what present labels may have
        clean[0] = logits[0]
        if self.config.background != (NONE,):
            clean[0] = torch.cat([logits[:1], logits[1:][absent[1:, 0, 0]]]).logsumexp(0)
        return clean

    def _smoothed(self, logits: Tensor, seen: Tensor) -> Tensor:
        with torch.no_grad():
            keys = self.space.keys_image(seen, resize=not self.space.backbone.any_size)
            probabilities = F.interpolate(logits.softmax(0)[None], keys.shape[-2:], mode="bilinear")
            smooth = smooth_keys(probabilities, keys, self.config.smooth_keys)
            smooth = smooth.clamp(min=0)  # cosines of keys may be negative
            smooth = smooth / smooth.sum(1, keepdim=True).clamp(min=1e-12)
            found = F.interpolate(smooth, logits.shape[-2:], mode="bilinear")[0].clamp(min=1e-12).log()
            if self.config.background == (NONE,):
                found[0] = -torch.inf
        return found

    def _refined(self, logits: Tensor, seen: Tensor) -> Tensor:
        """At the resolution of what the tower saw, with borders at its edges.

        Only what wins somewhere is refined, as refinement averages each label by itself.
        """
        if self.config.refine == "none":
            return logits
        fine = F.interpolate(logits.clamp(min=NOWHERE)[None], seen.shape[-2:], mode="bilinear")[0]
        winners = logits.flatten(1).argmax(0).unique()
        with torch.no_grad():
            fine[winners] = REFINEMENTS[self.config.refine](fine[winners], seen[0])
        if torch.isinf(logits[0]).all():
            fine[0] = -torch.inf
        return fine


def segment(
    photo: Any,
    labels: Sequence[str],
    space: str | JointSpace | None = None,
    device: str = "cpu",
    **config: Any,
) -> Any:
    """Segment a photo, or each of several, by words.

    >>> segment("cat.jpg", ["cat", "sofa"]).mask     # doctest: +SKIP
    array([[0, 0, 2, ...

    Args:
        photo: what ``clipx.pictures.as_rgb`` takes: a file, a PIL picture, an (H, W, 3) array or a (3, H, W) tensor;
            or several of them.
        labels: what to find; ``"sofa|couch"`` is one label by two words.
        space: what ``clipx.load_space`` takes, or a ``JointSpace``.
        device: where a space given by name is loaded.
        **config: fields of ``SegmentConfig``, such as ``background=("wall", "floor")``.

    Returns:
        A ``Segmentation``; of several photos a list of them.

    Raises:
        FileError: no readable picture. InputError: what is no picture, no labels, or a setting out of range.
        VocabularyError: an embedded space does not know a word. UnsupportedError: the tower has no dense features.
    """
    settings = SegmentConfig(labels=labels, **config)  # type: ignore[arg-type]  # any list; refuses others
    segmenter = Segmenter(opened_space(space, device, "torch"), settings)
    several = isinstance(photo, Iterable) and not (isinstance(photo, str | PathLike) or is_one_array(photo))
    found = [segmenter(torch.from_numpy(as_rgb(each))) for each in (photo if several else [photo])]
    return found if several else found[0]


def _null_vectors(space: JointSpace) -> Tensor:
    try:
        return torch.from_numpy(null_vectors(space))
    except InputError as error:
        remedy = "name the background: --background wall,floor"
        raise InputError(error.what, where=space.name, remedy=remedy) from error
