"""Geometry of strokes: chains of cubic Bezier curves, (3 S + 1) control points for S segments, x then y in pixels.

Points are arrays, or tensors while they are drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from clipx._arrays import is_tensor
from clipx.errors import InputError
from clipx.modalities.sketch.arrays import stacked

CANVAS = 224  # pixels: side of the square that is drawn on
PIECES = 32  # that a segment's length is measured by
PROFILES = ("even", "taper", "swell")  # how wide a stroke is along its way, see ``profile_width``
THINNEST = 0.15  # of the full width
PROFILE_PARTS = 16  # of a segment, each of one width, while drawing


def cubics(points: Any) -> Any:
    """(..., N, 3 S + 1, 2) -> (..., N, S, 4, 2): the segments of each stroke; neighbours share a control point."""
    return stacked([points[..., i : points.shape[-2] - 3 + i : 3, :] for i in range(4)], -2)


def segments(points: Any) -> int:
    """S of (..., 3 S + 1, 2)."""
    return (points.shape[-2] - 1) // 3


def split(points: Any, t: float) -> tuple[Any, Any]:
    """(..., 4, 2) -> the control points of the curve's parts from 0 to t and from t to 1 (de Casteljau)."""
    first, last = [], []
    while points.shape[-2]:
        first.append(points[..., 0, :])
        last.append(points[..., -1, :])
        points = (1 - t) * points[..., :-1, :] + t * points[..., 1:, :]
    return stacked(first, -2), stacked(last[::-1], -2)


def at(points: Any, t: Any) -> Any:
    """(..., 4, 2) and (T,) -> (..., T, 2) places on a curve."""
    t = t[:, None]
    a, b, c, d = (points[..., None, i, :] for i in range(4))
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def lengths_along(points: np.ndarray) -> np.ndarray:
    """(N, 3 S + 1, 2) -> (N, S PIECES + 1) way from the start of each stroke to even values of its parameter."""
    places = at(cubics(points), np.linspace(0, 1, PIECES + 1, dtype=points.dtype))
    steps = np.linalg.norm(np.diff(places, axis=-2), axis=-1).reshape(len(points), segments(points) * PIECES)
    return np.pad(steps.cumsum(1), ((0, 0), (1, 0)))


def until(points: np.ndarray, share: float) -> np.ndarray:
    """The part of a stroke (3 S + 1, 2) from 0 to a share in [0, 1] of its parameter, as many points."""
    count = segments(points)
    whole = min(int(share * count), count - 1)
    part, _ = split(points[3 * whole : 3 * whole + 4], share * count - whole)
    rest = part[-1:].repeat(3 * (count - 1 - whole), 0)  # segments that are not begun wait where the pen is
    return np.concatenate([points[: 3 * whole], part, rest])


# ---------------------------------------------------------------------------------------------------- width profiles


def profile_width(name: str, share: np.ndarray) -> np.ndarray:
    """The share of its full width that a stroke has at shares in [0, 1] of its parameter, by profile.

    >>> profile_width("taper", np.array([0.0, 1.0])).tolist()
    [1.0, 0.15]
    """
    if name not in PROFILES:
        raise InputError(f"no width profile {name!r}", remedy=f"one of {', '.join(PROFILES)}")
    if name == "even":
        return np.ones_like(share)
    full = (1 - share**2) if name == "taper" else np.sin(math.pi * share).clip(min=0) ** 0.7
    return full.clip(min=THINNEST)


def parts(points: Any, profile: str) -> tuple[Any, Any]:
    """What is painted of strokes: the segments of those of even width, short pieces of others.

    Args:
        points: (..., N, 3 S + 1, 2).
        profile: one of ``PROFILES``.

    Returns:
        (..., N, P, 4, 2) curves, and (P,) what the stroke's width is multiplied by in each.
    """
    curves = cubics(points)
    for _ in range(0 if profile == "even" else int(math.log2(PROFILE_PARTS))):
        *outer, count, _, _ = curves.shape
        curves = stacked(split(curves, 0.5), -3).reshape(*outer, 2 * count, 4, 2)
    count = curves.shape[-3]
    share = profile_width(profile, (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count))
    return curves, points.new_tensor(share) if is_tensor(points) else share
