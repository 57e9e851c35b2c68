"""What the readers share: numbers in text, the rows that are kept of a large cloud, polygons, colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

MAX_MESH_BYTES = 256 * 2**20  # of a mesh nothing can be left out while it is read
MAX_TEXT_BYTES = 64 * 2**20  # of text that is held as a whole, which takes twelve times that
_BLOCK = 2**20


@dataclass
class Sample:
    """Chooses the rows that are kept of a cloud: all, or, of more than ``limit``, one at random of each of ``limit``
    equal parts of the file, so that what is left out is never parsed.

    Args:
        limit: the most rows to keep.
        seed: the same seed keeps the same rows.
        held: how many rows the file has; known once ``rows`` was asked.
    """

    limit: int
    seed: int
    held: int = 0

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


def each_line(data: bytes, comment: str | None = None, start: int = 0, blanks: str = "\t") -> Iterator[str]:
    """Lines that are not blank, without comments and outer blanks; a megabyte of them is held at a time.

    Args:
        data: latin-1 decodes any byte; what counts is ASCII.
        comment: it and what follows it on a line is left out.
        start: where the text begins.
        blanks: characters that separate as a blank does.

    Raises:
        ValueError: a line of more than a megabyte.
    """
    table = str.maketrans({"\r": "\n", **dict.fromkeys(blanks, " ")})
    if data.startswith(b"\xef\xbb\xbf"):  # a byte-order mark
        start = max(start, 3)
    while start < len(data):
        end = start + _BLOCK
        if end < len(data):
            end = 1 + max(data.rfind(b"\n", start, end), data.rfind(b"\r", start, end))
            if not end:
                raise ValueError(f"a line of more than {_BLOCK:,} bytes")
        for line in data[start:end].decode("latin-1").translate(table).split("\n"):
            if kept := (line.split(comment, 1)[0].strip() if comment else line.strip()):
                yield kept
        start = end


def take(lines: Iterator[str], count: int, rows: slice | np.ndarray) -> list[str]:
    """Those of the next ``count`` lines that ``rows`` chooses.

    Raises:
        ValueError: there are fewer than ``count``.
    """
    wanted = np.zeros(count, np.uint8)
    wanted[rows] = 1
    kept, seen = [], 0
    for line, keep in zip(islice(lines, count), wanted.tobytes(), strict=False):
        seen += 1
        if keep:
            kept.append(line)
    require_rows(count, seen)
    return kept


def numbers(rows: Sequence[str], columns: Iterable[int] = range(3)) -> np.ndarray:
    """Columns of rows of text, (len(rows), columns) float64."""
    columns = tuple(columns)
    if not rows:
        return np.empty((0, len(columns)))
    if not all(rows):  # loadtxt would skip them
        raise ValueError("a row without numbers")
    return np.loadtxt(rows, usecols=columns, ndmin=2, comments=None)


def numbers_in(row: str) -> int:
    """How many numbers a row begins with."""
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


def polygon(corners: int) -> int:
    """The number of corners of a face, or ValueError where they span no area."""
    if corners < 3:
        raise ValueError(f"a face with {corners} corners")
    return corners


def require_rows(promised: int, held: int, what: str = "rows") -> None:
    """Raise ValueError where a file holds less than it promises."""
    if promised > held:
        raise ValueError(f"the file is cut short: {promised:,} {what} promised, {held:,} there")


def fans(corners: Sequence[int] | np.ndarray, sizes: Sequence[int] | np.ndarray) -> np.ndarray | None:
    """Polygons -> (F, 3) triangles, each polygon a fan about its first corner; None where there are no polygons.

    Args:
        corners: the corners of all polygons, one polygon after the other.
        sizes: how many of them each polygon has, at least 3.
    """
    if not len(sizes):
        return None
    corners, sizes = np.asarray(corners).astype(np.int64), np.asarray(sizes)
    if (sizes == 3).all():
        return corners.reshape(-1, 3)
    fans = sizes - 2  # triangles of each polygon
    first = np.repeat(np.cumsum(sizes) - sizes, fans)
    step = np.arange(len(first)) - np.repeat(np.cumsum(fans) - fans, fans)
    return corners[np.stack([first, first + step + 1, first + step + 2], axis=1)]


def to_colors(values: np.ndarray, whole: float | None = None) -> np.ndarray:
    """(P, 3) red, green, blue of any scale -> (P, 3) float32 in [0, 1].

    Args:
        whole: what full brightness is; None: 1 where no value is above it, else 255.

    Raises:
        ValueError: NaN, negative or above full brightness.
    """
    if np.isnan(values).any():
        raise ValueError("NaN colours; save the file without colours")
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    whole = whole or (1 if high <= 1 else 255)
    if not 0 <= low <= high <= whole:
        raise ValueError(f"colours from {low:g} to {high:g} are neither in 0..1 nor in 0..255")
    return (values / whole).astype(np.float32)
