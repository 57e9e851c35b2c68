"""Photos and pictures as a modality, and small towers that learn from a space's own."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "DistilConfig": "distil",
    "Distilled": "distil",
    "Image": "modality",
    "ImageConfig": "modality",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no numpy for it.
__getattr__ = at_first_use(__name__, _HOMES)
