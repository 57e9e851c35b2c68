"""The store of an index as a Lance table on disk, by pylance.

Every write is one Lance transaction, so a process that is killed leaves the table as it was before the write or after
it. ``state`` reads listings, so that a search of a known state need not import lance.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.index.arrays import evenly_spaced
from clipx.index.kmeans import spherical_kmeans
from clipx.index.store import FILTERED, KEPT, ROW_ID, Spread, disk_error, matrix, schema, writing

if TYPE_CHECKING:
    import pyarrow as pa

FRAGMENT_ROWS = 65_536  # of the files that many small writes are joined into
MAX_CELLS = 1000  # beyond, Lance assigns rows to cells by an approximate search, which was measured to cost recall
HUGE = 16_000_000  # rows from which there are more cells all the same: they would be too large
TRAINED_ON = 65_536  # rows that the centres of the cells are computed from
SEGMENTS = 8  # that several processes build, at most: a search looks into each
DELTAS = 8  # indexes of later rows, from which they are merged
LEAST_NEAREST = 32  # rows that are returned at least: their 8-bit values order near ones only roughly
IN_BATCHES: Any = {"batch_size": 4096, "batch_readahead": 2, "fragment_readahead": 1, "io_buffer_size": 2**26}
CACHES = {"index_cache_size_bytes": 2**29, "metadata_cache_size_bytes": 2**27}  # not 6 GB and 1 GB
_VECTORS = "vector_idx"
_SCALARS = {"path": "BTREE", "sha256": "BTREE", "modality": "BITMAP"}  # what scans filter by
_IN_LANCE = re.compile(r",? /\S*\.rs:\d+:\d+")  # a place in its own code
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"([^"]+)\"""")  # a string, or a word in double quotes
_LOST = ("LanceError(IO)", "Not found: ")  # in the text of what Lance raises where a file is corrupt or missing


