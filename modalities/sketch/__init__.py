"""Sketches: photos, sentences and sounds drawn with Bezier strokes, and drawings as a modality."""

from __future__ import annotations

from typing import Any

__all__ = ["Sketch"]


def __getattr__(name: str) -> Any:
    """``Sketch`` at first use: `clipx --help` loads this package's command and needs no torch for it."""
    if name != "Sketch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from clipx.modalities.sketch.encoder import Sketch

    return Sketch
