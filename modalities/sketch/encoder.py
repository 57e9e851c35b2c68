"""The modality sketch: strokes are encoded as the picture that they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os import PathLike
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import read_bytes
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.film import pixels
from clipx.modalities.sketch.svg import Strokes, read_svg
from clipx.modality import Modality
from clipx.parts import Parts

WIDTH_PX = 7.0  # of a drawing that comes without widths, and
MARGIN_PX = (
    16.0  # around it: of those tried, the first embedded space names most training drawings of QuickDraw by these two
)
MAX_STROKES = 2**14
MAX_LINE_BYTES = 2**20  # many times the longest drawing of QuickDraw
LIMIT = 1e6  # of a coordinate; QuickDraw's are pixels of a screen
_PICTURES_AT_ONCE = 64


class Sketch(Modality):
    """Drawings made of strokes, encoded as their rasterised picture through the space's image tower.

    A sample is a ``Strokes``. What its ``box`` shows is painted on a white square of 224 pixels, the aspect ratio kept,
    and goes through ``encode_image`` as a photo would.
    """

    name = "sketch"
    suffixes = (".svg", ".ndjson")
    prompts = "sketch"
    domain = "drawing"

    @dataclass(frozen=True)
    class Config:
        width_px: float | None = field(
            default=None,
            metadata={"help": "full width of every stroke on a square of 224 pixels; default: what the file says"},
        )

        def __post_init__(self):
            if self.width_px is not None and not 0 < self.width_px <= CANVAS:
                raise InputError(f"width_px must lie in (0, {CANVAS}], got {self.width_px}")

    config: Config

    def load(self, path: str | PathLike) -> Strokes:
        """Read an SVG of ``clipx sketch`` or of another program (see ``read_svg``), or a drawing of Google's QuickDraw.

        A QuickDraw file holds one drawing a line, ``{"word": ..., "drawing": [[xs, ys], ...]}``, simplified or raw. A
        sample is one drawing, so a file of several is refused rather than read in part. The drawing is fitted into a
        canvas of 224 pixels; each straight piece is a stroke.

        Raises:
            FileError: missing, unreadable, no drawing, more than one drawing, more than 16,384 strokes, numbers that
                are not finite or too large to paint.
        """
        strokes = read_quickdraw(path) if _is_quickdraw(path) else read_svg(path)
        if not 1 <= len(strokes) <= MAX_STROKES:
            what = f"holds {len(strokes):,} strokes; 1 to {MAX_STROKES:,} can be read"
            remedy = "simplify it, or save it as .png" if len(strokes) else None
            raise FileError(what, where=path, remedy=remedy)
        try:
            self._painted(strokes)
        except InputError as error:
            raise FileError(f"cannot be painted ({error})", where=path) from error
        return strokes

    def parts(self, samples: Sequence[Strokes]) -> Parts:
        rows = []
        for start in range(0, len(samples), _PICTURES_AT_ONCE):
            seen = np.stack([self._painted(sample) for sample in samples[start : start + _PICTURES_AT_ONCE]])
            rows.append(self.space.encode_image(seen))
        return Parts.whole(np.concatenate(rows))

    def pictures(self, sample: Strokes) -> np.ndarray:
        """The drawing on its square, (1, 3, 224, 224)."""
        return self._painted(sample)[None]

    @classmethod
    def example(cls) -> Strokes:
        """A house of six strokes with a path to its door."""
        corners = [(50, 100), (50, 200), (174, 200), (174, 100), (112, 40), (50, 100), (174, 100)]
        path = [[105.0, 200.0], [100.0, 150.0], [124.0, 150.0], [119.0, 200.0]]
        points = [*(np.linspace(a, b, 4) for a, b in pairwise(corners)), np.array(path)]
        return _black(np.stack(points), {"title": "a house"})

    def _painted(self, strokes: Strokes) -> np.ndarray:
        """(3, 224, 224)."""
        scale = CANVAS / max(strokes.box[2:])
        if self.config.width_px is not None:
            strokes = replace(strokes, width_px=np.full(len(strokes), self.config.width_px / scale, np.float32))
        shown = pixels(strokes, scale)
        height, width = shown.shape[1:]
        top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
        square = np.ones((3, CANVAS, CANVAS), np.float32)
        square[:, top : top + height, left : left + width] = shown
        return square


def _is_quickdraw(path: str | PathLike) -> bool:
    """By the suffix; where that is neither .ndjson nor .svg, by the content."""
    name = str(path).lower()
    if name.endswith((".ndjson", ".svg")):
        return name.endswith(".ndjson")
    return read_bytes(path)[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read_quickdraw(path: str | PathLike) -> Strokes:
    """The one drawing of a QuickDraw file (.ndjson), fitted into the canvas; ``about`` holds its word as ``title``.

    Raises:
        FileError: missing, no such file, or several drawings in it.
    """
    line, *more = read_bytes(path).lstrip().split(b"\n", 1)
    if more and more[0].strip():
        raise FileError(
            "holds more than one drawing", where=path, remedy="write each line to a file of its own (split -l 1)"
        )
    if len(line) > MAX_LINE_BYTES:
        raise FileError(f"a drawing of {len(line):,} bytes; {MAX_LINE_BYTES:,} can be read", where=path)
    try:
        entry = json.loads(line.decode("utf-8-sig"))
        lines = [_polyline(stroke) for stroke in entry["drawing"]]
        points = np.concatenate([_pieces(stroke) for stroke in lines])  # (N, 2, 2): from, to
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise FileError(f"holds no QuickDraw drawing ({error})", where=path) from error
    low, high = points.min((0, 1)), points.max((0, 1))
    side = max(float((high - low).max()), 1e-9)  # a dot has none
    points = (points - (low + high) / 2) * ((CANVAS - 2 * MARGIN_PX) / side) + CANVAS / 2
    share = np.linspace(0, 1, 4)[:, None]
    cubics = points[:, :1] * (1 - share) + points[:, 1:] * share  # (N, 4, 2)
    word = entry.get("word")
    return _black(cubics, {"title": word} if isinstance(word, str) else {})


def _polyline(stroke: Any) -> np.ndarray:
    """[xs, ys] or [xs, ys, times] -> (P, 2)."""
    places = np.array([stroke[0], stroke[1]])
    if places.ndim != 2 or not places.size or places.dtype.kind not in "if":
        raise ValueError("a stroke is two lists of numbers, as long as each other")
    if not (np.abs(places) <= LIMIT).all():  # a NaN fails too
        raise ValueError(f"a coordinate is not finite or beyond {LIMIT:g}")
    return places.T.astype(np.float64)


def _pieces(line: np.ndarray) -> np.ndarray:
    """(P, 2) -> (P - 1, 2, 2), of a single point (1, 2, 2)."""
    return np.stack([line[:-1], line[1:]], axis=1) if len(line) > 1 else np.stack([line, line], axis=1)


def _black(points: np.ndarray, about: dict[str, Any]) -> Strokes:
    """(N, 4, 2) on the canvas -> black strokes of the usual width."""
    width, alpha = (np.full(len(points), value, np.float32) for value in (WIDTH_PX, 1))
    color = np.zeros((len(points), 3), np.float32)
    return Strokes(points.astype(np.float32), width, alpha, color, (0, 0, CANVAS, CANVAS), about)
