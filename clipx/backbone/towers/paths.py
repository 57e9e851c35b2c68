"""Training-free ways through the last attention layer that keep what is where: one registry for all towers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.backbone.towers.base import relative_difference
from clipx.errors import InputError

Grid = tuple[int, int]


@dataclass(frozen=True)
class AttentionParts:
    """One attention layer, part by part; d is the width of a head.

    Args:
        query, key, value: (N, L, C) inputs, normalised as the layer takes them -> (N, heads, L, d).
        out: (N, heads, L, d) mixed values -> (N, L, C'), by what follows the mixing.
    """

    query: Callable[[Tensor], Tensor]
    key: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    out: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LastBlock:
    """A transformer's last block, part by part.

    Args:
        attention: its attention; ``out`` ends with the layer scale, where there is one.
        norm: before the attention.
        feed_forward: (N, L, C) -> what the feed-forward part adds to it.
        whole: the block itself.
        prefix: how many tokens stand before those of the patches; the class token is the first.
    """

    attention: AttentionParts
    norm: Callable[[Tensor], Tensor]
    feed_forward: Callable[[Tensor], Tensor]
    whole: Callable[[Tensor], Tensor]
    prefix: int


# Attention ------------------------------------------------------------------------------------------------------------
# (parts, normalised tokens (N, L, C), grid, prefix) -> mixed values (N, heads, L, d). L = prefix + hw.


def attend_to_self(parts: AttentionParts, y: Tensor, grid: Grid, prefix: int) -> Tensor:
    """Each token's own value."""
    return parts.value(y)


def attend_by_query_and_key(parts: AttentionParts, y: Tensor, grid: Grid, prefix: int) -> Tensor:
    """softmax(q qT / sqrt d) + softmax(k kT / sqrt d), whose rows sum to 2 (SCLIP, correlative self-attention)."""
    q, k, v = parts.query(y), parts.key(y), parts.value(y)
    return F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)


def attend_by_query(parts: AttentionParts, y: Tensor, grid: Grid, prefix: int) -> Tensor:
    """softmax(q qT / sqrt d) (ClearCLIP)."""
    q = parts.query(y)
    return F.scaled_dot_product_attention(q, q, parts.value(y))


@dataclass(frozen=True)
class AttendNearby:
    """softmax(k kT / sqrt d + G), G a Gaussian around each place with peak 1; 0 for the prefix (NACLIP).

    Args:
        std: standard deviation of the Gaussian, in patches.
    """

    std: float = 5.0

    def __call__(self, parts: AttentionParts, y: Tensor, grid: Grid, prefix: int) -> Tensor:
        k = parts.key(y)
        return F.scaled_dot_product_attention(k, k, parts.value(y), attn_mask=self.bias(grid, prefix).to(k))

    def bias(self, grid: Grid, prefix: int) -> Tensor:
        """(prefix + hw, prefix + hw)."""
        down, across = (
            torch.exp(-(torch.arange(n)[:, None] - torch.arange(n)).square() / (2 * self.std**2)) for n in grid
        )
        return F.pad(torch.kron(down, across), (prefix, 0, prefix, 0))


# Paths ----------------------------------------------------------------------------------------------------------------
# (tokens before the first block and after each but the last, block, grid) -> (N, hw, C): what ends in the last norm.


@dataclass(frozen=True)
class Mixing:
    """The last block with another attention over its values.

    Args:
        attend: one of the functions above.
        keeps_rest: whether the residual connection and the feed-forward part stay.
    """

    attend: Callable[[AttentionParts, Tensor, Grid, int], Tensor]
    keeps_rest: bool

    def __call__(self, tokens: Sequence[Tensor], block: LastBlock, grid: Grid) -> Tensor:
        x = tokens[-1]
        mixed = block.attention.out(self.attend(block.attention, block.norm(x), grid, block.prefix))
        if self.keeps_rest:
            x = x + mixed
            mixed = x + block.feed_forward(x)
        return mixed[:, block.prefix :]


