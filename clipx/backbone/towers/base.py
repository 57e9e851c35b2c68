"""What one family of image towers can do, and the attention arithmetic that the families share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tower:
    """What one family of image towers can do beyond ``encode_image``."""

    capabilities: frozenset[str] = frozenset()
    stride: tuple[int, int]
    any_size = True  # whether dense, stages, keys and attention take sizes other than the tower's own
    paths: tuple[str, ...] = ()  # of ``paths.DENSE_PATHS``, those that ``dense`` takes

    def dense(self, x: Tensor, path: str) -> Tensor:
        """(N, 3, H, W) -> (N, D, h, w) in the joint space, by one of ``paths``."""
        raise NotImplementedError

    def keys(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, h, w): the keys of the last attention, its heads side by side."""
        raise NotImplementedError

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> features by stage, (N, C, h, w) each; what follows the stage ``last`` may be left out."""
        raise NotImplementedError

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Vectors (N, D), not normalised, and ``stages``, in one pass."""
        raise NotImplementedError

    def attention(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, layers, heads, 1 + hw, 1 + hw) attention weights, the class token first."""
        raise NotImplementedError

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        """Relative differences between the methods above and the model's own forward pass.

        Args:
            x: (N, 3, *size) normalised pixels.
            encoded: (N, D), what the model makes of them.
        """
        raise NotImplementedError


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, hw, C) -> (N, C, h, w)."""
    return tokens.mT.unflatten(-1, grid)


def resize_positions(embedding: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """(1 + hw, C) positions of one grid -> those of another, bicubic; the class token's stays."""
    if tuple(grid) == tuple(wanted):
        return embedding
    first, rest = embedding[:1], embedding[1:]
    rest = rest.mT.unflatten(-1, grid)[None].float()
    rest = F.interpolate(rest, tuple(wanted), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, rest[0].flatten(1).mT.to(first.dtype)])


def per_head(norm: nn.Module, x: Tensor, heads: int) -> Tensor:
    """Normalise (N, L, C) head by head."""
    return norm(x.unflatten(-1, (heads, -1))).flatten(-2)


def attention_weights(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """(N, Lq, C), (N, Lk, C) -> attention weights (N, heads, Lq, Lk)."""
    q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
    return ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(dim=-1)


def mix(weights: Tensor, values: Tensor) -> Tensor:
    """(N, heads, Lq, Lk), (N, Lk, C) -> (N, Lq, C)."""
    values = values.unflatten(-1, (weights.shape[1], -1)).transpose(1, 2)
    return (weights @ values).transpose(1, 2).flatten(2)


def relative_difference(ours: Tensor, theirs: Tensor | None) -> float:
    """Largest difference, relative to the largest value."""
    if theirs is None or ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))


@contextmanager
def first_inputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect each module's first positional input while the block runs. Nothing else changes."""
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, kwargs: dict) -> None:  # returning a value would replace the input
        inputs.append(args[0])

    hooks = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in modules]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()
