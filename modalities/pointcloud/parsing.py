"""What the readers share: numbers in text, the rows that are kept of a large cloud, polygons, colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

MAX_MESH_BYTES = 256 * 2**20  # of a mesh nothing can be left out while it is read
MAX_TEXT_BYTES = 64 * 2**20  # of text that is held as a whole, which takes twelve times that
_BLOCK = 2**20


@dataclass
class Sample:
    """What a reader is asked for, and what it says beside the geometry.

    It chooses the rows that are kept of a cloud: all, or, of more than ``limit``, one at random of each of ``limit``
    equal parts of the file, so that what is left out is never parsed.

    Args:
        limit: the most rows to keep.
        seed: the same seed keeps the same rows.
        path: the file.
        held: how many rows the file has; known once ``rows`` was asked.
        flat: faces without area that were left out.
        notes: warnings.
    """

    limit: int
    seed: int
    path: Path | None = None
    held: int = 0
    flat: int = 0
    notes: list[str] = field(default_factory=list)

    def rows(self, count: int) -> slice | np.ndarray:
        """An index of the rows to keep of ``count``, in their order."""
        self.held = count
        if count <= self.limit:
            return slice(None)
        ends = np.arange(self.limit + 1) * count // self.limit
        return np.random.default_rng(self.seed).integers(ends[:-1], ends[1:])


def require_mesh_bytes(data: bytes) -> None:
    """Raise ValueError where a mesh would take too much memory."""
    if len(data) > MAX_MESH_BYTES:
        raise ValueError(f"{len(data):,} bytes of a mesh are more than the limit of {MAX_MESH_BYTES:,}; simplify it")


def text_lines(data: bytes, comment: str | None = None) -> list[str]:
    """All of ``each_line``, for formats that are read as a whole.

    Raises:
        ValueError: more than ``MAX_TEXT_BYTES``.
    """
    if len(data) > MAX_TEXT_BYTES:
        what = f"{len(data):,} bytes of text are more than the limit of {MAX_TEXT_BYTES:,}"
        raise ValueError(f"{what}; save it as binary .ply or .npy")
    return list(each_line(data, comment))


def each_line(
    data: bytes, comment: str | None = None, start: int = 0, table: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Lines that are not blank, without comments and outer blanks; a megabyte of them is held at a time.

    Args:
        data: latin-1 decodes any byte; what counts is ASCII.
        comment: it and what follows it on a line is left out.
        start: where the text begins.
        table: characters and what is read in their place; a tab is a blank in any case.

    Raises:
        ValueError: a line of more than a megabyte.
    """
    places = str.maketrans({"\t": " ", **(table or {}), "\r": "\n"})
    if data.startswith(b"\xef\xbb\xbf"):  # a byte-order mark
        start = max(start, 3)
    while start < len(data):
        end = start + _BLOCK
        if end < len(data):
            end = 1 + max(data.rfind(b"\n", start, end), data.rfind(b"\r", start, end))
            if not end:
                raise ValueError(f"a line of more than {_BLOCK:,} bytes")
        for line in data[start:end].decode("latin-1").translate(places).split("\n"):
            if kept := (line.split(comment, 1)[0].strip() if comment else line.strip()):
                yield kept
        start = end


def take(lines: Iterator[str], count: int, rows: slice | np.ndarray) -> list[str]:
    """The lines that ``rows`` chooses of the next ``count``.

    Raises:
        ValueError: there are fewer than ``count``.
    """
    wanted = np.zeros(count, np.uint8)
    wanted[rows] = 1
    kept, count_read = [], 0
    for line, keep in zip(islice(lines, count), wanted.tobytes(), strict=False):
        count_read += 1
        if keep:
            kept.append(line)
    require_rows(count, count_read)
    return kept


def numbers(rows: Sequence[str], columns: Iterable[int] = range(3)) -> np.ndarray:
    """Columns of rows of text, (len(rows), columns) float64."""
    columns = tuple(columns)
    if not rows:
        return np.empty((0, len(columns)))
    if not all(rows):  # loadtxt would skip them
        raise ValueError("a row without numbers")
    try:
        return np.loadtxt(rows, usecols=columns, ndmin=2, comments=None)
    except ValueError as error:
        if any("," in row for row in rows):
            raise ValueError("a comma in a number; export it with a decimal point") from error
        raise


