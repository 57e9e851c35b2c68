"""The parts of a sample: the vectors of its windows, boxes, views or cells, and where each of them lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from clipx._arrays import TINY, to_array
from clipx.errors import InputError


@dataclass(frozen=True)
class Time:
    """A stretch of time.

    Args:
        start_s, end_s: in seconds from the beginning of the sample.
    """

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture.

    Args:
        left, top, right, bottom: pixels from the top left corner; right and bottom are exclusive.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class View:
    """One view of the whole sample, such as a cloud from one side.

    Args:
        index: from 0.
    """

    index: int


@dataclass(frozen=True)
class Cell:
    """One cell of a grid over a picture.

    Args:
        row, column: from 0, at the top left corner.
    """

    row: int
    column: int


Place = Time | Box | View | Cell
KINDS: tuple[type[Place], ...] = (Time, Box, View, Cell)


@dataclass(frozen=True, eq=False)
class Parts:
    """N samples as M parts, at least one each, sample by sample.

    Args:
        vectors: (M, D) float32 unit vectors; of a tensor its values are kept, without gradient.
        offsets: N + 1 rising row numbers: sample i has the rows ``offsets[i]`` to ``offsets[i + 1]``.
        places: where each of the M parts lies; those of one sample are of one kind.

    Raises:
        InputError: the three do not fit each other.
    """

    vectors: np.ndarray
    offsets: Sequence[int]
    places: Sequence[Place]

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", to_array(self.vectors).astype(np.float32, copy=False))
        if self.vectors.ndim != 2:
            raise InputError(f"vectors of parts must be (M, D), got {tuple(self.vectors.shape)}")
        offsets, count = self.offsets, len(self.vectors)
        if not len(offsets) or offsets[0] != 0 or any(a >= b for a, b in pairwise(offsets)) or offsets[-1] != count:
            raise InputError(f"offsets must rise from 0 to {count}, the number of parts, got {list(offsets)[:8]}")
        if len(self.places) != count:
            raise InputError(f"{count} parts have {len(self.places)} places")
        if any(len({type(place) for place in self.places[a:b]}) > 1 for a, b in pairwise(offsets)):
            raise InputError("the parts of one sample must be of one kind")

    @classmethod
    def whole(cls, vectors: np.ndarray) -> Parts:
        """(N, D) -> N samples of one part each, for what is looked at once and as a whole."""
        return cls(vectors, range(len(vectors) + 1), [View(0)] * len(vectors))

    @classmethod
    def views(cls, vectors: np.ndarray) -> Parts:
        """(N, V, D) -> N samples of V views each."""
        count, each, dim = vectors.shape
        places = [View(index) for index in range(each)] * count
        return cls(to_array(vectors).reshape(count * each, dim), range(0, count * each + 1, each), places)

    def __len__(self) -> int:
        """N."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, Sequence[Place]]:
        """The vectors and the places of one sample."""
        rows = slice(self.offsets[index], self.offsets[index + 1])
        return self.vectors[rows], self.places[rows]

    @property
    def counts(self) -> list[int]:
        """How many parts each of the N samples has."""
        return [b - a for a, b in pairwise(self.offsets)]

    def select(self, samples: Sequence[int]) -> Parts:
        """Some of the samples, by number."""
        rows = [row for i in samples for row in range(self.offsets[i], self.offsets[i + 1])]
        offsets = [0]
        for i in samples:
            offsets.append(offsets[-1] + self.offsets[i + 1] - self.offsets[i])
        return Parts(self.vectors[rows], offsets, [self.places[row] for row in rows])

    def stacked(self) -> np.ndarray:
        """(N, V, D), where all samples have equally many parts.

        Raises:
            InputError: they have not.
        """
        counts = sorted(set(self.counts))
        if len(counts) > 1:
            raise InputError(
                f"the samples have {counts[0]} to {counts[-1]} parts, and this takes equally many of each",
                remedy="cut the samples to one length, or take a method that reads one vector a sample",
            )
        return self.vectors.reshape(len(self), counts[0] if counts else 0, self.vectors.shape[1])

    def mean(self) -> np.ndarray:
        """(N, D) the mean of each sample's parts, of unit norm; a single part is left as it is."""
        if len(self.vectors) == len(self):
            return self.vectors
        sums = np.add.reduceat(self.vectors.astype(np.float64), self.offsets[:-1], axis=0)
        means = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), TINY)).astype(np.float32)
        single = np.array(self.counts)[:, None] == 1
        return np.where(single, self.vectors[list(self.offsets[:-1])], means)
