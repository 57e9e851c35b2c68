"""How to draw: every setting, the presets and the styles."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Self

from clipx.errors import InputError
from clipx.modalities.sketch.curves import CANVAS, PROFILES
from clipx.modalities.sketch.initial import SEEDS, SPREAD
from clipx.modalities.sketch.losses import EVALUATE_EVERY
from clipx.modalities.sketch.views import AUGMENTED

MAX_STROKES = 4096
MAX_SEGMENTS = 64  # of a stroke
FRAMES = 100  # of a film at most
STARTS = ("contours", "points", "hatching", "one-line")  # of a photo's strokes, see ``start``; the first by default
FREE_STARTS = ("drawings", "points")  # of strokes that have no photo


@dataclass(frozen=True)
class DrawConfig:
    """How to draw; see ``PRESETS`` and ``STYLES``."""

    strokes: tuple[int, ...] = field(default=(16,), metadata={"help": "stroke counts, each drawn with every seed"})
    seeds: tuple[int, ...] = field(default=SEEDS, metadata={"help": "the best seed's drawing is kept"})
    steps: int = field(default=100, metadata={"help": "optimiser steps at most"})
    lr: float = field(default=0.5, metadata={"help": "pixels that a control point moves in a step, at first"})
    width_px: float = field(default=3.0, metadata={"help": "full width of a stroke on the canvas of 224 pixels"})
    segments: int = field(default=1, metadata={"help": "cubic segments of a stroke"})
    profile: str = field(default="even", metadata={"help": f"of a stroke's width along its way: {', '.join(PROFILES)}"})
    start: str = field(
        default="",
        metadata={"help": f"of a photo's strokes: {', '.join(STARTS)}; of others: {', '.join(FREE_STARTS)}"},
    )
    spread: float = field(default=0.12, metadata={"help": "how far strokes from points reach at first, of the canvas"})
    focus: float = field(default=0.7, metadata={"help": "share of the geometric loss that goes by saliency; 0: none"})
    smooth: float = field(default=0.0, metadata={"help": "weight of the bends of strokes in the loss"})
    ink: float = field(default=0.0, metadata={"help": "weight of the drawing's mean darkness in the loss"})
    renew: bool = field(default=True, metadata={"help": "use strokes that do nothing elsewhere, at 1/4 and 1/2"})
    learn_width: bool = field(default=False, metadata={"help": "let every stroke find its width"})
    learn_color: bool = field(default=False, metadata={"help": "let every stroke find its colour and opacity"})
    views: int = field(default=2, metadata={"help": "random views a step, beside the plain one"})
    pool: int = field(default=16, metadata={"help": "views to choose from, encoded once; 0 draws new ones each step"})
    side: int = field(default=0, metadata={"help": "side in pixels of what the tower looks at; 0: see small_views"})
    stages: tuple[str, ...] = field(default=(), metadata={"help": "stages compared; by default those of its family"})
    semantic: float | None = field(
        default=None, metadata={"help": "weight of the semantic term. Default: 0.1, or 1 where across applies"}
    )
    across: bool = field(default=True, metadata={"help": "see the drawing as a drawing, where the space can"})
    words: float = field(
        default=0.5,
        metadata={"help": "with across: share of words, the photo's best or about's, in the semantic target"},
    )
    small_views: bool = field(default=True, metadata={"help": "views at the tower's size or less, not the canvas's"})
    window: int = field(default=40, metadata={"help": "steps without a gain after which a drawing stops; 0 never"})
    min_gain: float = field(default=0.01, metadata={"help": "of the loss, that counts as a gain"})
    halving: bool = field(default=True, metadata={"help": "drop weak seeds: at 1/20 of the steps, or 1/4 and 1/2"})
    decay: bool = field(default=True, metadata={"help": "let the step size fall to a tenth"})
    keep_aspect: bool = field(default=True, metadata={"help": "no stretching to a square"})
    rank: bool = field(default=True, metadata={"help": "order strokes by what leaving each one out costs"})
    clipasso_stop: bool = field(default=False, metadata={"help": "CLIPasso's own early stop, evaluated every 10 steps"})

    @property
    def film_every(self) -> int:
        """Steps between the states that are kept for films."""
        return max(EVALUATE_EVERY, -(-self.steps // FRAMES))

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """One of ``PRESETS`` or ``STYLES``, with some fields changed."""
        known = PRESETS | STYLES
        if name not in known:
            raise InputError(f"no preset {name!r}", remedy=f"one of {', '.join(known)}")
        return replace(cls(**known[name]), **changes)

    def __post_init__(self) -> None:
        for name in ("strokes", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} must be different numbers, at least one, got {values}")
        if not all(1 <= count <= MAX_STROKES for count in self.strokes):
            raise InputError(f"a drawing has 1 to {MAX_STROKES} strokes, got {', '.join(map(str, self.strokes))}")
        if not 1 <= self.segments <= MAX_SEGMENTS:
            raise InputError(f"a stroke has 1 to {MAX_SEGMENTS} segments, got {self.segments}")
        if self.steps < 1 or self.views < 0 or self.pool < 0 or 0 < self.pool < self.views:
            raise InputError("steps must be at least 1, views at least 0, the pool 0 or at least as many as the views")
        starts = tuple(dict.fromkeys(("", *STARTS, *FREE_STARTS)))
        for name, choices in (("start", starts), ("profile", PROFILES)):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"{name} must be one of {', '.join(filter(None, choices))}, got {value!r}")
        for name in ("focus", "words"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if not 0 < self.spread <= 1:
            raise InputError(f"spread must be above 0 and at most 1, got {self.spread}")
        for name in ("semantic", "smooth", "ink"):
            value = getattr(self, name) or 0.0
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be at least 0, got {value}")
        if not 0 <= self.side <= 1024:
            raise InputError(f"side must be 0 to 1024, got {self.side}")
        if not (math.isfinite(self.lr) and self.lr > 0 and 0 < self.width_px <= CANVAS):
            raise InputError(f"lr must be positive and width_px above 0 to {CANVAS}, got {self.lr} and {self.width_px}")
        if min(self.seeds) < 0 or self.window < 0 or not (math.isfinite(self.min_gain) and self.min_gain >= 0):
            raise InputError("seeds, window and min_gain must be at least 0")
        if self.learn_color and (self.segments > 1 or self.profile != "even"):
            raise InputError("strokes of several segments, or of a width profile, are black")


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "fast": {"seeds": SEEDS[:1], "steps": 25, "views": 1},
    "meaning": {"strokes": (24,), "steps": 30, "lr": 0.2, "halving": False},  # of what has no photo
    "clipdraw": {  # Frans et al., 2022
        "strokes": (64,),
        "start": "points",
        "steps": 500,
        "lr": 1.0,
        "views": AUGMENTED,
        "pool": 32,
        "window": 100,
        "learn_width": True,
        "learn_color": True,
    },
    "clipasso": {  # Vinker et al., 2022, to the letter
        "steps": 2001,
        "lr": 1.0,
        "views": AUGMENTED,
        "pool": 0,
        "small_views": False,
        "window": 0,
        "halving": False,
        "decay": False,
        "keep_aspect": False,
        "rank": False,
        "start": "points",
        "spread": SPREAD,
        "focus": 0.0,
        "renew": False,
        "across": False,
        "words": 0.0,
        "clipasso_stop": True,
    },
}
STYLES: dict[str, dict[str, Any]] = {
    "contour": {"strokes": (32,), "width_px": 1.5, "segments": 2, "smooth": 1.0},
    "one-line": {"strokes": (1,), "segments": 39, "start": "one-line", "width_px": 2.0, "smooth": 1.0, "rank": False},
    "hatching": {"strokes": (128,), "start": "hatching", "width_px": 1.2, "smooth": 20.0, "renew": False},
    "brush": {"strokes": (16,), "width_px": 8.0, "profile": "swell", "learn_width": True},
}
