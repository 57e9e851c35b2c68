"""What a drawing of a meaning starts from: people's drawings of the words that are nearest to it.

A tower can give a high score to scribbles that nobody recognises, so a drawing needs a good start. 344 words of
QuickDraw (Google, CC BY 4.0) have three drawings each in a file next to this one; examples/recipes/sketch made it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from clipx.errors import FileError
from clipx.modalities.sketch.chains import in_two, length
from clipx.modalities.sketch.curves import CANVAS

if TYPE_CHECKING:
    from clipx.space import JointSpace

FILE = Path(__file__).with_name("quickdraw.safetensors")
FORMAT = 1
UNIT_PX = CANVAS / 255  # of a coordinate
NEAREST = 4  # words whose drawings are tried
PROMPT = "a drawing of a {}"
NEAR = 0.05  # of the cosine: words that are farther than the nearest one by more are not tried


@cache
def drawings() -> dict[str, list[Tensor]]:
    """Word -> its drawings, (N, 4, 2) control points in canvas pixels each."""
    from safetensors import safe_open

    with safe_open(FILE, "pt") as file:
        about = json.loads(file.metadata()["about"])
        if about["format"] != FORMAT:
            raise FileError(f"is of format {about['format']}, not {FORMAT}", where=FILE)
        words = about["words"]
        points, counts, words_of = (file.get_tensor(name) for name in ("points", "counts", "words"))
    found: dict[str, list[Tensor]] = {}
    for drawing, word in zip((points.float() * UNIT_PX).split(counts.tolist()), words_of.tolist(), strict=True):
        found.setdefault(words[word], []).append(drawing)
    return found


def nearest(space: JointSpace, toward: np.ndarray) -> list[tuple[str, Tensor]]:
    """The drawings, each with its word, of the words nearest to a vector (D,) of a space, the nearest word's first.

    None where the space knows none of the words.
    """
    known = drawings()
    said = {word: PROMPT.format(word) if not space.unknown(PROMPT.format(word)) else word for word in known}
    words = [word for word in known if not space.unknown(said[word])]
    if not words:
        return []
    cosines = space.encode_text([said[word] for word in words]) @ toward
    best = (-cosines).argsort(stable=True)[:NEAREST]
    close = [words[i] for i in best if cosines[i] >= cosines[best[0]] - NEAR]
    return [(word, drawing) for word in close for drawing in known[word]]


def with_strokes(points: Tensor, count: int) -> Tensor:
    """(M, 3 S + 1, 2), M at most ``count`` -> ``count`` of the same lines, the longest split until they suffice."""
    while len(points) < count:
        longest = int(length(points).argmax())
        points = torch.cat([points[:longest], torch.stack(in_two(points[longest])), points[longest + 1 :]])
    return points
