"""Strokes that lie on a photo's contours from the start: long edges, fitted by cubics; which of them to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from clipx.modalities.sketch.chains import chain, in_segments
from clipx.modalities.sketch.curves import at

SIGMAS = (2.0, 1.4, 2.8)  # pixels: of the Gaussian that smooths the photo, see ``contour_strokes``
TOLERANCE = 2.5  # pixels that a cubic may be off its contour
SHORTEST = 8  # pixels of a contour that is drawn
NEAR = 4  # pixels about a stroke in which another one counts as drawn already
FAINT = 0.05  # of the photo's largest contrast: a shade of the backdrop is no contour
JITTER = 0.3  # standard deviation of the logarithm of a contour's random weight
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


def contour_strokes(grey: np.ndarray, looks: np.ndarray, count: int, seed: int, segments: int = 1) -> Tensor:
    """Strokes of cubic segments along the contours that matter most.

    Edges are Canny's (1986), followed from end to end and cut where a cubic no longer fits (Schneider, "An algorithm
    for automatically fitting digitized curves", Graphics Gems, 1990). Of the pieces the one is taken next that has the
    largest sum of contrast times saliency over places that no stroke is near yet.

    Args:
        grey: (H, W) luminance.
        looks: (H, W) saliency in [0, 1]; 0 where nothing is to be drawn.
        count: how many at most.
        seed: of random weights of the contours; ``seed // 1000 % 3`` chooses the smoothing from ``SIGMAS``, since the
            default seeds are 0, 1000 and 2000.
        segments: S, how many pieces of a contour a stroke follows at most.

    Returns:
        (N, 3 S + 1, 2) float32, x then y, in pixels; N at most ``count``, and less where contours run out.
    """
    from skimage.feature import canny
    from skimage.filters import gaussian, sobel

    sigma = SIGMAS[seed // 1000 % len(SIGMAS)]
    contrast = sobel(gaussian(grey, sigma))
    edges = canny(grey, sigma, low_threshold=0.4, high_threshold=0.8, use_quantiles=True) & (looks > 0)
    edges &= contrast > FAINT * contrast[looks > 0].max(initial=0)
    left = (contrast * looks).astype(np.float64)
    pieces = [piece for path in chains(edges) for piece in _together(fitted(path), segments)]
    value = np.exp(np.random.default_rng(seed).normal(0, JITTER, len(pieces)))
    rows = [path.astype(int) for path, _ in pieces]
    worth = np.array([left[tuple(at.T)].sum() for at in rows]) * value
    order = list(np.argsort(-worth, kind="stable"))
    strokes: list[Tensor] = []
    while order and len(strokes) < count:
        best = order.pop(0)
        now = left[tuple(rows[best].T)].sum() * value[best]
        if order and now < worth[order[0]]:  # others have drawn some of it: put it back where it belongs
            worth[best] = now
            order.insert(int(np.searchsorted(-worth[order], -now, side="right")), best)
            continue
        if now <= 0:
            break
        strokes.append(pieces[best][1])
        for y, x in rows[best]:
            left[max(0, y - NEAR) : y + NEAR + 1, max(0, x - NEAR) : x + NEAR + 1] = 0
    return torch.stack(strokes) if strokes else torch.zeros(0, 3 * segments + 1, 2)


def _together(pieces: list[tuple[np.ndarray, np.ndarray]], segments: int) -> list[tuple[np.ndarray, Tensor]]:
    """Neighbouring pieces of a contour, ``segments`` at a time -> their pixels, and a stroke (3 S + 1, 2), x then y."""
    runs: list[list[tuple[np.ndarray, np.ndarray]]] = []
    for piece in pieces:
        follows = bool(runs) and len(runs[-1]) < segments and bool((runs[-1][-1][0][-1] == piece[0][0]).all())
        runs = [*runs[:-1], [*runs[-1], piece]] if follows else [*runs, [piece]]
    found = []
    for run in runs:
        curves = [torch.from_numpy(curve[:, ::-1].astype(np.float32)) for _, curve in run]
        found.append((np.concatenate([path for path, _ in run]), in_segments(chain(curves)[None], segments)[0]))
    return found


def merged(first: Tensor, second: Tensor) -> Tensor | None:
    """One curve (4, 2) along two, if the second goes on where the first ends and one cubic draws both; else None."""
    if (first[3] - second[0]).norm() > NEAR:
        return None
    t = torch.linspace(0, 1, 33)
    pieces = fitted(torch.cat([at(first, t), at(second, t)]).double().numpy())
    return torch.from_numpy(pieces[0][1]).float() if len(pieces) == 1 else None


def pruned(count: int, counts: Sequence[int], losses: Callable[[list[list[int]]], Tensor]) -> dict[int, list[int]]:
    """Which of some strokes to keep: those whose absence costs least go first, a quarter of them at a time.

    Args:
        count: M, how many there are.
        counts: how many to keep; what is kept of one count does not depend on the others.
        losses: lists of strokes -> (N,) the loss of a drawing of each.

    Returns:
        Each count -> numbers of strokes, in their order; all of them where there are no more. Fewer are part of more.
    """
    alive, gone = list(range(count)), []
    while counts and len(alive) > min(counts):
        cost = losses([alive[:i] + alive[i + 1 :] for i in range(len(alive))])
        dropped = [alive[i] for i in cost.argsort(stable=True)[: -(-len(alive) // 4)].tolist()]
        gone += dropped
        alive = [stroke for stroke in alive if stroke not in dropped]
    return {wanted: sorted((gone + alive)[-wanted:]) for wanted in counts}


def chains(edges: np.ndarray) -> list[np.ndarray]:
    """(H, W) thin edges -> paths of (P, 2) pixels, row then column, each pixel in one path; open ends first."""
    left = {(int(y), int(x)) for y, x in np.argwhere(edges)}

    def beside(place: tuple[int, int]) -> list[tuple[int, int]]:
        return [(place[0] + dy, place[1] + dx) for dy, dx in STEPS if (place[0] + dy, place[1] + dx) in left]

    found = []
    ends = sorted(place for place in left if len(beside(place)) == 1)
    for start in [*ends, *sorted(left)]:
        if start not in left:
            continue
        path, way = [start], (0, 0)
        left.remove(start)
        while nearby := beside(path[-1]):
            # straight on where the edge forks
            at = max(nearby, key=lambda p: (p[0] - path[-1][0]) * way[0] + (p[1] - path[-1][1]) * way[1])
            back = path[max(0, len(path) - 4)]
            path.append(at)
            left.remove(at)
            way = (at[0] - back[0], at[1] - back[1])
        if len(path) >= SHORTEST:
            found.append(np.array(path, float))
    return found


def fitted(path: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """A path (P, 2) -> its pieces, each with the (4, 2) control points of a cubic near it; short ones are left out."""
    if len(path) < SHORTEST:
        return []
    along = np.concatenate([[0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
    t = (along / along[-1])[:, None]
    ends = np.concatenate([(1 - t) ** 3, t**3], axis=1) @ path[[0, -1]]
    basis = np.concatenate([3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2], axis=1)
    inner, *_ = np.linalg.lstsq(basis, path - ends, rcond=None)
    off = np.linalg.norm(ends + basis @ inner - path, axis=1)
    if off.max() > TOLERANCE:
        cut = int(np.clip(off.argmax(), SHORTEST // 2, len(path) - SHORTEST // 2))
        return fitted(path[: cut + 1]) + fitted(path[cut:])
    return [(path, np.stack([path[0], *inner, path[-1]]))]
