"""The rows that a search reads, cached in an Arrow file next to the store and mapped into memory.

The store is the record. The file holds the searched columns of one state of it, and is rebuilt when the state has
changed since. So a search need not open the store. Of a modality that is searched by an approximate index, the file
holds a sample only, from which the null distribution is estimated, and the vectors stay in the store.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.files import write_whole
from clipx.index.arrays import evenly_spaced
from clipx.index.null_model import ITEMS
from clipx.index.store import ARRAYS, ROW_ID, TRACK, Store, matrix
from clipx.index.vocabulary import SparseItems

if TYPE_CHECKING:
    import pyarrow as pa

SEARCHED = ("path", "window", "modality", "start_s", "end_s", *ARRAYS, ROW_ID)
_COUNTS = b"clipx"  # the key of the metadata


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The searched columns of one state of a store, ordered by path and window; N rows.

    Args:
        items: their (N, D) vectors, with their words.
        columns: path, window, modality (dictionary-encoded), start_s and end_s, as an Arrow table.
        row_ids: (N,) the store's own names of the rows.
        state: the state of the store that the rows are of.
        sampled: modalities of which they are a sample -> how many files and rows the store has of it.
        all_files: how many files the store has; None where the rows are all that it has.
    """

    items: SparseItems
    columns: pa.Table
    row_ids: np.ndarray
    state: str
    sampled: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    all_files: int | None = None

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Modality -> how many files have rows of it in the store, and how many rows that are."""
        first = self.first_of_tracks
        of = {name: self.of_modality(name) for name in self.modality_names}
        return {n: self.sampled.get(n, (int((first & own).sum()), int(own.sum()))) for n, own in of.items()}

    @cached_property
    def of_sampled(self) -> np.ndarray:
        """(N,) booleans: rows of modalities that are sampled."""
        names = [self.modality_names.index(name) for name in self.sampled]
        return np.isin(self.modalities, names)

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

    @property
    def file_count(self) -> int:
        """How many files the store has."""
        return int(self.first_windows.sum()) if self.all_files is None else self.all_files

    @cached_property
    def first_windows(self) -> np.ndarray:
        """(N,) booleans: the first row of each file, which in a sample need not be its first window."""
        if not self.sampled:
            return self.columns["window"].to_numpy() == 0
        paths = self.columns["path"].to_pylist()
        return np.array([True, *(one != other for one, other in pairwise(paths))][: len(paths)], bool)

    @cached_property
    def first_of_tracks(self) -> np.ndarray:
        """(N,) booleans: the first row of each modality in each file."""
        windows = self.columns["window"].to_numpy()
        if not self.sampled:
            return windows % TRACK == 0
        tracks = windows // TRACK
        return self.first_windows | np.diff(tracks, prepend=tracks[:1]).astype(bool)

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


def take_snapshot(
    store: Store, folder: Path, name: str, before: Snapshot | None = None, most: int | None = None
) -> Snapshot:
    """The searched rows of a store's present state: ``before`` where that still holds, else mapped from its file.

    The file is made where it is missing; where the folder cannot be written the rows stay in memory.

    Args:
        store: what is searched.
        folder: of the files, one of which is kept: ``name-STATE.arrow``, or ``name-STATE-sample.arrow``.
        name: of the store.
        before: an earlier snapshot, taken with the same ``most``.
        most: rows of a modality, beyond which a sample of it is taken; None: all rows.
    """
    state = store.state()
    if before is not None and before.state == state:
        return before
    file = folder / f"{name}-{state}{'' if most is None else '-sample'}.arrow"
    with suppress(OSError, ValueError, KeyError):  # missing, or corrupt: it is rebuilt
        return _as_snapshot(_map_arrow(file), state, most)
    rows = _in_order(store.scan(SEARCHED)) if most is None else _sampled_rows(store, most)
    # encoded once, as it is written: encoding imports pyarrow.compute
    rows = rows.set_column(SEARCHED.index("modality"), "modality", rows["modality"].dictionary_encode())
    if store.state() == state:  # else it was written to meanwhile, and these are the rows of a later state
        with suppress(OSError):
            _write_arrow(file, rows)
            for old in folder.glob(f"{name}-*.arrow"):
                if old != file:
                    old.unlink(missing_ok=True)
            return _as_snapshot(_map_arrow(file), state, most)
    return _as_snapshot(rows, state, most)


def _in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("path", "ascending"), ("window", "ascending")]).combine_chunks()


def _sampled_rows(store: Store, most: int) -> pa.Table:
    """All rows of small modalities, and samples of those of more than ``most`` rows, which the metadata count."""
    import pyarrow as pa

    kinds = store.scan(["modality", "window"])
    coded = kinds["modality"].combine_chunks().dictionary_encode()
    names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    rows = np.bincount(codes, minlength=len(names)).tolist()
    windows = kinds["window"].to_numpy()
    files = np.bincount(codes[windows % TRACK == 0], minlength=len(names)).tolist()
    large = {n: (f, r) for n, f, r in zip(names, files, rows, strict=True) if r > most}
    parts = [store.scan(SEARCHED, modality=[name for name in names if name not in large])]
    parts += [_sample(store, name, *counts) for name, counts in large.items()]
    about = {"most": most, "sampled": large, "files": int((windows == 0).sum())}
    metadata = {_COUNTS: json.dumps(about, sort_keys=True)}
    return _in_order(pa.concat_tables(parts)).replace_schema_metadata(metadata)


def _sample(store: Store, modality: str, files: int, rows: int) -> pa.Table:
    """About 2,048 rows of a modality, those of the smallest content hashes: neither order nor history decides."""
    import pyarrow as pa

    share = min(1.5 * ITEMS / files, 16 * ITEMS / rows)  # of the files; the windows of one go together
    while True:
        where = f"sha256 < '{min(int(share * 16**8), 16**8 - 1):08x}'" if share < 1 else None
        parts = list(store.batches(SEARCHED, modality, where))
        if share >= 1 or sum(map(len, parts)) >= ITEMS:
            found = _in_order(pa.concat_tables(parts))
            return found.take(evenly_spaced(len(found), ITEMS))
        share *= 2


def _as_snapshot(rows: pa.Table, state: str, most: int | None) -> Snapshot:
    about = json.loads((rows.schema.metadata or {}).get(_COUNTS, b"{}"))
    if not hasattr(rows.schema.field("modality").type, "index_type") or about.get("most") != most:
        raise ValueError("written by an earlier version")
    sampled = {name: tuple(counts) for name, counts in about.get("sampled", {}).items()}
    columns = rows.drop_columns([*ARRAYS, ROW_ID])
    return Snapshot(items_of(rows), columns, rows[ROW_ID].to_numpy(), state, sampled, about.get("files"))


def items_of(rows: pa.Table) -> SparseItems:
    """The vectors of rows, with their words."""
    return SparseItems(*(matrix(rows[name]) for name in ARRAYS))


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
