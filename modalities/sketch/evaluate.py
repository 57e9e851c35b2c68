"""How well drawings are recognised: what they are compared with, ranks, figures, paired tests, contact sheets.

Pictures are (3, h, w) RGB in [0, 1], black on white: the part of the canvas that the photo takes up.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import to_array
from clipx.embedding import Embedding
from clipx.files import write_whole
from clipx.metrics import bootstrap_ci95, mcnemar
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.initial import initial_strokes
from clipx.modalities.sketch.photos import DrawnPhoto
from clipx.modalities.sketch.saliency import grey
from clipx.modalities.sketch.svg import Strokes
from clipx.modalities.sketch.target import Target, load_target
from clipx.zeroshot import ZeroShotClassifier

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

EDGE_SIGMA = 1.0  # pixels: how far the photo is smoothed before its edges are taken
RESAMPLES = 10_000
SHEET_ROWS = 100
CONTROLS = ("initial strokes", "random strokes", "edge map")
CELL, CAPTION, GAP = 176, 20, 8  # pixels of the contact sheet
RIGHT, WRONG, INK = (0, 110, 60), (190, 40, 30), (40, 40, 40)


# --------------------------------------------------------------------------------------------------------- pictures


def photo_picture(target: Target) -> np.ndarray:
    """The photo without the canvas around it."""
    top, left, height, width = target.box
    return to_array(target.pixels)[:, top : top + height, left : left + width]


def random_strokes(like: Strokes, seed: int) -> Strokes:
    """As many short curves of the same widths, as CLIPasso starts with, at pixels drawn uniformly in the box."""
    left, top, width, height = (round(value) for value in like.box)
    probability = np.zeros((CANVAS, CANVAS))
    probability[top : top + height, left : left + width] = 1 / (height * width)
    return replace(like, points=initial_strokes(probability, len(like), seed).numpy())


def ink(picture: np.ndarray) -> float:
    """Sum of darkness: how many black pixels would hold as much."""
    return float((1 - picture.mean(0, dtype=np.float64)).sum())


def edge_map(photo: np.ndarray, amount: float) -> np.ndarray:
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
    return np.tile((1 - darkness).reshape(photo.shape[1:]), (3, 1, 1))


# ---------------------------------------------------------------------------------------------------------- figures


def ranks(scores: Any, own: Any) -> np.ndarray:
    """(N, G) scores, larger is better, and (N,) the right column of each row -> (N,) its rank, 1 for the best.

    At equal scores the earlier column ranks first.
    """
    scores, column = to_array(scores), to_array(own).astype(np.int64)[:, None]
    right = np.take_along_axis(scores, column, 1)
    earlier = np.arange(scores.shape[1]) < column
    return 1 + ((scores > right) | ((scores == right) & earlier)).sum(1)


@dataclass(frozen=True)
class Judgements:
    """How a judge names N pictures.

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
        """(N,) booleans: whether it was recognised."""
        return self.label_ranks == 1


def judge(
    logits: np.ndarray, targets: Any, cosines: np.ndarray, every: tuple[np.ndarray, Any] | None = None
) -> Judgements:
    """The judgements of N pictures.

    Args:
        logits: (N, K) scores of the labels.
        targets: (N,) the true ones.
        cosines: (N, G) with the photos of a gallery, the pictures' own first and in their order.
        every: the same as the first two for all labels of the data, where the K are some of them.
    """
    best = logits.argmax(axis=1)  # of equal scores the first, as in ranks
    found = ranks(logits, targets)
    return Judgements(best, found, ranks(cosines, range(len(cosines))), found if every is None else ranks(*every))


