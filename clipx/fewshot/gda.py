"""Gaussian discriminant analysis: a few-shot classifier in closed form, beside the words or alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.fewshot.base import Shots, class_names, counts, positive, prepared
from clipx.fewshot.linear import LinearClassifier
from clipx.fewshot.selection import Fold, choose

ALPHAS = (0.01, 0.0001, 0.001, 0.1, 1.0, 10.0, 100.0)
"""The released grid of alpha; first the value for one shot a class, where nothing can be held out."""


class GaussianDiscriminant(LinearClassifier):
    """Gaussians of one covariance, one for each class: logits = logit_scale * f T + alpha * (f W + b).

    Of N shots x of K classes, with class means mu_k and Sigma the covariance of x - mu_k,

        inverse = D ((N - 1) Sigma + tr(Sigma) I)^-1,   W_k = inverse mu_k,   b_k = log(1 / K) - mu_k inverse mu_k / 2.

    T are the class weights of the words; without words their term is left out, and alpha is a temperature.

    Method: Wang et al., "A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation", ICLR 2024, arXiv 2402.04087.
    The released code chooses alpha on validation rows, for ImageNet on test rows; here it is chosen by cross-validation
    on the shots, from the released grid, and is 0.01 where a class has one. It inverts by the pseudo-inverse; the
    matrix is positive definite, so here the same W is the solution of a linear system. Its ten augmented copies of each
    shot are left out, as vectors are cached.

    With one shot a class Sigma is 0, and the released formula gives W = 0, the words alone. Here inverse is then
    D / tr(Sigma) I with Sigma the covariance of the shots about their common mean: what the formula gives in every
    direction in which the shots do not differ, with another trace.
    """

    kind, closed_form, uses_words = "gda", True, False

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        weights: Embedding | None = None,
        logit_scale: float = 100.0,
        views: int = 1,
        alpha: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """Estimate the Gaussians, and choose alpha by cross-validation on the samples unless it is given.

        Args:
            embedding: N samples, V rows each.
            targets: (N,) their classes, integers in [0, K); every class at least once.
            labels: K >= 2 class names.
            weights: K class weights of the words, such as ``ZeroShotClassifier.weights``; None without words.
            logit_scale: of the space; used with ``weights`` only.
            views: V.
            alpha: weight of the Gaussians, >= 0.
            settings: JSON values to save with the classifier.
            seed: of the folds.

        Raises:
            InputError: a class without a sample, mismatched lengths, shots that are all the same, an alpha below 0.
            SpaceMismatchError: samples and weights of two spaces.
        """
        names, dim, scale = class_names(labels), embedding.vectors.shape[1], positive(logit_scale)
        if weights is not None and weights.space_id != embedding.space_id:
            raise SpaceMismatchError(f"the shots live in space {embedding.space_id}, the words in {weights.space_id}")
        if alpha is not None and not 0 <= alpha < math.inf:
            raise InputError(f"alpha must be at least 0, got {alpha}")
        rows, classes = prepared(embedding, targets, embedding.space_id, dim, names, views)
        x = rows.double()
        text = torch.zeros(len(names), dim).double() if weights is None else torch.from_numpy(weights.vectors).double()
        if text.shape != (len(names), dim):
            raise InputError(f"expected class weights ({len(names)}, {dim}), got {tuple(text.shape)}")

        def logits_of(fold: Fold) -> list[Tensor]:  # to choose by, float32 will do: the system's condition is at most N
            weight, bias = discriminant(x[fold.train].float(), classes[fold.train], len(names))
            held = x[fold.held].float()
            words, own = scale * held @ text.float().T, held @ weight.T + bias
            return [words + one * own for one in ALPHAS]

        if alpha is None:
            place, chosen = choose([{"alpha": one} for one in ALPHAS], logits_of, classes, seed)
            alpha = ALPHAS[place]
        else:
            chosen = {"alpha": alpha}
        weight, bias = discriminant(x, classes, len(names))
        how = {**chosen, "words": weights is not None, "logit_scale": scale, **counts(classes, views)}
        both = (scale * text + alpha * weight).float()
        return cls(names, embedding.space_id, both, (alpha * bias).float(), views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        text, scale = None, 100.0
        if shots.zeroshot is not None:
            text, scale = shots.zeroshot.weights, shots.zeroshot.logit_scale
        about = text, scale, shots.views, None, shots.settings, shots.seed
        return cls.fit(shots.embedding, shots.targets, shots.names, *about)


def discriminant(x: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """(N, D), (N,) with every class -> W (K, D) and b (K,), see ``GaussianDiscriminant``.

    Raises:
        InputError: no two different rows.
    """
    dim = x.shape[1]
    means = class_means(x, targets, classes)
    centred = x - means[targets]
    trace = float(centred.square().sum())  # of (N - 1) Sigma
    if trace <= len(x) * torch.finfo(x.dtype).eps:  # one shot a class, or copies of it: only rounding is left
        trace = float((x - x.mean(dim=0)).square().sum())
        if trace <= len(x) * torch.finfo(x.dtype).eps:
            raise InputError("all shots are the same", remedy="check the files and their labels")
        weight = dim * (len(x) - 1) / trace * means
    else:
        weight = dim * _ridge_solve(centred, trace / (len(x) - 1), means)
    return weight, -math.log(classes) - (weight * means).sum(dim=1) / 2


def class_means(x: Tensor, targets: Tensor, classes: int) -> Tensor:
    """(N, D), (N,) with every class -> (K, D)."""
    sums = x.new_zeros(classes, x.shape[1]).index_add_(0, targets, x)
    return sums / targets.bincount(minlength=classes)[:, None]


def _ridge_solve(rows: Tensor, ridge: float, right: Tensor) -> Tensor:
    """(N, D), (K, D) -> right (rows^T rows + ridge I)^-1, through the smaller of the two Gram matrices."""
    n, d = rows.shape
    if n >= d:
        gram = rows.T @ rows
        gram.diagonal().add_(ridge)
        return torch.cholesky_solve(right.T, torch.linalg.cholesky(gram)).T
    gram = rows @ rows.T
    gram.diagonal().add_(ridge)
    inner = torch.cholesky_solve(rows @ right.T, torch.linalg.cholesky(gram))  # (N, K)
    return (right - inner.T @ rows) / ridge
