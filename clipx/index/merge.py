"""Taking in another index of the same space: its rows are copied, and nothing is read or encoded again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.index.collection import Collection
from clipx.index.meta import Meta
from clipx.index.steps import Progress
from clipx.index.store import Store, matrix, schema
from clipx.index.update import Added
from clipx.index.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 4096  # in one transaction, at least; with thumbnails about 30 MB


def merge(into: Collection, other: Collection, progress: Progress = lambda done, total: None) -> Added:
    """Copy the files that only ``other`` holds into a collection; those that both hold stay as they are.

    Every few thousand rows are one transaction, and the rows of a file are never spread over two: what is stopped goes
    on at the next call, with nothing lost or doubled.

    Args:
        into: the caller holds the lock of its index.
        other: is only read.
        progress: called after every transaction with the number of files that are done, and of all.

    Returns:
        The numbers of files that were added, and of those that were there.

    Raises:
        SpaceMismatchError: it is of another space.
        InputError: it is the same index, or one of its modalities is set otherwise.
        FileError: it is damaged, or is being written to.
    """
    if os.path.samefile(into.folder, other.folder):
        raise InputError("an index cannot be merged with itself", where=into.folder)
    meta = _joined(into, other)
    into.create()
    into.record(meta)
    state = other.store.state()
    files, windows = other.files(), _windows(other.store)
    there = into.files().positions(files.rows["path"].to_pylist()) >= 0
    held = set(files.rows["path"].filter(there).to_pylist())
    report = Added(unchanged=len(held))
    same_words = np.array_equal(into.vocabulary.vectors, other.vocabulary.vectors)
    for rows in _whole_files(other, held, windows, state):
        into.store.write(rows if same_words else _described(rows, into.vocabulary), replace=False)
        report.added += int((rows["window"].to_numpy() == 0).sum())
        progress(report.added + report.unchanged, len(files))
    if report.added:
        into.store.optimize()
    return report


def _joined(into: Collection, other: Collection) -> Meta:
    """The record of a collection with the modalities of both."""
    own, its = into.meta, other.meta
    if own.space.id != its.space.id:
        raise SpaceMismatchError(
            f"holds vectors of space {its.space.name} ({its.space.id}), and {into.folder} those of "
            f"{own.space.name} ({own.space.id})",
            where=other.folder,
            remedy=f"move one of them first: clipx index --db {other.folder} --reembed --space {own.space.source}",
        )
    modalities = dict(own.modalities)
    for name, record in its.modalities.items():
        if "context" not in record:  # nothing was encoded
            continue
        before = modalities.get(name, {})
        if "context" in before:
            for key in ("config", "context"):
                if before[key] != record[key]:
                    raise InputError(
                        f"holds {name} with {_difference(record[key], before[key])}",
                        where=other.folder,
                        remedy=f"encode one of them again as the other: clipx index --db {other.folder} --reembed ...",
                    )
        modalities[name] = record
    return replace(own, modalities=modalities)


def _difference(one: Any, two: Any) -> str:
    """What differs between the settings or the contexts of a modality, in a few words."""
    if not isinstance(one, dict):
        return f"another tower than this index ({str(one)[:12] or 'none'}, not {str(two)[:12] or 'none'})"
    key = next(key for key in sorted({*one, *two}) if one.get(key) != two.get(key))
    return f"{key} = {one.get(key)!r}, and this index with {two.get(key)!r}"


def _windows(store: Store) -> Counter[str]:
    """Path -> the number of its rows beyond the first, where there are any."""
    import pyarrow.compute as pc

    found: Counter[str] = Counter()
    for rows in store.batches(["path", "window"]):
        found.update(rows["path"].filter(pc.greater(rows["window"], 0)).to_pylist())
    return found


def _whole_files(other: Collection, held: set[str], windows: Counter[str], state: str) -> Iterator[pa.Table]:
    """The rows of the files that are not held, so many at a time, those of a file together."""
    import pyarrow as pa
    import pyarrow.compute as pc

    waiting: list[pa.Table] = []
    for rows in other.store.batches(schema(1, 1).names):
        if not waiting and other.store.state() != state:
            raise FileError("is being written to", where=other.folder, remedy="run again when that has ended")
        waiting.append(rows.filter(pa.array([path not in held for path in rows["path"].to_pylist()], pa.bool_())))
        if sum(map(len, waiting)) >= ROWS:
            gathered = pa.concat_tables(waiting)
            paths = gathered["path"].to_pylist()
            count = Counter(paths)
            whole = pa.array([count[path] > windows[path] for path in paths], pa.bool_())
            yield gathered.filter(whole)
            waiting = [gathered.filter(pc.invert(whole))]
    if waiting and len(left := pa.concat_tables(waiting)):
        yield left


def _described(rows: pa.Table, vocabulary: Vocabulary) -> pa.Table:
    """Rows with the nearest words of another vocabulary, such as that of another version of clipx."""
    import pyarrow as pa

    items = vocabulary.items(matrix(rows["vector"]))
    target = schema(items.vectors.shape[1], items.words.shape[1])
    for name, values in (("words", items.words), ("shares", items.weights)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        rows = rows.set_column(target.get_field_index(name), target.field(name), column)
    return rows
