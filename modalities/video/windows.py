"""Frames with times -> parts of a film: shots, and none of them too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil

import numpy as np

from clipx._arrays import TINY
from clipx.parts import Time

LEAST = 0.15  # cosine distance of two neighbouring frames, below which no cut is seen between them
STANDS_OUT = 2.5  # times the median distance of the neighbours is what a cut has besides
NEIGHBOURS = 8  # on each side


@dataclass(frozen=True)
class Shot(Time):
    """A part of a film.

    Args:
        frames: what it weighs in the mean of all: the norm of the sum of its frames' unit vectors, so that the mean of
            parts is that of the frames.
        vectors: (T, D) unit vectors of its frames, where a head reads them.
    """

    frames: float = field(default=1.0, compare=False)
    vectors: np.ndarray | None = field(default=None, compare=False, repr=False)


def shots(
    vectors: np.ndarray,
    times: Sequence[float],
    end_s: float,
    longest_s: float,
    cut: bool = True,
    keep: bool = False,
) -> tuple[np.ndarray, list[Shot]]:
    """Parts of a film, and the mean of each.

    A cut lies in the middle between two frames. Parts of more than ``longest_s`` are divided into equal ones.

    Args:
        vectors: (T, D) unit vectors of frames, T >= 1.
        times: when each is shown first, rising.
        end_s: where the film ends.
        longest_s: of a part; a frame that is shown for longer is one part all the same.
        cut: whether to part where the frames change, see ``cuts``; else all parts are of equal length.
        keep: whether each part keeps the vectors of its frames.

    Returns:
        (P, D) unit vectors, and the P parts, from 0 to ``end_s`` without gaps.
    """
    edges = [0, *(cuts(vectors) if cut else ()), len(vectors)]
    end_s = max(end_s, times[-1] + 1e-3)
    rows: list[np.ndarray] = []
    found: list[Shot] = []
    for first, last in pairwise(edges):
        start = 0.0 if first == 0 else (times[first - 1] + times[first]) / 2
        end = end_s if last == len(vectors) else (times[last - 1] + times[last]) / 2
        count = max(1, ceil((end - start) / longest_s - 1e-6))
        inner = [start + (end - start) * i / count for i in range(count + 1)]
        owner = np.clip(np.searchsorted(inner, np.asarray(times[first:last]), side="right") - 1, 0, count - 1)
        for own in np.split(np.arange(first, last), np.flatnonzero(np.diff(owner)) + 1):
            total = vectors[own].astype(np.float64).sum(0)
            norm = float(np.linalg.norm(total))
            begins = inner[int(owner[own[0] - first])] if own[0] > first else start
            rows.append(total / max(norm, TINY))
            found.append(Shot(begins, end, norm, vectors[own] if keep else None))
    ends = [*(shot.start_s for shot in found[1:]), found[-1].end_s]
    return np.stack(rows).astype(np.float32), [replace(one, end_s=end) for one, end in zip(found, ends, strict=True)]


def cuts(vectors: np.ndarray) -> list[int]:
    """Numbers of the frames that begin a shot, but for the first.

    One begins where the cosine distance from the frame before is at least ``LEAST``, is the largest of its neighbours
    on both sides, and ``STANDS_OUT`` times the median of ``NEIGHBOURS`` distances on each side: what moves all the time
    is no row of cuts. Where there are fewer than 3 others, the first condition is enough.

    Args:
        vectors: (T, D) unit vectors.
    """
    far = 1 - np.einsum("td,td->t", vectors[:-1], vectors[1:], dtype=np.float64)
    found = []
    for i in np.flatnonzero(far >= LEAST).tolist():
        near = np.concatenate([far[max(0, i - NEIGHBOURS) : i], far[i + 1 : i + 1 + NEIGHBOURS]])
        if len(near) < 3 or far[i] >= STANDS_OUT * np.median(near):
            found.append(i + 1)
    return found
