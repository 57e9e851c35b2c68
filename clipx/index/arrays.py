"""Small operations on arrays that several parts of the index share."""

from __future__ import annotations

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    """(..., D) rows scaled to length 1; those shorter than 1e-6 become zeros."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), 0)


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` positions, evenly spaced, so that a sample needs no random numbers."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` largest of (N,) values, in no order."""
    return np.argpartition(values, -count)[-count:] if len(values) > count else np.arange(len(values))


def by_code(codes: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each of the (N,) codes, integers from 0, that occurs, and the positions where."""
    return [(code, np.flatnonzero(codes == code)) for code in np.flatnonzero(np.bincount(codes)).tolist()]
