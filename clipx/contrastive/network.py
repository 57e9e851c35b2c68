"""The network of a training: a tower, what stands on it, and what its views are compared with."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from clipx._processes import gather
from clipx.contrastive.heads import predictor, projector
from clipx.contrastive.negatives import Bank, Queue
from clipx.contrastive.presets import Method

Parts = list[Tensor]  # by view; empty (0, D) where a view is not needed


class Network(nn.Module):
    """A tower with projector, predictor, moving average and negatives, as the switches of a method say.

    Args:
        method: the switches.
        tower: pixels (N, 3, H, W) -> features (N, dim), the one that is trained.
        dim: of its features.
        pictures: how many there are, for a memory bank.
    """

    centre: Tensor

    def __init__(self, method: Method, tower: nn.Module, dim: int, pictures: int):
        super().__init__()
        self.method = method
        self.online = nn.Sequential(tower, projector(method, dim))
        # CMC: the colours have a network of their own
        self.second = nn.Sequential(deepcopy(tower), projector(method, dim)) if method.views.kind == "lab" else None
        self.predictor = predictor(method) if method.predictor and method.views.kind != "patches" else None
        self.target = deepcopy(self.online).requires_grad_(False) if method.target == "ema" else None
        self.negatives: nn.Module | None = None
        if method.negatives == "queue":
            self.negatives = Queue(method.length, method.dim)
        elif method.negatives == "bank":
            banks = 1 if self.second is None else 2
            self.negatives = nn.ModuleList(Bank(pictures, method.dim, method.bank_momentum) for _ in range(banks))
        self.register_buffer("centre", torch.zeros(method.prototypes))

    @property
    def tower(self) -> nn.Module:
        """What is kept of it: the moving average's tower where the paper keeps that (DINO), else the online one."""
        kept = self.target if self.method.loss == "distillation" and self.target is not None else self.online
        return kept[0]

    def pairs(self, views: int) -> list[tuple[int, int]]:
        """Which view is compared with which other's target; a single view stands alone."""
        if views == 1:
            return [(0, 0)]
        return [(i, j) for i in range(views) for j in range(2) if i != j] if self.method.symmetric else [(0, 1)]

    def forward(self, views: list[Tensor]) -> tuple[Parts, Parts]:
        """Views, a list of (N, 3, H, W), -> by view (N, D): what is predicted of it, and its target.

        The prediction is the online projection where there is no predictor.
        """
        if self.second is not None:
            found = [gather(self.online(views[0])), gather(self.second(views[1]))]
            return found, found
        pairs = self.pairs(len(views))
        first, second = {i for i, _ in pairs}, {j for _, j in pairs}
        online = _by_size(self.online, views, first if self.target is not None else first | second)
        predicted = online
        if self.predictor is not None:
            predicted = [self.predictor(z) if len(z) else z for z in online]
        target = online
        if self.target is not None:
            with torch.no_grad():
                target = _by_size(self.target, views, second)
        if self.method.target == "stop-gradient":
            target = [z.detach() for z in target]
        return list(map(gather, predicted)), list(map(gather, target))


def _by_size(network: nn.Module, views: list[Tensor], wanted: set[int]) -> Parts:
    """Views of one size go through together (multi-crop, SwAV)."""
    found = [views[0].new_zeros(0)] * len(views)
    for side in sorted({views[i].shape[-1] for i in wanted}):
        numbers = [i for i in sorted(wanted) if views[i].shape[-1] == side]
        parts = network(torch.cat([views[i] for i in numbers])).chunk(len(numbers))
        for i, part in zip(numbers, parts, strict=True):
            found[i] = part
    return found
