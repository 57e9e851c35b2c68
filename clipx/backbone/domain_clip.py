"""A CLIP whose image side knows several kinds of pictures: photos, drawings, renders, depth maps.

Each *picture domain* has a last map into the joint space of its own, on the trunk of the photo tower or of another
tower; the text side is one. A linear classifier on the photo tower's features says which domain a picture is of.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clipx.backbone.lexicon_text import LexiconText
from clipx.domains import PHOTO

MARGIN = 2.0  # of logits by which another domain must lead: a photo that is taken for a drawing is lost


class DomainCLIP(nn.Module):
    """Image towers, one of them the photos', a text tower, and a head for every further picture domain.

    Args:
        embed_dim: D, the width of the joint space.
        vision_cfg: open_clip's, of the photo tower.
        text_cfg: arguments of ``LexiconText`` after ``dim``.
        towers: name of a further tower -> ``{"vision_cfg": ..., "preprocess_cfg": ...}``.
        domains: picture domain -> the tower that it stands on, ``"photo"`` or one of ``towers``.
        init_logit_scale: logarithm of what a cosine is multiplied by before a softmax.
    """

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: Mapping[str, Any],
        text_cfg: Mapping[str, Any],
        towers: Mapping[str, Any] | None = None,
        domains: Mapping[str, str] | None = None,
        init_logit_scale: float = 3.0,
    ):
        from open_clip.model import _build_vision_tower

        super().__init__()
        self.visual: Any = _build_vision_tower(embed_dim, dict(vision_cfg))
        own = {name: dict(entry["vision_cfg"]) for name, entry in (towers or {}).items()}
        self.towers = nn.ModuleDict({name: _build_vision_tower(embed_dim, cfg) for name, cfg in own.items()})
        for tower in self.towers.values():
            tower.head = nn.Identity()  # its domains have theirs
        self.tower_of = dict(domains or {})
        self.heads = nn.ModuleDict({name: self._new_head(embed_dim, tower) for name, tower in self.tower_of.items()})
        self.domain_classifier = nn.Linear(self.visual.trunk.num_features, 1 + len(self.heads)) if self.heads else None
        self.text = LexiconText(embed_dim, **text_cfg)
        self.to(memory_format=torch.channels_last)  # convolutional towers are a quarter faster so on processors
        self.logit_scale = nn.Parameter(torch.tensor(init_logit_scale))

    def _new_head(self, dim: int, tower: str) -> nn.Module:
        visual: Any = self.visual if tower == PHOTO else self.towers[tower]
        return nn.Sequential(nn.Linear(visual.trunk.num_features, dim))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the picture domains, ``"photo"`` first."""
        return (PHOTO, *self.heads)

    def of_domain(self, name: str) -> DomainCLIP:
        """The same model, with the image tower of a domain as ``visual``; weights are shared."""
        if name == PHOTO:
            return self
        tower = self.visual if self.tower_of[name] == PHOTO else self.towers[self.tower_of[name]]
        view, visual = _shallow(self), _shallow(tower)
        visual.head = self.heads[name]
        view.visual = visual
        return view

    def encode_image(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        return self.visual(image)

    def encode_with_domain(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) prepared as photos -> their (N, D) as photos, and (N,) numbers of their ``domains``."""
        if not self.heads:
            return self.visual(image), torch.zeros(len(image), dtype=torch.long, device=image.device)
        features = self.visual.trunk(image)
        return self.visual.head(features), self.which(features)

    def which(self, features: Tensor) -> Tensor:
        """(N, C) features of the photo tower's trunk -> (N,) numbers of ``domains``."""
        if self.domain_classifier is None:
            return torch.zeros(len(features), dtype=torch.long, device=features.device)
        scores = self.domain_classifier(features).float()
        return torch.cat([scores[:, :1] + MARGIN, scores[:, 1:]], 1).argmax(1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """(N, L) -> (N, D)."""
        return self.text(tokens)


def _shallow(module: Any) -> Any:
    """A module of its own that shares its parameters and parts with another."""
    other = copy.copy(module)
    for name in ("_parameters", "_buffers", "_modules"):
        object.__setattr__(other, name, dict(getattr(module, name)))
    return other
