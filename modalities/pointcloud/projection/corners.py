"""The normals at the corners of a mesh's triangles, by NumPy; `plain.mesh` is the definition."""

from __future__ import annotations

import numpy as np

CREASE = 0.77  # cosine of 40 degrees: edges sharper than that stay edges, others are smoothed
MOST_AROUND = 64  # triangles at a vertex; where more meet, none is smoothed
PAIRS_AT_ONCE = 2**20  # bounds memory


def corner_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The normal at each corner of each triangle, smoothed over the neighbours that meet it at less than 40 degrees.

    Args:
        vertices: (Q, 3). Those at one place count as one.
        triangles: (F, 3) int64.

    Returns:
        (F, 3, 3) of unit length, turned as the triangle's own; zero where a triangle has no area.
    """
    a, b, c = vertices[triangles].swapaxes(0, 1)
    area = np.cross(b - a, c - a)  # (F, 3), as long as twice the area
    unit = _unit(area)
    place = _places(vertices)[triangles].ravel()  # (3F,) of the corners
    order = place.argsort(stable=True)
    place = place[order]
    count = np.bincount(place)
    first = count.cumsum() - count
    smooth = unit.repeat(3, 0)  # (3F, 3)
    around = np.where(count > MOST_AROUND, 0, count)[place]  # (3F,) corners at the place of each, in `order`
    start, ends = 0, around.cumsum()
    while start < len(around):  # all pairs of corners at one place, a part at a time
        done = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right")), start + 1)
        left = np.arange(start, stop).repeat(around[start:stop])
        step = np.arange(len(left)) - (ends[left] - around[left] - done)
        own, other = order[left], order[first[place[left]] + step] // 3
        agreement = (unit[own // 3] * unit[other]).sum(1)
        # A triangle wound the other way shows the same surface from behind.
        flipped = np.where(agreement < 0, np.float32(-1), np.float32(1))
        share = np.where(np.abs(agreement) >= CREASE, flipped, np.float32(0))[:, None] * area[other]
        total = np.stack([np.bincount(own, axis, len(smooth)) for axis in share.T], 1).astype(np.float32)
        touched = np.abs(total).max(1) > 0
        smooth[touched] = _unit(total[touched])
        start = stop
    return smooth.reshape(-1, 3, 3)


def _places(vertices: np.ndarray) -> np.ndarray:
    """(Q, 3) -> (Q,) numbers, the same where vertices are at one place."""
    order = np.lexsort(vertices.T)
    another = (np.diff(vertices[order], axis=0) != 0).any(1)
    found = np.zeros(len(vertices), np.int64)
    found[order[1:]] = another.cumsum()
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) of length 1; zero stays zero."""
    return vectors / np.maximum(np.sqrt((vectors * vectors).sum(-1, keepdims=True)), np.float32(1e-30))
