"""Points of a surface as small discs of it, by NumPy and the kernels; `plain.surfels` is the definition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import clipx.modalities.pointcloud.projection.kernel as kernel

AROUND = 48  # neighbours, at most, that tell the direction of the surface: a twentieth of a small cloud, 8 at least
NEAREST = 7  # of them tell the distance to the next points
REACH = 1.2  # a disc's radius in units of that distance
LARGEST = 1.2  # a disc's radius in units of the median one
NARROWEST = 0.25  # a disc's shorter half axis in units of the longer one
INWARDS = 0.7  # of the way to the middle of its neighbours a disc is moved, in its plane: at an edge it juts out less
STEPS = 3  # rounds of the robust fit
OFF = 0.1  # of the mean squared distance of neighbours: a neighbour as far off the plane, squared, counts a quarter
THICK = 1.3  # surfaces less than so many mean radii behind one another are taken for one
CLOSE = 0.8  # of a mean radius: how near, on all eight sides, a surface in front must be to close a gap
MOST_STEPS = 64  # fine pixels, likewise
BLEND = 3.0  # a disc lends its direction and colour to pixels as far from its centre, in half axes


class Discs(NamedTuple):
    """The ellipses that the points of a cloud stand for, as arrays or as tensors.

    Args:
        centre: (P, 3).
        normal: (P, 3) of either sign, the longer the flatter the surface is there, up to 1.
        axes: (P, 2, 3) half axes, each as long as the ellipse reaches.
    """

    centre: Any
    normal: Any
    axes: Any


def discs(points: np.ndarray, normals: np.ndarray) -> Discs:
    """Points of a surface -> discs that cover it.

    Args:
        points: (P, 3) float32, P >= 2.
        normals: (P, 3); those that are zero or not finite are estimated.
    """
    around = kernel.neighbours(points, how_many(len(points)))  # (P, k)
    with np.errstate(divide="ignore", invalid="ignore"):
        given = np.nan_to_num(normals / length(normals), posinf=0, neginf=0)
    found = kernel.surface(points, around, given, STEPS, OFF)
    normal, flatness, along, ratio, inward = np.split(found, (3, 4, 7, 8), axis=1)
    reach = REACH * length(points[around[:, 1:NEAREST]] - points[:, None]).mean(1)  # (P, 1)
    reach = np.minimum(reach, np.float32(LARGEST) * np.sort(reach, axis=None)[(len(reach) - 1) // 2])
    axes = np.stack([along * reach, np.cross(normal, along) * reach * ratio.clip(NARROWEST, 1)], 1)
    return Discs(points + INWARDS * inward, normal * flatness, axes)


def how_many(points: int) -> int:
    """Neighbours of a point, itself among them, that tell the surface in a cloud of that many points."""
    return min(AROUND, max(8, points // 20), points)


def length(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 1)."""
    return np.sqrt((vectors * vectors).sum(-1, keepdims=True))
