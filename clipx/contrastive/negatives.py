"""Where negatives come from beside the batch: a queue of earlier keys, or a memory bank with a row for each picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Queue(nn.Module):
    """The last K keys, first in, first out (MoCo, He et al. 2020, algorithm 1).

    Args:
        length: K.
        dim: D.
    """

    keys: Tensor

    def __init__(self, length: int, dim: int):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, dim), dim=1))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put (N, D) keys in the place of the oldest."""
        self.keys.copy_(torch.cat([keys.detach(), self.keys])[: len(self.keys)])


class Bank(nn.Module):
    """A unit vector for each of n pictures, drawn from as noise (InstDisc, Wu et al. 2018, section 3.2).

    Args:
        pictures: n.
        dim: D.
        momentum: share of the old vector when a row is replaced.
    """

    rows: Tensor
    constant: Tensor

    def __init__(self, pictures: int, dim: int, momentum: float):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("rows", F.normalize(torch.randn(pictures, dim), dim=1))
        self.register_buffer("constant", torch.zeros(()))

    @torch.no_grad()
    def normaliser(self, vectors: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Z of (N, D) vectors and (M, D) noise: estimated by the first batch and kept, as the paper does."""
        if not self.constant:
            self.constant.copy_((vectors @ noise.T / temperature).exp().mean() * len(self.rows))
        return self.constant

    @torch.no_grad()
    def update(self, numbers: Tensor, vectors: Tensor) -> None:
        """Move the rows (N,) towards (N, D) unit vectors, by ``1 - momentum``."""
        mixed = self.rows[numbers].lerp(vectors.detach(), 1 - self.momentum)
        self.rows[numbers] = F.normalize(mixed, dim=1)
