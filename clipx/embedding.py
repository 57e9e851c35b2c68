"""Embedding: unit vectors of one joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clipx._arrays import to_array
from clipx.errors import InputError, SpaceMismatchError


@dataclass(frozen=True, eq=False)
class Embedding:
    """Unit vectors of one space, with where they came from.

    Args:
        vectors: (N, D) float32, rows of unit L2 norm (to 1e-4); of a tensor its values are kept, without gradient.
        space_id: ``JointSpace.id`` of the space the vectors live in.
        modality: name of the modality that made them (``"text"`` for words).
        ids: N names, usually paths or the texts themselves; default ``"0"``, ``"1"``, ...

    Raises:
        InputError: wrong shape, dtype or norm, non-finite values, or len(ids) != N.
    """

    vectors: np.ndarray
    space_id: str
    modality: str
    ids: Sequence[str] = field(default=())

    def __post_init__(self):
        given, v = self.vectors, to_array(self.vectors)
        if v.ndim != 2 or str(given.dtype).removeprefix("torch.") != "float32":
            raise InputError(f"vectors must be (N, D) float32, got {v.shape} {given.dtype}")
        object.__setattr__(self, "vectors", v)
        if not (np.abs(np.linalg.norm(v, axis=1) - 1) <= 1e-4).all():
            raise InputError("every vector must be finite and of unit norm", where=f"{self.modality} embedding")
        object.__setattr__(self, "ids", tuple(self.ids) if len(self.ids) else tuple(str(i) for i in range(len(v))))
        if len(self.ids) != len(v):
            raise InputError(f"{len(v)} vectors but {len(self.ids)} ids")

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: slice | Sequence[int]) -> Embedding:
        """A sub-embedding; ``index`` is a slice or a list of row numbers."""
        rows = range(len(self))[index] if isinstance(index, slice) else index
        return Embedding(self.vectors[list(rows)], self.space_id, self.modality, [self.ids[i] for i in rows])

    def similarity(self, other: Embedding) -> np.ndarray:
        """Cosine of every pair: (N, M) in [-1, 1]. The temperature belongs to the space.

        Raises:
            SpaceMismatchError: ``other`` lives in another space.
        """
        if self.space_id != other.space_id:
            raise SpaceMismatchError(
                f"cannot compare {self.modality} vectors of space {self.space_id} with {other.modality} vectors of "
                f"space {other.space_id}",
                remedy="encode both with the same space",
            )
        return self.vectors @ other.vectors.T