def numbers_in(row: str) -> int:
    """The number of numbers that a row begins with."""
    for count, word in enumerate(row.split()):
        try:
            float(word)
        except ValueError:
            return count
    return len(row.split())


def to_count(word: Any) -> int:
    """A word as a number >= 0, or ValueError."""
    count = int(word)
    if count < 0:
        raise ValueError(f"a count of {count}")
    return count


def require_rows(promised: int, held: int, what: str = "rows") -> None:
    """Raise ValueError where a file holds less than it promises."""
    if promised > held:
        raise ValueError(f"the file is cut short: {promised:,} {what} promised, {held:,} there")


def fans(corners: Sequence[int] | np.ndarray, sizes: Sequence[int] | np.ndarray, sample: Sample) -> np.ndarray | None:
    """Polygons -> (F, 3) triangles, each polygon a fan about its first corner; None where there are no polygons.

    Args:
        corners: the corners of all polygons, one polygon after the other.
        sizes: how many of them each polygon has; those of fewer than 3 are left out.
        sample: counts them.
    """
    corners, sizes = np.asarray(corners).astype(np.int64), np.asarray(sizes, np.int64)
    whole = sizes >= 3
    if not whole.all():
        sample.flat += int((~whole).sum())
        corners, sizes = corners[np.repeat(whole, sizes)], sizes[whole]
    if not len(sizes):
        return None
    if (sizes == 3).all():
        return corners.reshape(-1, 3)
    fans = sizes - 2  # triangles of each polygon
    first = np.repeat(np.cumsum(sizes) - sizes, fans)
    step = np.arange(len(first)) - np.repeat(np.cumsum(fans) - fans, fans)
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]


def strips(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Strips of triangles -> (F, 3) triangles. In a strip each corner makes a triangle with the two before it, of which
    every second one turns the other way; -1 begins a new strip."""
    corners = np.asarray(corners).astype(np.int64)
    corners[corners == 2**32 - 1] = -1  # in a list of unsigned numbers
    ends = np.zeros(len(corners) + 1, bool)  # where a strip ends: at the end of a list, or at -1
    ends[np.cumsum(np.asarray(sizes, np.int64))] = True
    first = np.flatnonzero(ends[:-1] | np.r_[True, corners[:-1] < 0]) if len(corners) else np.empty(0, np.int64)
    place = np.arange(len(corners)) - first[np.searchsorted(first, np.arange(len(corners)), side="right") - 1]
    at = np.flatnonzero((place >= 2) & (corners >= 0))
    triangles = np.stack([corners[at - 2], corners[at - 1], corners[at]], axis=1)
    odd = place[at] % 2 == 1
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    return triangles


def to_colors(values: np.ndarray, points: np.ndarray, sample: Sample, whole: float | None = None) -> np.ndarray | None:
    """(P, 3) red, green, blue of any scale -> (P, 3) float32 in [0, 1]; None where they are no colours.

    Args:
        points: (P, 3); the colours of those that are not finite do not matter.
        sample: takes a warning where colours are clipped, being out of range by a little, or are left out.
        whole: what full brightness is; None: 1 where no value is above it, else 255.
    """
    finite = np.isfinite(points).all(axis=1)
    values = np.where(finite[:, None], values, 0)
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values).all(axis=1)).sum())
        sample.notes.append(f"its colours are left out, for {wrong:,} of {len(values):,} are NaN or infinite")
        return None
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    if whole is None:
        whole = 1 if high <= 1 or (high < 2 and (values != np.round(values)).any()) else 255
    most = 2 if whole == 1 else 1.05 * whole
    if not -0.05 * whole <= low <= high <= most:
        scale = "are neither in 0..1 nor in 0..255"
        sample.notes.append(f"its colours are left out, for they go from {low:g} to {high:g} and {scale}")
        return None
    if low < 0 or high > whole:
        wrong = int(((values < 0) | (values > whole)).any(axis=1).sum())
        sample.notes.append(
            f"{wrong:,} of its {len(values):,} colours are out of 0..{whole:g} by a little, and clipped"
        )
        values = values.clip(0, whole)
    return (values / whole).astype(np.float32)
