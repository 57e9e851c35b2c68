"""The null distribution of scores, those of unrelated queries and items, with an extrapolated tail.

The null distribution is read off the index itself: scores of unrelated queries with its items, one for each modality.
Pairs are at most some 500,000, and an index may hold millions of items, so what matters lies beyond the highest pair.
There the tail is extrapolated by extreme value theory: the excesses over a high threshold u follow a generalised
Pareto distribution (Pickands 1975), here those of t = log((1 - u) / (1 - s)) for a score s. As no score exceeds 1, t
has no upper end, and a perfect score has rate 0. On a sphere the share of points within a distance falls as a power of
the distance, which makes t exponential; the shape is fitted as well and may only make the tail lighter.

With it a score becomes an E-value, the number of unrelated items that would score as high, and a confidence, as BLAST
has them (Karlin and Altschul, PNAS 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipx.index.arrays import by_code, evenly_spaced
from clipx.index.query import Queries
from clipx.index.ranking import Ranking
from clipx.index.vocabulary import SparseItems, Vocabulary

ITEMS = 2048  # of each modality, at most
TAIL = 0.01  # the share of the null scores that the tail is fitted to
FEWEST = 10  # null scores that the tail is fitted to, at least
LIGHTEST = -0.1  # the shape parameter, at least: lighter tails are not trusted
MANY = 100  # independent scores, from which the shape is fitted
SURE = 1.64  # standard errors that the scale of the tail is widened by: one-sided 95 %
LEAST = 300  # items that a search is judged by, at least
TOP_WORDS = 3  # of an item; the nearest word of an unrelated query is none of them
EPSILON = 1e-6  # rounding of a float32 cosine: a score this near to 1 is 1


class NullModel:
    """Scores of unrelated queries of one kind, for each modality of the items.

    Args:
        ranking: what scores.
        vocabulary: of the index. A query is related to an item if the nearest word of any of its terms is one of the
            item's three words of the highest weight (those that a hit shows).
        queries: Q of the kind that is to be judged.
        items: what the ranking scores.
        codes: (N,) codes of the items' modalities.
        files: (N,) codes of the items' files. None: each is a file.
        own: (Q,) the files that the queries were taken from, -1 for none: a file is related to itself.
    """

    def __init__(
        self,
        ranking: Ranking,
        vocabulary: Vocabulary,
        queries: Queries,
        items: SparseItems,
        codes: np.ndarray,
        files: np.ndarray | None = None,
        own: np.ndarray | None = None,
    ):
        nearest = queries.nearest_words()  # (T, Q)
        self._tails: dict[int, Tail | None] = {}
        for code, own_rows in by_code(codes):
            rows = own_rows[evenly_spaced(len(own_rows), ITEMS)]
            unrelated = np.ones((len(queries.vectors), len(rows)), bool)
            if vocabulary.words:
                unrelated = (nearest[..., None, None] != items.words[rows, :TOP_WORDS]).all(axis=(0, 3))
            if files is not None and own is not None:
                unrelated &= own[:, None] != files[rows]
            self._tails[code] = Tail.fit(ranking.scores(queries, rows), unrelated)

    def e_values(self, scores: np.ndarray, code: int, searched: int, modalities: int = 1) -> np.ndarray:
        """How many unrelated items would score as high as each of (N,) scores: (N,) float64.

        Args:
            scores: of items of one modality.
            code: of that modality.
            searched: how many items of that modality were searched.
            modalities: how many modalities were searched. Each is one more test, so the number is multiplied by it
                (Bonferroni).

        The items count as 300 at least: in a small collection most queries have no answer.
        """
        tail = self._tails.get(code)
        return max(modalities * searched, LEAST) * (np.ones(len(scores)) if tail is None else tail.rate(scores))


def confidence(e_values: np.ndarray) -> np.ndarray:
    """The probability that no unrelated item scores as high, in [0, 1], if unrelated items are independent."""
    return np.exp(-e_values)


@dataclass(frozen=True, eq=False)
class Tail:
    """A null distribution: its sorted scores, and beyond ``threshold`` the fitted tail.

    Args:
        scores: sorted.
        threshold: u.
        share: of the scores that lie above it.
        scale: of t, widened by its uncertainty.
        shape: of t, in [-0.1, 0].
    """

    scores: np.ndarray
    threshold: float
    share: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, scores: np.ndarray, unrelated: np.ndarray) -> Tail | None:
        """The distribution of (Q, N) scores where ``unrelated``; None where that is nowhere.

        The shape and the scale are estimated by probability-weighted moments (Hosking and Wallis, Technometrics 1987).
        Pairs of one query, or of one item, are not independent; the standard error of the scale is taken for as many
        as there are queries, or items, above the threshold, whichever are fewer.
        """
        null = np.sort(scores[unrelated])
        if not len(null):
            return None
        count = min(max(round(TAIL * len(null)), FEWEST), len(null))
        threshold = float(null[-count])
        excess = np.sort(np.log((1 - threshold + EPSILON) / np.maximum(1 - null[-count:] + EPSILON, EPSILON)))
        ranks = (np.arange(1, count + 1) - 0.35) / count
        mean, weighted = excess.mean(), ((1 - ranks) * excess).mean()
        spread = mean - 2 * weighted
        queries, items = np.nonzero(unrelated & (scores >= threshold))
        independent = min(np.count_nonzero(np.bincount(found)) for found in (queries, items))
        known = spread > 0 and independent >= MANY
        shape = float(np.clip(2 - mean / spread, LIGHTEST, 0)) if known else 0.0
        scale = float(mean * (1 - shape) * (1 + SURE / np.sqrt(independent)))
        return cls(null, threshold, count / len(null), max(scale, EPSILON), shape)

    def rate(self, scores: np.ndarray) -> np.ndarray:
        """The share of unrelated pairs that score as high as each of (N,) scores."""
        wanted = np.asarray(scores, self.scores.dtype)  # else all scores would be converted to find the place of one
        above = len(self.scores) - np.searchsorted(self.scores, wanted, side="left")
        gap = np.maximum(1 - np.asarray(scores, np.float64) - EPSILON, 0)
        with np.errstate(divide="ignore"):
            t = np.maximum(np.log((1 - self.threshold + EPSILON) / gap), 0)
            log_rate = -t / self.scale
            if self.shape:
                log_rate = -np.log1p(np.maximum(self.shape * t / self.scale, -1)) / self.shape  # -1: the tail's end
        beyond = np.asarray(scores) >= self.threshold
        return np.where(beyond, self.share * np.exp(log_rate), (above + 1) / (len(self.scores) + 1))
