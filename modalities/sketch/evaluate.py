"""How well drawings are recognised: what they are compared with, ranks, figures, paired tests, a contact sheet.

Pictures are (3, h, w) RGB in [0, 1], black on white: the part of the canvas that the photo takes up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clipx.metrics import bootstrap_ci95
from clipx.modalities.sketch.initial import initial_strokes
from clipx.modalities.sketch.saliency import grey
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.target import CANVAS, Target

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

EDGE_SIGMA = 1.0  # pixels: how far the photo is smoothed before its edges are taken
RESAMPLES = 10_000
CELL, CAPTION, GAP = 176, 20, 8  # pixels of the contact sheet
RIGHT, WRONG, INK = (0, 110, 60), (190, 40, 30), (40, 40, 40)


# --------------------------------------------------------------------------------------------------------- pictures


def photo_picture(target: Target) -> Tensor:
    """The photo without the canvas around it."""
    top, left, height, width = target.box
    return target.pixels[:, top : top + height, left : left + width]


def random_strokes(like: Strokes, seed: int) -> Strokes:
    """As many short curves of the same widths, as CLIPasso starts with, at pixels drawn uniformly in the box."""
    left, top, width, height = (round(value) for value in like.box)
    chance = np.zeros((CANVAS, CANVAS))
    chance[top : top + height, left : left + width] = 1 / (height * width)
    return replace(like, points=initial_strokes(chance, len(like), seed))


def ink(picture: Tensor) -> float:
    """Sum of darkness: how many black pixels would hold as much."""
    return float((1 - picture.double().mean(dim=0)).sum())


def edge_map(photo: Tensor, amount: float) -> Tensor:
    """The photo's strongest edges, black on white, of that much ink: an outline that knows nothing of any tower.

    The rule: Sobel's gradient magnitude of the grey photo, smoothed by a Gaussian of one pixel; pixels turn black from
    the largest magnitude on (of equal ones the upper, then the left one first), the last one grey, until the darkness
    adds up. Pixels without a gradient stay white: a photo of few edges may have less ink than asked for.
    """
    from skimage.filters import gaussian, sobel

    strength = sobel(gaussian(grey(photo), EDGE_SIGMA)).ravel()
    order = np.argsort(-strength, kind="stable")
    darkness = np.zeros(strength.size, np.float32)
    darkness[order] = np.clip(amount - np.arange(strength.size), 0, 1)
    darkness[strength <= 0] = 0
    page = torch.from_numpy(1 - darkness).reshape(photo.shape[1:])
    return page.expand(3, -1, -1)


# ---------------------------------------------------------------------------------------------------------- figures


def ranks(scores: Tensor, own: Any) -> np.ndarray:
    """(N, G) scores, larger is better, and (N,) the right column of each row -> (N,) its rank, 1 for the best.

    At equal scores the earlier column ranks first.
    """
    scores, column = scores.detach().cpu(), torch.as_tensor(own).long()[:, None]
    right = scores.gather(1, column)
    earlier = torch.arange(scores.shape[1]) < column
    return (1 + ((scores > right) | ((scores == right) & earlier)).sum(dim=1)).numpy()


@dataclass(frozen=True)
class Seen:
    """What the judge made of N pictures.

    Args:
        best: (N,) number of the label it put first.
        label_ranks: (N,) rank of the true label.
        photo_ranks: (N,) rank of the picture's own photo in the gallery.
        all_ranks: (N,) rank of the true label among all labels of the data.
    """

    best: np.ndarray
    label_ranks: np.ndarray
    photo_ranks: np.ndarray
    all_ranks: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(N,) booleans: was it recognised?"""
        return self.label_ranks == 1


def judge(logits: Tensor, targets: Any, cosines: Tensor, every: tuple[Tensor, Any] | None = None) -> Seen:
    """What was seen of N pictures.

    Args:
        logits: (N, K) scores of the labels.
        targets: (N,) the true ones.
        cosines: (N, G) with the photos of a gallery, the pictures' own first and in their order.
        every: the same as the first two for all labels of the data, where the K are some of them.
    """
    best = logits.cpu().numpy().argmax(axis=1)  # of equal scores the first, as in ranks
    found = ranks(logits, targets)
    return Seen(best, found, ranks(cosines, range(len(cosines))), found if every is None else ranks(*every))


