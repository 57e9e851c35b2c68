"""Films as a modality: frames by presentation time, the mean of their vectors, and shots with their times."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "Clip": "films",
    "Film": "films",
    "Head": "heads",
    "Shot": "windows",
    "Video": "modality",
    "VideoConfig": "config",
    "VideoTrainConfig": "train",
    "fit_head": "train",
    "frame_vectors": "data",
    "load_head": "heads",
    "shots": "windows",
}

__all__ = list(_HOMES)

__getattr__ = at_first_use(__name__, _HOMES)
