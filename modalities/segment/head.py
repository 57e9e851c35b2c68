"""A head on the frozen tower's stages, learned from masks of base labels (LSeg, Li et al., ICLR 2022).

>>> head = load_head("head.safetensors", space)                                            # doctest: +SKIP
>>> dense = head.dense(space, pixels)          # (N, D, h, w), in place of space.dense_image   # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import SpaceMismatchError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, write_model
from clipx.modalities.segment.features import Features, frozen_features, side_by_side
from clipx.modalities.segment.groups import GroupNetwork
from clipx.space import JointSpace

_KEY = "clipx-segment-head"


class HeadNetwork(nn.Module):
    """Dense vectors and stages -> dense vectors, by a 1x1 convolution of low rank whose result is added.

    It starts as the dense vectors themselves: the last layer begins at zero. The rank is low so that few labels cannot
    take over the whole space from the labels that training does not see.

    Args:
        dim: D, of the dense vectors.
        channels: C, of the stages.
        rank: between the two layers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, channels: int, rank: int):
        super().__init__()
        self.shape = {"dim": dim, "channels": channels, "rank": rank}
        self.mix = nn.Conv2d(dim + channels, rank, 1, bias=False)
        self.out = nn.Conv2d(rank, dim, 1, bias=False)
        nn.init.zeros_(self.out.weight)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, features: Features, strength: float = 1.0) -> Tensor:
        """(N, D, h, w) unit vectors; ``strength`` in [0, 1] is how far they go from the dense vectors' to its own."""
        both = side_by_side(features, self.mean, self.std)
        plain = F.normalize(features.dense, dim=1)
        learned = F.normalize(features.dense + self.out(self.mix(both)), dim=1)
        return F.normalize(plain.lerp(learned, strength), dim=1)


NETWORKS: dict[str, type[HeadNetwork] | type[GroupNetwork]] = {"lseg": HeadNetwork, "groups": GroupNetwork}


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head of one space; made by ``fit_head`` or ``fit_groups``, or from a file by ``load_head``.

    Args:
        kind: one of ``NETWORKS``.
        network: what was learned.
        space_id: the only space whose features it takes.
        strength: in [0, 1], how far it goes from the untrained vectors; groups go all the way.
        base: the labels it learned from; () where it learned from none.
        settings: how it learned, as JSON has it.
    """

    kind: str
    network: HeadNetwork | GroupNetwork
    space_id: str
    strength: float
    base: tuple[str, ...]
    settings: dict[str, Any]

    def dense(self, space: JointSpace, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) in [0, 1], any size -> (N, D, h, w) unit vectors, as ``space.dense_image`` gives.

        Raises:
            SpaceMismatchError: another space. InputError: what are no pixels.
        """
        _require_space(self.space_id, space)
        found = frozen_features(space, pixels)
        with torch.no_grad():
            return self.network.to(found.dense.device)(found, self.strength)

    def save(self, path: str | PathLike) -> Path:
        """Write one .safetensors file, its facts as JSON in the header.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        facts = {name: getattr(self, name) for name in _FACTS} | {"shape": self.network.shape}
        return write_model(path, self.network.state_dict(), _KEY, facts)


_FACTS = ("kind", "space_id", "strength", "base", "settings")


def load_head(path: str | PathLike, space: JointSpace) -> Head:
    """Read what ``Head.save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or no head. SpaceMismatchError: made in another space.
    """

    def build(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Head:
        network = NETWORKS[facts["kind"]](**facts.pop("shape"))
        network.load_state_dict(tensors)
        head = Head(network=network.eval(), **(facts | {"base": tuple(facts["base"])}))
        if not 0 <= head.strength <= 1:
            raise ValueError("values are out of range")
        return head

    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**30)
    head = restore_model(data, _KEY, build, "segmentation head", path, "train one with clipx train segment")
    _require_space(head.space_id, space, path)
    return head


def _require_space(made_in: str, space: JointSpace, where: str | PathLike | None = None) -> None:
    if made_in != space.id:
        raise SpaceMismatchError(
            f"the head was made in space {made_in}, this is {space.id}",
            where=where,
            remedy="take that space, or train again with clipx train segment",
        )
