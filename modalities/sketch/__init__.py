"""Sketches: photos, sentences and sounds drawn with Bezier strokes, and drawings as a modality."""

from clipx._lazy import at_first_use

# at first use: `clipx --help` loads this package's command and needs no torch for it
_WHERE = {"Sketch": "encoder", "StrokeGenerator": "generator"}
__all__ = sorted(_WHERE)

__getattr__ = at_first_use(__name__, _WHERE)
