"""Depth from one photo: how much of each depth word a place shows, and the distance that each word stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.dense import dense_logits
from clipx.errors import InputError
from clipx.modalities.depth import depthclip
from clipx.modalities.depth.fit import load_fit, shipped_fits
from clipx.modalities.depth.inputs import SHORT_SIDE_PX, require_words, viewed
from clipx.modalities.depth.maps import DepthMap, require_unit
from clipx.space import JointSpace
from clipx.zeroshot import ZeroShotClassifier

# Chosen by hand, fitted on nothing: plain words from near to far, and log-uniform steps over a room.
WORDS = ("extremely close", "very close", "close", "a little far", "far", "very far away")
BINS = (1.0, 1.5, 2.2, 3.2, 4.7, 7.0)
PROMPTS = "this object is {}"


@dataclass(frozen=True)
class EstimateConfig:
    """The words of near and far, and how a photo is encoded.

    Args:
        preset: ``"default"``, or ``"depthclip"``: the released pipeline, with its own words, bins and all else, which
            take the place of the defaults below.
        words: K >= 2 words, in the order of the bins.
        bins: the K distances that they stand for, increasing; in metres above 0.
        unit: what the bins are in, see ``maps.UNITS``.
        prompts: the template of a word's prompt, or the name of a set; see ``clipx.prompts``.
        temperature: divides logit scale * cosine before the softmax over words: small picks the best word's bin, large
            mixes them all.
        flip: average with the mirrored photo.
        short_side_px: a larger photo is encoded with its shorter side at this many pixels, and its map enlarged.
        window: encode windows of this many pixels of that picture, half overlapping; the whole at once when None.
        fit: a ``fit.Fit``, a file of one, or the name of one that comes with the space; its words, bins and temperature
            take the place of those here.

    Raises:
        InputError: bins that do not increase, fewer than two words, one word twice, counts that differ, an unknown
            preset or unit, or settings that the preset or the fit fixes.
    """

    preset: Literal["default", "depthclip"] = "default"
    words: Sequence[str] = WORDS
    bins: Sequence[float] = BINS
    unit: str = "m"
    prompts: str = PROMPTS
    temperature: float = 1.0
    flip: bool = False
    short_side_px: int = SHORT_SIDE_PX
    window: int | None = None
    fit: Any = None

    def __post_init__(self):
        if self.preset not in ("default", "depthclip"):
            raise InputError(f"no preset named {self.preset!r}", remedy="known: default, depthclip")
        if self.preset == "depthclip":
            self._take_depthclip()
        require_unit(self.unit)
        require_words(self.words)
        if len(self.words) != len(self.bins):
            remedy = "give as many of both: --words near,far --bins 1,5"
            raise InputError(f"{len(self.words)} words, but {len(self.bins)} bins", remedy=remedy)
        steps = zip(self.bins, self.bins[1:], strict=False)
        if not all(map(math.isfinite, self.bins)) or not all(a < b for a, b in steps):
            raise InputError(f"bins must increase, got {', '.join(f'{b:g}' for b in self.bins)}")
        if self.unit != "affine" and self.bins[0] <= 0:
            raise InputError(f"bins in {self.unit} must be above 0, got {self.bins[0]:g}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"the temperature must be above 0, got {self.temperature:g}")
        if self.short_side_px < 1:
            raise InputError(f"short_side_px must be at least 1, got {self.short_side_px}")
        if self.fit is not None and (self.preset != "default" or self.window is not None):
            raise InputError("a fit looks at the whole photo in its own way", remedy="leave preset and window out")

    def _take_depthclip(self) -> None:
        """Its words, bins and ways in place of the defaults; whatever else was given would be ignored in silence."""
        fixed = {
            "words": depthclip.WORDS,
            "bins": depthclip.BINS_M,
            "prompts": depthclip.PROMPT,
            "temperature": depthclip.TEMPERATURE,
            "flip": True,
            "short_side_px": depthclip.SIZE[0],
        }
        for one in fields(self):
            value = fixed.get(one.name, one.default)
            if one.name not in ("preset", "fit") and getattr(self, one.name) not in (one.default, value):
                raise InputError(f"the preset depthclip fixes {one.name}", remedy="take the preset default")
            if one.name in fixed:
                object.__setattr__(self, one.name, value)  # how a frozen dataclass sets its own


def default_config(space: JointSpace) -> EstimateConfig:
    """The first fit that clipx ships for the space; where there is none, words as they are."""
    return EstimateConfig(fit=next(iter(shipped_fits(space)), None))


def estimate(space: JointSpace, pixels: Tensor, config: EstimateConfig | None = None) -> DepthMap:
    """A photo -> its depth map of the same height and width.

    Unfitted, the words order places at best: their metres are a guess, see ``clipx eval depth``. So a fit
    that comes with the space is taken where there is one, unless a config says otherwise.

    Args:
        space: its image tower needs dense features; a ResNet of 2,048 channels for the preset depthclip.
        pixels: (3, H, W) RGB in [0, 1], any size.
        config: words, bins and how a photo is encoded; ``default_config`` when left out.

    Returns:
        The map, no value outside the closed range of the bins (the preset depthclip leaves a border unknown).

    Raises:
        InputError: pixels that are no picture. SpaceMismatchError: a fit made for another space. UnsupportedError: the
            tower has no dense features. VocabularyError: an embedded space does not know a word.
    """
    if not isinstance(pixels, Tensor) or pixels.ndim != 3:
        raise InputError("pixels must be a (3, H, W) tensor")
    return Estimator(space, config)(pixels[None])[0]


class Estimator:
    """``estimate`` for many photos: the words are read once.

    Args:
        space, config: as in ``estimate``; ``config.fit`` is then the fit itself.
    """

    def __init__(self, space: JointSpace, config: EstimateConfig | None = None):
        self.space, self.config = space, config or default_config(space)
        if isinstance(self.config.fit, str | PathLike):
            self.config = replace(self.config, fit=load_fit(self.config.fit, space))
        self.weights = torch.zeros(0, space.dim)  # (K, D)
        if self.config.preset == "depthclip":
            depthclip.require_tower(space)
        elif self.config.fit is None:
            words = ZeroShotClassifier(space, self.config.words, self.config.prompts)
            self.weights = torch.from_numpy(words.weights.vectors).to(space.device)

    @property
    def words(self) -> tuple[str, ...]:
        """The word that each response belongs to; () for a fit without words."""
        return tuple(self.config.words if self.config.fit is None else self.config.fit.words)

    def __call__(self, pixels: Tensor) -> list[DepthMap]:
        """(N, 3, H, W) RGB in [0, 1] -> N maps of H x W. Raises InputError for what are no pixels."""
        responses: Tensor | None  # a fit may have no words
        with torch.no_grad():
            if self.config.preset == "depthclip":
                depth, responses = depthclip.predict(self.space, pixels)
            elif self.config.fit is not None:
                depth, responses = self._fitted(pixels)
            else:
                depth, responses = self._worded(pixels)
        unit = self.config.unit if self.config.fit is None else self.config.fit.unit
        words = () if responses is None else self.words
        shares = [None] * len(depth) if responses is None else responses
        return [DepthMap(d, unit, r, words) for d, r in zip(depth, shares, strict=True)]

    def _worded(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W) and (N, K, h, w): the expected bin of a softmax over the words."""
        config, space = self.config, self.space
        view = viewed(space, pixels, config.short_side_px)
        logits = dense_logits(space, view, self.weights, window=config.window, flip=config.flip)
        shares = (logits / config.temperature).softmax(dim=1)
        bins = torch.tensor(tuple(config.bins), dtype=torch.float32, device=shares.device)
        depth = torch.einsum("nkhw,k->nhw", shares, bins)
        if depth.shape[-2:] != pixels.shape[-2:]:
            depth = F.interpolate(depth[:, None], tuple(pixels.shape[-2:]), mode="bilinear")[:, 0]
        return depth.clamp(bins[0], bins[-1]), shares  # the sum of shares is 1 but for rounding

    def _fitted(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, H, W), and (N, K, h, w) where the fit has words."""
        fit, shape = self.config.fit, (int(pixels.shape[-2]), int(pixels.shape[-1]))

        def predict(view: Tensor) -> tuple[Tensor, Tensor | None]:
            features = fit.features(self.space, view)
            return fit.predict(features, shape), fit.responses(features) if fit.words else None

        depth, shares = predict(pixels)
        if self.config.flip:
            mirrored, others = predict(pixels.flip(-1))
            depth = (depth + mirrored.flip(-1)) / 2
            shares = None if shares is None or others is None else (shares + others.flip(-1)) / 2
        return depth, shares
