"""Building the approximate index of a large collection, and measuring how much effort a search must make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clipx.errors import InputError
from clipx.index.arrays import evenly_spaced, largest, unit
from clipx.index.collection import EXACT_ROWS, Collection
from clipx.index.snapshot import Snapshot, take_snapshot
from clipx.index.store import ROW_ID, Spread, Store, matrix

ANN_ROWS = 200_000  # beyond which an approximate index is built unasked: a snapshot of all vectors takes long to make
GROWTH = 2  # times the rows that it was built of, from which it is built again
ANN_LEAST, ANN_RECALL, ANN_QUERIES = 1000, 0.97, 30  # queries of each kind
DISPLACED = 0.5  # the length of the noise that is added to some queries, which gives a cosine of 0.89


def build_if_large(collection: Collection, rebuild: bool = False, spread: Spread | None = None) -> None:
    """Build it for more than 200,000 rows, and again when there are twice as many as it was built of.

    Args:
        collection: the caller holds the lock of its index.
        rebuild: also where there are fewer, as long as they are enough: one was there before a move.
        spread: see ``Store.build_ann``.
    """
    rows, meta = _rows(collection.store), collection.meta
    least = ANN_LEAST - 1 if rebuild else ANN_ROWS
    if rows > (least if meta.cells is None else max(GROWTH * (meta.built_of or rows), ANN_LEAST - 1)):
        build(collection, spread)


def build(collection: Collection, spread: Spread | None = None) -> float:
    """Build it, and record with how much effort a search looks (see ``Store.nearest``).

    A modality of more than 50,000 rows is then searched by what the approximate index proposes, and its vectors stay in
    the store: some times k rows, those nearest by cosine to the probes of the ranking, are scored as ever. For each
    such modality the effort of a search is doubled until the ten nearest by cosine are found. The queries that this is
    measured by are its items, its items displaced by noise, words, and items of other modalities, as many of each.

    Returns:
        recall@10 by cosine, measured, of the modality where it is lowest; 0.97 or more.

    Raises:
        InputError: fewer than 1,000 rows, which are searched exactly in no time.
    """
    count = _rows(collection.store)
    if count < ANN_LEAST:
        raise InputError(f"an approximate index needs {ANN_LEAST:,} rows, there are {count}", where=collection.folder)
    store = collection.store
    store.build_ann(spread)
    sample = take_snapshot(store, collection.folder, collection.meta.table, None, EXACT_ROWS)
    measured = {}
    for name in sample.sampled or [None]:  # of no modality that is large: over all rows
        only = name if len(sample.modality_names) > 1 else None
        measured[name] = _effort(store, _queries(sample, name, collection.vocabulary.vectors), only, count)
    efforts = {name: effort for name, (effort, _) in measured.items() if name is not None}
    most = max(effort for effort, _ in measured.values())
    collection.record(replace(collection.meta, cells=most, efforts=efforts, built_of=count))
    return min(recall for _, recall in measured.values())


def _effort(store: Store, queries: np.ndarray, modality: str | None, most: int) -> tuple[int, float]:
    """The least effort, a power of two, that finds the ten rows nearest to (Q, D) queries, and its recall."""
    true = _nearest_exactly(store, queries, modality, 10)
    effort = 8
    while True:
        found = [store.nearest(q[None], 10, effort, [ROW_ID], modality)[ROW_ID].to_pylist() for q in queries]
        recall = sum(len(t & set(f)) for t, f in zip(true, found, strict=True)) / sum(map(len, true))
        if recall >= ANN_RECALL or effort >= most:
            return effort, recall
        effort *= 2


def _rows(store: Store) -> int:
    return sum(map(len, store.batches(["window"])))


def _queries(sample: Snapshot, modality: str | None, words: np.ndarray) -> np.ndarray:
    """(Q, D) unit rows: items of a modality, such items displaced by noise, words, and items of other modalities."""
    own = np.ones(len(sample), bool) if modality is None else sample.of_modality(modality)
    items, others = sample.items.vectors[own], sample.items.vectors[~own]
    items = items[evenly_spaced(len(items), 2 * ANN_QUERIES)]
    noise = unit(np.random.default_rng(0).normal(size=items[1::2].shape).astype(np.float32))
    displaced = unit(items[1::2] + DISPLACED * noise)
    more = [rows[evenly_spaced(len(rows), ANN_QUERIES)] for rows in (words, others)]
    return np.concatenate([items[::2], displaced, *more])


def _nearest_exactly(store: Store, queries: np.ndarray, modality: str | None, k: int) -> list[set[int]]:
    """Of each of (Q, D) queries the row ids of the ``k`` rows of the highest cosine, found among all of a modality."""
    ids = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    for rows in store.batches([ROW_ID, "vector"], modality):
        new = np.broadcast_to(rows[ROW_ID].to_numpy(), (len(queries), len(rows)))
        ids = np.concatenate([ids, new], axis=1)
        scores = np.concatenate([scores, queries @ matrix(rows["vector"]).T], axis=1)
        best = np.stack([largest(row, min(k, len(row))) for row in scores])
        ids, scores = np.take_along_axis(ids, best, 1), np.take_along_axis(scores, best, 1)
    return [set(row) for row in ids.tolist()]
