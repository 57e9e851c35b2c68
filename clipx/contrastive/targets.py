"""The slow copy of a network that its views are compared with."""

from __future__ import annotations

import math

import torch
from torch import nn


def momentum_at(step: int, steps: int, momentum: tuple[float, float]) -> float:
    """From the first value to the second along half a cosine (BYOL, Grill et al. 2020, section 3.3)."""
    first, last = momentum
    return last - (last - first) * (math.cos(math.pi * step / steps) + 1) / 2


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """target <- m target + (1 - m) online, in place, for every parameter; statistics are each network's own."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
