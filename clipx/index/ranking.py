"""What hits are ranked by: plain cosine, or descriptions in words with the cosine beside them.

In a CLIP space each modality keeps to a region of its own (the modality gap, Liang et al., NeurIPS 2022), so raw
cosines rank a mixed index unfairly: a photo is nearer to any photo than to a drawing of the same thing. Within one
modality there is no gap, and plain cosine is what CLIP was trained for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from clipx.index.calibration import Described, Vocabulary, alike, spaced, unit

RANKINGS = ("auto", "cosine", "described")
# chosen by tests/benchmarks/bench_index.py on training rows: the weight of the cosine beside the descriptions
COSINE = 0.2  # words that the space was trained on: the cosine only tells apart what is described alike
COSINE_OPEN = 2.0  # everyday nouns that stand in for an open vocabulary
ROWS = 2048  # of a modality, by which its mean is estimated
MANY = 4  # rows are many if they are more than one in so many


@dataclass(frozen=True, eq=False)
class Queries:
    """Q queries made of the same kinds of terms.

    Args:
        vectors: (Q, D) unit rows.
        words: (Q, B) unit rows: how much each is of each word, see ``Vocabulary.spread``.
        centred: (Q, D) unit rows: as ``vectors``, each term less the mean of its kind; None where no ranking asks.
    """

    vectors: np.ndarray
    words: np.ndarray
    centred: np.ndarray | None = None


class Ranking(Protocol):
    """Scores queries against the items of one state of an index; the higher, the better, at most 1."""

    name: str

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        """(Q, N) float32 of the items at ``rows``; of all by default."""
        ...


@dataclass(frozen=True, eq=False)
class Cosine:
    """Raw cosine: plain CLIP retrieval."""

    items: Described
    name = "cosine"

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        return _cosines(queries.vectors, self.items.vectors, rows)


@dataclass(frozen=True, eq=False)
class ByDescription:
    """How alike query and item are described, with the cosine beside it.

    Args:
        items: what is searched.
        codes: (N,) places of the items' modalities in ``means``.
        cosine: the weight of the cosine; that of the descriptions is 1.
        means: (M, D) mean vector of each modality. With it the cosine is taken after each modality's mean was
            subtracted from its items (centring, the usual remedy for the gap). None: the raw cosine.
    """

    items: Described
    codes: np.ndarray
    cosine: float = COSINE
    means: np.ndarray | None = None
    name = "described"

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        cosines = self._cosines(queries, rows)
        if not self.items.places.shape[1]:  # no words at all
            return cosines
        return (alike(queries.words, self.items, rows) + self.cosine * cosines) / (1 + self.cosine)

    def _cosines(self, queries: Queries, rows: np.ndarray | None) -> np.ndarray:
        if self.means is None or queries.centred is None:
            return _cosines(queries.vectors, self.items.vectors, rows)
        codes, lengths = (values if rows is None else values[rows] for values in (self.codes, self._lengths))
        offsets = queries.centred @ self.means.T  # (Q, M)
        return (_cosines(queries.centred, self.items.vectors, rows) - offsets[:, codes]) / lengths

    @cached_property
    def _lengths(self) -> np.ndarray:
        """(N,) lengths of the items less their modality's mean."""
        lengths = np.ones(len(self.items), np.float32)
        for code, mean in enumerate(() if self.means is None else self.means):
            along, own = self.items.vectors @ mean, self.codes == code  # of all: to copy its own items takes longer
            lengths[own] = np.sqrt(np.maximum(1 - 2 * along[own] + mean @ mean, 1e-6))
        return lengths


def mean_vectors(items: Described, codes: np.ndarray, count: int) -> np.ndarray:
    """(M, D) mean of each modality's vectors, estimated by 2,048 of them."""
    means = np.zeros((count, items.vectors.shape[1]), np.float32)
    for code in range(count):
        own = np.flatnonzero(codes == code)
        if len(own):
            means[code] = items.vectors[own[spaced(len(own), ROWS)]].mean(0)
    return means


def make_queries(
    vocabulary: Vocabulary, terms: np.ndarray, weights: Sequence[float], means: np.ndarray | None = None
) -> Queries:
    """Weighted sums of T terms: of their vectors, of their descriptions and of their centred vectors.

    Args:
        vocabulary: the words that describe.
        terms: (T, Q, D) unit rows.
        weights: T numbers.
        means: (T, D) the mean of each term's kind; None: nothing is centred.

    Returns:
        Q queries; zeros where the terms cancel each other out.
    """
    vectors, words = vocabulary.mixed(terms, weights)
    if means is None:
        return Queries(vectors, words)
    centred = np.einsum("t,tqd->qd", np.asarray(weights, np.float32), terms - means[:, None])
    return Queries(vectors, words, unit(centred.astype(np.float32)))


def _cosines(queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """(Q, N) of the vectors at ``rows``. Those of many rows are picked from all: to copy the vectors takes longer."""
    if rows is None:
        return queries @ vectors.T
    if MANY * len(rows) > len(vectors):
        return (queries @ vectors.T)[:, rows]
    return queries @ vectors[rows].T
