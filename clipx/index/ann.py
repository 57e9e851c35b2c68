"""Building the approximate index of a large collection, and measuring how much effort a search must make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clipx.errors import InputError
from clipx.index.arrays import evenly_spaced, largest
from clipx.index.collection import Collection
from clipx.index.store import ROW_ID

ANN_ROWS = 1_000_000  # beyond which an approximate index is built unasked
ANN_LEAST, ANN_RECALL, ANN_QUERIES = 1000, 0.97, 100


def build_if_large(collection: Collection, rebuild: bool = False) -> None:
    """Build it for more than a million rows.

    Args:
        collection: the caller holds the lock of its index.
        rebuild: also where there are fewer, as long as they are enough: one was there before a move.
    """
    if collection.meta.cells is None and len(collection.snapshot()) > (ANN_LEAST - 1 if rebuild else ANN_ROWS):
        build(collection)


def build(collection: Collection) -> float:
    """Build it, and record with how much effort a search looks (see ``Store.nearest``).

    A modality of more than 50,000 rows is then searched by what is nearest by cosine, which the approximate index
    proposes, and by what the ranking proposes itself, 10 k of either and 100 at least; these are scored as ever. The
    effort of a search is doubled until the ten nearest by cosine are found; half of the queries that this is measured
    by are items, half are words.

    Returns:
        recall@10 by cosine, measured; 0.97 or more.

    Raises:
        InputError: fewer than 1,000 rows, which are searched exactly in no time.
    """
    count = len(collection.snapshot())
    if count < ANN_LEAST:
        raise InputError(f"an approximate index needs {ANN_LEAST:,} rows, there are {count}", where=collection.folder)
    collection.store.build_ann()
    snapshot = collection.snapshot()
    halves = snapshot.items.vectors, collection.vocabulary.vectors
    queries = np.concatenate([half[evenly_spaced(len(half), ANN_QUERIES // 2)] for half in halves])
    true = [set(largest(snapshot.items.vectors @ query, 10).tolist()) for query in queries]
    effort = 8
    while True:
        found = [
            len(t & set(snapshot.positions(collection.store.nearest(q, 10, effort, [ROW_ID])[ROW_ID].to_numpy()).tolist()))
            for q, t in zip(queries, true, strict=True)
        ]
        recall = sum(found) / sum(map(len, true))
        if recall >= ANN_RECALL or effort >= len(snapshot):
            break
        effort *= 2
    collection.record(replace(collection.meta, cells=effort))
    return recall
