"""Hyperparameters of few-shot classifiers, chosen by cross-validation on the shots alone.

No test label enters: what is chosen is chosen on the shots, and ``settings["selection"]`` of a classifier says how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FIXED = "fixed beforehand"
CROSS_VALIDATED = "cross-validation on the shots"
SELECTIONS = (FIXED, CROSS_VALIDATED)
"""What ``settings["selection"]`` may say; ``fit_shots`` refuses any other."""
MOST_FOLDS = 4


@dataclass(frozen=True)
class Fold:
    """Row numbers to fit on and row numbers to score on, both in rising order, without a row in common."""

    train: Tensor
    held: Tensor


def stratified_folds(targets: Tensor, seed: int = 0, most: int = MOST_FOLDS) -> list[Fold]:
    """Folds in which every class is trained on: as many as the smallest class has rows, at most ``most``.

    Args:
        targets: (S,) classes, integers; every class that counts has a row.
        seed: of the order within each class.
        most: folds, at least 2.

    Returns:
        No folds where a class has one row only: nothing can be held out then.
    """
    classes = [(targets == k).nonzero()[:, 0] for k in targets.unique().tolist()]
    count = min(most, *(len(rows) for rows in classes))
    if count < 2:
        return []
    fold_of = torch.empty(len(targets), dtype=torch.long)
    for number, rows in enumerate(classes):
        order = torch.from_numpy(np.random.default_rng([seed, number]).permutation(len(rows)))
        fold_of[rows[order]] = (torch.arange(len(rows)) + number) % count  # begins elsewhere, so that folds are alike
    return [Fold((fold_of != f).nonzero()[:, 0], (fold_of == f).nonzero()[:, 0]) for f in range(count)]


def score(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    """Accuracy, and the negative mean cross-entropy that decides between equal accuracies.

    Args:
        logits: (N, K).
        targets: (N,) integers in [0, K).
    """
    right = (logits.argmax(dim=1) == targets).double().mean()
    return float(right), -float(F.cross_entropy(logits.double(), targets))


def choose(
    grid: Sequence[Mapping[str, Any]],
    logits_of: Callable[[Fold], Sequence[Tensor]],
    targets: Tensor,
    seed: int = 0,
) -> tuple[int, dict[str, Any]]:
    """The setting of a grid that scores best on held-out shots; of equal ones the first.

    Args:
        grid: settings, JSON values; the first is the one to take where nothing can be held out.
        logits_of: fits on the training rows of a fold and returns, for each setting in order, the (H, K) logits of the
            held-out rows.
        targets: (S,) classes of the shots.
        seed: of the folds.

    Returns:
        Its place in the grid, and what a classifier records of the choice.
    """
    folds = stratified_folds(targets, seed) if len(grid) > 1 else []
    if not folds:
        return 0, {**grid[0], "selection": FIXED}
    truth = torch.cat([targets[fold.held] for fold in folds])
    held = zip(*(logits_of(fold) for fold in folds), strict=True)  # a tuple of the folds' logits for each setting
    scores = [score(torch.cat([own.cpu() for own in logits]), truth) for logits in held]
    best = max(range(len(grid)), key=scores.__getitem__)
    tried = [{**setting, "acc1": accuracy} for setting, (accuracy, _) in zip(grid, scores, strict=True)]
    return best, {**grid[best], "selection": CROSS_VALIDATED, "folds": len(folds), "tried": tried}
