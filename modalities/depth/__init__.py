"""Depth: metres (or relative depth) from one photo by what words say of near and far, and depth maps as a modality."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "Depth": "encoder",
    "DepthMap": "maps",
    "EstimateConfig": "estimator",
    "Estimator": "estimator",
    "Fit": "fit",
    "FitConfig": "fit",
    "Intrinsics": "lift",
    "cloud_ply": "lift",
    "depth_metrics": "metrics",
    "depth_png": "files",
    "estimate": "estimator",
    "fit_depth": "fit",
    "load_fit": "fit",
    "read_depth": "files",
    "read_pairs": "files",
    "read_rgb": "files",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
