"""CLAP: a linear probe that begins at the words and is held to them, class by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from clipx.embedding import Embedding
from clipx.fewshot.base import Shots, class_names, counts, positive, prepared
from clipx.fewshot.descent import descend
from clipx.fewshot.gda import class_means
from clipx.fewshot.linear import LinearClassifier

WARMUP_LR = 1e-5


class CLAP(LinearClassifier):
    """Class-adaptive linear probe: logits = logit_scale * cosine(f, w_k), with w beginning at the words t.

    Minimises cross-entropy + mean over k of lambda_k |w_k - t_k|^2. lambda_k is the mean probability that the words
    alone give to class k on its own shots: classes that the words know are held fast. These multipliers are set once,
    as the first step of an augmented Lagrangian, and stay, so that no setting is chosen on data.

    Method: Silva-Rodriguez et al., "A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models", CVPR
    2024, arXiv 2312.12730. SGD 0.1, momentum 0.9, 300 epochs, batch 256, cosine after one epoch at 1e-5, the last epoch
    kept, all as released. Its twenty augmented copies of each shot are left out, as vectors are cached; and its
    class weights begin with the length that the text tower gives them, here with length 1, as the paper's equations do.
    """

    kind = "clap"

    @classmethod
    def fit(
        cls,
        embedding: Embedding,
        targets: Sequence[int] | Tensor,
        weights: Embedding,
        logit_scale: float,
        views: int = 1,
        lr: float = 0.1,
        epochs: int = 300,
        batch_size: int = 256,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Self:
        """Train on N samples of V views each.

        Args:
            embedding: N samples, V rows each.
            targets: (N,) their classes, integers in [0, K); every class at least once.
            weights: K class weights whose ids are the labels.
            logit_scale: of the space.
            views: V.
            lr: of SGD.
            epochs: at least 1.
            batch_size: rows of a step.
            settings: JSON values to save with the classifier.
            seed: of the order of the samples.
            device: where it is trained.

        Raises:
            InputError: a class without a sample, mismatched lengths, a loss that is no longer finite.
            SpaceMismatchError: samples and weights of two spaces.
        """
        names, scale = class_names(weights.ids), positive(logit_scale)
        x, classes = prepared(embedding, targets, weights.space_id, weights.vectors.shape[1], names, views)
        text = torch.from_numpy(weights.vectors)
        sure = (scale * x @ text.T).softmax(dim=1).gather(1, classes[:, None])  # (N, 1)
        multipliers = class_means(sure, classes, len(names))[:, 0]
        x, truth, words, hold = (own.to(device) for own in (x, classes, text, multipliers))
        learned = words.clone().requires_grad_()

        def loss_of(batch: Tensor) -> Tensor:
            rows = batch.to(x.device)
            logits = scale * x[rows] @ F.normalize(learned, dim=1).T
            return F.cross_entropy(logits, truth[rows]) + (hold * (learned - words).square().sum(dim=1)).mean()

        def rate(epoch: int, done: float) -> float:
            return WARMUP_LR if epoch == 0 else lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

        optimizer = torch.optim.SGD([learned], momentum=0.9)
        loss = descend(optimizer, loss_of, len(x), epochs, batch_size, rate, seed)
        how = {"lr": lr, "epochs": epochs, "batch_size": batch_size, "seed": seed, "loss": loss}
        learnt_on = {"multipliers": [round(one, 6) for one in multipliers.tolist()], **counts(classes, views)}
        weight = scale * F.normalize(learned.detach(), dim=1).cpu()
        bias = torch.zeros(len(names))
        return cls(names, weights.space_id, weight, bias, views, {**(settings or {}), **how, **learnt_on})

    @classmethod
    def from_shots(cls, shots: Shots) -> Self:
        return cls.fit(*shots.beside_words, settings=shots.fixed, seed=shots.seed, device=shots.device)
