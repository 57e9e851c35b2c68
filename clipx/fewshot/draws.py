"""Which rows are the shots."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
from torch import Tensor

from clipx.errors import InputError


def few_shot_draw(labels: Sequence[Hashable], shots: int, seed: int = 0, short: bool = False) -> list[int]:
    """Draw ``shots`` rows of every class.

    A class's draw depends on the seed, its name and its own rows only, not on what other classes there are or in what
    order. Draws of one seed are nested: the first 4 of 16 shots are the draw of 4 shots, so that
    ``set(few_shot_draw(labels, 20)) - set(few_shot_draw(labels, 16))`` are 4 rows a class to validate on.

    Args:
        labels: N class names or numbers.
        shots: rows of each class, at least 1.
        seed: at least 0; same seed, same rows.
        short: take all the rows of a class that has fewer, instead of refusing.

    Returns:
        Row numbers in rising order: shots * K where no class is short.

    Raises:
        InputError: no labels, ``shots`` or ``seed`` out of range, or classes with fewer rows, all in one line.
    """
    if shots < 1 or seed < 0:
        raise InputError(f"shots must be at least 1 and seed at least 0, got {shots} and {seed}")
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels.tolist() if isinstance(labels, Tensor | np.ndarray) else labels):
        rows.setdefault(str(label), []).append(row)
    if not rows:
        raise InputError("there are no labels to draw from")
    if not short and (few := [f"{name} {len(own)}" for name, own in rows.items() if len(own) < shots]):
        raise InputError(f"too few rows for {shots} shots a class: {', '.join(few)}", remedy="draw fewer shots")
    drawn: list[int] = []
    for name, own in rows.items():
        order = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()]).permutation(len(own))
        drawn += [own[i] for i in order[:shots]]
    return sorted(drawn)
