"""Detection: boxes of the things that words name, in photos, with a frozen joint space."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "DetectConfig": "config",
    "Detections": "boxes",
    "Detector": "detector",
    "GroundConfig": "grounder",
    "Grounder": "grounder",
    "Grounding": "boxes",
    "HubDetector": "hub",
    "Phrase": "boxes",
    "Proposals": "boxes",
    "RegionEncoder": "regions",
    "RegionHead": "head",
    "TrainConfig": "train",
    "detect": "detector",
    "gather": "train",
    "ground": "grounder",
    "load_head": "head",
    "noun_phrases": "phrases",
    "propose": "proposals",
    "train_head": "train",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's commands and needs no torch for them.
__getattr__ = at_first_use(__name__, _HOMES)
