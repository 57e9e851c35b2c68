"""The strokes of `plain` on the CPU, by numba, with the backward pass written out.

Canvases are painted in bands of rows. A band is one worker's from its first stroke to its last, and what it adds to a
stroke's gradient has a place of its own until the bands are summed from the top. So neither the number of threads nor
the company of other strokes changes a bit of the result. Distances are worked out beside a stroke only, and what is
kept for the backward pass grows with the pixels that strokes touch, never with strokes x pixels.

The kernels are ordinary functions over NumPy arrays; `compiled` makes machine code of them on first use.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from clipx._threads import threads
from clipx.errors import InputError
from clipx.modalities.sketch.raster.constants import (
    END_PX,
    FLATNESS_PX,
    HALF_DIAGONAL_PX,
    LEAST_COSINE2,
    MOST_SEGMENTS,
    SLACK_PX,
    SPECK,
    TINY,
)

BAND = 16  # rows
WORTH = 64  # places (a stroke in a band) for each worker: handing work over takes as long as some 20 of them
USUAL = 128  # pixels in a place: what is kept of them starts with room for so many
MOST_KEPT = 2**28  # pixels under strokes: 6 GB
FAR = np.float32(3e38)  # from a pixel that no segment has reached yet

# A tile holds what `_cover` reads of up to LANES pixels and, in the same places, what it found. As one array of
# constant layout, with no branch on what it holds, it lets the compiler make vector code of the loop.
LANES = 256
COLUMN, ROW, START_X, START_Y, END_X, END_Y, IS_FIRST, IS_LAST, SEGMENT, GRADIENT = range(0, 10 * LANES, LANES)
SHARE, BY_START_X, BY_START_Y, BY_END_X, BY_END_Y, BY_RADIUS = range(0, 6 * LANES, LANES)


class Painted(NamedTuple):
    """What the backward pass needs to know of painted strokes.

    Args:
        drawn: radii, opacities, inks and centre lines of the strokes.
        span: of each stroke in each band: its pixels among those kept.
        kept: of each worker: those pixels.
    """

    drawn: tuple[np.ndarray, ...]
    span: np.ndarray
    kept: list[Any]


def paint(
    points: np.ndarray, width: np.ndarray, alpha: np.ndarray, color: np.ndarray, canvas: np.ndarray
) -> np.ndarray:
    """As `plain.paint`, for float32 arrays, by as many threads as an operator may use."""
    return forward(False, points, width, alpha, color, canvas)[0]


def forward(
    keep: bool, points: np.ndarray, width: np.ndarray, alpha: np.ndarray, color: np.ndarray, canvas: np.ndarray
) -> tuple[np.ndarray, Painted]:
    """`paint`, and where ``keep``, what `backward` needs.

    Raises:
        InputError: what is to be kept is too much.
    """
    image = np.array(canvas, order="C")
    radius, opacity, ink = _rows(width / 2), _rows(alpha), _rows(color)
    line = compiled().flatten(_rows(points), radius, image.shape[2], image.shape[3])
    if keep:
        _check_memory(radius, *line[:2], *image.shape[2:])
    drawn = (radius, opacity, ink, *line)
    span = np.zeros((line[-1][-1], 2), np.int64)
    task = partial(compiled().paint, keep, image, *drawn, span)
    bands = len(image) * -(-image.shape[2] // BAND)
    workers = max(1, min(threads(), bands, len(span) // WORTH))
    return image, Painted(drawn, span, _together([partial(task, worker, workers) for worker in range(workers)]))


def backward(painted: Painted, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, C, H, W) gradient by the picture -> by strokes and by the canvas.

    Returns:
        (B N, 10 + C) by 8 coordinates, radius, alpha and colour of each stroke; (B, C, H, W).
    """
    ground = np.array(gradient, order="C")
    parts = np.zeros((len(painted.span), 10 + ground.shape[1]))
    task = partial(compiled().unpaint, parts, ground, *painted.drawn, painted.span)
    _together([partial(task, worker, len(painted.kept), *kept) for worker, kept in enumerate(painted.kept)])
    return compiled().total(painted.drawn[-1], parts), ground


