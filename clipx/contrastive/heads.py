"""What stands on a tower while it learns: projectors, predictors, prototypes. None of it is kept."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.contrastive.presets import Method


def mlp(sizes: list[int], norm: str = "inside") -> nn.Sequential:
    """Linear layers with ReLU between them; batch normalisation "inside", after the "last" as well, or "none"."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        normed = norm == "last" or (norm == "inside" and not last)
        layers.append(nn.Linear(a, b, bias=not normed))
        if normed:
            layers.append(nn.BatchNorm1d(b, affine=not last))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Cosines with K vectors: SwAV's prototypes, and DINO's last layer, whose weights are normed.

    Args:
        dim: D.
        count: K.
    """

    def __init__(self, dim: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, K)."""
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


def projector(method: Method, dim: int) -> nn.Sequential:
    """Features (N, dim) -> what the loss compares: (N, method.dim), or (N, method.prototypes) cosines."""
    head = mlp([dim, *[method.hidden] * (method.layers - 1), method.dim], method.head_norm)
    return head.append(Prototypes(method.dim, method.prototypes)) if method.prototypes else head


def predictor(method: Method) -> nn.Sequential:
    """(N, method.dim) -> (N, method.dim): two layers with batch normalisation between them."""
    return mlp([method.dim, method.predictor_hidden, method.dim], "inside")
