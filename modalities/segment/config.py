"""What decides a segmentation, as one value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from clipx.errors import InputError
from clipx.prompts import spoken

AUTO, NONE = "auto", "none"
MOST_LABELS = 254  # values of an 8-bit mask: 0 is the background, 255 is ignored
COLDEST = 1e-3  # logits of cosines then lie within 1000
REFINEMENTS = ("none", "pamr", "superpixels", "guided")


@dataclass(frozen=True)
class SegmentConfig:
    """What decides a segmentation.

    Args:
        labels: what to find; ``"dog|puppy"`` names one label by several words, of which the best counts.
        background: what a pixel is where no label fits: ``("auto",)``, a level above which everyday nouns seldom come
            (see ``Segmenter``); words that compete with the labels; ``("auto", "wall")``, both; or ``("none",)``, and
            every pixel gets a label.
        threshold: a pixel whose best label is less probable than this is background.
        prompts: what is said of a word, as ``ZeroShotClassifier`` takes it; the photo set by default.
        head: a file by ``clipx train segment``, whose features take the place of the path's.
        path: of the dense features, see ``JointSpace.dense_image``; ``"auto"`` is the best that the tower has.
        side: pixels of the photo's shorter side when the tower looks at it; by default 1.25 times its own size.
        scales: average over the photo resampled by these factors.
        flip: average with the mirrored photo.
        window, stride: see ``clipx.dense.dense_logits``; by default the whole photo, and with a transformer windows of
            twice its own side where the photo is more than eight times its own picture.
        temperature: of the softmax over labels; by default one over the space's logit scale.
        denoise: labels whose highest probability is below this are left out, as in MaskCLIP; 0 keeps all.
        smooth_keys: pixels whose best probability is below this take that of places with similar keys (MaskCLIP);
            0 leaves them.
        islands: connected pixels of one label that are a smaller share of the photo join what is around them.
        refine: how borders are moved to edges of the photo: ``"none"``, ``"pamr"``, ``"superpixels"``, ``"guided"``.

    Raises:
        InputError: a value is out of range.
    """

    labels: tuple[str, ...] = ()
    background: tuple[str, ...] = (AUTO,)
    threshold: float = 0.4
    prompts: Any = None
    head: str | None = None
    path: str = AUTO
    side: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None
    stride: int | None = None
    temperature: float | None = None
    denoise: float = 0.5
    smooth_keys: float = 0.0
    refine: str = "pamr"
    islands: float = 0.002

    def __post_init__(self) -> None:
        for name in ("labels", "background", "scales"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):  # a bare string would be read letter by letter
                what = f"the text {value!r}" if isinstance(value, str) else type(value).__name__
                raise InputError(f"must be a list, got {what}", where=name)
            object.__setattr__(self, name, tuple(value))  # how a frozen dataclass sets its own
        for name in ("labels", "background"):
            if any(not isinstance(one, str) or not all(map(spoken, one.split("|"))) for one in getattr(self, name)):
                raise InputError("a label is empty, or no text", where=name)
        owner: dict[str, str] = {}
        for label in self.labels:
            for word in {spoken(word).casefold() for word in label.split("|")}:
                if word in owner:
                    what = f"{label!r} is" if label == owner[word] else f"{word!r} of {owner[word]!r} and {label!r} is"
                    raise InputError(f"{what} given twice", where="labels", remedy="give each word to one label")
                owner[word] = label
        if len(self.labels) > MOST_LABELS:
            raise InputError(f"{len(self.labels)} labels, a mask has {MOST_LABELS}", where="labels")
        self._check_background()
        if self.head is not None and self.path != AUTO:
            raise InputError("a head brings its own features", where="path", remedy="leave the path out")
        for name in ("threshold", "denoise", "smooth_keys", "islands"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"must be between 0 and 1, got {getattr(self, name)!r}", where=name)
        for name in ("side", "window", "stride"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"must be a number of pixels, got {value!r}", where=name)
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            raise InputError(f"must be factors between 0.1 and 10, got {self.scales!r}", where="scales")
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= COLDEST):
            raise InputError(f"must be at least {COLDEST:g}, got {self.temperature!r}", where="temperature")
        if self.refine not in REFINEMENTS:
            raise InputError(f"no refinement {self.refine!r}", where="refine", remedy=", ".join(REFINEMENTS))
        if len(self.labels) == 1 and self.background == (NONE,):
            raise InputError(
                "one label and no background: every pixel is it", where="labels", remedy="name more, or a background"
            )

    def _check_background(self) -> None:
        if not self.background:
            raise InputError("is empty", where="background", remedy="auto, none, or words")
        if NONE in self.background and len(self.background) > 1:
            raise InputError("none goes with no word", where="background")
        for word in self.background:
            for meant in (AUTO, NONE):
                if word != meant and sorted(word.casefold()) == sorted(meant):  # its letters in another order or case
                    raise InputError(f"{word!r} looks like {meant!r}", where="background", remedy=f"write {meant}")

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as they are shown: the first word of each."""
        return tuple(label.split("|")[0].strip() for label in self.labels)
