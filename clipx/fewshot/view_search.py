"""View weights found on labelled samples: PointCLIP's post-search, with the split it was done on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.fewshot.base import FewShotClassifier, Shots, checked_targets, class_names, counts, positive

LEVELS = (0.25, 0.5, 0.75, 1.0)  # the released code's
MOST_WORK = 2**34  # combinations times samples times classes, some minutes; beyond, one view at a time is searched
_AT_ONCE = 2**25  # logits held while searching


class ViewSearch(FewShotClassifier):
    """Zero-shot logits, each view with a weight of its own: logit_scale * sum_v w_v f_v . t / sum_v w_v.

    ``fit`` tries every combination of the weights 0.25, 0.5, 0.75, 1 and keeps the one that names most of the labelled
    samples right; of equal ones that with the lowest cross-entropy. Where that would take too long (ten views of more
    than 1,600 samples of ten classes), the views are searched one after the other, round and round until nothing moves.

    Method: the "post-search" of Zhang et al., "PointCLIP", CVPR 2022. The released code searches on the test labels,
    and so its figures are no zero-shot ones; here the samples are those given, and ``settings`` name their split.

    Args:
        view_weights: V weights >= 0, not all 0.
        weights: K class weights whose ids are the labels, such as ``ZeroShotClassifier.weights``; K >= 2.
        logit_scale: of the space.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: fewer than two classes, or unusable weights.
    """

    kind = "view_search"

    def __init__(
        self,
        view_weights: Sequence[float],
        weights: Embedding,
        logit_scale: float,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, len(view_weights)
        self.weights, self.logit_scale = weights, positive(logit_scale)
        if not len(view_weights) or min(view_weights) < 0 or not 0 < sum(view_weights) < float("inf"):
            raise InputError(f"view weights must be numbers >= 0, not all 0, got {tuple(view_weights)}")
        self.view_weights = tuple(float(weight) for weight in view_weights)
        self.settings = {**(settings or {}), "view_weights": list(self.view_weights)}

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int,
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Search on N samples of V rows each.

        Args:
            embedding: N samples, V rows each.
            targets: (N,) classes of the samples, integers in [0, K).
            weights: K class weights, see the class.
            logit_scale: of the space.
            views: V.
            settings: more to remember; name the split there.

        Raises:
            InputError: mismatched lengths or a class out of range. SpaceMismatchError: vectors of another space.
        """
        plain = cls((1.0,) * views, weights, logit_scale)
        samples = plain._read(embedding).detach()  # (N, V, D)
        truth = checked_targets(targets, len(samples), plain.labels, every_class=False).to(samples.device)
        text = torch.from_numpy(weights.vectors)
        each = logit_scale * (samples @ text.T).transpose(0, 1)  # (V, N, K)
        found, right = _search(each, truth)
        how = {"searched": list(LEVELS), "fitted_acc1": right, **counts(truth, views)}
        return cls(found, weights, logit_scale, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, shots.fixed)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        share = inputs.new_tensor(self.view_weights)
        pooled = (inputs * (share / share.sum())[:, None]).sum(dim=1)  # (N, D), not of unit norm
        text = torch.from_numpy(self.weights.vectors).to(inputs.device)
        return self.logit_scale * pooled @ text.T, normalize(pooled, dim=1) @ text.T

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weights": torch.from_numpy(self.weights.vectors)}, {"logit_scale": self.logit_scale}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        return cls(about["settings"]["view_weights"], weights, about["logit_scale"], about["settings"])


def _search(each: Tensor, truth: Tensor) -> tuple[tuple[float, ...], float]:
    """(V, N, K) logits of each view alone, (N,) classes -> the V best weights, and their accuracy."""
    views = len(each)
    if len(LEVELS) ** views * each[0].numel() <= MOST_WORK:
        score, found = _best(each, truth, product(LEVELS, repeat=views))
        return found, score[0]
    found, score = (1.0,) * views, (-1.0, 0.0)
    while True:
        before = score
        for v in range(views):
            score, found = _best(each, truth, ((*found[:v], level, *found[v + 1 :]) for level in LEVELS))
        if score <= before:
            return found, score[0]


def _best(
    each: Tensor, truth: Tensor, trials: Iterator[tuple[float, ...]]
) -> tuple[tuple[float, float], tuple[float, ...]]:
    """The best of the trials, the first among equals, behind its accuracy and negative cross-entropy."""
    views, n, k = each.shape
    flat, best = each.flatten(1), ((-1.0, 0.0), (1.0,) * views)
    while chunk := list(islice(trials, max(1, _AT_ONCE // (n * k)))):
        share = each.new_tensor(chunk)  # (C, V)
        logits = ((share / share.sum(dim=1, keepdim=True)) @ flat).unflatten(1, (n, k))  # (C, N, K)
        right = (logits.argmax(dim=2) == truth).cpu().double().mean(dim=1)
        if float(right.max()) < best[0][0]:
            continue
        for c in (right == right.max()).nonzero()[:, 0].tolist():
            score = float(right[c]), -float(torch.nn.functional.cross_entropy(logits[c], truth))
            if score > best[0]:
                best = score, chunk[c]
    return best
