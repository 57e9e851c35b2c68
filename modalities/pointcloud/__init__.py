"""Point clouds and meshes as a sense: files, projections, encoder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

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


def __getattr__(name: str) -> Any:
    """A name at first use: `clipx --help` loads this package's command and needs no torch for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
