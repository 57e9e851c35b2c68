"""A store of an index that keeps its rows in memory: the least that ``clipx.index.Store`` asks of a store."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipx.errors import FileError, InputError
from clipx.index.store import FILTERED, ROW_ID, matrix, schema


class MemoryStores:
    """Stores by folder and name; an instance is the ``store`` that ``Index.create`` and ``Index.open`` take."""

    def __init__(self):
        self.tables: dict[tuple[Path, str], pa.Table] = {}
        self.writes = 0

    def __call__(self, folder: Path, name: str) -> "MemoryStore":
        return MemoryStore(self, folder, name)


class MemoryStore:
    """The store of one name in one folder. A row's id is its position."""

    def __init__(self, stores: MemoryStores, folder: Path, name: str):
        self.stores, self.folder, self.name = stores, folder, name

    @property
    def rows(self) -> pa.Table:
        if (self.folder, self.name) not in self.stores.tables:
            raise FileError(f"its table {self.name} is missing", where=self.folder)
        return self.stores.tables[self.folder, self.name]

    def put(self, rows: pa.Table) -> None:
        self.stores.tables[self.folder, self.name] = rows
        self.stores.writes += 1

    def create(self, dim: int, words: int) -> None:
        if (self.folder, self.name) not in self.stores.tables:
            self.put(schema(dim, words).empty_table())

    def write(self, rows: pa.Table, replace: bool) -> None:
        kept = self._without(rows["path"].to_pylist()) if replace else self.rows
        self.put(pa.concat_tables([kept, rows]))

    def delete(self, paths: Sequence[str]) -> None:
        self.put(self._without(paths))

    def scan(self, columns: Sequence[str], **values: Sequence[str | int]) -> pa.Table:
        rows = self.rows.append_column(ROW_ID, pa.array(np.arange(len(self.rows))))
        for name, wanted in values.items():
            rows = rows.filter(pc.is_in(rows[name], pa.array(wanted, rows[name].type)))
        return rows.select(list(columns))

    def filter(self, where: str) -> np.ndarray:
        database = sqlite3.connect(":memory:")
        database.execute("PRAGMA case_sensitive_like = ON")
        database.execute(f"CREATE TABLE rows ({', '.join(FILTERED)})")
        values = zip(*(self.rows[name].to_pylist() for name in FILTERED), strict=True)
        database.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * len(FILTERED))})", values)
        try:
            found = database.execute(f"SELECT rowid - 1 FROM rows WHERE ({where})").fetchall()
        except sqlite3.Error as error:
            raise InputError(f"{where!r}: {error}", where="--sql") from error
        return np.array([row_id for (row_id,) in found], np.int64)

    def batches(self, columns, modality=None, where=None):
        rows = self._chosen(modality, where)
        for start in range(0, len(rows), 3):  # several, however few there are
            yield rows[start : start + 3].select(list(columns))

    def nearest(
        self,
        vectors: np.ndarray,
        k: int,
        effort: int,
        columns: Sequence[str],
        modality: str | None = None,
        where: str | None = None,
    ) -> pa.Table:
        rows = self._chosen(modality, where)
        best = np.argsort(-(vectors @ matrix(rows["vector"]).T), axis=1)[:, :k]
        return rows.take(np.unique(best)).select(list(columns))

    def state(self) -> str:
        return f"{self.stores.writes}-{len(self.rows)}"

    def build_ann(self, spread=None) -> None:
        """Nothing: ``nearest`` looks at every row."""

    def optimize(self) -> None:
        self.put(self.rows.combine_chunks())

    def drop_others(self) -> None:
        for folder, name in list(self.stores.tables):
            if folder == self.folder and name != self.name:
                del self.stores.tables[folder, name]

    def move(self, old: str, new: str) -> None:
        paths = [new + p.removeprefix(old) if p.startswith(old) else p for p in self.rows["path"].to_pylist()]
        self.put(self.rows.set_column(0, "path", pa.array(paths, pa.string())))

    def _chosen(self, modality: str | None, where: str | None) -> pa.Table:
        rows = self.scan([*self.rows.column_names, ROW_ID])
        if where is not None:
            rows = rows.take(self.filter(where))
        return rows if modality is None else rows.filter(pc.equal(rows["modality"], modality))

    def _without(self, paths: Sequence[str]) -> pa.Table:
        return self.rows.filter(pc.invert(pc.is_in(self.rows["path"], pa.array(paths, pa.string()))))