def plain_tokens(tokens: Sequence[Tensor], block: LastBlock, grid: Grid) -> Tensor:
    """The last block as it is, its patch tokens projected as the class token is."""
    return block.whole(tokens[-1])[:, block.prefix :]


@dataclass(frozen=True)
class SelfCalibrated:
    """Outliers replaced, tokens aggregated by the likeness of middle blocks, several blocks fused (SC-CLIP).

    Numbers of blocks are those of 12 blocks, counted from 1; a tower of another depth takes them in proportion.

    Args:
        neighbours: of the local outlier factor, which finds the outliers after the last block but one.
        contamination: the share of patches that are outliers; each is replaced by the mean of the others around it.
        likeness: the block whose cosines weight the attention, and the aggregation before it.
        likeness_after: the block whose cosines weight the aggregation after it.
        fused: the first and last block whose sum goes through the last attention as well.
        least: cosines below it do not aggregate.
        sharpness: what a cosine's excess over the mean is multiplied by in the attention.
        class_share: of the class token before the last block, added to each patch.
    """

    neighbours: int = 30
    contamination: float = 0.05
    likeness: int = 9
    likeness_after: int = 4
    fused: tuple[int, int] = (4, 10)
    least: float = 0.4
    sharpness: float = 3.0
    class_share: float = 0.3

    def __call__(self, tokens: Sequence[Tensor], block: LastBlock, grid: Grid) -> Tensor:
        def after(number: int) -> int:  # of 12 -> place in ``tokens``
            return min(max(1, round(number * len(tokens) / 12)), len(tokens) - 1)

        outliers = self.outliers(tokens[-1][:, block.prefix :])
        likeness = _cosines(_replaced(tokens[after(self.likeness)][:, block.prefix :], outliers, grid))
        later = _cosines(tokens[after(self.likeness_after)][:, block.prefix :])
        first, last = (after(number) for number in self.fused)
        fused = torch.stack([tokens[i] for i in range(first, last + 1)]).sum(0)
        x = _replaced(tokens[-1][:, block.prefix :], outliers, grid)
        x = self.aggregated(x, likeness)
        x = self.attended(x, block, likeness) + self.class_share * tokens[-1][:, :1]
        y = self.attended(fused[:, block.prefix :], block, likeness) + self.class_share * fused[:, :1]
        return self.aggregated(x, later) + self.aggregated(y, later)

    def outliers(self, x: Tensor) -> Tensor:
        """(N, L, C) -> (N, L) whether a token's local outlier factor is among the highest of its picture."""
        with torch.no_grad():
            count = min(self.neighbours, x.shape[1] - 1)
            if count < 1:
                return torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
            factor = local_outlier_factor(x.float(), count)
            at = (1 - self.contamination) * (x.shape[1] - 1)  # a quantile; torch's own needs float64 on the device
            ordered, low = factor.sort(dim=1).values, math.floor(at)
            return factor > ordered[:, low : low + 1].lerp(ordered[:, low + 1 : low + 2], at - low)

    def aggregated(self, x: Tensor, likeness: Tensor) -> Tensor:
        """Means of (N, L, C) weighted by the (N, L, L) cosines that are not below the least."""
        weights = likeness * (likeness >= self.least)
        return weights / (weights.sum(-1, keepdim=True) + 1e-6) @ x

    def attended(self, x: Tensor, block: LastBlock, likeness: Tensor) -> Tensor:
        """Mean of softmax(k kT / sqrt d) and a softmax over the cosines above their mean, over the values."""
        parts, y = block.attention, block.norm(x)
        k, v = parts.key(y), parts.value(y)
        weights = self.weights(likeness).to(v.dtype)
        return parts.out((weights[:, None] @ v + F.scaled_dot_product_attention(k, k, v)) / 2)

    def weights(self, likeness: Tensor) -> Tensor:
        """(N, L, L) cosines -> the softmax over those above their mean, float32."""
        likeness = likeness.float()
        above = likeness - likeness.mean((1, 2), keepdim=True)
        own = torch.eye(above.shape[-1], dtype=torch.bool, device=above.device)  # is 1 but for rounding, so never below
        return (self.sharpness * above).masked_fill((above < 0) & ~own, -torch.inf).softmax(-1)


