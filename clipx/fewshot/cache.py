"""Tip-Adapter's cache: a few-shot classifier that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import FewShotClassifier, Shots, checked_targets, class_names, counts, positive


class CacheModel(FewShotClassifier):
    """Training-free Tip-Adapter: adds to the zero-shot logits a vote of the shots, weighted by their similarity.

    logits = logit_scale * f w^T + alpha * exp(-beta (1 - f k^T)) L, with the input f, the class weights w, the shots k
    and their one-hot labels L. Of V views, f w^T and f k^T are the means over the views.

    Method: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022.
    alpha = 1 and beta = 5.5 are the paper's values for ImageNet; its code searches better ones for each data set, while
    here they stay.

    Args:
        keys: S shots, V rows each.
        targets: (S,) their classes, integers in [0, K); every class at least once.
        weights: K class weights whose ids are the labels, such as ``ZeroShotClassifier.weights``; K >= 2.
        logit_scale: of the space.
        views: V, the rows of each shot and input.
        alpha: weight of the shots, >= 0.
        beta: sharpness of the weighting by similarity, >= 0.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: a class without a shot, mismatched lengths, a number out of range.
        SpaceMismatchError: shots and weights of two spaces.
    """

    kind, closed_form = "cache", True

    def __init__(
        self,
        keys: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        alpha: float = 1.0,
        beta: float = 5.5,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, views
        self.keys, self.weights, self.logit_scale = keys, weights, positive(logit_scale)
        self.targets = checked_targets(targets, len(self._read(keys)), self.labels)
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise InputError(f"alpha and beta must be finite and at least 0, got {alpha} and {beta}")
        self.alpha, self.beta = float(alpha), float(beta)
        self.settings = {**(settings or {}), "alpha": self.alpha, "beta": self.beta, **counts(self.targets, views)}

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """The cache of these shots, with the published alpha and beta: see the class."""
        return cls(embedding, targets, weights, logit_scale, views, settings=settings)

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, shots.fixed)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        keys = self._read(self.keys).to(inputs.device)
        affinity = inputs.flatten(1) @ keys.flatten(1).T / self.views  # (N, S)
        mean, text = inputs.mean(dim=1), torch.from_numpy(self.weights.vectors).to(inputs.device)
        words = self.logit_scale * mean @ text.T  # (N, K)
        logits = words + self.alpha * votes(affinity, self.targets, len(self.labels), self.beta)
        return logits, F.normalize(mean, dim=1) @ text.T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        keys, weights = (torch.from_numpy(own.vectors) for own in (self.keys, self.weights))
        tensors = {"keys": keys, "targets": self.targets, "weights": weights}
        facts = {"logit_scale": self.logit_scale, "modality": self.keys.modality, "ids": self.keys.ids}
        return tensors, facts

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        keys = Embedding(tensors["keys"].numpy(), about["space_id"], about["modality"], about["ids"])
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        settings = about["settings"]
        alpha, beta = settings["alpha"], settings["beta"]
        return cls(keys, tensors["targets"], weights, about["logit_scale"], about["views"], alpha, beta, settings)


def votes(affinity: Tensor, targets: Tensor, classes: int, beta: float, weights: Tensor | None = None) -> Tensor:
    """(N, S) cosines with the shots, (S,) their classes -> (N, K): exp(-beta (1 - cosine)) summed in each class.

    Args:
        affinity: (N, S).
        targets: (S,).
        classes: K.
        beta: sharpness, >= 0.
        weights: (S,) of the shots; 1 by default.
    """
    own = F.one_hot(targets.to(affinity.device), classes).to(affinity)  # (S, K)
    return torch.exp(-beta * (1 - affinity)) @ (own if weights is None else own * weights[:, None])
