"""Geometry of strokes: chains of cubic Bezier curves, (3 S + 1) control points for S segments, x then y in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clipx.errors import InputError

PIECES = 32  # that a segment's length is measured by
PROFILES = ("even", "taper", "swell")  # how wide a stroke is along its way, see ``profile_width``
THINNEST = 0.15  # of the full width
PROFILE_PARTS = 16  # of a segment, each of one width, while drawing


def cubics(points: Tensor) -> Tensor:
    """(..., N, 3 S + 1, 2) -> (..., N, S, 4, 2): the segments of each stroke; neighbours share a control point."""
    return points.unfold(-2, 4, 3).transpose(-1, -2)


def segments(points: Tensor) -> int:
    """S of (..., 3 S + 1, 2)."""
    return (points.shape[-2] - 1) // 3


def split(points: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """(..., 4, 2) -> the control points of the curve's parts from 0 to t and from t to 1 (de Casteljau)."""
    first, last = [], []
    while points.shape[-2]:
        first.append(points[..., 0, :])
        last.append(points[..., -1, :])
        points = points[..., :-1, :].lerp(points[..., 1:, :], t)
    return torch.stack(first, -2), torch.stack(last[::-1], -2)


def at(points: Tensor, t: Tensor) -> Tensor:
    """(..., 4, 2) and (T,) -> (..., T, 2) places on a curve."""
    t = t[:, None]
    a, b, c, d = (points[..., None, i, :] for i in range(4))
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def lengths_along(points: Tensor) -> Tensor:
    """(N, 3 S + 1, 2) -> (N, S PIECES + 1) way from the start of each stroke to even values of its parameter."""
    places = at(cubics(points), torch.linspace(0, 1, PIECES + 1, dtype=points.dtype))
    steps = places.diff(dim=-2).norm(dim=-1).flatten(1)
    return torch.nn.functional.pad(steps.cumsum(1), (1, 0))


def length(points: Tensor) -> Tensor:
    """(..., 3 S + 1, 2) -> (...): of the control polygon, at least as long as the stroke."""
    return points.diff(dim=-2).norm(dim=-1).sum(-1)


def until(points: Tensor, share: float) -> Tensor:
    """The part of a stroke (3 S + 1, 2) from 0 to a share in [0, 1] of its parameter, as many points."""
    count = segments(points)
    whole = min(int(share * count), count - 1)
    part, _ = split(points[3 * whole : 3 * whole + 4], share * count - whole)
    rest = part[-1:].expand(3 * (count - 1 - whole), -1)  # segments that are not begun wait where the pen is
    return torch.cat([points[: 3 * whole], part, rest])


# ---------------------------------------------------------------------------------------------------- width profiles


def profile_width(name: str, share: Tensor) -> Tensor:
    """The share of its full width that a stroke has at shares in [0, 1] of its parameter, by profile.

    >>> profile_width("taper", torch.tensor([0.0, 1.0])).tolist()
    [1.0, 0.15000000596046448]
    """
    if name not in PROFILES:
        raise InputError(f"no width profile {name!r}", remedy=f"one of {', '.join(PROFILES)}")
    if name == "even":
        return torch.ones_like(share)
    full = (1 - share**2) if name == "taper" else torch.sin(math.pi * share) ** 0.7
    return full.clamp(min=THINNEST)


def parts(points: Tensor, profile: str) -> tuple[Tensor, Tensor]:
    """What is painted of strokes: the segments of those of even width, short pieces of others.

    Args:
        points: (..., N, 3 S + 1, 2).
        profile: one of ``PROFILES``.

    Returns:
        (..., N, P, 4, 2) curves, and (P,) what the stroke's width is multiplied by in each.
    """
    curves = cubics(points)
    if profile == "even":
        return curves, torch.ones(curves.shape[-3])
    for _ in range(int(math.log2(PROFILE_PARTS))):
        curves = torch.stack(split(curves, 0.5), -3).flatten(-4, -3)
    count = curves.shape[-3]
    return curves, profile_width(profile, (torch.arange(count) + 0.5) / count)


# ------------------------------------------------------------------------------------------------------------- chains


def in_segments(points: Tensor, count: int) -> Tensor:
    """(N, 3 S + 1, 2) -> (N, 3 count + 1, 2): the same lines, the longest segments cut in two; ``count`` at least S."""
    rows = []
    for stroke in points:
        curves = list(cubics(stroke[None])[0])
        while len(curves) < count:
            longest = max(range(len(curves)), key=lambda i: float(length(curves[i])))
            curves[longest : longest + 1] = split(curves[longest], 0.5)
        rows.append(chain(curves))
    return torch.stack(rows) if rows else points.new_zeros(0, 3 * count + 1, 2)


def in_two(points: Tensor) -> tuple[Tensor, Tensor]:
    """A stroke (3 S + 1, 2) -> two of as many segments, which draw it one after the other."""
    count, curves = segments(points), list(cubics(points))
    if count == 1:
        curves = list(split(points, 0.5))
    middle = len(curves) // 2
    first, second = (in_segments(chain(part)[None], count)[0] for part in (curves[:middle], curves[middle:]))
    return first, second


def chain(curves: Sequence[Tensor]) -> Tensor:
    """S of (4, 2), each beginning where the last one ended -> (3 S + 1, 2)."""
    return torch.cat([curves[0], *(curve[1:] for curve in curves[1:])])


def pen_path(points: Tensor) -> Tensor:
    """(N, 4, 2) -> the same curves in an order, and each in the direction, in which a pen travels little between them.

    The nearest end is always taken next; the pen begins at the leftmost one.
    """
    left, path = list(points), []
    if not left:
        return points
    pen = points[:, [0, 3]].flatten(0, 1)
    pen = pen[pen[:, 0].argmin()]
    while left:
        ends = torch.stack([curve[[0, 3]] for curve in left])  # (n, 2, 2)
        nearest = int((ends - pen).norm(dim=-1).flatten().argmin())
        curve = left.pop(nearest // 2)
        path.append(curve.flip(0) if nearest % 2 else curve)
        pen = path[-1][3]
    return torch.stack(path)


def joined(points: Tensor, count: int) -> Tensor:
    """(N, 4, 2) curves, and straight ones from each to the next -> (3 count + 1, 2); ``count`` at least 2 N - 1."""
    third = torch.linspace(0, 1, 4)[:, None]
    curves = [points[0]]
    for curve in points[1:]:
        curves += [curves[-1][3].lerp(curve[0], third), curve]
    return in_segments(chain(curves)[None], count)[0]
