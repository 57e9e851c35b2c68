"""From what a noun means to the direction that pictures of it have: kernel ridge regression, in closed form.

A noun is described twice: by the sentence vector of "name, a kind of hypernym, hypernym: gloss", and by its ancestors
in WordNet, each as large as it is specific. The targets are the 1,000 rows of the photo tower's own classifier, which
are directions of pictures that need no picture, and the means of training photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from wordnet import WordNet

SHARP = 3.0  # the kernel is exp(SHARP (similarity - 1))
TREE = 0.33  # share of WordNet in the similarity; the sentence has the rest
RIDGE = 0.02


def sentence(name: str, offset: str | None, wordnet: WordNet) -> str:
    """What the sentence tower reads of a noun: 300 characters at most."""
    if offset is None:
        return name
    above = ", ".join(wordnet.chain(offset, 2))
    return f"{name}, a kind of {above}: {wordnet.synsets[offset].gloss}"[:300]


def tree(offsets: Sequence[str | None], wordnet: WordNet) -> csr_matrix:
    """(N, number of synsets): a noun's ancestors and itself, each weighted by its information."""
    place = {offset: i for i, offset in enumerate(wordnet.synsets)}
    rows, columns, values = [], [], []
    for i, offset in enumerate(offsets):
        for above in wordnet.ancestors(offset) if offset is not None else ():
            rows.append(i)
            columns.append(place[above])
            values.append(wordnet.information[above])
    return csr_matrix((values, (rows, columns)), (len(offsets), len(place)), dtype=np.float64)


@dataclass(frozen=True)
class Described:
    """N nouns: sentence vectors (N, 384), and rows of ``tree``."""

    sentences: np.ndarray
    tree: csr_matrix

    def __getitem__(self, rows: np.ndarray) -> Described:
        return Described(self.sentences[rows], self.tree[rows])


class Teacher:
    """Nouns -> directions.

    Args:
        known: N nouns.
        targets: (N, D) their unit directions.
        centre: the nouns whose mean is taken off descriptions, the 1,000 classes of ImageNet.
        ridge: (N,) or one for all: how little a target is believed.
    """

    def __init__(self, known: Described, targets: np.ndarray, centre: Described, ridge: np.ndarray | float = RIDGE):
        self.mean = centre.sentences.mean(0), np.asarray(centre.tree.mean(0)).ravel()
        self.known = known
        self.offset = targets.mean(0)
        gram = self.kernel(known) + np.diag(np.broadcast_to(ridge, len(targets)))
        self.weights = np.linalg.solve(gram, targets - self.offset)

    def __call__(self, nouns: Described, batch: int = 4096) -> np.ndarray:
        """(M, D) unit rows."""
        rows = [self.kernel(nouns[np.arange(i, min(i + batch, len(nouns.sentences)))]) @ self.weights
                for i in range(0, len(nouns.sentences), batch)]  # fmt: skip
        return unit(np.concatenate(rows) + self.offset)

    def kernel(self, nouns: Described) -> np.ndarray:
        """(M, N) against the known nouns."""
        a, b = nouns.sentences - self.mean[0], self.known.sentences - self.mean[0]
        similarity = (1 - TREE) * unit(a) @ unit(b).T + TREE * self._trees(nouns.tree)
        return np.exp(SHARP * (similarity - 1))

    def _trees(self, nouns: csr_matrix) -> np.ndarray:
        """Cosines of centred rows, without making the sparse ones dense."""
        mean, known = self.mean[1], self.known.tree
        square = mean @ mean
        a, b = nouns @ mean, known @ mean
        norms = [
            np.sqrt(np.asarray(t.multiply(t).sum(1)).ravel() - 2 * s + square) for t, s in ((nouns, a), (known, b))
        ]
        dots = (nouns @ known.T).toarray() - a[:, None] - b[None] + square
        dots[np.asarray(nouns.sum(1)).ravel() == 0] = 0  # not a noun of WordNet: it says nothing
        return dots / np.outer(*norms)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit norm."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
