"""Image towers as files: what self-supervised training makes and ``clipx train space --image-tower`` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from clipx.backbone import any_size_image_features, build_model
from clipx.backbone.towers import ResNetTower, ViTTower, tower_of
from clipx.errors import InputError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, write_model

KIND = "image tower"
# 1.4 million parameters, a quarter of them in convolutions: CLIP's ResNet with one block a stage
DEFAULT: dict[str, Any] = {"embed_dim": 256, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16}}
TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}  # built and thrown away
# no normalisation, as nano has none: point clouds are shown as raw depth
PIXELS: dict[str, Any] = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


@dataclass(frozen=True)
class ImageTower:
    """An image tower: pixels -> vectors, not normalised.

    Args:
        visual: an open_clip image tower.
        config: ``embed_dim``, ``vision_cfg`` and, where it is so, ``quick_gelu``, as in open_clip's model_cfg.
        preprocess: open_clip's ``preprocess_cfg``.
        about: how it was made.
    """

    visual: nn.Module
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    about: Mapping[str, Any]

    def save(self, path: str | PathLike) -> None:
        """Write one .safetensors file. Raises FileError: another suffix, or it cannot be written."""
        facts = {"kind": KIND, "config": self.config, "preprocess": self.preprocess, "about": self.about}
        write_model(path, self.visual.state_dict(), "clipx", facts)


class Pixels(nn.Module):
    """An open_clip image tower of pictures of any size: (N, 3, H, W) -> (N, D)."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        return any_size_image_features(self.visual, pixels)


def new_tower(config: Mapping[str, Any], size: int, seed: int = 0) -> ImageTower:
    """A tower with random weights.

    Args:
        config: ``embed_dim`` and ``vision_cfg`` of an open_clip model_cfg; ``image_size`` is set here.
        size: of its pictures.
        seed: of its weights.

    Raises:
        SpaceError: open_clip refuses the config.
    """
    made = {"embed_dim": config["embed_dim"], "vision_cfg": {**config["vision_cfg"], "image_size": size}}
    if config.get("quick_gelu"):
        made["quick_gelu"] = True
    visual = build_model({**made, "text_cfg": TEXT}, seed).visual.to(memory_format=torch.channels_last)
    return ImageTower(visual, made, {"size": [size, size], **PIXELS}, {})


def require_any_size(tower: ImageTower, where: str) -> None:
    """Refuse (InputError) a tower that ``any_size_image_features`` does not fit, as multi-crop needs."""
    found = tower_of(tower.visual)
    vit = isinstance(found, ViTTower) and {"dense", "tokens"} <= found.capabilities
    if not (vit or isinstance(found, ResNetTower)):
        raise InputError("the trainer takes a ModifiedResNet or a plain ViT", where=where)


def load_tower(path: str | PathLike) -> ImageTower:
    """Read what ``ImageTower.save`` wrote, in eval mode. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or not such a file.
    """

    def build(tensors: dict[str, Tensor], facts: dict[str, Any]) -> ImageTower:
        if facts["kind"] != KIND:
            raise ValueError(f"it holds a {facts['kind']}")
        visual = build_model({**facts["config"], "text_cfg": TEXT}).visual
        visual.load_state_dict(tensors)
        return ImageTower(visual.eval(), facts["config"], facts["preprocess"], facts["about"])

    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=16 * 2**30)
    return restore_model(data, "clipx", build, "image tower", path, "make one with clipx train ssl")
