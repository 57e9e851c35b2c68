"""The strokes of `kernel` by NumPy alone, to the bit: slower, but a few pictures are done before numba is loaded.

What `kernel` does pixel by pixel is done here for all strokes at once, in the same arithmetic: float32, and float64 for
the boxes around segments.
"""

from __future__ import annotations

import numpy as np

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

MOST_PAIRS = 2**20  # of a segment and a pixel near it: memory, and a tenth of a second
ONE, HALF, LEAST, END2 = np.float32(1), np.float32(0.5), np.float32(LEAST_COSINE2), np.float32(END_PX**2)


def paint(
    points: np.ndarray, width: np.ndarray, alpha: np.ndarray, color: np.ndarray, canvas: np.ndarray
) -> np.ndarray | None:
    """As `kernel.paint`; None where there is so much to paint that it should."""
    image = np.array(canvas, order="C")
    batch, channels, height, columns = image.shape
    control, radius, opacity = points.reshape(-1, 4, 2), (width / 2).ravel(), alpha.ravel()
    with np.errstate(all="ignore"):  # what has no extent
        line = _flatten(control, radius, height, columns)
        found = _touched(*line, radius, height, columns)
        if found is None:
            return None
        stroke, segment, y, x = found
        share = opacity[stroke] * _covered(*line[:2], segment, y, x, radius[stroke])
    ink, pages = color.reshape(-1, channels), image.reshape(batch, channels, height * columns)
    each, ends = points.shape[1], np.searchsorted(stroke, np.arange(len(control) + 1))
    place = y * columns + x
    for s in np.unique(stroke):  # one over the other
        where = slice(ends[s], ends[s + 1])
        page, pixel = pages[s // each], place[where]
        before = page[:, pixel]
        page[:, pixel] = before + share[where] * (ink[s][:, None] - before)
    return image


def _flatten(
    control: np.ndarray, radius: np.ndarray, height: int, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(V, 2) vertices of the centre lines, (V,) the stroke of each, (V,) sine of the turn at each, 1 at an end."""
    reach = radius.astype(np.float64)[:, None] + HALF_DIAGONAL_PX
    near = (control.max(1) > -reach).all(1) & (control.min(1) < np.array((columns, height)) + reach).all(1)
    steps = np.diff(control, axis=1)
    bends = steps[:, 1:] - steps[:, :-1]
    bend = np.sqrt((bends[..., 0] * bends[..., 0] + bends[..., 1] * bends[..., 1]).max(1)).astype(np.float64)
    pieces = np.minimum(1 + np.sqrt(bend * 0.75 / FLATNESS_PX).astype(np.int64), MOST_SEGMENTS)
    count = np.where(near, pieces + 1, 0)
    owner = np.arange(len(control)).repeat(count)
    step = np.arange(len(owner)) - (count.cumsum() - count)[owner]
    t = (step.astype(np.float32) / pieces[owner].astype(np.float32))[:, None]
    u, three = ONE - t, np.float32(3)
    a, b, c, d = control[owner].swapaxes(0, 1)
    vertices = u * u * u * a + three * u * u * t * b + three * u * t * t * c + t * t * t * d
    turn = np.ones(len(owner), np.float32)
    (ax, ay), (bx, by) = np.diff(vertices[:-1], axis=0).T, np.diff(vertices[1:], axis=0).T
    before2, after2 = ax * ax + ay * ay, bx * bx + by * by
    straight = (ax * bx + ay * by > 0) & (np.minimum(before2, after2) > SPECK)  # a point has no direction to turn from
    inner = straight & (owner[:-2] == owner[2:])
    sine = np.minimum(np.abs(ax * by - ay * bx) / np.sqrt(before2 * after2), ONE)
    turn[1:-1][inner] = sine[inner]
    return vertices, owner, turn


def _touched(
    vertices: np.ndarray, owner: np.ndarray, turn: np.ndarray, radius: np.ndarray, height: int, columns: int
) -> tuple[np.ndarray, ...] | None:
    """(P,) stroke, nearest segment (by its first vertex), row and column of what is near enough, stroke by stroke."""
    first = np.flatnonzero(owner[:-1] == owner[1:])  # vertices that a segment begins with
    (ax, ay), (bx, by) = vertices[first].T, vertices[first + 1].T
    reach = radius[owner[first]].astype(np.float64) + HALF_DIAGONAL_PX
    ex, ey = bx - ax, by - ay
    length2 = ex * ex + ey * ey
    length, line = np.sqrt(length2), length2 > SPECK
    ux, uy = (np.where(line, (e / length).astype(np.float64), other) for e, other in ((ex, 1.0), (ey, 0.0)))
    per_length2 = np.where(line, ONE / length2, np.float32(0))
    side = reach + SLACK_PX
    behind, ahead = -reach * turn[first] - SLACK_PX, length + reach * turn[first + 1] + SLACK_PX
    highest = ay + np.minimum(behind * uy, ahead * uy) - side * np.abs(ux)
    lowest = ay + np.maximum(behind * uy, ahead * uy) + side * np.abs(ux)
    top = np.maximum(np.ceil(highest - 0.5), 0).astype(np.int64)
    bottom = np.minimum(np.floor(lowest + 0.5), height).astype(np.int64)
    k, y = _spread(top, bottom)  # rows of the boxes
    wy = y.astype(np.float32) + HALF - ay[k]
    # Where the row enters and leaves the box: between its ends, and between its sides.
    per_ux, per_uy = (np.where(u != 0, 1 / u, 1e30)[k] for u in (ux, uy))
    p, q = (behind[k] - uy[k] * wy) * per_ux, (ahead[k] - uy[k] * wy) * per_ux
    r, s = (ux[k] * wy - side[k]) * per_uy, (ux[k] * wy + side[k]) * per_uy
    left = ax[k] + np.maximum(np.minimum(p, q), np.minimum(r, s)) - 0.5
    right = ax[k] + np.minimum(np.maximum(p, q), np.maximum(r, s)) - 0.5
    left, right = np.ceil(np.maximum(left, 0)), np.floor(np.minimum(right, columns - 1)) + 1
    if np.maximum(right - left, 0).sum() > MOST_PAIRS:
        return None
    row, x = _spread(left.astype(np.int64), right.astype(np.int64))
    k, y, wy = k[row], y[row], wy[row]
    zy = y.astype(np.float32) + HALF - by[k]
    wx, zx = (x.astype(np.float32) + HALF - end[k] for end in (ax, bx))
    t = np.minimum(np.maximum((wx * ex[k] + wy * ey[k]) * per_length2[k], 0), ONE)
    vx, vy = (ONE - t) * wx + t * zx, (ONE - t) * wy + t * zy
    distance2 = vx * vx + vy * vy
    near = distance2 < reach[k] * reach[k]
    k, y, x, distance2 = k[near], y[near], x[near], distance2[near]
    stroke = owner[first[k]]
    pixel = (stroke * height + y) * columns + x
    order = np.lexsort((distance2, pixel))  # of equally near ones the first stays the first
    order = order[np.diff(pixel[order], prepend=-1) > 0]
    return stroke[order], first[k[order]], y[order], x[order]


def _spread(begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges -> for all their numbers, one after the other, which range it is of and the number."""
    count = np.maximum(end - begin, 0)
    which = np.arange(len(count)).repeat(count)
    return which, np.arange(len(which)) - (count.cumsum() - count)[which] + begin[which]


def _covered(
    vertices: np.ndarray, owner: np.ndarray, segment: np.ndarray, y: np.ndarray, x: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    """(P,) share of each pixel that its stroke covers; see `plain.coverage`."""
    (ax, ay), (bx, by) = vertices[segment].T, vertices[segment + 1].T
    ends = np.r_[-1, owner, -1]  # shifted by one
    is_first, is_last = ends[segment] != ends[segment + 1], ends[segment + 2] != ends[segment + 3]
    x, y = x.astype(np.float32) + HALF, y.astype(np.float32) + HALF
    ex, ey = bx - ax, by - ay
    length2 = ex * ex + ey * ey
    line = length2 > SPECK
    per_length2 = np.where(line, ONE / length2, np.float32(0))
    t = np.minimum(np.maximum(((x - ax) * ex + (y - ay) * ey) * per_length2, 0), ONE)
    vx, vy = (ONE - t) * (x - ax) + t * (x - bx), (ONE - t) * (y - ay) + t * (y - by)
    away2 = vx * vx + vy * vy
    distance = np.sqrt(away2 + np.float32(TINY))
    across = np.where(line, ey * ey * per_length2, HALF)
    cosine2 = (vx * vx + END2 * across) * (ONE / (away2 + END2))
    past = np.where(line, np.abs(vx * ex + vy * ey) * np.sqrt(per_length2), distance)
    capped = (is_first & (t == 0)).astype(np.float32) + (is_last & (t == 1)).astype(np.float32)
    rounding = capped * np.minimum(np.float32(2) * past, ONE)
    square = radius * radius
    thin = np.maximum(radius * HALF, np.float32(np.sqrt(TINY)))
    cap = np.where(square > np.float32(1 / 9), np.sqrt(square - np.float32(1 / 12)), thin)
    edge = radius + (cap - radius) * rounding
    return _half_plane(edge - distance, cosine2) + _half_plane(edge + distance, cosine2) - ONE


def _half_plane(reach: np.ndarray, cosine2: np.ndarray) -> np.ndarray:
    """See `plain.half_plane`."""
    p = np.minimum(np.maximum(cosine2, LEAST), ONE - LEAST)
    a, b = np.sqrt(p), np.sqrt(ONE - p)
    small, big = np.minimum(a, b), np.maximum(a, b)
    level = (big - small) * HALF
    fall = np.minimum(np.maximum(np.abs(reach) - level, 0), small)
    sign = np.where(reach > 0, ONE, -ONE)
    middle = np.minimum(np.maximum(reach, -level), level)
    return HALF + (middle + sign * fall * (ONE - HALF * (fall / small))) * (ONE / big)
