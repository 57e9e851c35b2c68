"""Grouping blocks on frozen features, learned from the photo's own vector (GroupViT, Xu et al., CVPR 2022).

Also k-means on the same features, which they are measured against.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.modalities.segment.features import Features, side_by_side


class GroupingBlock(nn.Module):
    """G groups -> fewer groups that each gather tokens (section 3.1).

    Args:
        width: C, of groups and tokens.
        groups: how many come in.
        kept: how many go out; as many skip the mixing across groups.
        heads: of the cross-attention; the assignment has one.
    """

    def __init__(self, width: int, groups: int, kept: int, heads: int = 4):
        super().__init__()
        self.norm_groups, self.norm_tokens, self.norm_out = (nn.LayerNorm(width) for _ in range(3))
        self.across = None if groups == kept else nn.Sequential(nn.Linear(groups, kept), nn.GELU())
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, groups: Tensor, tokens: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """(N, G, C) groups and (N, L, C) tokens -> (N, G', C) groups and the assignment (N, G', L).

        Args:
            noise: (N, G', L) of a Gumbel distribution: the assignment is then a softmax, one-hot going forward. Without
                noise it is the most probable group's.
        """
        groups, tokens = self.norm_groups(groups), self.norm_tokens(tokens)
        if self.across is not None:
            groups = self.across(groups.mT).mT
        groups = groups + self.attend(groups, tokens, tokens, need_weights=False)[0]
        scores = self.query(self.norm_out(groups)) @ self.key(tokens).mT * groups.shape[-1] ** -0.5
        soft = (scores if noise is None else scores + noise).softmax(1)
        hard = F.one_hot(soft.argmax(1), soft.shape[1]).mT.to(soft.dtype)
        assigned = hard if noise is None else hard + soft - soft.detach()  # straight through
        share = assigned / (assigned.sum(-1, keepdim=True) + 1)
        groups = groups + self.out(share @ self.value(tokens))
        return groups + self.mlp(groups), assigned


class GroupNetwork(nn.Module):
    """Frozen features -> groups of places, in two stages.

    Args:
        dim: D, of the dense vectors.
        channels: C, of the stages.
        width: of groups and tokens.
        groups: how many in the first stage and in the second.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, channels: int, width: int = 128, groups: Sequence[int] = (32, 8)):
        super().__init__()
        first, last = groups
        self.shape = {"dim": dim, "channels": channels, "width": width, "groups": [first, last]}
        self.tokens = nn.Linear(dim + channels, width)
        self.start = nn.Parameter(0.02 * torch.randn(first, width))
        self.first, self.second = GroupingBlock(width, first, first), GroupingBlock(width, first, last)
        self.project = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, dim))
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def grouped(self, features: Features, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(N, G, C) last groups and the share (N, G, hw) that each place has in them; drawn with a generator."""
        tokens = self.tokens(side_by_side(features, self.mean, self.std).flatten(2).mT)
        start = self.start.expand(len(tokens), -1, -1)
        first, early = self.first(start, tokens, _gumbel((len(tokens), start.shape[1], tokens.shape[1]), generator))
        last = int(self.shape["groups"][1])  # type: ignore[index]
        second, late = self.second(first, first, _gumbel((len(tokens), last, first.shape[1]), generator))
        return second, late @ early

    def pooled(self, features: Features, generator: torch.Generator) -> Tensor:
        """(N, D): the mean of the groups, projected, to be compared with the photos' own vectors."""
        return F.normalize(self.project(self.grouped(features, generator)[0].mean(1)), dim=-1)

    def forward(self, features: Features, strength: float = 1.0) -> Tensor:
        """(N, D, h, w): at each place the unit mean of the dense vectors of its group."""
        return group_means(features.dense, self.grouped(features)[1])


def group_means(dense: Tensor, shares: Tensor) -> Tensor:
    """(N, D, h, w) and one-hot (N, G, hw) -> (N, D, h, w) unit means of each place's group."""
    flat = dense.flatten(2)
    means = F.normalize(flat @ (shares / shares.sum(-1, keepdim=True).clamp(min=1)).mT, dim=1)
    return (means @ shares).view_as(dense)


def kmeans_means(features: Features, mean: Tensor, std: Tensor, groups: int, rounds: int = 20) -> Tensor:
    """As ``GroupNetwork`` does, by k-means of each photo's places; it begins with places far from each other.

    Args:
        features: of N photos.
        mean, std: of the stages' channels, as the network has them.
        groups: k; fewer where a photo has fewer places.
        rounds: of k-means.
    """
    found = []
    for points, dense in zip(side_by_side(features, mean, std).flatten(2).mT, features.dense, strict=True):
        centres = points.mean(0, keepdim=True)
        for _ in range(min(groups, len(points))):
            farthest = torch.cdist(points, centres).amin(1).argmax()
            centres = torch.cat([centres, points[farthest : farthest + 1]])
        centres = centres[1:]
        for _ in range(rounds):
            shares = F.one_hot(torch.cdist(points, centres).argmin(1), len(centres)).to(points.dtype)
            sizes = shares.sum(0)[:, None]
            centres = torch.where(sizes > 0, shares.T @ points / sizes.clamp(min=1), centres)
        found.append(group_means(dense[None], shares.T[None]))
    return torch.cat(found)


def _gumbel(shape: Sequence[int], generator: torch.Generator | None) -> Tensor | None:
    if generator is None:
        return None
    uniform = torch.rand(*shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()
