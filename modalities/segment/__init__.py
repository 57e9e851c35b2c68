"""Segmentation: which of the given words each pixel of a photo shows."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "Confusion": "metrics",
    "LabelRegion": "maps",
    "MaskedPhotos": "data",
    "Head": "head",
    "SegmentConfig": "config",
    "SegmentTask": "task",
    "Segmentation": "maps",
    "Segmenter": "segmenter",
    "load_head": "head",
    "read_masks": "data",
    "segment": "segmenter",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's commands and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