def local_outlier_factor(x: Tensor, neighbours: int) -> Tensor:
    """(N, L, C) -> (N, L) local outlier factors, about 1 inside a cluster (Breunig et al., SIGMOD 2000).

    Args:
        x: points, compared by Euclidean distance.
        neighbours: of each point, without itself; below L.
    """
    far = torch.cdist(x, x).masked_fill(torch.eye(x.shape[1], dtype=torch.bool, device=x.device), torch.inf)
    distance, index = far.topk(neighbours, largest=False)  # (N, L, k)
    rows = torch.arange(len(x), device=x.device)[:, None, None]
    reach = torch.maximum(distance, distance[..., -1][rows, index])
    density = 1 / (reach.mean(-1) + 1e-10)
    return density[rows, index].mean(-1) / density


def _cosines(x: Tensor) -> Tensor:
    x = F.normalize(x, dim=-1)
    return x @ x.mT


def _replaced(x: Tensor, outliers: Tensor, grid: Grid) -> Tensor:
    """(N, hw, C): each outlier becomes the mean of those of its 8 neighbours that are none, where there are such."""
    valid = (~outliers).to(x.dtype).unflatten(1, grid)[:, None]  # (N, 1, h, w)
    maps = x.mT.unflatten(-1, grid)
    count = 9 * F.avg_pool2d(valid, 3, 1, 1)
    around = 9 * F.avg_pool2d(maps * valid, 3, 1, 1) / count.clamp(min=1)  # an outlier itself counts 0
    return torch.where((valid == 0) & (count > 0.5), around, maps).flatten(2).mT


Path = Mixing | SelfCalibrated | Callable[[Sequence[Tensor], LastBlock, Grid], Tensor]

DENSE_PATHS: dict[str, Path] = {
    "value": Mixing(attend_to_self, keeps_rest=True),  # MaskCLIP, Zhou et al., ECCV 2022
    "token": plain_tokens,  # as PointCLIP V2 does, Zhu et al., ICCV 2023
    "sclip": Mixing(attend_by_query_and_key, keeps_rest=True),  # Wang et al., ECCV 2024
    "clearclip": Mixing(attend_by_query, keeps_rest=False),  # Lan et al., ECCV 2024
    "naclip": Mixing(AttendNearby(), keeps_rest=False),  # Hajimiri et al., WACV 2025
    "sc-clip": SelfCalibrated(),  # Bai et al., 2024
}
ALIASES = {"maskclip": "value"}


def path_name(name: str) -> str:
    """The name in ``DENSE_PATHS`` of a path, which ``maskclip`` has no entry of its own in.

    Raises:
        InputError: no path of that name.
    """
    name = ALIASES.get(name, name)
    if name not in DENSE_PATHS:
        raise InputError(f"no dense path {name!r}", remedy=f"one of {', '.join((*DENSE_PATHS, *ALIASES))}")
    return name


# Pools and heads ------------------------------------------------------------------------------------------------------

MIXING = {name: path for name, path in DENSE_PATHS.items() if isinstance(path, Mixing)}  # an attention pool's paths


def pooled(path: str, parts: AttentionParts, x: Tensor, grid: Grid) -> Tensor:
    """(N, hw, C) places under an attention pool -> (N, hw, D): mixed by the path, whose rest a pool does not have."""
    return parts.out(MIXING[path].attend(parts, x, grid, 0))


def by_parts_difference(block: LastBlock, before: Tensor, after: Tensor) -> float:
    """How far a block that is put together from its parts differs from its own output, of tokens (N, L, C)."""
    parts, y = block.attention, block.norm(before)
    x = before + parts.out(F.scaled_dot_product_attention(parts.query(y), parts.key(y), parts.value(y)))
    return relative_difference(x + block.feed_forward(x), after)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) -> (N, heads, L, C / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """(N, heads, L, d) -> (N, L, heads d)."""
    return x.transpose(1, 2).flatten(2)