def _check_memory(radius: np.ndarray, first: np.ndarray, vertices: np.ndarray, height: int, columns: int) -> None:
    """Refuse what would keep too many pixels for the backward pass: some 24 bytes each."""
    if len(radius) * height * columns <= MOST_KEPT:
        return
    owner = np.repeat(np.arange(len(radius)), np.diff(first))
    within = np.clip(vertices, 0, (columns, height))
    lengths = np.linalg.norm(np.diff(within, axis=0), axis=1) * (owner[1:] == owner[:-1])
    thick = 2 * (radius + HALF_DIAGONAL_PX)
    touched = np.bincount(owner[1:], lengths, len(radius)) * thick + thick**2
    if (total := float(np.minimum(touched, height * columns).sum())) > MOST_KEPT:
        raise InputError(
            f"the strokes cover {total / 1e6:,.0f} million pixels, more than {MOST_KEPT // 2**20} million: too much to "
            "keep for gradients",
            remedy="take fewer, shorter or narrower strokes, a smaller canvas, or no gradients",
        )


def _rows(values: np.ndarray) -> np.ndarray:
    """A copy of (B, N, ...) as (B N, ...): what is kept must not change before the backward pass."""
    return np.array(values.reshape(len(values) * values.shape[1], *values.shape[2:]), order="C")


def _together(calls: list[Callable[[], Any]]) -> list[Any]:
    """What the calls return, which run at once; the machine code in them lets go of Python's lock."""
    others = [_pool().submit(call) for call in calls[1:]]
    return [calls[0](), *(other.result() for other in others)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="clipx-strokes")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


class Kernels(NamedTuple):
    """The machine code."""

    flatten: Callable[..., Any]
    paint: Callable[..., Any]
    unpaint: Callable[..., Any]
    total: Callable[..., Any]


@cache
def compiled() -> Kernels:
    """The kernels for one set of types; from numba's cache on disk where it can be written and holds them."""
    from numba import njit
    from numba.core import event
    from numba.extending import register_jitable

    class Notice(event.Listener):
        def on_start(self, _: Any) -> None:
            _tell()

        def on_end(self, _: Any) -> None:
            pass

    def build(function: Callable[..., Any], types: str, **options: Any) -> Callable[..., Any]:
        options |= {"nogil": True, "error_model": "numpy"}
        try:
            return njit(types, cache=True, **options)(function)
        except RuntimeError:  # no folder to write to
            return njit(types, **options)(function)

    for helper in (_touch, _fill, _cover, _half_plane, _cap, _grown):
        register_jitable(helper)
    image, row, rows, count, counts = "f4[:,:,:,::1]", "f4[::1]", "f4[:,::1]", "i8[::1]", "i8[:,::1]"
    drawn = f"{row}, {row}, {rows}, {count}, {rows}, {row}, {counts}, {count}, {counts}, i8, i8"
    with event.install_listener("numba:compile", Notice()):
        return Kernels(
            build(_flatten, f"(f4[:,:,::1], {row}, i8, i8)"),
            build(_paint, f"(b1, {image}, {drawn})"),
            build(_unpaint, f"(f8[:,::1], {image}, {drawn}, i4[::1], i4[::1], {row}, {rows})"),
            build(_total, f"({count}, f8[:,::1])"),
        )


def is_loaded() -> bool:
    """Whether the machine code is there already."""
    return compiled.cache_info().currsize > 0


@cache
def _tell() -> None:
    logging.getLogger("clipx").warning("compiling the stroke kernels for this machine: some 20 s, once")


# The kernels. S = B N strokes, V vertices of all their centre lines, P pixels kept; a place is a stroke in a band.


