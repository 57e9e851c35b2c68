"""Image towers: one file for each family, and the choice between them."""

from __future__ import annotations

from torch import nn

from clipx.backbone.towers.base import Tower, resize_positions
from clipx.backbone.towers.resnet import ResNetTower
from clipx.backbone.towers.timm import TimmTower
from clipx.backbone.towers.vit import ViTTower
from clipx.errors import SpaceError

__all__ = ["ResNetTower", "TimmTower", "Tower", "ViTTower", "resize_positions", "tower_of"]


def tower_of(visual: nn.Module) -> Tower:
    """The tower of an open_clip ``visual`` module.

    Raises:
        SpaceError: no family that clipx knows.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    for kind, tower in ((ModifiedResNet, ResNetTower), (VisionTransformer, ViTTower), (TimmModel, TimmTower)):
        if isinstance(visual, kind):
            return tower(visual)
    raise SpaceError(f"image tower {type(visual).__name__} is not one clipx knows", remedy="take a ViT or RN one")
