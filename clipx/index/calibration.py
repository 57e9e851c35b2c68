"""Items described by the words nearest to them, so that items of different modalities can be compared.

What bridges the regions of a CLIP space that its modalities keep to is language, as every modality was aligned with it.
So each item is also described by the words nearest to it, and two items are compared by their descriptions: query by
semantic example (Rasiwasia, Moreno and Vasconcelos, IEEE Transactions on Multimedia 2007).
"""

from __future__ import annotations

import io
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


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words that items are described by.

    Args:
        words: B of them.
        vectors: (B, D) float32, unit rows.
        scale: what cosine is multiplied by before the softmax over the words.
        kinship: what 1 - cosine of two words is multiplied by before exp(-x) says how far one counts for the other.
        own: whether they are the space's own: words that it saw pictures of, and not nouns for an open vocabulary.
    """

    words: tuple[str, ...]
    vectors: np.ndarray
    scale: float
    kinship: float
    own: bool = True

    @classmethod
    def of(cls, space: JointSpace) -> Vocabulary:
        """The words that a space saw pictures of; for an open vocabulary everyday nouns without names of products."""
        own = space.vocabulary is not None
        known = everyday_nouns()
        if space.vocabulary is not None:
            known = [word for word, seen in space.vocabulary.words.items() if seen == "pictures"]
        words = tuple(sorted(known))
        vectors = space.encode_text(words).cpu().numpy()
        return cls(words, vectors, SHARPNESS * space.logit_scale, KINSHIP * space.logit_scale, own)

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
            weights[part] = unit(counts)
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
        one, two = (unit(np.asarray(rows, dtype=np.float32)) for rows in sums)
        return one, two

    def save(self, file: Path) -> None:
        """Written beside and renamed. Raises OSError."""
        data = io.BytesIO()
        np.savez(
            data,
            words=np.array(self.words, dtype=str),
            vectors=self.vectors,
            scale=np.array([self.scale, self.kinship]),
            own=np.array(self.own),
        )
        beside = file.with_name(f".{file.name}.part")
        beside.write_bytes(data.getvalue())
        beside.replace(file)

    @classmethod
    def load(cls, file: Path) -> Vocabulary:
        """What ``save`` wrote. Raises FileError where that is missing or corrupt."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                words, own = tuple(arrays["words"].tolist()), bool(arrays["own"])
                scale, kinship = arrays["scale"].tolist()
                return cls(words, arrays["vectors"], scale, kinship, own)
        except (OSError, ValueError, KeyError, EOFError) as error:
            remedy = "make the index again in another folder"
            raise FileError("the index's words are missing or corrupt", where=file, remedy=remedy) from error


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


def alike(queries: np.ndarray, items: Described, rows: np.ndarray | None = None) -> np.ndarray:
    """How alike the descriptions of queries, (Q, B), and of the items (at ``rows``) are: (Q, N) float32 in [-1, 1]."""
    found = np.zeros((len(queries), len(items) if rows is None else len(rows)), np.float32)
    for start in range(0, found.shape[1] if items.places.shape[1] else 0, 65536):  # parts that stay in the caches
        part = slice(start, start + 65536)
        own = part if rows is None else rows[part]
        places, weights = items.places[own], items.weights[own]
        for row, query in enumerate(queries):
            found[row, part] = np.einsum("nk,nk->n", query[places], weights)
    return found


def _largest(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the k largest values of each row, and the values, largest first; of equal ones the earlier."""
    best = np.argpartition(-rows, k - 1, axis=1)[:, :k]
    best = np.take_along_axis(best, np.lexsort((best, -np.take_along_axis(rows, best, 1)), axis=1), 1)
    return best, np.take_along_axis(rows, best, 1)


def unit(rows: np.ndarray) -> np.ndarray:
    """(..., D) rows scaled to length 1; those shorter than 1e-6 become zeros."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), 0)


def spaced(count: int, most: int) -> np.ndarray:
    """At most ``most`` of ``count`` places, evenly spaced, so that a sample needs no random numbers."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)


def everyday_nouns() -> list[str]:
    """The words of words.txt, which no space is trained on: 1,389, in alphabetical order."""
    lines = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
