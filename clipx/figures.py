"""Classification figures of logits: means over draws, intervals, classes and folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipx import metrics


def figures_of(
    logits: Sequence[np.ndarray], targets: Any, names: Sequence[str], seed: int, folds: Sequence[str] = ()
) -> tuple[dict[str, Any], Any]:
    """Means over draws: figures, intervals, classes, and top-1 of each fold where the samples have one.

    Args:
        logits: of each draw, (N, K).
        targets: (N,) int, the class of each sample.
        names: of the K classes.
        seed: of the bootstrap.
        folds: the fold of each sample, or nothing.

    Returns:
        The figures, and the (K, K) counts of all draws: rows are classes, columns what they were taken for.
    """
    each = [metrics.classification(own, targets) for own in logits]
    figures = {name: float(np.mean([own[name] for own in each])) for name in each[0]}
    best = [best_labels(own) for own in logits]
    hits = np.mean([own == targets[:, None] for own in best], axis=0)  # (N, 5)
    intervals = {
        name: list(metrics.bootstrap_ci95(hits[:, :k].sum(axis=1), seed))
        for name, k in (("acc1", 1), ("acc5", 5))
        if figures[name] == figures[name]  # acc5 is NaN under five classes
    }
    table = np.sum([metrics.confusion(own[:, 0], targets, len(names)) for own in best], axis=0)
    classes = _classes(table, names, len(logits))
    of_folds = {one: float(hits[np.asarray(folds) == one, 0].mean()) for one in sorted(set(folds) - {""}, key=_natural)}
    found = {"metrics": figures, "ci95": intervals, "classes": classes}
    return found | ({"folds": of_folds} if len(of_folds) > 1 else {}), table


def _classes(table: Any, names: Sequence[str], draws: int) -> list[dict[str, Any]]:
    """The recall of each class that has samples, and the class that it is most often taken for."""
    recall, found = metrics.per_class_accuracy(table), []
    for k, name in enumerate(names):
        if not (total := int(table[k].sum())):
            continue
        wrong = np.where(np.arange(len(names)) == k, 0, table[k])
        taken = int(wrong.argmax()) if wrong.any() else None
        found.append(
            {
                "label": name,
                "n": total // draws,
                "recall": float(recall[k]),
                "taken_for": None if taken is None else names[taken],
                "taken": 0.0 if taken is None else float(wrong[taken] / total),
            }
        )
    return found


def _natural(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 10**9), name


def best_labels(logits: np.ndarray) -> np.ndarray:
    """(N, 5) the best labels, best first. At equal scores the earlier label is the better."""
    return (-logits).argsort(axis=1, stable=True)[:, :5]
