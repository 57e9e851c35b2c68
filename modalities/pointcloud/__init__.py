"""Point clouds and meshes as a modality: files, projections, encoder."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "PROJECTIONS": "projection",
    "Cloud": "cloud",
    "Mesh": "cloud",
    "PointCloud": "encoder",
    "pointclip_v1": "projection",
    "project": "projection",
    "read_geometry": "files",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