def _flatten(control, radius, height, columns):
    """Centre lines of the strokes on the canvas, in the arithmetic of `plain.flatten`.

    Returns (S + 1,) index of each stroke's first vertex; (V, 2) vertices; (V,) sine of the turn at each, 1 at an end;
    (S, 2) first band and last + 1; (S + 1,) index of each stroke's first place.
    """
    one, three = np.float32(1), np.float32(3)
    first, place = np.zeros(len(control) + 1, np.int64), np.zeros(len(control) + 1, np.int64)
    bands = np.zeros((len(control), 2), np.int64)
    for s in range(len(control)):
        left, top, right, bottom = control[s, 0, 0], control[s, 0, 1], control[s, 0, 0], control[s, 0, 1]
        for i in range(1, 4):
            left, right = min(left, control[s, i, 0]), max(right, control[s, i, 0])
            top, bottom = min(top, control[s, i, 1]), max(bottom, control[s, i, 1])
        reach = radius[s] + HALF_DIAGONAL_PX
        count = 0
        if right > -reach and left < columns + reach and bottom > -reach and top < height + reach:
            bend = np.float32(0)
            for i in range(2):
                x = (control[s, i + 2, 0] - control[s, i + 1, 0]) - (control[s, i + 1, 0] - control[s, i, 0])
                y = (control[s, i + 2, 1] - control[s, i + 1, 1]) - (control[s, i + 1, 1] - control[s, i, 1])
                bend = max(bend, x * x + y * y)
            count = 1 + min(1 + int(math.sqrt(math.sqrt(bend) * 0.75 / FLATNESS_PX)), MOST_SEGMENTS)
        first[s + 1] = first[s] + count

    vertices, turn = np.empty((first[-1], 2), np.float32), np.ones(first[-1], np.float32)
    for s in range(len(control)):
        n = first[s + 1] - first[s] - 1
        top, bottom = FAR, -FAR
        for k in range(n + 1):
            t = np.float32(k) / np.float32(n)
            u = one - t
            v = first[s] + k
            for axis in range(2):
                vertices[v, axis] = (
                    u * u * u * control[s, 0, axis]
                    + three * u * u * t * control[s, 1, axis]
                    + three * u * t * t * control[s, 2, axis]
                    + t * t * t * control[s, 3, axis]
                )
            top, bottom = min(top, vertices[v, 1]), max(bottom, vertices[v, 1])
        for v in range(first[s] + 1, first[s + 1] - 1):
            ax, ay = vertices[v, 0] - vertices[v - 1, 0], vertices[v, 1] - vertices[v - 1, 1]
            bx, by = vertices[v + 1, 0] - vertices[v, 0], vertices[v + 1, 1] - vertices[v, 1]
            lengths2 = (ax * ax + ay * ay), (bx * bx + by * by)
            if ax * bx + ay * by > 0 and min(lengths2) > SPECK:  # a point has no direction to turn from
                turn[v] = min(abs(ax * by - ay * bx) / math.sqrt(lengths2[0] * lengths2[1]), 1.0)
        if n > 0:
            reach = radius[s] + HALF_DIAGONAL_PX + SLACK_PX
            bands[s, 0] = int(max(top - reach, 0.0)) // BAND
            bands[s, 1] = math.ceil(max(min(bottom + reach, height), 0.0) / BAND)
        place[s + 1] = place[s] + max(bands[s, 1] - bands[s, 0], 0)
    return first, vertices, turn, bands, place


