"""APE: a cache that compares the channels which tell classes from one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import (
    FewShotClassifier,
    Shots,
    class_names,
    counts,
    pooled,
    positive,
    prepared,
)
from clipx.fewshot.cache import votes
from clipx.fewshot.selection import Fold, choose

SHARE = 800 / 1024  # of the channels of a ResNet-50
GRID: list[dict[str, float]] = [
    {"alpha": alpha, "beta": beta, "gamma": gamma}
    for alpha, beta, gamma in product((1.0, 0.1, 3.0, 7.0), (1.0, 3.0, 7.0), (0.1, 0.0, 0.5))
]
"""Within the released ranges, 0.1 to 7 of alpha and beta; first the values that the released search begins at."""


def informative_channels(
    text: Tensor, shots: Tensor | None, targets: Tensor | None, share: float, weights: tuple[float, float]
) -> Tensor:
    """The channels by -w1 * (mean product over pairs of different classes) + w2 * (variance over the class weights).

    Args:
        text: (K, D) class weights.
        shots: (S, D), which join the class weights in the pairs; None for the class weights alone.
        targets: (S,) their classes.
        share: of the D channels to keep, in (0, 1].
        weights: w1 and w2.

    Returns:
        Numbers of the best channels, in rising order.
    """
    text = text.double()
    sums, sizes = text.clone(), torch.ones(len(text), dtype=torch.double)
    if shots is not None and targets is not None:
        sums.index_add_(0, targets, shots.double())
        sizes += targets.bincount(minlength=len(text))
    pairs = sizes.sum().square() - sizes.square().sum()
    similarity = (sums.sum(dim=0).square() - sums.square().sum(dim=0)) / pairs  # of ordered pairs
    value = -weights[0] * similarity + weights[1] * text.var(dim=0)
    best = value.argsort(descending=True, stable=True)[: max(1, round(share * text.shape[1]))]
    return best.sort().values


class APE(FewShotClassifier):
    """Adaptive prior refinement: logits = logit_scale * f T + alpha * exp(-beta (1 - f' k')) (v L).

    f', k' and T' are input, shots and class weights in the channels of ``informative_channels``, of unit norm again,
    and v = exp(gamma KL(L || softmax(k' T'))) of each shot with one-hot row L, the divergence in bits. V views are
    averaged before.

    Method: Zhu et al., "Not All Features Matter: Enhancing Few-shot CLIP with Adaptive Prior Refinement", ICCV 2023,
    arXiv 2304.01195. 800 of 1024 channels, w 0.5 and 0.5, alpha 1, beta 1 and gamma 0.1 as released for most sets. The
    released code then searches alpha, beta and gamma on validation rows; here on the shots by cross-validation.

    Args:
        keys: S shots, V rows each.
        targets: (S,) their classes, integers in [0, K); every class at least once.
        weights: K class weights whose ids are the labels; K >= 2.
        logit_scale: of the space.
        views: V, the rows of each shot and input.
        alpha: weight of the shots, >= 0.
        beta: sharpness of the weighting by similarity, >= 0.
        gamma: how much more a shot counts that the words do not know, >= 0.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: a class without a shot, mismatched lengths, a number out of range.
        SpaceMismatchError: shots and weights of two spaces.
    """

    kind, closed_form = "ape", True

    def __init__(
        self,
        keys: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.1,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, views
        self.keys, self.weights, self.logit_scale = keys, weights, positive(logit_scale)
        if not all(0 <= one < math.inf for one in (alpha, beta, gamma)):
            raise InputError(f"alpha, beta and gamma must be at least 0, got {alpha}, {beta} and {gamma}")
        self.alpha, self.beta, self.gamma = float(alpha), float(beta), float(gamma)
        self._shots, self.targets = prepared(keys, targets, self.space_id, self._dim, self.labels, views)
        self._refined = Refined(self._shots, self.targets, torch.from_numpy(weights.vectors))
        how = {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, **counts(self.targets, views)}
        self.settings = {**(settings or {}), **how}

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Self:
        """Choose alpha, beta and gamma by cross-validation on the shots, with folds by ``seed``: see the class."""
        start = cls(embedding, targets, weights, logit_scale, views)
        x, classes, text = start._shots, start.targets, torch.from_numpy(weights.vectors)

        def logits_of(fold: Fold) -> list[Tensor]:
            refined, held = Refined(x[fold.train], classes[fold.train], text), x[fold.held]
            words, affinity = start.logit_scale * held @ text.T, refined.affinity(held)
            own = {
                (beta, gamma): refined.votes(affinity, beta, gamma)
                for beta, gamma in {(one["beta"], one["gamma"]) for one in GRID}
            }
            return [words + one["alpha"] * own[one["beta"], one["gamma"]] for one in GRID]

        place, chosen = choose(GRID, logits_of, classes, seed)
        about = {**(settings or {}), **chosen}
        return cls(embedding, classes, weights, logit_scale, views, **GRID[place], settings=about)

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, shots.settings, shots.seed)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        f = pooled(inputs)
        cosines = f @ torch.from_numpy(self.weights.vectors).to(inputs.device).T
        own = self._refined.votes(self._refined.affinity(f), self.beta, self.gamma)
        return self.logit_scale * cosines + self.alpha * own, cosines

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        keys, weights = (torch.from_numpy(own.vectors) for own in (self.keys, self.weights))
        tensors = {"keys": keys, "targets": self.targets, "weights": weights}
        return tensors, {"logit_scale": self.logit_scale, "modality": self.keys.modality, "ids": self.keys.ids}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        keys = Embedding(tensors["keys"].numpy(), about["space_id"], about["modality"], about["ids"])
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        settings = about["settings"]
        given = keys, tensors["targets"], weights, about["logit_scale"], about["views"]
        return cls(*given, settings["alpha"], settings["beta"], settings["gamma"], settings)


class Refined:
    """Shots and class weights in the channels that are kept.

    Args:
        shots: (S, D) unit rows.
        targets: (S,) their classes.
        text: (K, D) class weights.
    """

    def __init__(self, shots: Tensor, targets: Tensor, text: Tensor):
        self.targets, self.classes = targets, len(text)
        self.channels = informative_channels(text, shots, targets, SHARE, (0.5, 0.5))
        self.keys, words = (F.normalize(own[:, self.channels], dim=1) for own in (shots, text))
        known = (self.keys @ words.T).softmax(dim=1).gather(1, targets[:, None])[:, 0]
        self.surprise = torch.log2((1 + 1e-6) / (known + 1e-6))  # (S,) the divergence: only the true class contributes

    def affinity(self, inputs: Tensor) -> Tensor:
        """(N, D) -> (N, S) cosines in these channels."""
        return F.normalize(inputs[:, self.channels.to(inputs.device)], dim=1) @ self.keys.to(inputs.device).T

    def votes(self, affinity: Tensor, beta: float, gamma: float) -> Tensor:
        """(N, S) -> (N, K)."""
        shares = (gamma * self.surprise).exp().to(affinity.device)
        return votes(affinity, self.targets, self.classes, beta, shares)
