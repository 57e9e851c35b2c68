"""The ranking ``cosine``: raw cosine, which is plain CLIP retrieval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipx.index.query import Queries
from clipx.index.vocabulary import SparseItems

MANY = 4  # rows are many if they are more than one in so many


@dataclass(frozen=True, eq=False)
class CosineRanking:
    """Scores an item by its cosine with the query. Implements ``clipx.index.ranking.Ranking``."""

    items: SparseItems
    name = "cosine"
    means = None

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        """(Q, N) float32 of the items at ``rows``; of all by default."""
        return cosines(queries.vectors, self.items.vectors, rows)

    def over(self, items: SparseItems, codes: np.ndarray) -> CosineRanking:
        """The same ranking of other items."""
        return CosineRanking(items)

    def probes(self, queries: Queries) -> np.ndarray:
        """(1, D): the query."""
        return queries.vectors[:1]

    def proposals(self, k: int) -> int:
        """A few more than ``k``: an approximate index orders them by rounded cosines."""
        return max(32, 3 * k)


def cosines(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """(Q, N) of the vectors at ``rows``. Those of many rows are picked from all: to copy the vectors takes longer."""
    if rows is None:
        return (vectors @ queries[0])[None] if len(queries) == 1 else queries @ vectors.T  # of one: a third faster
    if MANY * len(rows) > len(vectors):
        return cosines(queries, vectors, None)[:, rows]
    return queries @ vectors[rows].T
