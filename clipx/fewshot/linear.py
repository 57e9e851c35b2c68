"""What the methods share whose result is a linear classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch.nn.functional as F
from torch import Tensor

from clipx.errors import InputError
from clipx.fewshot.base import FewShotClassifier, class_names, concatenated, pooled


class LinearClassifier(FewShotClassifier):
    """logits = x W^T + b; the methods differ in how W and b come about.

    x is the unit mean of an input's V views, or all of them side by side, over sqrt(V), where ``side_by_side``.

    Args:
        labels: K >= 2 class names.
        space_id: of the space its inputs live in.
        weight: (K, D) float32; (K, V * D) of views side by side.
        bias: (K,) float32.
        views: V, the rows of each input.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: fewer than two classes, mismatched shapes or values that are not finite.
    """

    side_by_side: ClassVar[bool] = False

    def __init__(
        self,
        labels: Sequence[str],
        space_id: str,
        weight: Tensor,
        bias: Tensor,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(labels), space_id, views
        self.weight, self.bias, self.settings = weight, bias, dict(settings or {})
        k = len(self.labels)
        fits = views >= 1 and weight.ndim == 2 and not (self.side_by_side and weight.shape[1] % views)
        if not fits or len(weight) != k or bias.shape != (k,):
            raise InputError(
                f"expected ({k}, D) of {views} views and ({k},), got {tuple(weight.shape)} and {tuple(bias.shape)}"
            )
        if not (bool(weight.isfinite().all()) and bool(bias.isfinite().all())):
            raise InputError(f"the weights of {self.kind} must be finite")

    @property
    def _dim(self) -> int:
        return self.weight.shape[1] // (self.views if self.side_by_side else 1)

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        vectors = concatenated(inputs) if self.side_by_side else pooled(inputs)
        weight = self.weight.to(inputs.device)
        return vectors @ weight.T + self.bias.to(inputs.device), vectors @ F.normalize(weight, dim=1).T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weight": self.weight, "bias": self.bias}, {}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weight, bias = tensors["weight"].float(), tensors["bias"].float()
        return cls(about["labels"], about["space_id"], weight, bias, about["views"], about["settings"])