def _paint(keep, image, radius, alpha, color, first, vertices, turn, bands, place, span, worker, workers):
    """Paints every `workers`-th band of the images, in place, and notes in `span` which pixels each stroke has there.

    Returns of those pixels, where `keep`: (P,) 65536 row + column, (P,) nearest segment, (P,) covered share, (P, C)
    colours before the stroke.
    """
    batch, channels, height, columns = image.shape
    bands_each, strokes_each = -(-height // BAND), len(radius) // max(batch, 1)
    most = BAND * columns
    least, nearest = np.full(most, FAR), np.empty(most, np.int32)
    tile = np.empty(10 * LANES, np.float32)
    room = 2 * most + USUAL * len(span) // workers  # no more than a promise until it is written to
    pixel, segment = np.empty(room, np.int32), np.empty(room, np.int32)
    share, under = np.empty(room, np.float32), np.empty((room, channels), np.float32)
    kept = 0
    for task in range(worker, batch * bands_each, workers):
        picture, band = task // bands_each, task % bands_each
        top, bottom = band * BAND, min(band * BAND + BAND, height)
        for s in range(picture * strokes_each, (picture + 1) * strokes_each):
            if band < bands[s, 0] or band >= bands[s, 1]:
                continue
            if not keep:
                kept = 0
            if kept + most >= len(pixel):
                pixel, segment, share, under = _grown(pixel), _grown(segment), _grown(share), _grown(under)
            begin, start, last = kept, first[s], first[s + 1] - 2
            reach = radius[s] + HALF_DIAGONAL_PX
            found = _touch(vertices, turn, start, last, reach, top, bottom, columns, least, nearest, pixel, begin)
            for j in range(begin, found):
                i = ((pixel[j] >> 16) - top) * columns + (pixel[j] & 0xFFFF)
                pixel[kept], segment[kept] = pixel[j], nearest[i]
                kept += least[i] < reach * reach
                least[i] = FAR
            for chunk in range(begin, kept, LANES):
                some = min(LANES, kept - chunk)
                for n in range(some):
                    _fill(tile, n, pixel[chunk + n], segment[chunk + n], vertices, start, last)
                _cover(tile, some, radius[s])
                for n in range(some):
                    x, y = pixel[chunk + n] & 0xFFFF, pixel[chunk + n] >> 16
                    share[chunk + n] = tile[SHARE + n]
                    for c in range(channels):
                        before = image[picture, c, y, x]
                        under[chunk + n, c] = before
                        image[picture, c, y, x] = before + alpha[s] * tile[SHARE + n] * (color[s, c] - before)
            span[place[s] + band - bands[s, 0], 0] = begin
            span[place[s] + band - bands[s, 0], 1] = kept
    return pixel[:kept], segment[:kept], share[:kept], under[:kept]


def _unpaint(
    parts, gradient, radius, alpha, color, first, vertices, turn, bands, place, span, worker, workers,
    pixel, segment, share, under,
):  # fmt: skip
    """The backward pass of `_paint` over the same bands.

    Turns `gradient`, by the painted images, into the one by the bare canvases, and fills `parts` (places, 10 + C) with
    the gradients by 8 coordinates, radius, alpha and colour of each stroke in each band.
    """
    batch, channels, height, _ = gradient.shape
    bands_each, strokes_each = -(-height // BAND), len(radius) // max(batch, 1)
    tile = np.empty(10 * LANES, np.float32)
    pull = np.zeros((MOST_SEGMENTS + 1, 2))  # gradient by each vertex of the stroke at hand
    for task in range(worker, batch * bands_each, workers):
        picture, band = task // bands_each, task % bands_each
        for s in range((picture + 1) * strokes_each - 1, picture * strokes_each - 1, -1):
            if band < bands[s, 0] or band >= bands[s, 1]:
                continue
            part = parts[place[s] + band - bands[s, 0]]
            begin, end = span[place[s] + band - bands[s, 0], 0], span[place[s] + band - bands[s, 0], 1]
            start, last = first[s], first[s + 1] - 2
            low, high = last + 1 - start, -1
            by_radius, by_alpha = 0.0, 0.0
            for chunk in range(begin, end, LANES):
                some = 0
                for j in range(chunk, min(chunk + LANES, end)):
                    x, y = pixel[j] & 0xFFFF, pixel[j] >> 16
                    by_share = 0.0
                    for c in range(channels):
                        g, before = gradient[picture, c, y, x], under[j, c]
                        by_share += g * (color[s, c] - before)
                        part[10 + c] += g * alpha[s] * share[j]
                        gradient[picture, c, y, x] = g * (1 - alpha[s] * share[j])
                    by_alpha += by_share * share[j]
                    if by_share != 0:
                        _fill(tile, some, pixel[j], segment[j], vertices, start, last)
                        tile[GRADIENT + some] = by_share * alpha[s]
                        some += 1
                _cover(tile, some, radius[s])
                for n in range(some):
                    g, v = tile[GRADIENT + n], int(tile[SEGMENT + n])
                    by_radius += g * tile[BY_RADIUS + n]
                    pull[v, 0] += g * tile[BY_START_X + n]
                    pull[v, 1] += g * tile[BY_START_Y + n]
                    pull[v + 1, 0] += g * tile[BY_END_X + n]
                    pull[v + 1, 1] += g * tile[BY_END_Y + n]
                    low, high = min(low, v), max(high, v + 1)

            part[8], part[9] = by_radius, by_alpha
            for v in range(low, high + 1):
                t = v / (last + 1 - start)
                u = 1 - t
                for axis in range(2):
                    part[axis] += u * u * u * pull[v, axis]
                    part[2 + axis] += 3 * u * u * t * pull[v, axis]
                    part[4 + axis] += 3 * u * t * t * pull[v, axis]
                    part[6 + axis] += t * t * t * pull[v, axis]
                    pull[v, axis] = 0


def _total(place, parts):
    """(S, 10 + C) sums of each stroke's parts, from its first band to its last."""
    total = np.zeros((len(place) - 1, parts.shape[1]), np.float32)
    for s in range(len(total)):
        for c in range(parts.shape[1]):
            total[s, c] = parts[place[s] : place[s + 1], c].sum()
    return total


def _touch(vertices, turn, start, last, reach, top, bottom, columns, least, nearest, pixel, found):
    """Appends to `pixel`, where `found` are, those of a band that segments start..last come near.

    Leaves in `least` and `nearest` the squared distance and the index of the segment nearest to each. Beyond its ends a
    segment looks no farther than where its neighbour takes over. Distances are in the arithmetic of `plain.touched`, so
    that both choose the same.
    """
    nil, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    for k in range(start, last + 1):
        ax, ay, bx, by = vertices[k, 0], vertices[k, 1], vertices[k + 1, 0], vertices[k + 1, 1]
        if max(ay, by) + reach < top or min(ay, by) - reach > bottom:
            continue
        ex, ey = bx - ax, by - ay
        length2 = ex * ex + ey * ey
        length = math.sqrt(length2)
        ux, uy, per_length2 = (ex / length, ey / length, one / length2) if length2 > SPECK else (1.0, 0.0, nil)
        side = reach + SLACK_PX
        behind, ahead = -reach * turn[k] - SLACK_PX, length + reach * turn[k + 1] + SLACK_PX
        per_ux, per_uy = 1 / ux if ux != 0 else 1e30, 1 / uy if uy != 0 else 1e30
        highest = ay + min(behind * uy, ahead * uy) - side * abs(ux)
        lowest = ay + max(behind * uy, ahead * uy) + side * abs(ux)
        for y in range(max(top, math.ceil(highest - 0.5)), min(bottom, math.floor(lowest + 0.5))):
            wy, zy = np.float32(y) + half - ay, np.float32(y) + half - by
            # Where the row enters and leaves the box: between its ends, and between its sides.
            p, q = (behind - uy * wy) * per_ux, (ahead - uy * wy) * per_ux
            r, s = (ux * wy - side) * per_uy, (ux * wy + side) * per_uy
            left = ax + max(min(p, q), min(r, s)) - 0.5
            right = ax + min(max(p, q), max(r, s)) - 0.5
            for x in range(math.ceil(max(left, 0.0)), math.floor(min(right, columns - 1.0)) + 1):
                wx, zx = np.float32(x) + half - ax, np.float32(x) + half - bx
                t = min(max((wx * ex + wy * ey) * per_length2, nil), one)
                vx, vy = (one - t) * wx + t * zx, (one - t) * wy + t * zy
                distance2 = vx * vx + vy * vy
                i = (y - top) * columns + x
                before = least[i]  # no branches from here, which could not be foretold
                pixel[found] = y << 16 | x
                found += before == FAR
                nearest[i] = k if distance2 < before else nearest[i]
                least[i] = min(before, distance2)
    return found


def _fill(tile, n, pixel, k, vertices, start, last):
    """Lays a pixel and segment k, the one nearest to it of a stroke's start..last, into lane n of `tile`."""
    tile[COLUMN + n], tile[ROW + n] = pixel & 0xFFFF, pixel >> 16
    tile[START_X + n], tile[START_Y + n] = vertices[k, 0], vertices[k, 1]
    tile[END_X + n], tile[END_Y + n] = vertices[k + 1, 0], vertices[k + 1, 1]
    tile[IS_FIRST + n], tile[IS_LAST + n], tile[SEGMENT + n] = k == start, k == last, k - start


def _cover(tile, some, radius):
    """In the first lanes of a tile, `plain.coverage` and its slopes by the ends of the segment and by the radius.

    float32 to the last literal: a double would halve the lanes, and divide and take roots at half the speed.
    """
    nil, half, one, two = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
    cap, cap_by_radius = _cap(radius)
    end2 = np.float32(END_PX**2)
    for n in range(some):
        x, y = tile[COLUMN + n] + half, tile[ROW + n] + half
        ax, ay, bx, by = tile[START_X + n], tile[START_Y + n], tile[END_X + n], tile[END_Y + n]
        is_first, is_last = tile[IS_FIRST + n], tile[IS_LAST + n]
        ex, ey = bx - ax, by - ay
        length2 = ex * ex + ey * ey
        line = length2 > SPECK
        per_length2 = one / length2 if line else nil
        free = ((x - ax) * ex + (y - ay) * ey) * per_length2
        t = min(max(free, nil), one)
        vx, vy = (one - t) * (x - ax) + t * (x - bx), (one - t) * (y - ay) + t * (y - by)
        away2 = vx * vx + vy * vy
        distance = math.sqrt(away2 + np.float32(TINY))
        per_away2 = one / (away2 + end2)
        cosine2 = (vx * vx + end2 * (ey * ey * per_length2 if line else half)) * per_away2
        dot, per_length = vx * ex + vy * ey, math.sqrt(per_length2)
        past = abs(dot) * per_length if line else distance
        capped = is_first * (one if t == nil else nil) + is_last * (one if t == one else nil)
        rounding = capped * min(two * past, one)
        edge = radius + (cap - radius) * rounding
        near, near_slope, near_turn = _half_plane(edge - distance, cosine2)
        far, far_slope, far_turn = _half_plane(edge + distance, cosine2)

        by_edge, by_distance = near_slope + far_slope, (far_slope - near_slope) / distance
        by_past = two * by_edge * (cap - radius) * capped if two * past < one else nil
        turning = two * (near_turn + far_turn) * per_away2
        # By `away` = v and `along` = e.
        slope = (by_past if dot > nil else -by_past) * per_length
        by_distance = by_distance if line else by_distance + by_past / distance
        gvx = by_distance * vx + turning * vx * (one - cosine2) + slope * ex
        gvy = by_distance * vy - turning * vy * cosine2 + slope * ey
        bend, back = turning * end2 * ex * ey * per_length2 * per_length2, by_past * past * per_length2
        # v = p - a - t e, and t moves with a and e unless it is clamped.
        slide = (gvx * ex + gvy * ey) * per_length2 if t == free else nil
        gex = slope * vx - ey * bend - back * ex - t * gvx - slide * (vx - t * ex)
        gey = slope * vy + ex * bend - back * ey - t * gvy - slide * (vy - t * ey)

        tile[SHARE + n] = near + far - one
        tile[BY_START_X + n], tile[BY_START_Y + n] = slide * ex - gvx - gex, slide * ey - gvy - gey
        tile[BY_END_X + n], tile[BY_END_Y + n] = gex, gey
        tile[BY_RADIUS + n] = by_edge * (one + (cap_by_radius - one) * rounding)


def _half_plane(reach, cosine2):
    """As `plain.half_plane`, and its slopes by `reach` and by `cosine2`."""
    nil, half, one, least = np.float32(0), np.float32(0.5), np.float32(1), np.float32(LEAST_COSINE2)
    p = min(max(cosine2, least), one - least)
    a, b = math.sqrt(p), math.sqrt(one - p)
    small, big = min(a, b), max(a, b)
    level = (big - small) * half
    fall = min(max(abs(reach) - level, nil), small)
    share, per_big = fall / small, one / big
    sign = one if reach > nil else -one
    area = half + (min(max(reach, -level), level) + sign * fall * (one - half * share)) * per_big
    turn = sign * half * share * (one + (one - share) * big / small) + half - area
    turn = turn * half * per_big * per_big if p == cosine2 else nil
    return area, (one - share) * per_big, turn if a > b else -turn


def _cap(radius):
    """The radius of a cap drawn by its tangents, and its slope by the stroke's radius."""
    if radius * radius > np.float32(1 / 9):
        cap = math.sqrt(radius * radius - np.float32(1 / 12))
        return cap, radius / cap
    thin = radius * np.float32(0.5)
    return max(thin, np.float32(math.sqrt(TINY))), np.float32(0.5 if thin * thin > TINY else 0)


def _grown(array):
    """A copy with room for twice as many."""
    return np.concatenate((array, np.empty_like(array)))
