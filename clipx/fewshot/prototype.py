"""Nearest class mean: what the shots say without words and without a covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import Shots, class_names, counts, positive, prepared
from clipx.fewshot.gda import class_means
from clipx.fewshot.linear import LinearClassifier

CLIP_SCALE = 100.0


class Prototype(LinearClassifier):
    """logits = logit_scale * cosine with the mean of a class's shots: a control for methods that do more.

    Method: Snell et al., "Prototypical Networks for Few-shot Learning", NeurIPS 2017, arXiv 1703.05175, on frozen
    vectors, with cosines instead of squared distances, as in a CLIP space.
    """

    kind, closed_form, uses_words = "prototype", True, False

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        labels: Sequence[str],
        logit_scale: float = CLIP_SCALE,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Average the samples of each class.

        Args:
            embedding: N samples, V rows each.
            targets: (N,) their classes, integers in [0, K); every class at least once.
            labels: K >= 2 class names.
            logit_scale: of the space; it changes probabilities, never the ranking.
            views: V.
            settings: JSON values to save with the classifier.

        Raises:
            InputError: a class without a sample, mismatched lengths, samples of a class that cancel out.
        """
        names, scale = class_names(labels), positive(logit_scale)
        x, classes = prepared(embedding, targets, embedding.space_id, embedding.vectors.shape[1], names, views)
        means = class_means(x.double(), classes, len(names))
        if not bool((means.norm(dim=1) > 1e-6).all()):
            raise InputError("the samples of a class cancel out", remedy="give more of them")
        how = {"logit_scale": scale, **counts(classes, views)}
        weight = (scale * F.normalize(means, dim=1)).float()
        return cls(names, embedding.space_id, weight, torch.zeros(len(names)), views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        scale = CLIP_SCALE if shots.zeroshot is None else shots.zeroshot.logit_scale
        return cls.fit(shots.embedding, shots.targets, shots.names, scale, shots.views, shots.fixed)
