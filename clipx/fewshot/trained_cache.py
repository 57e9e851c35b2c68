"""What Tip-Adapter-F and APE-T share: a vote of keys that were trained away from unit length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import FewShotClassifier, checked_targets, class_names, pooled, positive
from clipx.fewshot.cache import votes


class TrainedCache(FewShotClassifier):
    """logits = logit_scale * f w^T + alpha * exp(-beta (1 - f k^T)) (v L) of the unit mean f of an input's views.

    Args:
        keys: (S, D) float32, k.
        targets: (S,) their classes, integers in [0, K); every class at least once. L are their one-hot rows.
        shares: (S,) float32, v, what each key's vote counts.
        words: (K, D) float32, w, the class weights as trained.
        weights: K class weights as the words alone have them, whose ids are the labels; K >= 2.
        logit_scale: of the space.
        views: V, the rows of each input.
        settings: with ``alpha`` and ``beta``; JSON values to save with the classifier.

    Raises:
        InputError: a class without a key, mismatched shapes or values that are not finite.
    """

    def __init__(
        self,
        keys: Tensor,
        targets: Tensor,
        shares: Tensor,
        words: Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int,
        settings: Mapping[str, Any],
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, views
        self.keys, self.shares, self.words, self.weights = keys, shares, words, weights
        self.targets, self.logit_scale = checked_targets(targets, len(keys), self.labels), positive(logit_scale)
        self.settings = dict(settings)
        self.alpha, self.beta = float(self.settings["alpha"]), float(self.settings["beta"])
        expected = (len(self.labels), self._dim)
        if words.shape != expected or keys.shape[1:] != words.shape[1:] or shares.shape != keys.shape[:1]:
            raise InputError(f"words must be {expected}, keys (S, {self._dim}) and shares (S,)")
        if not all(bool(own.isfinite().all()) for own in (keys, shares, words)):
            raise InputError(f"the keys and weights of {self.kind} must be finite")

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        f, device = pooled(inputs), inputs.device
        keys, shares, words = (own.to(device) for own in (self.keys, self.shares, self.words))
        own = votes(f @ keys.T, self.targets, len(self.labels), self.beta, shares)
        return self.logit_scale * f @ words.T + self.alpha * own, f @ F.normalize(words, dim=1).T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"keys": self.keys, "targets": self.targets, "shares": self.shares, "words": self.words}
        return tensors | {"weights": torch.from_numpy(self.weights.vectors)}, {"logit_scale": self.logit_scale}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        learned = tensors["keys"], tensors["targets"], tensors["shares"], tensors["words"]
        return cls(*learned, weights, about["logit_scale"], about["views"], about["settings"])
