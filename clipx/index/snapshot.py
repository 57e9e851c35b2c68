"""The rows that a search reads, cached in an Arrow file next to the store and mapped into memory.

The store is the record. The file holds the searched columns of one state of it, and is rebuilt when the state has
changed since. So a search need not open the store.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.files import write_whole
from clipx.index.store import ARRAYS, ROW_ID, Store, matrix
from clipx.index.vocabulary import SparseItems

if TYPE_CHECKING:
    import pyarrow as pa

SEARCHED = ("path", "window", "modality", "start_s", "end_s", *ARRAYS, ROW_ID)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The searched columns of one state of a store, ordered by path and window; N rows.

    Args:
        items: their (N, D) vectors, with their words.
        columns: path, window, modality (dictionary-encoded), start_s and end_s, as an Arrow table.
        row_ids: (N,) the store's own names of the rows.
        state: the state of the store that the rows are of.
    """

    items: SparseItems
    columns: pa.Table
    row_ids: np.ndarray
    state: str

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def modality_names(self) -> list[str]:
        """The modalities that the rows are of, sorted."""
        return sorted(self._coded.dictionary.to_pylist())

    @cached_property
    def modalities(self) -> np.ndarray:
        """(N,) positions in ``modality_names``."""
        positions = [self.modality_names.index(name) for name in self._coded.dictionary.to_pylist()]
        return np.array(positions, np.int64)[self._coded.indices.to_numpy()]

    @cached_property
    def files(self) -> np.ndarray:
        """(N,) codes of the files that the rows are of."""
        return np.cumsum(self.first_windows) - 1

    @cached_property
    def first_windows(self) -> np.ndarray:
        """(N,) booleans: one row of each file."""
        return self.columns["window"].to_numpy() == 0

    @cached_property
    def _by_id(self) -> np.ndarray:
        return np.argsort(self.row_ids)

    def positions(self, row_ids: np.ndarray) -> np.ndarray:
        """Positions of the rows with these ids, sorted; ids that are not in this state are skipped."""
        found = np.searchsorted(self.row_ids, row_ids, sorter=self._by_id)
        rows = self._by_id[found[found < len(self)]]
        return np.sort(rows[np.isin(self.row_ids[rows], row_ids)])

    def modality_of(self, path: str) -> str | None:
        """The modality that a file of the index was read by; None for another file."""
        paths = self.columns["path"]
        row = bisect_left(range(len(paths)), path.encode(), key=lambda i: paths[i].as_py().encode())
        return self.columns["modality"][row].as_py() if row < len(paths) and paths[row].as_py() == path else None

    def of_modality(self, name: str) -> np.ndarray:
        """(N,) booleans."""
        here = self.modality_names.index(name) if name in self.modality_names else -1
        return self.modalities == here

    @cached_property
    def _coded(self) -> Any:
        return self.columns["modality"].combine_chunks()


def take_snapshot(store: Store, folder: Path, name: str, before: Snapshot | None = None) -> Snapshot:
    """The searched rows of a store's present state: ``before`` where that still holds, else mapped from its file.

    The file is made where it is missing; where the folder cannot be written the rows stay in memory.

    Args:
        store: what is searched.
        folder: of the files, one of which is kept: ``name-STATE.arrow``.
        name: of the store.
        before: an earlier snapshot.
    """
    state = store.state()
    if before is not None and before.state == state:
        return before
    file = folder / f"{name}-{state}.arrow"
    with suppress(OSError, ValueError, KeyError):  # missing, or corrupt: it is rebuilt
        return _as_snapshot(_map_arrow(file), state)
    rows = store.scan(SEARCHED).sort_by([("path", "ascending"), ("window", "ascending")]).combine_chunks()
    # encoded once, as it is written: encoding imports pyarrow.compute
    rows = rows.set_column(SEARCHED.index("modality"), "modality", rows["modality"].dictionary_encode())
    if store.state() == state:  # else it was written to meanwhile, and these are the rows of a later state
        with suppress(OSError):
            _write_arrow(file, rows)
            for old in folder.glob(f"{name}-*.arrow"):
                if old != file:
                    old.unlink(missing_ok=True)
            return _as_snapshot(_map_arrow(file), state)
    return _as_snapshot(rows, state)


def _as_snapshot(rows: pa.Table, state: str) -> Snapshot:
    if not hasattr(rows.schema.field("modality").type, "index_type"):
        raise ValueError("written by an earlier version")
    items = SparseItems(*(matrix(rows[name]) for name in ARRAYS))
    return Snapshot(items, rows.drop_columns([*ARRAYS, ROW_ID]), rows[ROW_ID].to_numpy(), state)


def _write_arrow(file: Path, rows: pa.Table) -> None:
    """An atomic write."""
    import pyarrow as pa

    def write(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=max(1, len(rows)))

    write_whole(file, write)


def _map_arrow(file: Path) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
