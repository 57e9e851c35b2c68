"""The words nearest to each item, as sparse weights, so that items of different modalities can be compared.

Each modality keeps to a region of its own in a CLIP space, but every modality was aligned with language. So each item
also gets weights of the words nearest to it, and two items are compared by these weights: query by semantic example
(Rasiwasia, Moreno and Vasconcelos, IEEE Transactions on Multimedia 2007).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import write_whole
from clipx.index.arrays import unit

if TYPE_CHECKING:
    from clipx.space import JointSpace

# chosen by tests/benchmarks/bench_index.py on training rows, as they are and cropped, turned or with strokes left out
WORDS = 32  # kept of each item
SHARPNESS = 0.5  # of the softmax over the words, as a share of the space's logit scale
SIMILARITY_SHARPNESS = 0.35  # the same, of how much a word counts for similar words
NULL_WORDS, NULL_PROMPT = 300, "a photo of a {}."
_NULL_VECTORS: WeakKeyDictionary[JointSpace, np.ndarray] = WeakKeyDictionary()  # 300 texts are seconds of a CLIP's time


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words whose weights an index keeps for each item.

    Args:
        words: B of them.
        vectors: (B, D) float32, unit rows.
        scale: what cosine is multiplied by before the softmax over the words.
        similarity_scale: what 1 - cosine of two words is multiplied by before exp(-x) says how much one counts for the
            other.
        own: whether they are the space's own, words that it was trained on pictures of; else they are everyday nouns
            for an open vocabulary.
    """

    words: tuple[str, ...]
    vectors: np.ndarray
    scale: float
    similarity_scale: float
    own: bool = True

    @classmethod
    def of(cls, space: JointSpace) -> Vocabulary:
        """The words that a space was trained on pictures of; for an open vocabulary everyday nouns without products."""
        own = space.vocabulary is not None
        known = everyday_nouns()
        if space.vocabulary is not None:
            known = [word for word, source in space.vocabulary.words.items() if source == "pictures"]
        words = tuple(sorted(known))
        vectors = space.encode_text(words)
        return cls(words, vectors, SHARPNESS * space.logit_scale, SIMILARITY_SHARPNESS * space.logit_scale, own)

    def items(self, vectors: np.ndarray) -> SparseItems:
        """(N, D) unit rows with the weights of their words."""
        return SparseItems(vectors, *self.word_weights(vectors))

    def word_weights(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) unit rows -> the K words of the highest weight, highest first, and their weights.

        A softmax over the words gives each row its nearest words; each of these then adds to the weight of similar
        words, a stool to that of a chair, so that two rows are similar though their nearest words differ.

        Returns:
            (N, K) uint16 positions in ``words``, and (N, K) float32 of unit norm over K. K is 32, or B where that is
            less.
        """
        k = min(WORDS, len(self.words))
        words, weights = np.zeros((len(vectors), k), np.uint16), np.zeros((len(vectors), k), np.float32)
        for start in range(0, len(vectors) if k else 0, 1024):
            part = slice(start, start + 1024)
            cosines = vectors[part] @ self.vectors.T
            nearest, close = _largest(cosines, k)
            shares = np.exp(self.scale * (close - close[:, :1]))
            used, inverse = np.unique(nearest, return_inverse=True)
            share_of = np.zeros((len(nearest), len(used)), np.float32)
            np.put_along_axis(share_of, inverse.reshape(nearest.shape), shares / shares.sum(1, keepdims=True), axis=1)
            similarity = np.exp(self.similarity_scale * (self.vectors[used] @ self.vectors.T - 1))  # (U, B)
            words[part], counts = _largest(share_of @ similarity, k)
            weights[part] = unit(counts)
        return words, weights

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) unit rows -> (N,) positions of the nearest words."""
        return (vectors @ self.vectors.T).argmax(1) if self.words else np.zeros(len(vectors), np.int64)

    def dense(self, words: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The weights of ``word_weights`` as dense (N, B) rows of unit norm."""
        rows = np.zeros((len(words), len(self.words)), np.float32)
        np.put_along_axis(rows, words.astype(np.int64), weights, axis=1)
        return rows

    def save(self, file: Path) -> None:
        """An atomic write. Raises FileError."""
        data = io.BytesIO()
        np.savez(
            data,
            words=np.array(self.words, dtype=str),
            vectors=self.vectors,
            scale=np.array([self.scale, self.similarity_scale]),
            own=np.array(self.own),
        )
        write_whole(file, data.getvalue())

    @classmethod
    def load(cls, file: Path) -> Vocabulary:
        """Read the vocabulary that ``save`` wrote. Raises FileError where it is missing or corrupt."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                words, own = tuple(arrays["words"].tolist()), bool(arrays["own"])
                scale, similarity_scale = arrays["scale"].tolist()
                return cls(words, arrays["vectors"], scale, similarity_scale, own)
        except (OSError, ValueError, KeyError, EOFError) as error:
            remedy = "make the index again in another folder"
            raise FileError("the index's words are missing or corrupt", where=file, remedy=remedy) from error


@dataclass(frozen=True, eq=False)
class SparseItems:
    """N items: unit vectors (N, D), and the words (N, K) and weights (N, K) of ``Vocabulary.word_weights``."""

    vectors: np.ndarray
    words: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)


def word_similarity(queries: np.ndarray, items: SparseItems, rows: np.ndarray | None = None) -> np.ndarray:
    """Cosines of the words' weights of queries, (Q, B), and of the items (at ``rows``): (Q, N) float32 in [-1, 1]."""
    found = np.zeros((len(queries), len(items) if rows is None else len(rows)), np.float32)
    for start in range(0, found.shape[1] if items.words.shape[1] else 0, 65536):  # parts that stay in the caches
        part = slice(start, start + 65536)
        own = part if rows is None else rows[part]
        words, weights = items.words[own], items.weights[own]
        for row, query in enumerate(queries):
            found[row, part] = np.einsum("nk,nk->n", query[words], weights)
    return found


def _largest(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the k largest values of each row, and the values, largest first; of equal ones the earlier."""
    best = np.argpartition(-rows, k - 1, axis=1)[:, :k]
    best = np.take_along_axis(best, np.lexsort((best, -np.take_along_axis(rows, best, 1)), axis=1), 1)
    return best, np.take_along_axis(rows, best, 1)


def everyday_nouns() -> list[str]:
    """The words of words.txt, which no space is trained on: 1,389, in alphabetical order."""
    lines = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def null_words(space: JointSpace) -> list[str]:
    """300 everyday nouns, or those of them that the space takes; most are not in any one photo."""
    nouns = everyday_nouns()
    evenly = np.linspace(0, len(nouns) - 1, NULL_WORDS).round().astype(int)
    return [nouns[k] for k in evenly if not space.unknown(nouns[k])]


def null_vectors(space: JointSpace, fewest: int = 1) -> np.ndarray:
    """(B, D) unit vectors of the space's ``null_words``.

    Raises:
        InputError: they are fewer than ``fewest``.
    """
    words = null_words(space)
    if len(words) < fewest:
        what = f"the space knows {len(words) or 'none'} of {NULL_WORDS} everyday nouns"
        raise InputError(what, where=space.name)
    if space not in _NULL_VECTORS:
        _NULL_VECTORS[space] = space.encode_text([NULL_PROMPT.format(word) for word in words])
    return _NULL_VECTORS[space]
