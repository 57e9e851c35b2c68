"""How boxes are proposed, scored and selected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clipx.errors import InputError

HOWS = ("dense", "crops", "both")


@dataclass(frozen=True)
class DetectConfig:
    """What is looked for, and how.

    Args:
        labels: K >= 1 different labels.
        prompts: the template of a label's prompt, or the name of a set; see ``clipx.prompts``.
        background: more words of what is not looked for: they take part in the softmax, and are never an answer.
        proposals: a method of ``propose``.
        limit: of proposals in a photo.
        regions: how a box is looked at: ``"dense"``, ``"crops"`` or ``"both"``; see ``RegionEncoder``.
        path: of the dense features, as in ``JointSpace.dense_image``.
        short_sides_px: the photo is seen with its shorter side at each of these sizes, and the features averaged.
        ring: what is around a box reaches to this multiple of its sides, above 1.
        crop_scales: the sides of the crops, as multiples of the box's.
        crop_limit: of boxes that are cropped, since each costs a pass of the encoder: the best of the proposals, or
            with ``"both"`` the best by their dense scores.
        dense_weight: of ``"both"``, in [0, 1]: the exponent of the dense probability in the geometric mean; that of the
            crops is the rest.
        temperature: divides the logits before the softmax over labels and background.
        margin: the background's logit: a box that shows this much more of a label than what is around it is as likely
            of the label as of nothing.
        objectness: the exponent of the proposal's own score, at least 0.
        overlap: IoU above which the lower of two boxes of a label is left out.
        threshold: detections of a lower score are left out.
        relative: so are those whose score is below this share of the best one of their label in the photo.
        presence: so are those of labels that fit the photo better than less than this share of everyday nouns, see
            ``Presence``; 0 looks at no nouns.
        top: the most detections in a photo.
        seed: of the random crops that stand for the background.

    Raises:
        InputError: a setting out of its range.
    """

    labels: Sequence[str] = ()
    prompts: str = "photo"
    background: Sequence[str] = ()
    proposals: str = "selective"
    limit: int = 300
    regions: Literal["dense", "crops", "both"] = "dense"
    path: str = "value"
    short_sides_px: Sequence[int] = (540,)
    ring: float = 1.4
    crop_scales: Sequence[float] = (1.0, 1.5)
    crop_limit: int = 100
    dense_weight: float = 2 / 3
    temperature: float = 2.0
    margin: float = 5.0
    objectness: float = 1.0
    overlap: float = 0.3
    threshold: float = 0.0
    relative: float = 0.0
    presence: float = 0.0
    top: int = 100
    seed: int = 0

    def __post_init__(self):
        for name in ("labels", "background", "short_sides_px", "crop_scales"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                what = f"the text {value!r}" if isinstance(value, str) else type(value).__name__
                raise InputError(f"{name} must be a list, got {what}")
            object.__setattr__(self, name, tuple(value))  # how a frozen dataclass sets its own
        for name in ("labels", "background"):
            if several := [one for one in getattr(self, name) if isinstance(one, str) and "|" in one]:
                raise InputError(f"{several[0]!r} is several words", where=name, remedy="give each word by itself")
        if keywords := {"auto", "none"} & {str(word).casefold() for word in self.background}:
            raise InputError(f"takes words, not {keywords.pop()}", where="background", remedy="leave it out")
        if self.regions not in HOWS:
            raise InputError(f"regions must be {', '.join(HOWS)}, got {self.regions!r}")
        for name in ("limit", "crop_limit", "top"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.short_sides_px or min(self.short_sides_px) < 1:
            raise InputError("short_sides_px must be sizes of at least 1 pixel")
        if not self.crop_scales or not all(math.isfinite(scale) and scale >= 1 for scale in self.crop_scales):
            raise InputError("crop_scales must be numbers of at least 1")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                bounds = f"in [{low:g}, {high:g}]" if math.isfinite(high) else f"at least {low:g}"
                raise InputError(f"{name} must be {bounds}, got {value:g}")


_RANGES = (
    ("ring", 1.01, 100.0),
    ("dense_weight", 0.0, 1.0),
    ("temperature", 1e-6, math.inf),
    ("margin", -1e6, 1e6),
    ("objectness", 0.0, math.inf),
    ("overlap", 0.0, 1.0),
    ("threshold", 0.0, 1.0),
    ("relative", 0.0, 1.0),
    ("presence", 0.0, 1.0),
)
