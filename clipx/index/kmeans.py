"""Spherical k-means: centres of unit vectors, by which an approximate index parts them into cells."""

from __future__ import annotations

import numpy as np

from clipx.index.arrays import evenly_spaced

ROUNDS = 10  # more of them were measured to add nothing to the recall of a search
PART = 8192  # rows whose cosines with all centres are in memory at once


def spherical_kmeans(vectors: np.ndarray, count: int) -> np.ndarray:
    """Centres of unit vectors, each the direction of the mean of those nearest to it by cosine.

    Dhillon and Modha, Concept Decompositions for Large Sparse Text Data Using Clustering, Machine Learning 2001. It
    begins with evenly spaced rows and needs no random numbers.

    Args:
        vectors: (N, D) float32 unit rows.
        count: K, at most N.

    Returns:
        (K, D) float32 unit rows. A centre that no row is nearest to stays where it was.
    """
    centres = vectors[evenly_spaced(len(vectors), count)].copy()
    for _ in range(ROUNDS):
        nearest = [(vectors[i : i + PART] @ centres.T).argmax(1) for i in range(0, len(vectors), PART)]
        own = np.concatenate(nearest)
        order = np.argsort(own, kind="stable")
        used, starts = np.unique(own[order], return_index=True)
        sums = np.add.reduceat(vectors[order], starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        kept = lengths[:, 0] > 0
        centres[used[kept]] = sums[kept] / lengths[kept]
    return centres