def figures(seen: Seen, labels: int, seed: int = 0, all_labels: int | None = None) -> dict[str, Any]:
    """Top-1 and top-5 recognition, recall@1 and median rank of the own photo, each with its 95 % bootstrap interval.

    ``acc1_all`` and ``acc5_all`` are recognition among all labels of the data.

    Args:
        seen: N pictures.
        labels: K; top-5 is NaN under five, where it says nothing.
        seed: of the resampling.
        all_labels: of the data; by default as many.

    Returns:
        ``n``; ``acc1``, ``acc5``, ``acc1_all``, ``acc5_all``, ``photo_recall@1`` in [0, 1]; ``photo_median_rank`` >= 1;
        ``ci95``: name -> (low, high).
    """
    shares = {
        "acc1": seen.label_ranks <= 1,
        "acc5": seen.label_ranks <= 5,
        "acc1_all": seen.all_ranks <= 1,
        "acc5_all": seen.all_ranks <= 5,
        "photo_recall@1": seen.photo_ranks <= 1,
    }
    found = {name: float(hits.mean()) for name, hits in shares.items()}
    intervals = {name: bootstrap_ci95(hits, seed) for name, hits in shares.items()}
    for name, count in (("acc5", labels), ("acc5_all", labels if all_labels is None else all_labels)):
        if count < 5:
            found[name] = float("nan")
            del intervals[name]
    found["photo_median_rank"] = float(np.median(seen.photo_ranks))
    intervals["photo_median_rank"] = interval(seen.photo_ranks, lambda drawn: np.median(drawn, axis=1), seed)
    return {"n": len(seen.best), **found, "ci95": intervals}


def ratio(drawings: Seen, photos: Seen, seed: int = 0) -> dict[str, Any]:
    """The drawings' top-1 as a share of the photos' own; ``ci95`` resamples photos with their drawings.

    NaN where no photo is recognised; the interval is NaN where that happens in a resample.
    """

    def of(pairs: np.ndarray) -> np.ndarray:
        drawn, plain = np.moveaxis(pairs.mean(axis=1), -1, 0)
        return np.divide(drawn, plain, out=np.full_like(drawn, np.nan), where=plain > 0)

    pairs = np.stack([drawings.right, photos.right], axis=1).astype(float)
    return {"value": float(of(pairs[None])[0]), "ci95": interval(pairs, of, seed)}


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval, 95 %, of any figure: (N, ...) values, (B, N, ...) resampled -> (B,) figures."""
    stream, n = np.random.default_rng(seed), len(values)
    block = 500  # resamples at a time: a set of many photos is not held 10,000 times
    found = [statistic(values[stream.integers(n, size=(block, n))]) for _ in range(RESAMPLES // block)]
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return float(low), float(high)


def spread(by_seed: Mapping[int, Seen]) -> dict[str, Any]:
    """Top-1 of each seed's drawings, their least, largest and standard deviation (of a sample; None of one seed)."""
    found = {seed: float(seen.right.mean()) for seed, seen in by_seed.items()}
    values = list(found.values())
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"acc1": found, "min": min(values), "max": max(values), "std": deviation}


# ---------------------------------------------------------------------------------------------------- contact sheet


def contact_sheet(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[Tensor, str, bool]]]]) -> Picture:
    """Pictures in a table, to be looked at.

    Args:
        columns: their headings.
        rows: the class name, and for each column a picture, what the judge called it, and whether that is right: the
            word is then green, else red.
    """
    from PIL import Image as pil
    from PIL import ImageDraw, ImageFont

    font, bold = ImageFont.load_default(13), ImageFont.load_default(16)
    pitch, first = CELL + CAPTION + GAP, 2 * GAP + CAPTION
    sheet = pil.new("RGB", (GAP + len(columns) * (CELL + GAP), first + len(rows) * (pitch + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, heading in enumerate(columns):
        _centred(pen, heading, bold, INK, GAP + column * (CELL + GAP), GAP)
    for row, (name, cells) in enumerate(rows):
        top = first + row * (pitch + CAPTION)
        pen.line([(GAP, top), (sheet.width - GAP, top)], fill=(220, 220, 220))
        pen.text((GAP, top + 2), name, INK, bold)
        for column, (picture, word, right) in enumerate(cells):
            left = GAP + column * (CELL + GAP)
            pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            shown = pil.fromarray(pixels)
            scale = CELL / max(shown.size)
            size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
            place = left + (CELL - size[0]) // 2, top + CAPTION + 4 + (CELL - size[1]) // 2
            sheet.paste(shown.resize(size, pil.Resampling.LANCZOS), place)
            _centred(pen, word, font, RIGHT if right else WRONG, left, top + CAPTION + 4 + CELL)
    return sheet


def _centred(pen: Any, text: str, font: Any, color: tuple[int, int, int], left: int, top: int) -> None:
    """Text in the middle of a column, cut off where it is too long."""
    whole = text
    while text and pen.textlength(text if text == whole else text + "...", font) > CELL:
        text = text[:-1]
    text = text if text == whole else text + "..."
    pen.text((left + (CELL - pen.textlength(text, font)) // 2, top), text, color, font)
