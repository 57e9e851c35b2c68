"""Encoders of any kind, bound to a joint space by a map."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "Bound": "modality",
    "BoundConfig": "modality",
    "BoundMap": "map",
    "fit_map": "fit",
    "get_encoder": "encoders",
    "load_map": "map",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
