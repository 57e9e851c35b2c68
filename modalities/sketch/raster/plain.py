"""The definition of a painted stroke, in plain PyTorch: any device, float32 or float64, gradients by autograd.

Three choices are made without a gradient and stay as they are in the backward pass: how many segments a curve is cut
into, which pixels a stroke may touch, and which of its segments is nearest to each of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clipx.modalities.sketch.raster.constants import (
    END_PX,
    FLATNESS_PX,
    HALF_DIAGONAL_PX,
    LEAST_COSINE2,
    MOST_SEGMENTS,
    SPECK,
    TINY,
)


def paint(points: Tensor, width: Tensor, alpha: Tensor, color: Tensor, canvas: Tensor) -> Tensor:
    """(B, C, H, W) canvases with strokes painted over them in order, the first one lowest.

    Args:
        points: (B, N, 4, 2) control points of cubics in pixels, x then y.
        width: (B, N) full widths in pixels.
        alpha: (B, N) opacities.
        color: (B, N, C) inks.
        canvas: (B, C, H, W) grounds.
    """
    size = canvas.shape[-2:]
    images = []
    for ground, *strokes in zip(canvas, points, width, alpha, color, strict=True):
        image = ground.flatten(1)
        for control, full_width, opacity, ink in zip(*strokes, strict=True):
            vertices, radius = flatten(control), full_width / 2
            pixel, segment = touched(vertices, radius, size)
            centre = torch.stack((pixel % size[1], pixel // size[1]), 1) + 0.5
            share = opacity * coverage(centre, vertices, segment, radius)
            under = image[:, pixel]
            image = image.index_copy(1, pixel, under + share * (ink[:, None] - under))
        images.append(image.unflatten(1, size))
    return torch.stack(images) if images else canvas + 0 * points.sum()  # no picture has gradients too


def coverage(centre: Tensor, vertices: Tensor, segment: Tensor, radius: Tensor) -> Tensor:
    """(P,) share of each pixel's square that a stroke covers.

    Within a pixel the stroke counts as a straight band: along the nearest segment, or, where an end of it is nearest,
    across the direction from there to the pixel.

    Args:
        centre: (P, 2) centres of pixels.
        vertices: (n + 1, 2) the stroke's centre line.
        segment: (P,) index of the segment nearest to each centre.
        radius: () half the stroke's width.
    """
    start, end = vertices[segment], vertices[segment + 1]
    along = end - start
    length2 = _dot(along, along)
    line = length2 > SPECK
    per_length2 = line / length2.clamp_min(SPECK)
    t = (_dot(centre - start, along) * per_length2).clamp(0, 1)
    away = (1 - t)[:, None] * (centre - start) + t[:, None] * (centre - end)  # at t = 1 exactly from the end
    away2 = _dot(away, away)
    distance = (away2 + TINY).sqrt()

    # The squared cosine between the band's normal and the x axis.
    across = torch.where(line, along[:, 1] ** 2 * per_length2, 0.5)
    cosine2 = (away[:, 0] ** 2 + END_PX**2 * across) / (away2 + END_PX**2)

    # A round cap curves away from its tangent: this radius gives a dot drawn by tangents the area of the disc.
    cap = torch.maximum(radius**2 - 1 / 12, radius**2 / 4).clamp_min(TINY).sqrt()
    past = torch.where(line, _dot(away, along).abs() * per_length2.clamp_min(TINY).sqrt(), distance)
    ends = ((segment == 0) & (t == 0)) | ((segment == len(vertices) - 2) & (t == 1))
    reach = radius + (cap - radius) * ends * (2 * past).clamp_max(1)

    return half_plane(reach - distance, cosine2) + half_plane(reach + distance, cosine2) - 1


def half_plane(reach: Tensor, cosine2: Tensor) -> Tensor:
    """(P,) area of a unit square on one side of a line: 0 where `reach` is below -0.71, 1 above 0.71.

    Args:
        reach: (P,) signed distance of the line from the square's centre.
        cosine2: (P,) squared cosine between the line's normal and the x axis.
    """
    cosine2 = cosine2.clamp(LEAST_COSINE2, 1 - LEAST_COSINE2)
    sides = torch.stack((cosine2, 1 - cosine2)).sqrt()
    small, big = sides.amin(0), sides.amax(0)
    # Along the line the square's thickness is a trapezoid: level for `level` either way, then falling for `small`.
    level = (big - small) / 2
    fall = torch.minimum((reach.abs() - level).clamp_min(0), small)
    return 0.5 + (reach.clamp(-level, level) + reach.sign() * fall * (1 - fall / (2 * small))) / big


def flatten(control: Tensor) -> Tensor:
    """(n + 1, 2) points on a cubic (4, 2), evenly spaced in its parameter, as many as FLATNESS_PX asks for."""
    second = control.detach().diff(n=2, dim=0)
    bend = math.sqrt(_dot(second, second).max())
    n = min(1 + int(math.sqrt(bend * 0.75 / FLATNESS_PX)), MOST_SEGMENTS)
    t = torch.arange(n + 1, dtype=control.dtype, device=control.device)[:, None] / n
    s = 1 - t
    a, b, c, d = control
    return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d


@torch.no_grad()
def touched(vertices: Tensor, radius: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """(P,) indices of the pixels a stroke may touch, (P,) the segment nearest to each; of equally near ones the first.

    Args:
        vertices: (n + 1, 2) the stroke's centre line.
        radius: () half the stroke's width.
        size: height and width of the canvas.
    """
    start, end = vertices[:-1], vertices[1:]
    reach = radius + HALF_DIAGONAL_PX
    # Candidates: every pixel of the box around a segment, the boxes one after another.
    edge = torch.tensor([size[1], size[0]], device=vertices.device) - 1
    low = (torch.minimum(start, end) - reach - 0.5).ceil().long().clamp_min(0)
    high = torch.minimum((torch.maximum(start, end) + reach - 0.5).floor().long(), edge)
    columns, rows = (high - low + 1).clamp_min(0).unbind(1)
    count = columns * rows
    segment = torch.repeat_interleave(count)
    place = torch.arange(len(segment), device=vertices.device) - (count.cumsum(0) - count)[segment]
    pixel = low[segment] + torch.stack((place % columns[segment], place // columns[segment]), 1)

    start, end = start[segment], end[segment]
    along, centre = end - start, pixel + 0.5
    length2 = _dot(along, along)
    t = (_dot(centre - start, along) * ((length2 > SPECK) / length2.clamp_min(SPECK))).clamp(0, 1)[:, None]
    away = (1 - t) * (centre - start) + t * (centre - end)
    distance2 = _dot(away, away)

    near = distance2 <= reach**2
    segment, distance2 = segment[near], distance2[near]
    pixel, place = torch.unique((pixel[:, 1] * size[1] + pixel[:, 0])[near], return_inverse=True)
    least = distance2.new_full(pixel.shape, torch.inf).scatter_reduce(0, place, distance2, "amin")
    least_far = distance2 == least[place]
    return pixel, segment.new_full(pixel.shape, len(vertices)).scatter_reduce(
        0, place[least_far], segment[least_far], "amin"
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1]
