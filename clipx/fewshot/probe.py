"""The linear probe: logistic regression on frozen vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import Shots, by_sample, checked_targets, class_names, concatenated, counts
from clipx.fewshot.linear import LinearClassifier
from clipx.fewshot.selection import CROSS_VALIDATED, FIXED, Fold, score, stratified_folds

DEFAULT_C = 1.0  # where nothing can be held out


class LinearProbe(LinearClassifier):
    """Multinomial logistic regression on cached embeddings, as CLIP's authors measured their features.

    ``fit`` minimises C * sum of cross-entropies + |W|^2 / 2 (the biases go free) by L-BFGS in float64, at most 1,000
    iterations. It knows no text: its class weights are the rows of W. V views it reads side by side, over sqrt(V), so
    that an input has unit norm again.

    Protocol: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, A.3.
    """

    kind, uses_words, side_by_side = "linear_probe", False, True

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        views: int = 1,
        validation: tuple[Embedding, Sequence[int] | Tensor] | None = None,
        split: str | None = None,
        c: float | None = None,
        max_iter: int = 1000,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit with a given C, with the C that does best on a validation split, or by cross-validation on the samples.

        The sweep is CLIP's: C = 1e-6, 1e-4, ... 1e6, then halved intervals about the best, down to eight values a
        decade. Of equal accuracies the lower cross-entropy wins. The validation rows are not trained on afterwards.
        Without C and validation, the samples themselves are divided into at most four folds, each held out once; where
        a class has one sample, C = 1.

        Args:
            embedding: N training samples, V rows each.
            targets: (N,) their classes, integers in [0, K); every class at least once.
            labels: K >= 2 class names.
            views: V.
            validation: embedding and targets of other rows, none of which may be a test row. Not with ``c``.
            split: with ``validation``, the name of that split; it goes into ``settings`` with all that was tried.
            c: C > 0, the inverse of the strength of the penalty.
            max_iter: of L-BFGS. Whether it came to rest before stands in ``settings``.
            settings: JSON values to save with the classifier.
            seed: of the folds.

        Raises:
            InputError: a class without a row, mismatched lengths, both ``validation`` and ``c``, a validation split
                without a name, a number out of range.
            SpaceMismatchError: training and validation vectors of two spaces.
        """
        names, dim = class_names(labels), embedding.vectors.shape[1]

        def read(some: Embedding) -> Tensor:  # (N, V * D)
            return concatenated(by_sample(some, embedding.space_id, dim, views)).detach().cpu().double()

        vectors = read(embedding)
        classes = checked_targets(targets, len(vectors), names)
        if validation is not None and c is not None:
            raise InputError("a linear probe takes either a C or a validation split to choose it on")
        if max_iter < 1 or (c is not None and not 0 < c < math.inf):
            raise InputError(f"C must be above 0 and max_iter at least 1, got {c} and {max_iter}")

        @cache
        def fitted(value: float) -> tuple[Tensor, Tensor, bool]:
            return _logistic_regression(vectors, classes, len(names), value, max_iter)

        chosen: dict[str, Any] = {"C": DEFAULT_C, "selection": FIXED} if c is None else {"C": c}
        if validation is not None:
            if not split:
                raise InputError("the validation split needs a name", where="split", remedy="say which rows it is")
            held = read(validation[0])
            truth = checked_targets(validation[1], len(held), names, every_class=False)
            best, swept = _sweep(lambda value: score(_logits(held, fitted(value)), truth))
            about = {"selection": split, "validation": split, "validation_samples": len(held)}
            chosen = {"C": best, **about, "swept": swept}
        elif c is None and (folds := stratified_folds(classes, seed)):
            best, swept = _sweep(_HeldOut(vectors, classes, len(names), max_iter, folds))
            chosen = {"C": best, "selection": CROSS_VALIDATED, "folds": len(folds), "swept": swept}
        weight, bias, at_rest = fitted(float(chosen["C"]))
        how = {**chosen, "max_iter": max_iter, "converged": at_rest, **counts(classes, views)}
        return cls(names, embedding.space_id, weight.float(), bias.float(), views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        about = shots.settings
        return cls.fit(shots.embedding, shots.targets, shots.names, shots.views, settings=about, seed=shots.seed)


def _logistic_regression(
    vectors: Tensor,
    targets: Tensor,
    classes: int,
    c: float,
    max_iter: int,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor, bool]:
    """(N, D) float64, (N,) -> weight (K, D), bias (K,), and whether the gradient came to rest.

    Args:
        start: (K, D + 1) where it begins, weight and bias side by side; zeros by default.
    """
    n, d = vectors.shape
    begin = torch.zeros(classes, d + 1, dtype=vectors.dtype) if start is None else start.clone()
    table = begin.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [table],
        max_iter=max_iter,
        max_eval=10 * max_iter,
        tolerance_grad=1e-7,
        tolerance_change=1e-14,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:  # divided by C N, so that one tolerance serves every C
        optimizer.zero_grad()
        weight, bias = table[:, :d], table[:, d]
        value = F.cross_entropy(vectors @ weight.T + bias, targets) + weight.square().sum() / (2 * c * n)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
        loss()
    rest = table.grad is not None and float(table.grad.abs().max()) <= 1e-5
    found = table.detach()
    return found[:, :d], found[:, d], rest


def _logits(vectors: Tensor, probe: tuple[Tensor, Tensor, bool]) -> Tensor:
    weight, bias, _ = probe
    return vectors @ weight.T + bias


class _HeldOut:
    """The score of one C over all folds, each fitted without its held-out rows.

    A fold begins where it ended at the nearest C before: the minimum is the same, and is found sooner.
    """

    def __init__(self, vectors: Tensor, targets: Tensor, classes: int, max_iter: int, folds: Sequence[Fold]):
        self.vectors, self.targets, self.classes, self.folds = vectors, targets, classes, folds
        self.max_iter = max_iter
        self.found: dict[tuple[float, int], Tensor] = {}

    def __call__(self, c: float) -> tuple[float, float]:
        logits = []
        for number, fold in enumerate(self.folds):
            nearest = min(
                (value for value, of in self.found if of == number), key=lambda v: abs(math.log(v / c)), default=c
            )
            about = self.vectors[fold.train], self.targets[fold.train], self.classes, c, self.max_iter
            probe = _logistic_regression(*about, start=self.found.get((nearest, number)))
            self.found[c, number] = torch.cat([probe[0], probe[1][:, None]], dim=1)
            logits.append(_logits(self.vectors[fold.held], probe))
        return score(torch.cat(logits), torch.cat([self.targets[fold.held] for fold in self.folds]))


def _sweep(scored: Callable[[float], tuple[float, float]]) -> tuple[float, list[dict[str, float]]]:
    """The C of the best score, and the accuracy of each C tried. Places are eighths of a decade, 1e-6 to 1e6."""
    scores: dict[int, tuple[float, float]] = {}

    def best(places: Sequence[int]) -> int:
        scores.update({place: scored(10.0 ** (place / 8)) for place in places})
        return max(sorted(scores), key=scores.__getitem__)

    peak, step = best(range(-48, 49, 16)), 16
    while step > 1:
        step //= 2
        peak = best([place for place in (peak - step, peak + step) if -48 <= place <= 48])
    return 10.0 ** (peak / 8), [{"C": 10.0 ** (place / 8), "acc1": scores[place][0]} for place in sorted(scores)]
