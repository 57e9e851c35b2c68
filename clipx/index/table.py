"""The index on disk: one Lance table, and beside it a snapshot that a search maps into memory.

The table is the record. Every write is one Lance transaction, so a process that is killed leaves the table as it was
before the write or after it. The snapshot is an Arrow file with the columns that a search reads; it is made anew when
the table has changed since. With it a search need not import lancedb, which takes seconds.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import clipx
from clipx.errors import FileError, InputError
from clipx.index.calibration import WORDS, Described, Vocabulary
from clipx.index.scan import Found

if TYPE_CHECKING:
    import pyarrow as pa

    from clipx.space import JointSpace

KEPT = timedelta(hours=1)  # how long what a reader may still have open is kept after it was replaced
_LIGHT = ("path", "window", "modality", "start_s", "end_s", "vector", "words", "shares")  # what a snapshot holds
_ARRAYS = ("vector", "words", "shares")
_LANCE_IO = "LanceError(IO)"  # in the text of what lancedb raises where a file of its own is torn or gone


@dataclass(frozen=True)
class Entry:
    """A file as it stands in the index.

    Args:
        file: as the walk saw it.
        sha256: of its content.
        times: (start, end) in seconds of each of its W windows; None for what does not last.
        vectors: (W, D) float32, unit rows.
        thumbnail: a JPEG of what the space looked at; None where there is nothing to see.
    """

    file: Found
    sha256: str
    times: Sequence[tuple[float, float] | None]
    vectors: np.ndarray
    thumbnail: bytes | None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The searched columns of one state of the table, ordered by path and window; N rows.

    Args:
        items: their (N, D) vectors and descriptions, mapped from the file.
        columns: path, window, modality, start_s and end_s, as an Arrow table.
        row_ids: (N,) Lance's own names of the rows.
        state: the state of the table it was taken from.
    """

    items: Described
    columns: pa.Table
    row_ids: np.ndarray
    state: str

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def modality_names(self) -> list[str]:
        """Those that are there, sorted."""
        return sorted(self._coded.dictionary.to_pylist())

    @cached_property
    def modalities(self) -> np.ndarray:
        """(N,) places in ``modality_names``."""
        places = [self.modality_names.index(name) for name in self._coded.dictionary.to_pylist()]
        return np.array(places, np.int64)[self._coded.indices.to_numpy()]

    @cached_property
    def files(self) -> np.ndarray:
        """(N,) codes of the files that the rows are of."""
        return np.cumsum(self.columns["window"].to_numpy() == 0) - 1

    @cached_property
    def _by_id(self) -> np.ndarray:
        return np.argsort(self.row_ids)

    def places(self, row_ids: np.ndarray) -> np.ndarray:
        """Rows of these names, sorted; names of rows that are not in this state are passed over."""
        found = np.searchsorted(self.row_ids, row_ids, sorter=self._by_id)
        rows = self._by_id[found[found < len(self)]]
        return np.sort(rows[np.isin(self.row_ids[rows], row_ids)])

    def modality_of(self, path: str) -> str | None:
        """Who reads a file of the index; None for another."""
        paths = self.columns["path"]
        row = bisect_left(range(len(paths)), path.encode(), key=lambda i: paths[i].as_py().encode())
        return self.columns["modality"][row].as_py() if row < len(paths) and paths[row].as_py() == path else None

    def of_modality(self, name: str) -> np.ndarray:
        """(N,) booleans."""
        here = self.modality_names.index(name) if name in self.modality_names else -1
        return self.modalities == here

    @cached_property
    def _coded(self) -> Any:
        return self.columns["modality"].combine_chunks().dictionary_encode()


