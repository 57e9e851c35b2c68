"""Tip-Adapter-F: the cache whose keys are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.fewshot.base import Shots, class_names, counts, positive, prepared
from clipx.fewshot.cache import votes
from clipx.fewshot.descent import cosine, descend
from clipx.fewshot.trained_cache import TrainedCache


class TipAdapterF(TrainedCache):
    """Fine-tuned Tip-Adapter: ``CacheModel`` on the mean of the views, its keys trained on the shots they came from.

    Method: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV 2022, arXiv
    2207.09519. AdamW 1e-3 with epsilon 1e-4, 20 epochs, batch 256, cosine; alpha 1.17 and beta 1, with which the
    released training for ImageNet begins. The released code keeps the epoch of the best accuracy on test rows and then
    searches alpha and beta on validation rows, for ImageNet on test rows; here the last epoch is kept and alpha and
    beta stay. Its keys are means of ten augmented copies and it trains on fresh copies; here vectors are cached, so
    that every shot is first a vote for itself.
    """

    kind = "tip_adapter_f"

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        alpha: float = 1.17,
        beta: float = 1.0,
        lr: float = 1e-3,
        epochs: int = 20,
        batch_size: int = 256,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Train the keys on S shots of V views each.

        Args:
            embedding: S shots, V rows each.
            targets: (S,) their classes, integers in [0, K); every class at least once.
            weights: K class weights whose ids are the labels.
            logit_scale: of the space.
            views: V.
            alpha: weight of the shots.
            beta: sharpness of the weighting by similarity.
            lr: of AdamW.
            epochs: at least 1.
            batch_size: rows of a step.
            settings: JSON values to save with the classifier.
            seed: of the order of the shots.
            device: where it is trained.

        Raises:
            InputError: a class without a shot, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: shots and weights of two spaces.
        """
        names, scale = class_names(weights.ids), positive(logit_scale)
        rows, classes = prepared(embedding, targets, weights.space_id, weights.vectors.shape[1], names, views)
        x, truth, text = (own.to(device) for own in (rows, classes, torch.from_numpy(weights.vectors)))
        keys = x.clone().requires_grad_()

        def loss_of(batch: Tensor) -> Tensor:
            f, own = x[batch.to(x.device)], truth[batch.to(x.device)]
            return F.cross_entropy(scale * f @ text.T + alpha * votes(f @ keys.T, truth, len(names), beta), own)

        optimizer = torch.optim.AdamW([keys], eps=1e-4)
        loss = descend(optimizer, loss_of, len(x), epochs, batch_size, cosine(lr), seed)
        how = {"alpha": alpha, "beta": beta, "lr": lr, "epochs": epochs, "batch_size": batch_size, "seed": seed}
        how |= {"loss": loss, **counts(classes, views)}
        words = torch.from_numpy(weights.vectors).clone()  # a file has them twice
        learned = keys.detach().cpu(), classes, torch.ones(len(x)), words
        return cls(*learned, weights, scale, views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, settings=shots.fixed, seed=shots.seed, device=shots.device)
