"""Depth: metres (or relative depth) from one photo by what words say of near and far, and depth maps as a sense."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {"Depth": "encoder", "DepthMap": "maps", "EstimateConfig": "estimate", "read_pairs": "files"}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