def figures(found: Judgements, labels: int, seed: int = 0, all_labels: int | None = None) -> dict[str, Any]:
    """Top-1 and top-5 recognition, recall@1 and median rank of the own photo, each with its 95 % bootstrap interval.

    ``acc1_all`` and ``acc5_all`` are recognition among all labels of the data.

    Args:
        found: of N pictures.
        labels: K; top-5 is NaN under five, where it says nothing.
        seed: of the resampling.
        all_labels: of the data; by default as many.

    Returns:
        ``n``; ``acc1``, ``acc5``, ``acc1_all``, ``acc5_all``, ``photo_recall@1`` in [0, 1]; ``photo_median_rank`` >= 1;
        ``ci95``: name -> (low, high).
    """
    shares = {
        "acc1": found.label_ranks <= 1,
        "acc5": found.label_ranks <= 5,
        "acc1_all": found.all_ranks <= 1,
        "acc5_all": found.all_ranks <= 5,
        "photo_recall@1": found.photo_ranks <= 1,
    }
    values = {name: float(hits.mean()) for name, hits in shares.items()}
    intervals = {name: bootstrap_ci95(hits, seed) for name, hits in shares.items()}
    for name, count in (("acc5", labels), ("acc5_all", labels if all_labels is None else all_labels)):
        if count < 5:
            values[name] = float("nan")
            del intervals[name]
    values["photo_median_rank"] = float(np.median(found.photo_ranks))
    intervals["photo_median_rank"] = interval(found.photo_ranks, lambda drawn: np.median(drawn, axis=1), seed)
    return {"n": len(found.best), **values, "ci95": intervals}


def ratio(drawings: Judgements, photos: Judgements, seed: int = 0) -> dict[str, Any]:
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


def spread(by_seed: Mapping[int, Judgements]) -> dict[str, Any]:
    """Top-1 of each seed's drawings, their least, largest and standard deviation (of a sample; None of one seed)."""
    found = {seed: float(own.right.mean()) for seed, own in by_seed.items()}
    values = list(found.values())
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"acc1": found, "min": min(values), "max": max(values), "std": deviation}


# ------------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Judge:
    """Names pictures of one kind, and finds their photos.

    Args:
        labels: the K labels to choose from.
        every: all labels of the data.
        targets: (N,) the true ones among ``labels``.
        all_targets: (N,) the true ones among ``every``.
        gallery: (G, D) photos, the pictures' own first and in their order.
    """

    labels: ZeroShotClassifier
    every: ZeroShotClassifier
    targets: Sequence[int]
    all_targets: Sequence[int]
    gallery: Embedding

    def __call__(self, vectors: Embedding) -> Judgements:
        """(N, D) pictures, in the order of the targets -> their judgements."""
        among_all = self.every.logits(vectors), self.all_targets
        return judge(self.labels.logits(vectors), self.targets, vectors.similarity(self.gallery), among_all)


def control(drawn: DrawnPhoto, kind: str, count: int) -> np.ndarray:
    """The picture of one of ``CONTROLS`` that stands beside the best seed's drawing."""
    seed = drawn.best[count]
    if kind == "initial strokes":
        return drawn.shown(drawn.initial[count])
    if kind == "random strokes":
        return drawn.shown(random_strokes(drawn.strokes[count, seed], seed))
    return edge_map(photo_picture(load_target(drawn.photo)), ink(drawn.picture(count)))


