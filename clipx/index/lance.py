"""The store of an index as a Lance table on disk, by lancedb.

Every write is one Lance transaction, so a process that is killed leaves the table as it was before the write or after
it. ``state`` reads two listings, so that a search of a known state need not import lancedb, which takes seconds.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.index.store import FILTERED, KEPT, ROW_ID, disk_error, schema

if TYPE_CHECKING:
    import pyarrow as pa

_LANCE_IO = "LanceError(IO)"  # in the text of what lancedb raises where a file of its own is corrupt or missing


class LanceStore:
    """The Lance table ``name`` in ``folder``; opened at first use. Implements ``clipx.index.Store``.

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
        with _lance(self.folder, "cannot be written"):
            if self._opened is None:
                rows = schema(dim, words)
                self._opened = _connect(self.folder).create_table(self.name, schema=rows, exist_ok=True)

    def write(self, rows: pa.Table, replace: bool) -> None:
        """Put rows in place of all rows that their paths have; appending, without ``replace``, is faster."""
        with _lance(self.folder, "cannot be written"):
            self._write(rows, replace)

    def _write(self, rows: pa.Table, replace: bool) -> None:
        table = self._table()
        if not replace:
            table.add(rows)
            return
        # windows that a file had and has no more go in the same transaction
        (
            table.merge_insert(["path", "window"])
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .when_not_matched_by_source_delete(_is_one_of("path", rows["path"].unique().to_pylist()))
            .execute(rows)
        )

    def delete(self, paths: Sequence[str]) -> None:
        """Remove all rows of these paths, in one transaction."""
        if paths:
            with _lance(self.folder, "cannot be written"):
                self._table().delete(_is_one_of("path", paths))

    def optimize(self) -> None:
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

    def drop_others(self) -> None:
        """Remove the tables of other names in the folder."""
        with _lance(self.folder, "cannot be written"):
            for path in self.folder.glob("items-*.lance"):
                if path != self.path:
                    _connect(self.folder).drop_table(path.stem)

    def scan(self, columns: Sequence[str], **values: Sequence[str | int]) -> pa.Table:
        """Columns of the rows that have one of the given values in each of these columns, in no order."""
        return self._select(columns, " AND ".join(_is_one_of(name, own) for name, own in values.items()))

    def filter(self, where: str) -> np.ndarray:
        """Row ids for which a user's SQL expression holds.

        Raises:
            InputError: it is malformed, or names an unknown column.
        """
        try:
            self._table().count_rows(where)
        except FileError:
            raise
        except Exception as error:  # whatever the parser or the planner raises
            if _LANCE_IO in str(error):
                raise _file_error(error, "cannot be read", self.folder) from error
            message = " ".join(str(error).split()).removeprefix("Invalid input, ").removeprefix("Schema error: ")
            message = message.partition(" Valid fields are ")[0]  # they are listed below, without Lance's own
            raise InputError(
                f"{where!r}: {message[:200].rstrip('.')}",
                where="--sql",
                remedy=f"columns: {', '.join(FILTERED)}",
            ) from error
        return self._select([ROW_ID], where)[ROW_ID].to_numpy()

    def nearest(
        self, vector: np.ndarray, k: int, effort: int, modality: str | None = None, where: str | None = None
    ) -> np.ndarray:
        """Row ids of about the ``k`` rows of the highest cosine; ``effort`` is how many cells are looked at."""
        filters = [] if modality is None else [_is_one_of("modality", [modality])]
        filters += [] if where is None else [f"({where})"]
        with _lance(self.folder, "cannot be read"):
            query = self._table().search(vector).distance_type("cosine").limit(k).select(["_distance"]).nprobes(effort)
            query = query.where(" AND ".join(filters), prefilter=True) if filters else query
            return query.with_row_id(True).to_arrow()[ROW_ID].to_numpy()

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

    def _select(self, columns: Sequence[str], where: str) -> pa.Table:
        """Columns of the rows for which an SQL expression holds; of all rows where that is empty."""
        stored = [name for name in columns if name != ROW_ID]
        with _lance(self.folder, "cannot be read"):
            table = self._table()
            table.checkout_latest()
            query = table.search().select(stored or ["path"]).limit(max(1, table.count_rows()))
            query = query.where(where) if where else query
            return (query.with_row_id(True) if ROW_ID in columns else query).to_arrow().select(list(columns))

    def _no_table(self) -> FileError:
        """The error of an index that was stopped while it was made, or whose table is gone; ``create`` makes one."""
        remedy = f"to fill it: clipx index FOLDER --db {self.folder}"
        return FileError(f"its table {self.name} is missing", where=self.folder, remedy=remedy)

    def _table(self) -> Any:
        if self._opened is None:
            if not self.path.is_dir():
                raise self._no_table()
            with _lance(self.folder, "its table cannot be opened"):
                self._opened = _connect(self.folder).open_table(self.name)
                if missing := set(schema(1, 1).names) - set(self._opened.schema.names):
                    raise FileError(f"its table has no column {', '.join(sorted(missing))}", where=self.folder)
        return self._opened


def _is_one_of(column: str, values: Sequence[str | int]) -> str:
    """An SQL expression: the column has one of these values."""
    listed = ("'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value) for value in values)
    return f"{column} IN ({', '.join(listed)})"


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
        raise _file_error(error, what, folder) from error


def _file_error(error: Exception, what: str, folder: Path) -> FileError:
    """An error of lancedb for the user: the system's reason if there is one, else a corrupt or missing file."""
    message = " ".join(str(getattr(error, "strerror", None) or error).split())
    number = re.search(r"\(os error (\d+)\)", message)
    if "no space left" in message.lower():
        return disk_error(what, "No space left on device", folder)
    if number is not None and int(number[1]) != errno.ENOENT:
        return disk_error(what, os.strerror(int(number[1])), folder)
    if _LANCE_IO in message or "Not found: " in message:
        remedy = "make it again in another folder: clipx index FOLDER --db NAME; the files themselves are untouched"
        return FileError("is damaged (a data file cannot be read)", where=folder, remedy=remedy)
    message = re.sub(r",? /\S*(?:/rustc/|\.cargo/)\S*|,? /rustc/\S*", "", message)  # where in Lance's own code
    return FileError(f"{what} ({message[:200]})", where=folder)
