"""Things that cover pixels, in plain torch: which pixels, and which thing is the nearest there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

PAIRS_AT_ONCE = 2**22  # bounds memory: some 200 MB


class Pairs(NamedTuple):
    """M pairs of a thing and a pixel of the box around it: (M,) int64 each."""

    thing: Tensor
    row: Tensor
    column: Tensor


def boxes(left: Tensor, right: Tensor, top: Tensor, bottom: Tensor, side: int) -> Iterator[Pairs]:
    """The pixels whose centres (k + 0.5) lie in the boxes of K things, in the things' order, a part at a time.

    Args:
        left, right, top, bottom: (K,) edges in pixels; a NaN, or left > right, is a thing without pixels.
        side: of the square canvas in pixels.
    """
    first = [torch.ceil(edge - 0.5).nan_to_num(side).clamp(0, side).long() for edge in (left, top)]
    last = [torch.floor(edge - 0.5).nan_to_num(-1).clamp(-1, side - 1).long() for edge in (right, bottom)]
    width, height = ((b - a + 1).clamp(min=0) for a, b in zip(first, last, strict=True))
    area = width * height
    ends = area.cumsum(0)
    start = 0
    while start < len(area):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(torch.searchsorted(ends, before + PAIRS_AT_ONCE, right=True)), start + 1)
        some = area[start:stop]
        thing = torch.repeat_interleave(torch.arange(start, stop, device=area.device), some)
        place = torch.arange(len(thing), device=area.device) - (ends[thing] - area[thing] - before)
        yield Pairs(
            thing,
            first[1][thing] + torch.div(place, width[thing], rounding_mode="floor"),
            first[0][thing] + place % width[thing],
        )
        start = stop


def nearest(
    parts: Iterator[Pairs], pixel_and_depth: Callable[[Pairs], tuple[Tensor, Tensor]], pixels: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """A z-buffer.

    Args:
        parts: as `boxes` gives them.
        pixel_and_depth: of M pairs, the (M,) pixel, below `pixels`, and the (M,) depth; infinite where the thing does
            not cover the pixel.
        pixels: how many there are.
        like: a tensor of the depths' dtype, on their device.

    Returns:
        (pixels,) depth of the nearest thing, infinite without one; (pixels,) int64 the thing, of equally near ones the
        first, -1 for none.
    """
    depth = like.new_full((pixels,), torch.inf)
    thing = torch.full((pixels,), _NONE, device=like.device)
    for pairs in parts:
        pixel, far = pixel_and_depth(pairs)
        nearer = depth.scatter_reduce(0, pixel, far, "amin")
        found = (far == nearer[pixel]) & far.isfinite()
        thing = torch.where(nearer < depth, _NONE, thing).scatter_reduce(0, pixel[found], pairs.thing[found], "amin")
        depth = nearer
    return depth, torch.where(thing == _NONE, -1, thing)


_NONE = 2**62
