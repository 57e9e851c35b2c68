"""What an estimate and a fit read: the words of near and far, and a photo as a tower gets it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from clipx.errors import InputError
from clipx.space import JointSpace

SHORT_SIDE_PX = 480
MAX_CELLS = 4096  # that a tower encodes at once: attention grows with the square


def require_words(words: Sequence[str]) -> None:
    """Raise InputError unless these are at least two different words."""
    if isinstance(words, str) or len(words) < 2:
        got = f"the text {words!r}" if isinstance(words, str) else len(words)
        raise InputError(f"depth needs at least two words, got {got}")
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise InputError(f"the word {twice[0]!r} is given twice")


def viewed(space: JointSpace, pixels: Tensor, short_side_px: int = SHORT_SIDE_PX, *, enlarge: bool = False) -> Tensor:
    """(N, 3, H, W) -> the picture that the tower encodes: scaled down to that shorter side and to ``MAX_CELLS``.

    With ``enlarge`` a smaller photo is scaled up to it, so that a cell shows as much of any photo.

    Raises:
        InputError: as ``JointSpace.checked``.
    """
    pixels = space.checked(pixels)
    height, width = pixels.shape[-2:]
    most = MAX_CELLS * math.prod(space.backbone.stride)
    scale = min(short_side_px / min(height, width), math.sqrt(most / (height * width)))
    scale = scale if enlarge else min(1.0, scale)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return space.preprocess.sample(pixels, size).clamp(0, 1)