@dataclass(frozen=True)
class Comparison:
    """Drawings of N photos beside the photos and the controls.

    Args:
        pictures: (kind, stroke count) -> judgements of N pictures; the kinds are ``"photo"`` (of no count),
            ``"drawing"``, the ``CONTROLS`` and the names of rivals.
        per_seed: stroke count -> seed -> judgements of that seed's drawings.
    """

    pictures: dict[tuple[str, int | None], Judgements]
    per_seed: dict[int, dict[int, Judgements]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What drawings are compared with."""
        return tuple(dict.fromkeys(kind for kind, _ in self.pictures if kind not in ("photo", "drawing")))

    def ratios(self, seed: int) -> dict[int, dict[str, Any]]:
        """Stroke count -> ``ratio`` of drawings and photos."""
        pictures = self.pictures
        return {count: ratio(pictures["drawing", count], pictures["photo", None], seed) for count in self.per_seed}

    def tests(self) -> list[dict[str, Any]]:
        """McNemar's exact test: drawings against all else of the same count, and against the next smaller count."""
        pairs = [(("drawing", count), (kind, count)) for count in self.per_seed for kind in self.kinds]
        pairs += [(("drawing", more), ("drawing", less)) for less, more in pairwise(sorted(self.per_seed))]
        return [
            {"first": _label(a), "second": _label(b)} | mcnemar(self.pictures[a].right, self.pictures[b].right)
            for a, b in pairs
        ]

    def of_photo(self, i: int, kind: str, count: int | None, classes: Sequence[str]) -> dict[str, Any]:
        """The judgement of one picture as JSON has it."""
        found = self.pictures[kind, count]
        return {
            "best": classes[found.best[i]],
            "label_rank": int(found.label_ranks[i]),
            "all_rank": int(found.all_ranks[i]),
            "photo_rank": int(found.photo_ranks[i]),
        }


def compare(
    drawn: Sequence[DrawnPhoto],
    rivals: Mapping[str, Sequence[DrawnPhoto]],
    encode: Callable[[Sequence[DrawnPhoto], Callable[[DrawnPhoto], np.ndarray]], Embedding],
    of_photos: Judge,
    of_drawings: Judge,
) -> Comparison:
    """Judge the drawings of N photos, the photos, the controls and other drawings of the same photos.

    Args:
        drawn: the drawings.
        rivals: name -> other drawings of the same photos and stroke counts.
        encode: encodes the picture that a function gives of each photo's drawings, as the judge looks at drawings.
        of_photos, of_drawings: the judge of either; the gallery begins with the N photos.
    """
    pictures: dict[tuple[str, int | None], Judgements] = {}
    per_seed: dict[int, dict[int, Judgements]] = {}
    pictures["photo", None] = of_photos(of_photos.gallery[: len(drawn)])
    for count, seeds in drawn[0].losses.items():
        made = {seed: encode(drawn, partial(DrawnPhoto.picture, count=count, seed=seed)) for seed in seeds}
        per_seed[count] = {seed: of_drawings(vectors) for seed, vectors in made.items()}
        best = np.stack([made[one.best[count]].vectors[i] for i, one in enumerate(drawn)])
        pictures["drawing", count] = of_drawings(replace(next(iter(made.values())), vectors=best))
        for kind in CONTROLS:
            pictures[kind, count] = of_drawings(encode(drawn, partial(control, kind=kind, count=count)))
        for name, others in rivals.items():
            pictures[name, count] = of_drawings(encode(others, partial(DrawnPhoto.picture, count=count)))
    return Comparison(pictures, per_seed)


def _label(key: tuple[str, int | None]) -> str:
    return key[0] if key[1] is None else f"{key[0]}, {key[1]}"


# --------------------------------------------------------------------------------------------------- contact sheets


def write_sheets(
    folder: Path, drawn: Sequence[DrawnPhoto], labels: Sequence[str], classes: Sequence[str], found: Comparison
) -> None:
    """Write sheet.png, and sheet-2.png, ... where there are more photos than one holds.

    Args:
        folder: of the files.
        drawn: N photos with their drawings.
        labels: the N true names.
        classes: the names that the judge chose from.
        found: its judgements.
    """
    most = max(found.per_seed)
    columns = {("photo", None): "photo", ("initial strokes", most): f"initial, {most}"}
    columns |= {("drawing", count): f"{count} strokes" for count in sorted(found.per_seed)}
    columns |= {("edge map", most): "edges, equal ink"}

    def picture(kind: str, count: int | None, one: DrawnPhoto) -> np.ndarray:
        if count is None:
            return photo_picture(load_target(one.photo))
        return one.picture(count) if kind == "drawing" else control(one, kind, count)

    def row(i: int) -> list[tuple[np.ndarray, str, bool]]:
        judged = [found.pictures[key] for key in columns]
        shown = [picture(*key, drawn[i]) for key in columns]
        return [(one, classes[own.best[i]], bool(own.right[i])) for one, own in zip(shown, judged, strict=True)]

    for number, start in enumerate(range(0, len(drawn), SHEET_ROWS), 1):
        rows = [(labels[i], row(i)) for i in range(start, min(start + SHEET_ROWS, len(drawn)))]
        data = io.BytesIO()
        contact_sheet(list(columns.values()), rows).save(data, "PNG")
        write_whole(folder / ("sheet.png" if number == 1 else f"sheet-{number}.png"), data.getvalue())


def contact_sheet(
    columns: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, str, bool]]]]
) -> Picture:
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
            pixels = (picture.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
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