class Table:
    """The Lance table ``name`` in ``folder``; opened at first use.

    Args:
        folder: the index.
        name: of the table.
        dim: D.
    """

    def __init__(self, folder: Path, name: str, dim: int):
        self.folder, self.name, self.dim = folder, name, dim
        self._opened: Any = None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words by which its rows are described."""
        return Vocabulary.load(self._vocabulary_file)

    @property
    def _vocabulary_file(self) -> Path:
        return self.folder / f"{self.name}-words.npz"

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.lance"

    def create(self, space: Callable[[], JointSpace]) -> Table:
        """Make the table, empty, and its words, unless they are there; ``space`` is asked for only if so."""
        with _lance(self.folder, "cannot be written"):
            if not self._vocabulary_file.exists():
                Vocabulary.of(space()).save(self._vocabulary_file)
            if self._opened is None:
                schema = _schema(self.dim, min(WORDS, len(self.vocabulary.words)))
                self._opened = _connect(self.folder).create_table(self.name, schema=schema, exist_ok=True)
        return self

    def drop_others(self) -> None:
        """Remove all that other tables left in the folder, and what a process that was killed was writing.

        The words go before their table, so that a kill in between leaves none for a later table of that name.
        """
        with _lance(self.folder, "cannot be written"):
            for file in [*self.folder.glob("items-*.*"), *self.folder.glob(".items-*.part")]:
                owner = re.match(r"\.?(items-\d+)\b", file.name)
                if owner is not None and owner[1] != self.name and file.is_file():
                    file.unlink(missing_ok=True)
            for path in self.folder.glob("items-*.lance"):
                if path != self.path:
                    _connect(self.folder).drop_table(path.stem)

    # Writing ----------------------------------------------------------------------------------------------------------

    def write(self, entries: Sequence[Entry], replace: bool) -> None:
        """Put the files' rows in place of those they had, in one transaction.

        Args:
            entries: files, each once.
            replace: whether any of them may have rows; where none has, rows are appended, which is faster.
        """
        if not entries:
            return
        with _lance(self.folder, "cannot be written"):
            table, rows = self._table(), self._rows(entries)
            if not replace:
                table.add(rows)
                return
            # windows that a file had and has no more go in the same transaction
            (
                table.merge_insert(["path", "window"])
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(_among("path", [entry.file.path for entry in entries]))
                .execute(rows)
            )

    def delete(self, paths: Sequence[str]) -> None:
        """Remove the rows of these files, in one transaction."""
        if paths:
            with _lance(self.folder, "cannot be written"):
                self._table().delete(_among("path", paths))

    def tidy(self) -> None:
        """Join what many small writes left, and forget states older than ``KEPT``."""
        with _lance(self.folder, "cannot be written"):
            self._table().optimize(cleanup_older_than=KEPT)

    def build_ann(self) -> None:
        """Part the vectors into cells (IVF), so that a search looks at the nearest cells only.

        There are as many cells as a cell has rows, which makes finding the cells as much work as looking at one.
        """
        from lancedb.index import IvfFlat

        with _lance(self.folder, "cannot be written"):
            table = self._table()
            config = IvfFlat(distance_type="cosine", num_partitions=math.isqrt(table.count_rows()))
            table.create_index("vector", replace=True, config=config)

    # Reading ----------------------------------------------------------------------------------------------------------

    def known(self) -> dict[str, tuple[Found, str]]:
        """Path -> the file as it was when it was indexed, and its content's SHA-256."""
        columns = ["path", "size", "mtime_ns", "modality", "sha256"]
        rows = self.select(columns, "window = 0").to_pydict()
        return {
            path: (Found(path, size, mtime_ns, modality), sha256)
            for path, size, mtime_ns, modality, sha256 in zip(*(rows[c] for c in columns), strict=True)
        }

    def select(self, columns: Sequence[str], where: str | None = None, row_ids: bool = False) -> pa.Table:
        """Columns of the rows for which an SQL expression holds, in no order."""
        with _lance(self.folder, "cannot be read"):
            table = self._table()
            table.checkout_latest()
            query = table.search().select(list(columns)).limit(max(1, table.count_rows()))
            query = query if where is None else query.where(where)
            return (query.with_row_id(True) if row_ids else query).to_arrow()

    def nearest(self, vector: np.ndarray, k: int, cells: int, where: str | None = None) -> np.ndarray:
        """Names of about the ``k`` rows of the highest cosine, found in so many cells of the approximate index."""
        with _lance(self.folder, "cannot be read"):
            query = self._table().search(vector).distance_type("cosine").limit(k).select(["_distance"])
            query = query.nprobes(cells) if where is None else query.nprobes(cells).where(where, prefilter=True)
            return query.with_row_id(True).to_arrow()["_rowid"].to_numpy()

    def row_ids(self, where: str) -> np.ndarray:
        """Names of the rows for which a user's SQL expression holds.

        Raises:
            InputError: it is malformed, or names what is no column.
        """
        try:
            self._table().count_rows(where)
        except FileError:
            raise
        except Exception as error:  # whatever the parser or the planner says
            if _LANCE_IO in str(error):
                raise _fault(error, "cannot be read", self.folder) from error
            said = " ".join(str(error).split()).removeprefix("Invalid input, ").removeprefix("Schema error: ")
            said = said.partition(" Valid fields are ")[0]  # they are told below, without Lance's own
            raise InputError(
                f"{where!r}: {said[:200].rstrip('.')}",
                where="--sql",
                remedy=f"columns: {', '.join(c for c in _schema(1, 1).names if c not in (*_ARRAYS, 'thumbnail'))}",
            ) from error
        return self.select(["path"], where, row_ids=True)["_rowid"].to_numpy()

    def entries(self, hashes: Sequence[str], modality: str) -> dict[str, Entry]:
        """SHA-256 -> a file with that content as it stands in the index, as one modality reads it."""
        found: dict[str, Entry] = {}
        if not hashes:
            return found
        where = f"{_among('sha256', hashes)} AND {_among('modality', [modality])}"
        names = [name for name in _schema(1, 1).names if name not in ("words", "shares")]
        rows = self.select(names, where).sort_by([("path", "ascending"), ("window", "ascending")])
        vectors = _matrix(rows["vector"], self.dim)
        taken: dict[str, list[int]] = {}
        owner: dict[str, str] = {}
        columns = {name: rows[name].to_pylist() for name in rows.column_names if name != "vector"}
        for i, (sha256, path) in enumerate(zip(columns["sha256"], columns["path"], strict=True)):
            if owner.setdefault(sha256, path) == path:
                taken.setdefault(sha256, []).append(i)
        for sha256, own in taken.items():
            first = own[0]
            times = [
                None if columns["start_s"][i] is None else (columns["start_s"][i], columns["end_s"][i]) for i in own
            ]
            file = Found(columns["path"][first], columns["size"][first], columns["mtime_ns"][first], modality)
            found[sha256] = Entry(file, sha256, times, vectors[own], columns["thumbnail"][first])
        return found

    def thumbnails(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Path -> JPEG, for those that have one."""
        if not paths:
            return {}
        rows = self.select(["path", "thumbnail"], f"window = 0 AND {_among('path', paths)}").to_pydict()
        return {p: t for p, t in zip(rows["path"], rows["thumbnail"], strict=True) if t is not None}

    def state(self) -> str:
        """A short name of the table's state, which any write changes, and the loss of a data file; two listings."""
        data = self.path / "data"  # missing while the table is empty
        try:
            names = sorted(name for name in os.listdir(self.path / "_versions") if name.endswith(".manifest"))
            names += sorted(os.listdir(data)) if data.is_dir() else []
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                raise FileError(f"its table cannot be read ({error.strerror})", where=self.folder) from error
            raise self._no_table() from error
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]

    def snapshot(self, before: Snapshot | None = None) -> Snapshot:
        """What is searched, of the table's present state: ``before`` where that still holds, else mapped from its file.

        The file is made where it is missing, and where the folder cannot be written the rows stay in memory.
        """
        state = self.state()
        if before is not None and before.state == state:
            return before
        file = self.folder / f"{self.name}-{state}.arrow"
        with suppress(OSError, ValueError, KeyError):  # missing, or torn: it is made anew
            return self._as_snapshot(_map_arrow(file), state)
        rows = self._searched()
        if self.state() == state:  # else it was written to meanwhile, and these are the rows of a later state
            with suppress(OSError):
                _write_arrow(file, rows)
                for old in self._snapshots():
                    if old != file:
                        old.unlink(missing_ok=True)
                return self._as_snapshot(_map_arrow(file), state)
        return self._as_snapshot(rows, state)

    def _rows(self, entries: Sequence[Entry]) -> pa.Table:
        import pyarrow as pa

        vectors = np.concatenate([entry.vectors for entry in entries]).astype(np.float32, copy=False)
        words, shares = self.vocabulary.describe(vectors)
        schema = _schema(self.dim, words.shape[1])
        columns: dict[str, Any] = {name: [] for name in schema.names if name not in _ARRAYS}
        for entry in entries:
            for window, when in enumerate(entry.times):
                row = {
                    **{name: getattr(entry.file, name) for name in ("path", "size", "mtime_ns", "modality")},
                    "window": window,
                    "sha256": entry.sha256,
                    "start_s": when and when[0],
                    "end_s": when and when[1],
                    "thumbnail": entry.thumbnail if window == 0 else None,
                }
                for name, value in row.items():
                    columns[name].append(value)
        for name, matrix in zip(_ARRAYS, (vectors, words, shares), strict=True):
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        return pa.table(columns, schema=schema)

    def _searched(self) -> pa.Table:
        rows = self.select(_LIGHT, row_ids=True)
        return rows.sort_by([("path", "ascending"), ("window", "ascending")]).combine_chunks()

    def failures(self) -> dict[str, dict[str, Any]]:
        """What ``remember`` wrote: path -> size, mtime_ns, modality and reason. Empty where it is missing or torn."""
        try:
            told = json.loads(self._failures_file.read_text(encoding="utf-8"))
            return told["failures"] if told["clipx"] == clipx.__version__ else {}  # a later one may read them
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def remember(self, failures: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep what could not be read, so that it need not be tried again until it changes. Raises FileError."""
        beside = self.folder / f".{self._failures_file.name}.part"
        with _lance(self.folder, "cannot be written"):
            beside.write_text(json.dumps({"clipx": clipx.__version__, "failures": failures}), encoding="utf-8")
            beside.replace(self._failures_file)

    @property
    def _failures_file(self) -> Path:
        return self.folder / f"{self.name}-failures.json"

    def _as_snapshot(self, rows: pa.Table, state: str) -> Snapshot:
        k = min(WORDS, len(self.vocabulary.words))
        items = Described(*(_matrix(rows[name], width) for name, width in zip(_ARRAYS, (self.dim, k, k), strict=True)))
        return Snapshot(items, rows.drop_columns([*_ARRAYS, "_rowid"]), rows["_rowid"].to_numpy(), state)

    def _snapshots(self) -> Iterator[Path]:
        return self.folder.glob(f"{self.name}-*.arrow")

    def _no_table(self) -> FileError:
        """Of an index that was stopped while it was made, or whose table was taken away; ``create`` makes it."""
        remedy = f"to fill it: clipx index FOLDER --db {self.folder}"
        return FileError(f"its table {self.name} is missing", where=self.folder, remedy=remedy)

    def _table(self) -> Any:
        if self._opened is None:
            if not self.path.is_dir():
                raise self._no_table()
            with _lance(self.folder, "its table cannot be opened"):
                self._opened = _connect(self.folder).open_table(self.name)
                if missing := set(_schema(1, 1).names) - set(self._opened.schema.names):
                    raise FileError(f"its table lacks {', '.join(sorted(missing))}", where=self.folder)
        return self._opened


def _schema(dim: int, words: int) -> pa.Schema:
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


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """(N, width), without a copy where the column is in one piece."""
    parts = [chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks if len(chunk)]
    if not parts:
        return np.zeros((0, width), column.type.value_type.to_pandas_dtype())
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _write_arrow(file: Path, rows: pa.Table) -> None:
    import pyarrow as pa

    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=max(1, len(rows)))
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _map_arrow(file: Path) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()


def _among(column: str, values: Sequence[str]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"


def _connect(folder: Path) -> Any:
    import lancedb

    return lancedb.connect(folder)


@contextmanager
def _lance(folder: Path, what: str) -> Iterator[None]:
    """lancedb's exceptions, of several kinds and lengths, as one FileError of one line."""
    try:
        yield
    except FileError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise _fault(error, what, folder) from error


def _fault(error: Exception, what: str, folder: Path) -> FileError:
    """What lancedb raised, for the user: what the system has against it, else that a file is torn or gone."""
    said = " ".join(str(getattr(error, "strerror", None) or error).split())
    number = re.search(r"\(os error (\d+)\)", said)
    if "no space left" in said.lower():
        remedy = "make room and run again: what is written is kept"
        return FileError(f"{what} (No space left on device)", where=folder, remedy=remedy)
    if number is not None and int(number[1]) != errno.ENOENT:
        return FileError(f"{what} ({os.strerror(int(number[1]))})", where=folder)
    if _LANCE_IO in said or "Not found: " in said:
        remedy = "make it anew in another folder: clipx index FOLDER --db NAME; the files themselves are untouched"
        return FileError("is damaged (a data file cannot be read)", where=folder, remedy=remedy)
    said = re.sub(r",? /\S*(?:/rustc/|\.cargo/)\S*|,? /rustc/\S*", "", said)  # where in Lance's own code
    return FileError(f"{what} ({said[:200]})", where=folder)