class LanceStore:
    """The Lance table ``name`` in ``folder``; opened at first use. Implements ``clipx.index.store.SharedStore``.

    Args:
        folder: the index.
        name: of the table.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        self._opened: Any = None

    @property
    def path(self) -> Path:
        """The table's own folder."""
        return self.folder / f"{self.name}.lance"

    def create(self, dim: int, words: int) -> None:
        """Make the table, empty, unless it is there. Raises FileError."""
        if not self.path.is_dir():
            with _lance(self.folder, "cannot be written"):
                self._opened = _library().write_dataset(schema(dim, words).empty_table(), str(self.path))

    def write(self, rows: pa.Table, replace: bool) -> None:
        """Put rows in place of all rows that their paths have; appending, without ``replace``, is faster."""
        with _lance(self.folder, "cannot be written"):
            new = self._fragments(rows, self.path)
            self._commit(new, rows["path"].unique().to_pylist() if replace else [])

    def stage(self, rows: pa.Table) -> str:
        """Write rows that no reader sees, and return what ``publish`` takes; several processes may at once.

        They lie in a folder of their own until they are published, so that ``state`` does not change.
        """
        with _lance(self.folder, "cannot be written"):
            return json.dumps([part.to_json() for part in self._fragments(rows, self._staging)])

    def is_staged(self, staged: str) -> bool:
        """Whether the files that hold it are there, published or not."""
        with writing(self.folder):
            return all(
                any(place.exists() and place.stat().st_size == size for place in (source, target))
                for source, target, size in self._files_of(staged)
            )

    def without(self, staged: str, paths: Sequence[str]) -> str:
        """Stage what was staged again, less the rows of these paths; others are left. Returns as ``stage`` does."""
        _library()
        import pyarrow as pa
        import pyarrow.compute as pc
        from lance.file import LanceFileReader

        with _lance(self.folder, "cannot be read"):
            places = [source if source.exists() else target for source, target, _ in self._files_of(staged)]
            rows = pa.concat_tables([LanceFileReader(str(place)).read_all().to_table() for place in places])
        return self.stage(rows.filter(pc.invert(pc.is_in(rows["path"], value_set=pa.array(paths, pa.string())))))

    def publish(self, staged: Sequence[str], replaced: Sequence[str]) -> None:
        """Show what was staged in place of all rows that the paths ``replaced`` have, in one transaction."""
        lance = _library()
        with _lance(self.folder, "cannot be written"):
            new = [lance.FragmentMetadata.from_json(json.dumps(part)) for one in staged for part in json.loads(one)]
            for one in staged:
                for source, target, _ in self._files_of(one):
                    if not target.exists():  # a publication that was stopped may have moved it before
                        target.parent.mkdir(exist_ok=True)
                        source.rename(target)
            self._commit(new, replaced)

    def _fragments(self, rows: pa.Table, folder: Path) -> list[Any]:
        """Write rows to the folder ``data`` in that folder; no table knows of them yet."""
        _library()
        from lance.fragment import write_fragments

        table = self._latest()
        kind = {"schema": table.schema, "data_storage_version": table.data_storage_version}
        return write_fragments(rows, table if folder == self.path else str(folder), **kind)

    def _commit(self, new: list[Any], replaced: Sequence[str]) -> None:
        """Put fragments in place of all rows that these paths have."""
        lance, table = _library(), self._latest()
        changed, empty = self._without(table, replaced)
        operation: Any = lance.LanceOperation.Append(new)
        if changed or empty:
            operation = lance.LanceOperation.Update(empty, changed, new)
        self._opened = lance.LanceDataset.commit(table, operation, read_version=table.version)

    @staticmethod
    def _without(table: Any, paths: Sequence[str]) -> tuple[list[Any], list[int]]:
        """Fragments less the rows of these paths, not committed, and the numbers of those that would be empty."""
        if not paths:
            return [], []
        rows = table.scanner(["path"], filter=_is_one_of("path", paths), with_row_address=True).to_table()
        by_fragment: dict[int, set[str]] = {}
        for address, path in zip(rows["_rowaddr"].to_pylist(), rows["path"].to_pylist(), strict=True):
            by_fragment.setdefault(address >> 32, set()).add(path)
        changed, empty = [], []
        for number, own in sorted(by_fragment.items()):
            left = table.get_fragment(number).delete(_is_one_of("path", sorted(own)))
            if left is None:
                empty.append(number)
            else:
                changed.append(left)
        return changed, empty

    def unstage(self, kept: Sequence[str]) -> None:
        """Remove what was staged more than ``KEPT`` ago and not published, but for what is named."""
        oldest = time.time() - KEPT.total_seconds()
        named = {source for one in kept for source, _, _ in self._files_of(one)}
        with writing(self.folder):
            for file in self._staging.glob("data/*"):
                if file not in named and file.stat().st_mtime < oldest:
                    file.unlink(missing_ok=True)

    def _files_of(self, staged: str) -> list[tuple[Path, Path, int]]:
        """Where each file of what was staged lies before and after it is published, and its bytes. Raises FileError."""
        try:
            files = [(file["path"], file["file_size_bytes"]) for part in json.loads(staged) for file in part["files"]]
            if not files:
                raise ValueError("nothing")
            return [(self._staging / "data" / name, self.path / "data" / name, size) for name, size in files]
        except (ValueError, KeyError, TypeError) as error:
            remedy = f"remove {self.folder}/{self.name}-shards, and run the shards again"
            raise FileError("what was staged cannot be read", where=self.folder, remedy=remedy) from error

    @property
    def _staging(self) -> Path:
        """The folder of what is staged; ``data`` in it holds the files."""
        return self.folder / f"{self.name}-staged"

    def delete(self, paths: Sequence[str]) -> None:
        """Remove all rows of these paths, in one transaction."""
        if paths:
            with _lance(self.folder, "cannot be written"):
                self._latest().delete(_is_one_of("path", paths))

    def move(self, old: str, new: str) -> None:
        """Let paths that begin with ``old`` begin with ``new``, in one transaction."""
        with _lance(self.folder, "cannot be written"):
            path = f"concat({_quoted(new)}, substr(path, {len(old) + 1}))"
            self._latest().update({"path": path}, where=f"starts_with(path, {_quoted(old)})")

    def optimize(self) -> None:
        """Join what many small writes left, index what is new, and forget states older than ``KEPT``."""
        with _lance(self.folder, "cannot be written"):
            table = self._latest()
            table.optimize.compact_files(target_rows_per_fragment=FRAGMENT_ROWS)
            table = self._latest()
            segments = [one for one in table.list_indices() if one["name"] == _VECTORS]
            if segments:  # those that were built together stay: to merge into them takes as long as to build them
                built = min(one["version"] for one in segments)
                later = sum(one["version"] > built for one in segments)
                table.optimize.optimize_indices(num_indices_to_merge=later if later >= DELTAS else 0)
            table.cleanup_old_versions(older_than=KEPT)

    def build_ann(self, spread: Spread | None = None) -> None:
        """Part the vectors into cells (IVF) of 8-bit values, so that a search looks at the nearest cells only.

        There are as many cells as a cell has rows, which makes finding the cells as much work as looking at one, but
        not more than 1,000 below 16 million rows. Their centres are computed from 65,536 rows at most. Where the work
        is spread, the index has up to eight segments with the same centres.
        """
        with _lance(self.folder, "cannot be written"):
            self._latest().optimize.compact_files(target_rows_per_fragment=FRAGMENT_ROWS)
            table = self._latest()
            count = table.count_rows()
            cells = min(math.isqrt(count), MAX_CELLS) if count < HUGE else math.isqrt(count)
            sample = table.take(evenly_spaced(count, TRAINED_ON).tolist(), columns=["vector"])
            centres = spherical_kmeans(matrix(sample["vector"]), cells)
            numbers = [part.fragment_id for part in table.get_fragments()]
            groups = [numbers] if spread is None else [numbers[i::SEGMENTS] for i in range(min(SEGMENTS, len(numbers)))]
            work = partial(_segment, str(self.path), table.version, centres)
            segments = list(map(work, groups)) if spread is None else spread(work, groups)
            self._opened = self._latest().commit_existing_index_segments(_VECTORS, "vector", segments)
            for column, kind in _SCALARS.items():
                self._latest().create_scalar_index(column, kind, f"{column}_idx", replace=True)

    def drop_others(self) -> None:
        """Remove the tables of other names in the folder."""
        lance = _library()
        with _lance(self.folder, "cannot be written"):
            for path in self.folder.glob("items-*.lance"):
                if path != self.path:
                    lance.LanceDataset.drop(str(path))
            for path in self.folder.glob("items-*-staged"):
                if path != self._staging:
                    shutil.rmtree(path)

    def scan(self, columns: Sequence[str], **values: Sequence[str | int]) -> pa.Table:
        """Columns of the rows that have one of the given values in each of these columns, in no order."""
        where = " AND ".join(_is_one_of(name, own) for name, own in values.items())
        with _lance(self.folder, "cannot be read"):
            return self._scanner(columns, where).to_table().select(list(columns))

    def batches(
        self, columns: Sequence[str], modality: str | None = None, where: str | None = None
    ) -> Iterator[pa.Table]:
        """Columns of rows, some at a time, in no order; of a modality, and those for which an expression holds."""
        import pyarrow as pa

        with _lance(self.folder, "cannot be read"):
            for batch in self._scanner(columns, _both(modality, where), **IN_BATCHES).to_batches():
                yield pa.Table.from_batches([batch]).select(list(columns))

    def filter(self, where: str) -> np.ndarray:
        """Row ids for which a user's SQL expression holds.

        Raises:
            InputError: it is malformed, or names an unknown column.
        """
        try:
            return self._scanner([ROW_ID], where).to_table()[ROW_ID].to_numpy()
        except FileError:
            raise
        except Exception as error:  # whatever the parser or the planner raises
            if any(sign in str(error) for sign in _LOST):
                raise _file_error(error, "cannot be read", self.folder) from error
            message = _IN_LANCE.sub("", " ".join(str(error).split()))
            for start in ("Invalid user input: ", "Schema error: ", "Invalid input, "):
                message = message.removeprefix(start)
            message = message.partition(" Valid fields are ")[0]  # they are listed below, without Lance's own
            raise InputError(
                f"{where!r}: {message[:200].rstrip('.')}",
                where="--sql",
                remedy=f"columns: {', '.join(FILTERED)}",
            ) from error

    def nearest(
        self,
        vectors: np.ndarray,
        k: int,
        effort: int,
        columns: Sequence[str],
        modality: str | None = None,
        where: str | None = None,
    ) -> pa.Table:
        """Columns of the rows of about the highest cosines; ``effort`` is how many cells are looked at."""
        query = {"column": "vector", "k": max(k, LEAST_NEAREST), "nprobes": effort, "metric": "cosine"}
        only = _both(modality, where)
        with _lance(self.folder, "cannot be read"):
            table = self._latest()  # one version throughout: another one may give the row ids to other rows
            found = [self._scanner([ROW_ID], only, {**query, "q": vector}, table).to_table() for vector in vectors]
            ids = np.unique(np.concatenate([rows[ROW_ID].to_numpy() for rows in found])).tolist()
            return self._scanner(columns, _is_one_of(ROW_ID, ids), None, table).to_table().select(list(columns))

    def state(self) -> str:
        """A short name of the table's state, which any write changes, and the loss of a data file; two listings."""
        folder = str(self.path)
        try:
            names = sorted(name for name in os.listdir(f"{folder}/_versions") if name.endswith(".manifest"))
            with suppress(FileNotFoundError):  # while the table is empty
                names += sorted(os.listdir(f"{folder}/data"))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                raise FileError(f"its table cannot be read ({error.strerror})", where=self.folder) from error
            raise self._no_table() from error
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]

    def _scanner(
        self,
        columns: Sequence[str],
        where: str = "",
        nearest: dict[str, Any] | None = None,
        table: Any = None,
        **options: Any,
    ) -> Any:
        return (self._latest() if table is None else table).scanner(
            [name for name in columns if name != ROW_ID] + (["_distance"] if nearest else []),
            filter=_QUOTED.sub(_as_column, where) or None,
            nearest=nearest,
            prefilter=True,
            with_row_id=ROW_ID in columns,
            **options,
        )

    def _no_table(self) -> FileError:
        """The error of an index that was stopped while it was made, or whose table is gone; ``create`` makes one."""
        remedy = f"to fill it: clipx index FOLDER --db {self.folder}"
        return FileError(f"its table {self.name} is missing", where=self.folder, remedy=remedy)

    def _latest(self) -> Any:
        """The table as it is now, a new handle where it has changed: threads may still read through the old one."""
        with _lance(self.folder, "its table cannot be opened"):
            table = self._opened
            if table is not None and table.latest_version == table.version:
                return table
            if not self.path.is_dir():
                raise self._no_table()
            caches: dict[str, Any] = CACHES if table is None else {"session": table.session()}
            self._opened = _library().dataset(str(self.path), **caches)
            if missing := set(schema(1, 1).names) - set(self._opened.schema.names):
                raise FileError(f"its table has no column {', '.join(sorted(missing))}", where=self.folder)
            return self._opened


