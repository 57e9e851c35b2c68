"""The ranking ``described``: similarity of the words nearest to query and item, plus a weighted cosine.

This is query by semantic example (Rasiwasia, Moreno and Vasconcelos, IEEE Transactions on Multimedia 2007), with words
as the concepts; see ``clipx.index.vocabulary``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from clipx.index.arrays import evenly_spaced
from clipx.index.cosine import cosines
from clipx.index.query import Queries
from clipx.index.vocabulary import SparseItems, word_similarity

# chosen by tests/benchmarks/bench_index.py on training rows: the weight of the cosine; that of the words is 1
COSINE = 0.2  # words that the space was trained on: the cosine only separates items of similar words
COSINE_OPEN = 2.0  # everyday nouns that stand in for an open vocabulary
PROBED_WORDS = 4  # by which an approximate index is asked, besides the query
ROWS = 2048  # of a modality, by which its mean is estimated


@dataclass(frozen=True, eq=False)
class DescribedRanking:
    """Scores an item by the similarity of its words' weights to the query's, plus a weighted cosine.

    Implements ``clipx.index.ranking.Ranking``.

    Args:
        items: what is searched.
        codes: (N,) positions of the items' modalities in ``means``.
        cosine: the weight of the cosine; that of the words is 1.
        means: (M, D) mean vector of each modality. With it the cosine is taken after each modality's mean was
            subtracted from its items (centring, the usual remedy for the gap). None: the raw cosine.
    """

    items: SparseItems
    codes: np.ndarray
    cosine: float = COSINE
    means: np.ndarray | None = None
    name = "described"

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        """(Q, N) float32 of the items at ``rows``; of all by default."""
        found = self._cosines(queries, rows)
        if not self.items.words.shape[1]:  # no words at all
            return found
        return (word_similarity(queries.words, self.items, rows) + self.cosine * found) / (1 + self.cosine)

    def over(self, items: SparseItems, codes: np.ndarray) -> DescribedRanking:
        """The same ranking of other items, with the means of the first ones."""
        return replace(self, items=items, codes=codes)

    def probes(self, queries: Queries) -> np.ndarray:
        """(P, D): the one query, and the words of the highest weight in it, which similar items are near to."""
        return np.concatenate([queries.vectors[:1], queries.top_words(PROBED_WORDS)])

    def proposals(self, k: int) -> int:
        """Many more than ``k``: those of the most similar words are not those of the highest cosine."""
        return max(100, 10 * k)

    def _cosines(self, queries: Queries, rows: np.ndarray | None) -> np.ndarray:
        if self.means is None or queries.centred is None:
            return cosines(queries.vectors, self.items.vectors, rows)
        codes, lengths = (values if rows is None else values[rows] for values in (self.codes, self._lengths))
        offsets = queries.centred @ self.means.T  # (Q, M)
        return (cosines(queries.centred, self.items.vectors, rows) - offsets[:, codes]) / lengths

    @cached_property
    def _lengths(self) -> np.ndarray:
        """(N,) lengths of the items less their modality's mean."""
        lengths = np.ones(len(self.items), np.float32)
        for code, mean in enumerate(() if self.means is None else self.means):
            along, own = self.items.vectors @ mean, self.codes == code  # of all: to copy its own items takes longer
            lengths[own] = np.sqrt(np.maximum(1 - 2 * along[own] + mean @ mean, 1e-6))
        return lengths


def mean_vectors(items: SparseItems, codes: np.ndarray, count: int) -> np.ndarray:
    """(M, D) mean of each modality's vectors, estimated by 2,048 of them."""
    means = np.zeros((count, items.vectors.shape[1]), np.float32)
    for code in range(count):
        own = np.flatnonzero(codes == code)
        if len(own):
            means[code] = items.vectors[own[evenly_spaced(len(own), ROWS)]].mean(0)
    return means
