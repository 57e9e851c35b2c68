"""What hits are ranked by: the protocol of a ranking, and those that ``--ranking`` names.

In a CLIP space each modality keeps to a region of its own (the modality gap, Liang et al., NeurIPS 2022), so raw
cosines rank a mixed index unfairly: a photo is nearer to any photo than to a drawing of the same thing. Within one
modality there is no gap, and plain cosine is what CLIP was trained for.

A new ranking is a class in a file of its own, and a line in ``FACTORIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from clipx.index.cosine import CosineRanking
from clipx.index.described import COSINE_OPEN, DescribedRanking, mean_vectors
from clipx.index.query import Queries
from clipx.index.vocabulary import SparseItems


class Ranking(Protocol):
    """Scores queries against the items of one state of an index; the higher, the better, at most 1."""

    @property
    def name(self) -> str:
        """The name that ``--ranking`` takes."""
        ...

    @property
    def means(self) -> np.ndarray | None:
        """(M, D) mean vector of each modality, where ``scores`` reads ``Queries.centred``; else None."""
        ...

    def scores(self, queries: Queries, rows: np.ndarray | None = None) -> np.ndarray:
        """(Q, N) float32 of the items at ``rows``; of all by default."""
        ...

    def over(self, items: SparseItems, codes: np.ndarray) -> Ranking:
        """The same ranking of other items: what was computed from the first ones, such as means, stays."""
        ...

    def probes(self, queries: Queries) -> np.ndarray:
        """(P, D) unit vectors of one query: what scores high is near to one of them by cosine."""
        ...

    def proposals(self, k: int) -> int:
        """How many rows near to each probe must be scored to find the ``k`` best."""
        ...


Factory = Callable[[SparseItems, np.ndarray, int, bool], Ranking]
"""The items, (N,) codes of their modalities, how many modalities, whether the words are the space's own -> a ranking"""


def _cosine(items: SparseItems, codes: np.ndarray, modalities: int, own_words: bool) -> Ranking:
    return CosineRanking(items)


def _described(items: SparseItems, codes: np.ndarray, modalities: int, own_words: bool) -> Ranking:
    if own_words:
        return DescribedRanking(items, codes)
    return DescribedRanking(items, codes, COSINE_OPEN, mean_vectors(items, codes, modalities))


FACTORIES: Mapping[str, Factory] = {"cosine": _cosine, "described": _described}
RANKINGS = ("auto", *FACTORIES)


def choose_ranking(name: str, own_words: bool, searched: int) -> str:
    """What ``"auto"`` stands for; another name is returned as it is.

    Args:
        name: one of ``RANKINGS``.
        own_words: whether the vocabulary is the space's own.
        searched: how many modalities are searched.
    """
    if name != "auto":
        return name
    return "described" if own_words or searched > 1 else "cosine"
