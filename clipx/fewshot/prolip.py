"""ProLIP: a linear map of the vectors that begins at the identity and is held to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

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
from clipx.fewshot.descent import cosine, descend

if TYPE_CHECKING:
    from clipx.zeroshot import ZeroShotClassifier


class ProLIP(FewShotClassifier):
    """logits = logit_scale * L2(f M) T with the words T, and a D x D matrix M learned from the shots.

    Minimises cross-entropy + |M - I|^2 / N over all shots at once, N the shots a class: the paper's rule that needs no
    validation rows. V views are averaged before.

    Method: Fahes et al., "CLIP's Visual Embedding Projector is a Few-shot Cornucopia", arXiv 2410.05270. Adam with
    epsilon 1e-4, 300 epochs, cosine, the last epoch kept, as released. The paper trains the last projection W0 of the
    photo tower, W0 M with M begun at I; a space of any modality keeps only what comes after W0, so M is trained here,
    which is the paper's regularised linear adapter. Its augmented copies of the shots are left out, as vectors are
    cached.

    Args:
        matrix: (D, D) float32, M.
        weights: K class weights whose ids are the labels; K >= 2.
        logit_scale: of the space.
        views: V, the rows of each input.
        settings: JSON values to save with the classifier.

    Raises:
        InputError: fewer than two classes, a matrix of another size or with values that are not finite.
    """

    kind = "prolip"

    def __init__(
        self,
        matrix: Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        settings: Mapping[str, Any] | None = None,
    ):
        self.labels, self.space_id, self.views = class_names(weights.ids), weights.space_id, views
        self.matrix, self.weights, self.logit_scale = matrix, weights, positive(logit_scale)
        self.settings = dict(settings or {})
        if matrix.shape != (self._dim, self._dim) or not bool(matrix.isfinite().all()):
            raise InputError(f"the matrix must be ({self._dim}, {self._dim}) and finite, got {tuple(matrix.shape)}")

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        lr: float = 1e-4,
        epochs: int = 300,
        pull: float | None = None,
        settings: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Train on samples of V views each.

        Args:
            embedding: the samples, V rows each.
            targets: their classes, integers in [0, K); every class at least once.
            weights: K class weights whose ids are the labels.
            logit_scale: of the space.
            views: V.
            lr: of Adam.
            epochs: at least 1; each is one step.
            pull: factor of |M - I|^2, >= 0; by default 1 / N with N samples in the largest class.
            settings: JSON values to save with the classifier.
            device: where it is trained.

        Raises:
            InputError: a class without a sample, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: samples and weights of two spaces.
        """
        names, scale, dim = class_names(weights.ids), positive(logit_scale), weights.vectors.shape[1]
        rows, classes = prepared(embedding, targets, weights.space_id, dim, names, views)
        pull = 1 / int(classes.bincount().max()) if pull is None else pull
        if not pull >= 0:
            raise InputError(f"the pull must be at least 0, got {pull}")
        x, truth, text = (own.to(device) for own in (rows, classes, torch.from_numpy(weights.vectors)))
        change = torch.zeros(dim, dim, device=text.device, requires_grad=True)  # M - I

        def loss_of(batch: Tensor) -> Tensor:
            logits = scale * F.normalize(x + x @ change, dim=1) @ text.T
            return F.cross_entropy(logits, truth) + pull * change.square().sum()

        optimizer = torch.optim.Adam([change], eps=1e-4)
        loss = descend(optimizer, loss_of, len(x), epochs, len(x), cosine(lr))
        how = {"lr": lr, "epochs": epochs, "pull": pull, "loss": loss, **counts(classes, views)}
        matrix = torch.eye(dim) + change.detach().cpu()
        return cls(matrix, weights, scale, views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, settings=shots.fixed, device=shots.device)

    def for_classes(self, zeroshot: ZeroShotClassifier) -> ProLIP:
        """The same map before other words. Raises SpaceMismatchError for words of another space."""
        self._require_same_space(zeroshot)
        return ProLIP(self.matrix, zeroshot.weights, self.logit_scale, self.views, self.settings)

    @property
    def _dim(self) -> int:
        return self.weights.vectors.shape[1]

    def _scores(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mapped = F.normalize(pooled(inputs) @ self.matrix.to(inputs.device), dim=1)
        cosines = mapped @ torch.from_numpy(self.weights.vectors).to(inputs.device).T
        return self.logit_scale * cosines, cosines

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"matrix": self.matrix, "weights": torch.from_numpy(self.weights.vectors)}
        return tensors, {"logit_scale": self.logit_scale}

    @classmethod
    def _restore(cls, tensors: dict[str, Tensor], about: dict[str, Any]) -> Self:
        weights = Embedding(tensors["weights"].numpy(), about["space_id"], "text", about["labels"])
        return cls(tensors["matrix"].float(), weights, about["logit_scale"], about["views"], about["settings"])
