"""What a recipe of an embedded space learns from: pictures with captions, and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

TUNE_DRAWS = 2**30  # where the batches of the last part of a training begin, so that they are new


@dataclass(frozen=True)
class PairBatch:
    """What a source returns for one step with pictures; U is the number of its captions.

    Args:
        pixels: (B, 3, S, S) float32, already normalised for the tower.
        targets: (B, U) float32 weights, positive where the caption is true of the picture.
        ignore: (B, U) bool, where a caption is neither true nor plainly false (related classes).
    """

    pixels: Tensor
    targets: Tensor
    ignore: Tensor


@dataclass(frozen=True)
class TextBatch:
    """The texts that a source returns for one step with words, and, as above, which captions they mean."""

    texts: list[str]
    targets: Tensor
    ignore: Tensor


class Source(Protocol):
    """What a recipe learns from; its module has ``build(data, cache, seed, exclude, options) -> Source``.

    Every batch is made from the seed and ``draw`` alone.
    """

    def captions(self) -> list[str]:
        """The texts that pictures are matched with."""

    def batch(self, draw: int, size: int, image_size: int, mean: list[float], std: list[float]) -> PairBatch:
        """Pictures, normalised with ``mean`` and ``std``, and which captions are true of them."""

    def sentences(self, draw: int, count: int) -> TextBatch:
        """Other ways to say the captions."""

    def dictionary(self, draw: int, count: int) -> list[tuple[str, str]]:
        """Pairs of texts of one meaning."""

    def phrases(self) -> list[str]:
        """Everything that a text can be made of."""

    def vocabulary(self) -> dict[str, str]:
        """Word or phrase -> ``"pictures"`` or ``"text"``, what it was learned from."""

    def about(self) -> dict[str, Any]:
        """The facts about its data that the space records, with ``data_sha256``."""
