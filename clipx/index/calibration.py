"""Scores that mean the same for every modality, and how likely a score is no chance.

Raw cosines do not rank a mixed index fairly: in a CLIP space each modality keeps to a region of its own, and a photo is
nearer to any photo than to a drawing of the same thing. What bridges the regions is language, as every modality was
aligned with it. So each item is also described by the words nearest to it, and two items are compared by their
descriptions: query by semantic example (Rasiwasia, Moreno and Vasconcelos, IEEE Transactions on Multimedia 2007), with
the space's own words as its vocabulary.

How high a chance score gets is read off the index itself: pairs of an unrelated query and an item, taken at random, for
each modality apart. With it a score becomes the number of hits as good that chance would give among the items searched,
and a confidence, as BLAST has them (Karlin and Altschul, PNAS 1990). A handful of items tells little of chance: it is
judged as if the space's own words stood among them, and by an upper bound (see ``Chance``).
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clipx.errors import FileError

if TYPE_CHECKING:
    from clipx.space import JointSpace

# chosen by tests/benchmarks/bench_index.py on training rows, as they are and cropped, turned or with strokes left out
WORDS = 32  # kept of each description
SHARPNESS = 0.5  # of the softmax that describes, as a share of the space's logit scale
KINSHIP = 0.35  # the same, of how far a word counts for words near it
COSINE = 0.2  # how much raw cosine counts beside the words: it tells apart what is described alike
QUERIES, ITEMS = 256, 2048  # of the unrelated pairs, at most
LEAST = 300  # items that a search is judged by at least: a handful tells little of how high chance gets
PRIOR = 16  # items whose worth the vocabulary's words have among those of a modality


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words that items are described by.

    Args:
        words: B of them.
        vectors: (B, D) float32, unit rows.
        scale: what cosine is multiplied by before the softmax over the words.
        kinship: what 1 - cosine of two words is multiplied by before exp(-x) says how far one counts for the other.
    """

    words: tuple[str, ...]
    vectors: np.ndarray
    scale: float
    kinship: float

    @classmethod
    def of(cls, space: JointSpace) -> Vocabulary:
        """The words that a space saw pictures of; for an open vocabulary the everyday words that nano saw."""
        known = space.vocabulary.words if space.vocabulary is not None else _everyday()
        words = tuple(sorted(word for word, stood in known.items() if stood == "pictures"))
        return cls(
            words, space.encode_text(words).cpu().numpy(), SHARPNESS * space.logit_scale, KINSHIP * space.logit_scale
        )

    def describe(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) unit rows -> the K words that say most of each, foremost first, and how much each counts.

        A softmax over the words says what a row is; each word then counts in part for the words near it, a stool for a
        chair, so that two rows are alike though other words are the nearest to them.

        Returns:
            (N, K) uint16 places in ``words``, and (N, K) float32 of unit norm over K. K is 32, or B where that is less.
        """
        k = min(WORDS, len(self.words))
        places, weights = np.zeros((len(vectors), k), np.uint16), np.zeros((len(vectors), k), np.float32)
        for start in range(0, len(vectors) if k else 0, 1024):
            part = slice(start, start + 1024)
            cosines = vectors[part] @ self.vectors.T
            nearest, close = _largest(cosines, k)
            shares = np.exp(self.scale * (close - close[:, :1]))
            used, inverse = np.unique(nearest, return_inverse=True)
            among = np.zeros((len(nearest), len(used)), np.float32)
            np.put_along_axis(among, inverse.reshape(nearest.shape), shares / shares.sum(1, keepdims=True), axis=1)
            kin = np.exp(self.kinship * (self.vectors[used] @ self.vectors.T - 1))  # (U, B)
            places[part], counts = _largest(among @ kin, k)
            weights[part] = _unit(counts)
        return places, weights

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) unit rows -> (N,) places of the nearest words."""
        return (vectors @ self.vectors.T).argmax(1) if self.words else np.zeros(len(vectors), np.int64)

    def spread(self, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Descriptions as (N, B) rows of unit norm."""
        rows = np.zeros((len(places), len(self.words)), np.float32)
        np.put_along_axis(rows, places.astype(np.int64), weights, axis=1)
        return rows

    def mixed(self, vectors: np.ndarray, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of T terms, of their vectors and of their descriptions: each term keeps its own words.

        Args:
            vectors: (T, Q, D) unit rows.
            weights: T numbers.

        Returns:
            (Q, D) and (Q, B) unit rows; zeros where the terms cancel each other out.
        """
        spread = [self.spread(*self.describe(term)) for term in vectors]
        sums = (sum(w * rows for w, rows in zip(weights, terms, strict=True)) for terms in (vectors, spread))
        one, two = (_unit(np.asarray(rows, dtype=np.float32)) for rows in sums)
        return one, two

    def save(self, file: Path) -> None:
        """Written beside and renamed. Raises OSError."""
        data = io.BytesIO()
        np.savez(
            data,
            words=np.array(self.words, dtype=str),
            vectors=self.vectors,
            scale=np.array([self.scale, self.kinship]),
        )
        beside = file.with_name(f".{file.name}.part")
        beside.write_bytes(data.getvalue())
        beside.replace(file)

    @classmethod
    def load(cls, file: Path) -> Vocabulary:
        """What ``save`` wrote. Raises FileError where that is missing or torn."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return cls(tuple(arrays["words"].tolist()), arrays["vectors"], *arrays["scale"].tolist())
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise FileError("the index's words are missing or torn", where=file, remedy="index anew") from error


@dataclass(frozen=True, eq=False)
class Described:
    """N items: unit vectors (N, D), and the descriptions (N, K) of ``Vocabulary.describe``."""

    vectors: np.ndarray
    places: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: np.ndarray) -> Described:
        return Described(self.vectors[rows], self.places[rows], self.weights[rows])


def scores(cosines: np.ndarray, query: np.ndarray, items: Described) -> np.ndarray:
    """Calibrated scores in [-0.2, 1] of one query: (N,) float32.

    Args:
        cosines: (N,) of the query with the items.
        query: (B,) its description, spread.
        items: what is searched.
    """
    if not items.places.shape[1]:
        return cosines
    return (alike(query, items) + COSINE * cosines) / (1 + COSINE)


def alike(query: np.ndarray, items: Described) -> np.ndarray:
    """How alike the descriptions of a query, (B,), and of the items are: (N,) float32 in [-1, 1]."""
    found = np.zeros(len(items), np.float32)
    for start in range(0, len(items) if items.places.shape[1] else 0, 65536):  # parts that stay in the caches
        part = slice(start, start + 65536)
        found[part] = np.einsum("nk,nk->n", query[items.places[part]], items.weights[part])
    return found


class Chance:
    """How well unrelated queries of one kind score by chance, for each modality of the items.

    The rate at which chance reaches a score is counted over pairs of queries and items, never below the truth for want
    of pairs: one is added, as permutation tests must (Phipson and Smyth, 2010), and as the pairs of one item are not
    independent, the item that reaches the score most often is counted twice. It is then drawn towards the rate at which
    the same queries score with the vocabulary's words, which count as 16 items.

    Args:
        vocabulary: of the index.
        vectors, words: of unrelated queries, of the same kind as those to be judged: (Q, D) and (Q, B).
        items: the index's.
        modalities: (N,) codes of the items' modalities.
        files: (N,) codes of the items' files. None: each is a file.
        own: (Q,) the files that the queries were taken from, -1 for none: a file is no chance hit of its own.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        vectors: np.ndarray,
        words: np.ndarray,
        items: Described,
        modalities: np.ndarray,
        files: np.ndarray | None = None,
        own: np.ndarray | None = None,
    ):
        self._drawn: dict[int, _Drawn] = {}
        said = vocabulary.nearest(vectors)
        for code in np.unique(modalities):
            rows = np.flatnonzero(modalities == code)
            rows = rows[spaced(len(rows), ITEMS)]
            some = items[rows]
            unrelated = np.ones((len(vectors), len(rows)), bool)
            if vocabulary.words:
                unrelated = said[:, None] != vocabulary.nearest(some.vectors)  # of the same word: no chance hit
            if files is not None and own is not None:
                unrelated &= own[:, None] != files[rows]
            self._drawn[int(code)] = _Drawn.of(_pairs(vocabulary, vectors, words, some), unrelated)
        places = spaced(len(vocabulary.words), ITEMS // 8)
        some = Described(vocabulary.vectors[places], *vocabulary.describe(vocabulary.vectors[places]))
        self._words = _Drawn.of(_pairs(vocabulary, vectors, words, some), said[:, None] != places)

    def confidence(self, score: float, modality: int, searched: int) -> float:
        """The probability that among ``searched`` unrelated items, 300 at least, none scores as high, in [0, 1]."""
        return float(self.confidences(np.array([score]), modality, searched)[0])

    def confidences(self, scores: np.ndarray, modality: int, searched: int) -> np.ndarray:
        """``confidence`` of (N,) scores of one modality."""
        drawn = self._drawn.get(modality, _Drawn(np.empty(0), np.empty(0), 0))
        rate = drawn.rate(scores)
        if self._words.items:
            rate = (drawn.items * rate + PRIOR * self._words.rate(scores)) / (drawn.items + PRIOR)
        return np.exp(-max(searched, LEAST) * rate)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Chance scores, sorted: of all pairs, and of those of the worst item at each number of pairs."""

    pairs: np.ndarray
    worst: np.ndarray
    items: int

    @classmethod
    def of(cls, found: np.ndarray, unrelated: np.ndarray) -> _Drawn:
        """(Q, N) scores of queries and items, and which of the pairs are unrelated."""
        if not found.size:
            return cls(np.empty(0), np.empty(0), 0)
        by_item = np.sort(np.where(unrelated, found, -np.inf).T, axis=1)
        return cls(np.sort(found[unrelated]), by_item.max(axis=0), found.shape[1])

    def rate(self, scores: np.ndarray) -> np.ndarray:
        """An upper bound of how often a pair scores as high."""
        above = sum(len(drawn) - np.searchsorted(drawn, scores, side="left") for drawn in (self.pairs, self.worst))
        return np.minimum(1, (above + 1) / (len(self.pairs) + 1))


def _pairs(vocabulary: Vocabulary, vectors: np.ndarray, words: np.ndarray, items: Described) -> np.ndarray:
    """(Q, N): ``scores`` of many queries."""
    cosines = vectors @ items.vectors.T
    if not words.shape[1]:
        return cosines
    return (words @ vocabulary.spread(items.places, items.weights).T + COSINE * cosines) / (1 + COSINE)


def _largest(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the k largest values of each row, and the values, largest first; of equal ones the earlier."""
    best = np.argpartition(-rows, k - 1, axis=1)[:, :k]
    best = np.take_along_axis(best, np.lexsort((best, -np.take_along_axis(rows, best, 1)), axis=1), 1)
    return best, np.take_along_axis(rows, best, 1)


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), 0)


def spaced(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` places, evenly spaced, so that a sample needs no random numbers."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)


def _everyday() -> dict[str, str]:
    from clipx.space import SPACES

    return json.loads((SPACES / "nano" / "vocabulary.json").read_text(encoding="utf-8"))["words"]