def _segment(path: str, version: int, centres: np.ndarray, fragments: Sequence[int]) -> Any:
    """The index of some fragments of a version of a table, which no search uses before it is committed."""
    table = _library().dataset(path, version=version)
    how = {"num_partitions": len(centres), "ivf_centroids": centres, "fragment_ids": list(fragments)}
    return table.create_index_uncommitted("vector", "IVF_SQ", _VECTORS, "cosine", True, **how)


def _library() -> Any:
    """pylance, which warns on stderr of what is no fault, such as an empty cell."""
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance


def _is_one_of(column: str, values: Sequence[str | int]) -> str:
    """An SQL expression: the column has one of these values; SQL has no empty list of them."""
    if not values:
        return "false"
    listed = (_quoted(value) if isinstance(value, str) else str(value) for value in values)
    return f"{column} IN ({', '.join(listed)})"


def _as_column(match: re.Match[str]) -> str:
    """A word in double quotes, which SQL takes for a column, as Lance quotes columns; a string as it is."""
    return match[0] if match[1] is None else f"`{match[1]}`"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _both(modality: str | None, where: str | None) -> str:
    """An SQL expression: the modality is this one, and an expression holds."""
    parts = [] if modality is None else [_is_one_of("modality", [modality])]
    return " AND ".join(parts if where is None else [*parts, f"({where})"])


@contextmanager
def _lance(folder: Path, what: str) -> Iterator[None]:
    """pylance's exceptions, of several kinds and lengths, as one FileError of one line."""
    try:
        yield
    except FileError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise _file_error(error, what, folder) from error


def _file_error(error: Exception, what: str, folder: Path) -> FileError:
    """An error of pylance for the user: the system's reason if there is one, else a corrupt or missing file."""
    message = " ".join(str(getattr(error, "strerror", None) or error).split())
    number = re.search(r"\(os error (\d+)\)", message)
    if "no space left" in message.lower():
        return disk_error(what, "No space left on device", folder)
    if number is not None and int(number[1]) != errno.ENOENT:
        return disk_error(what, os.strerror(int(number[1])), folder)
    if any(sign in message for sign in _LOST):
        remedy = "make it again in another folder: clipx index FOLDER --db NAME; the files themselves are untouched"
        return FileError("is damaged (a data file cannot be read)", where=folder, remedy=remedy)
    return FileError(f"{what} ({_IN_LANCE.sub('', message)[:200]})", where=folder)
