"""How good frozen features are: nearest neighbours, and a linear classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

K, TEMPERATURE = 20, 0.07  # InstDisc's temperature; 200 neighbours are more than most classes here have
PENALTY = 1e-3  # on |W|^2 / 2 beside the mean cross-entropy, set beforehand
STEPS = 50  # of L-BFGS


def knn_predictions(
    train: Tensor, labels: Tensor, test: Tensor, k: int = K, temperature: float = TEMPERATURE
) -> Tensor:
    """Classes by the weighted vote of the k nearest rows, exp(cos / t) each (InstDisc, Wu et al. 2018, section 3.4).

    Args:
        train: (N, D) features.
        labels: (N,) their classes, integers from 0.
        test: (M, D) features.
        k: neighbours.
        temperature: t > 0.

    Returns:
        (M,) classes.
    """
    cosines, nearest = (F.normalize(test, dim=1) @ F.normalize(train, dim=1).T).topk(min(k, len(train)), dim=1)
    weights = ((cosines - cosines[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(test), int(labels.max()) + 1).scatter_add_(1, labels[nearest], weights)
    return votes.argmax(1)


def linear_predictions(
    train: Tensor, labels: Tensor, test: Tensor, penalty: float = PENALTY, steps: int = STEPS
) -> Tensor:
    """Classes by softmax regression on standardised features: L-BFGS, mean cross-entropy + penalty |W|^2 / 2.

    Features are standardised by the training rows, as a batch normalisation before the classifier does (MoCo v3).
    Arguments and result as ``knn_predictions``.
    """
    mean, std = train.mean(0), train.std(0).clamp(min=1e-6)
    train, test = (train - mean) / std, (test - mean) / std
    classes = int(labels.max()) + 1
    weight = torch.zeros(classes, train.shape[1] + 1, requires_grad=True)
    ones = [torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1) for rows in (train, test)]
    optimiser = torch.optim.LBFGS([weight], max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(ones[0] @ weight.T, labels) + penalty / 2 * weight[:, :-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return (ones[1] @ weight.detach().T).argmax(1)
