"""APE-T: APE with one trained residual a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.fewshot.ape import informative_channels
from clipx.fewshot.base import Shots, class_names, counts, positive, prepared
from clipx.fewshot.cache import votes
from clipx.fewshot.descent import cosine, descend
from clipx.fewshot.trained_cache import TrainedCache

SHARE = 900 / 1024  # of the channels of a ResNet-50


class APETrained(TrainedCache):
    """A residual for each class moves its word and its shots in the channels that are kept, and each shot has a share.

    logits = logit_scale * f (T + r) + alpha * exp(-beta (1 - f (k + r))) (v L), with r 0 and v 1 at first, both trained
    on the shots; all channels are compared.

    Method: APE-T of Zhu et al., see ``APE``. 900 of 1024 channels, chosen on the class weights alone with w 0.2 and
    0.8; alpha 1, beta 1; AdamW 1e-3 with epsilon 1e-3 and weight decay 0.1, 30 epochs, batch 256, cosine, as released
    for most sets. The released code keeps the best epoch, and alpha and beta, by validation rows; here the last epoch
    is kept and both stay. It trains on augmented shots, while here vectors are cached.
    """

    kind = "ape_t"

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        lr: float = 1e-3,
        epochs: int = 30,
        batch_size: int = 256,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Train on S shots of V views each.

        Args:
            embedding: S shots, V rows each.
            targets: (S,) their classes, integers in [0, K); every class at least once.
            weights: K class weights whose ids are the labels.
            logit_scale: of the space.
            views: V.
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
        kept = informative_channels(torch.from_numpy(weights.vectors), None, None, SHARE, (0.2, 0.8))
        spread = torch.eye(text.shape[1])[kept].to(device)  # (C, D)
        residual = torch.zeros(len(names), len(kept), device=x.device, requires_grad=True)
        shares = torch.ones(len(x), device=x.device, requires_grad=True)
        of_class = F.one_hot(truth, len(names)).to(x)  # (S, K)

        def moved() -> tuple[Tensor, Tensor]:
            change = residual @ spread
            return x + of_class @ change, text + change

        def loss_of(batch: Tensor) -> Tensor:
            f, (keys, words) = x[batch.to(x.device)], moved()
            logits = scale * f @ words.T + votes(f @ keys.T, truth, len(names), 1.0, shares)
            return F.cross_entropy(logits, truth[batch.to(x.device)])

        optimizer = torch.optim.AdamW([residual, shares], eps=1e-3, weight_decay=0.1)
        loss = descend(optimizer, loss_of, len(x), epochs, batch_size, cosine(lr), seed)
        how = {"alpha": 1.0, "beta": 1.0, "channels": len(kept), "lr": lr, "epochs": epochs, "batch_size": batch_size}
        how |= {"seed": seed, "loss": loss, **counts(classes, views)}
        with torch.no_grad():
            keys, words = (own.cpu() for own in moved())
        learned = keys, classes, shares.detach().cpu(), words
        return cls(*learned, weights, scale, views, {**(settings or {}), **how})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, settings=shots.fixed, seed=shots.seed, device=shots.device)
