"""What an index asks of the store that holds its rows, and what those rows are.

Rows go in and out as Arrow tables. A file has one row; a file that has windows has one row for each, numbered from 0.
The windows of a further track, such as the sound of a film, are numbered from a multiple of ``TRACK``, and have the
modality that reads the track. The key of a row is its path and its window. The index describes each vector by words
before it is written, so a store only keeps rows.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from clipx.errors import FileError
from clipx.index.scan import Found
from clipx.index.vocabulary import SparseItems

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = timedelta(hours=1)  # how long what another process may still read or write is kept
ROW_ID = "_rowid"  # a virtual column with the row ids that ``filter`` and ``nearest`` return
ARRAYS = ("vector", "words", "shares")
TRACK = 1 << 20  # windows that a track may have
FILTERED = ("path", "window", "modality", "size", "mtime_ns", "sha256", "start_s", "end_s")  # what ``filter`` knows


class Store(Protocol):
    """Holds the rows of an index. Its columns are those of ``schema``.

    Only ``write``, ``delete``, ``move``, ``optimize``, ``build_ann`` and ``drop_others`` change it, and one process
    calls them at a time. While ``Index.add`` runs, ``write`` is called in a thread of its own and ``scan`` in another.
    Every method raises FileError where the store is missing or damaged, or cannot be read or written.
    """

    def create(self, dim: int, words: int) -> None:
        """Make the store, empty, unless it is there.

        Args:
            dim: D, the length of a vector.
            words: K, how many words describe a vector.
        """
        ...

    def write(self, rows: pa.Table, replace: bool) -> None:
        """Put rows in place of all rows that their paths have, in one transaction.

        Args:
            rows: of all columns; the windows of a file are never spread over two calls.
            replace: whether any of the paths may have rows; where none has, rows need only be appended.
        """
        ...

    def delete(self, paths: Sequence[str]) -> None:
        """Remove all rows of these paths, in one transaction; there may be no path."""
        ...

    def scan(self, columns: Sequence[str], **values: Sequence[str | int]) -> pa.Table:
        """Columns of rows, in no order.

        Args:
            columns: names of columns; ``ROW_ID`` for integers that name the rows as long as ``state`` does not change.
            values: column -> values. Only rows that have one of the values in each of these columns; by default all.
        """
        ...

    def batches(
        self, columns: Sequence[str], modality: str | None = None, where: str | None = None
    ) -> Iterator[pa.Table]:
        """Columns of rows, so many at a time as memory bears, in no order.

        Args:
            columns: as ``scan`` takes them.
            modality, where: as ``nearest`` takes them.
        """
        ...

    def filter(self, where: str) -> np.ndarray:
        """(R,) row ids for which an SQL expression over the columns ``FILTERED`` holds.

        Strings are in single quotes, LIKE distinguishes upper and lower case, and a word in double quotes is a column.

        Raises:
            InputError: the expression is malformed, or names an unknown column.
        """
        ...

    def nearest(
        self,
        vectors: np.ndarray,
        k: int,
        effort: int,
        columns: Sequence[str],
        modality: str | None = None,
        where: str | None = None,
    ) -> pa.Table:
        """Columns of the rows of about the highest cosines; asked for only after ``build_ann``.

        Args:
            vectors: (P, D) float32.
            k: how many at least for each vector, where there are so many; each row is returned once.
            effort: how hard to look, at least 1; what it counts is the store's own, such as parts of its index. More
                takes longer and misses less; as many as there are rows misses none.
            columns: as ``scan`` takes them.
            modality: only rows of this one.
            where: only rows for which this expression holds, see ``filter``.
        """
        ...

    def state(self) -> str:
        """A version string that changes with every write; it is part of a file name: letters, digits, "-" and "_" only.

        It is asked for before every search.
        """
        ...

    def move(self, old: str, new: str) -> None:
        """Let all paths that begin with ``old`` begin with ``new`` instead, in one transaction."""
        ...

    def build_ann(self, spread: Spread | None = None) -> None:
        """Build an approximate index of the vectors for ``nearest``, in place of the one that may be there.

        Args:
            spread: runs parts of the work in other processes; a store may do without.
        """
        ...

    def optimize(self) -> None:
        """Join what many small writes left."""
        ...

    def drop_others(self) -> None:
        """Remove the stores of other names in the same folder, which an earlier space or a stopped run left.

        Files ``items-N.*`` of other names than the store's own are removed by the index before this is called.
        """
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several processes may fill at once: what they stage, one of them publishes."""

    def stage(self, rows: pa.Table) -> str:
        """Write rows that no reader sees, and return a text that ``publish`` takes, in any process.

        The windows of a file are never spread over two calls, and ``state`` stays as it is.
        """
        ...

    def is_staged(self, staged: str) -> bool:
        """Whether all that ``publish`` needs of what was staged is there, published or not."""
        ...

    def without(self, staged: str, paths: Sequence[str]) -> str:
        """Stage what was staged again, less the rows of these paths; others are left. Returns as ``stage`` does."""
        ...

    def publish(self, staged: Sequence[str], replaced: Sequence[str]) -> None:
        """Show what was staged in place of all rows that the paths ``replaced`` have, in one transaction.

        Raises FileError where what was staged is no longer there.
        """
        ...

    def unstage(self, kept: Sequence[str]) -> None:
        """Remove what was staged more than ``KEPT`` ago and not published, but for what is named."""
        ...


