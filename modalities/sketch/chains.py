"""Strokes of several segments made of single curves, and back: tensors of (3 S + 1) control points, see ``curves``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clipx.modalities.sketch.curves import cubics, segments, split


def length(points: Tensor) -> Tensor:
    """(..., 3 S + 1, 2) -> (...): of the control polygon, at least as long as the stroke."""
    return points.diff(dim=-2).norm(dim=-1).sum(-1)


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