Spread = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""A function and items -> its results, in order, computed in other processes; all of these can be pickled."""

StoreFactory = Callable[[Path, str], Store]
"""The folder of an index, the name of the store in it -> the store. It opens nothing until a method is called."""


def store_name(store: StoreFactory, default: StoreFactory) -> str:
    """The name by which ``meta.json`` records the store that holds the rows; "" for the default one."""
    return "" if store is default else getattr(store, "__qualname__", type(store).__qualname__)


@dataclass(frozen=True)
class Track:
    """A further track of a file, as another modality reads it.

    Args:
        modality: that reads it.
        times, vectors: of its windows, as ``Entry`` has them.
    """

    modality: str
    times: Sequence[tuple[float, float] | None]
    vectors: np.ndarray


@dataclass(frozen=True)
class Entry:
    """A file as it stands in the index.

    Args:
        file: as the walk found it.
        sha256: of its content.
        times: (start, end) in seconds of each of its W windows; None for what does not last.
        vectors: (W, D) float32, unit rows.
        thumbnail: a JPEG of what the space looked at; None where there is nothing to see.
        tracks: its further tracks.
    """

    file: Found
    sha256: str
    times: Sequence[tuple[float, float] | None]
    vectors: np.ndarray
    thumbnail: bytes | None
    tracks: Sequence[Track] = ()

    @property
    def all_tracks(self) -> list[Track]:
        """The file itself, and then its further tracks."""
        return [Track(self.file.modality, self.times, self.vectors), *self.tracks]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(len(track.times) for track in self.all_tracks)


def schema(dim: int, words: int) -> pa.Schema:
    """The columns of a store; ``words`` and ``shares`` are the nearest words of a vector and their weights."""
    import pyarrow as pa

    return pa.schema(
        [
            ("path", pa.string()),
            ("window", pa.int32()),
            ("modality", pa.string()),
            ("size", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("sha256", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("thumbnail", pa.binary()),
            ("vector", pa.list_(pa.float32(), dim)),
            ("words", pa.list_(pa.uint16(), words)),
            ("shares", pa.list_(pa.float32(), words)),
        ]
    )


def rows_of(entries: Sequence[Entry], items: SparseItems) -> pa.Table:
    """Entries as rows of a store; ``items`` are their vectors, in order, with their words."""
    import pyarrow as pa

    arrays = (items.vectors, items.words, items.weights)
    columns: dict[str, Any] = {name: [] for name in schema(1, 1).names if name not in ARRAYS}
    for entry in entries:
        windows = (
            (number * TRACK + i, track.modality, when)
            for number, track in enumerate(entry.all_tracks)
            for i, when in enumerate(track.times)
        )
        for window, modality, when in windows:
            row = {
                **{name: getattr(entry.file, name) for name in ("path", "size", "mtime_ns")},
                "modality": modality,
                "window": window,
                "sha256": entry.sha256,
                "start_s": when and when[0],
                "end_s": when and when[1],
                "thumbnail": entry.thumbnail if window == 0 else None,
            }
            for name, value in row.items():
                columns[name].append(value)
    for name, matrix in zip(ARRAYS, arrays, strict=True):
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.table(columns, schema=schema(items.vectors.shape[1], items.words.shape[1]))


def entries_of(store: Store, hashes: Sequence[str], modality: str) -> dict[str, Entry]:
    """SHA-256 -> a file with that content as it stands in the index, as one modality reads it."""
    found: dict[str, Entry] = {}
    if not hashes:
        return found
    names = [name for name in schema(1, 1).names if name not in ("words", "shares")]
    rows = store.scan(names, sha256=hashes)
    rows = rows.sort_by([("path", "ascending"), ("window", "ascending")])
    vectors = matrix(rows["vector"])
    columns = {name: rows[name].to_pylist() for name in rows.column_names if name != "vector"}

    def track(own: list[int]) -> Track:
        starts, ends = ([columns[name][i] for i in own] for name in ("start_s", "end_s"))
        times = [None if start is None else (start, end) for start, end in zip(starts, ends, strict=True)]
        return Track(columns["modality"][own[0]], times, vectors[own])

    for _, group in groupby(range(len(rows)), columns["path"].__getitem__):
        own = list(group)
        first, sha256 = own[0], columns["sha256"][own[0]]
        if columns["modality"][first] != modality or sha256 in found:
            continue
        main, *others = [track(list(part)) for _, part in groupby(own, lambda i: columns["window"][i] // TRACK)]
        file = Found(columns["path"][first], columns["size"][first], columns["mtime_ns"][first], modality)
        found[sha256] = Entry(file, sha256, main.times, main.vectors, columns["thumbnail"][first], others)
    return found


def thumbnails_of(store: Store, paths: Sequence[str]) -> dict[str, bytes]:
    """Path -> JPEG, for those that have one."""
    if not paths:
        return {}
    rows = store.scan(["path", "thumbnail"], window=[0], path=paths).to_pydict()
    return {p: t for p, t in zip(rows["path"], rows["thumbnail"], strict=True) if t is not None}


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of lists of W numbers -> (N, W), without a copy where the column is in one piece."""
    width = column.type.list_size
    # flatten() would know where a chunk begins, but imports pyarrow.compute
    parts = [
        chunk.values.to_numpy()[chunk.offset * width : (chunk.offset + len(chunk)) * width].reshape(-1, width)
        for chunk in column.chunks
        if len(chunk)
    ]
    if not parts:
        return np.zeros((0, width), column.type.value_type.to_pandas_dtype())
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def disk_error(what: str, reason: str | None, folder: Path) -> FileError:
    """The error of an index that cannot be read or written, for a reason that the system gave."""
    full = reason == "No space left on device"
    remedy = "make room and run again: what is written is kept" if full else None
    return FileError(f"{what} ({reason})", where=folder, remedy=remedy)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns an OSError into a FileError that says that the index cannot be written."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise disk_error("cannot be written", "No space left on device" if full else error.strerror, folder) from error
