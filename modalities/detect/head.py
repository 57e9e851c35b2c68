"""The head of regions: what a box shows in the stages of a frozen tower -> vectors of the joint space.

Gu et al., "Open-vocabulary Object Detection via Vision and Language Knowledge Distillation" (ViLD), ICLR 2022, on
features that stay as they are: only two layers and the background's vector are learned.

>>> head = load_head("head.safetensors", space)                                  # doctest: +SKIP
>>> Detector(space, DetectConfig(labels=("cup", "dog")), head=head)              # doctest: +SKIP
"""

from __future__ import annotations

import math
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import SpaceMismatchError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, sha256_of, write_model
from clipx.modalities.detect.boxes import scaled
from clipx.modalities.detect.regions import _pooled
from clipx.modalities.detect.views import MAX_CELLS
from clipx.space import JointSpace

_KEY = "clipx-detect"
CONTEXT = 1.5  # times the box's sides: what is around it is pooled, too
STAGES = 3  # so many, the last ones, are pooled
_FACTS = ("space_id", "channels", "width", "short_side_px", "settings")


class RegionHead(nn.Module):
    """Two layers over what boxes show; ``RegionEncoder`` and ``Detector`` take it as ``head``.

    Args:
        space: frozen; its image tower needs stages.
        channels: of ``features``.
        width: of the layer between.
        short_side_px: what a photo's shorter side is scaled to.
        seed: of the weights before training.
        settings: how it was trained, kept in its file.
    """

    def __init__(
        self,
        space: JointSpace,
        channels: int,
        width: int,
        short_side_px: int,
        seed: int = 0,
        settings: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.space, self.channels, self.width, self.short_side_px = space, channels, width, short_side_px
        self.settings = dict(settings or {})
        self.layers = nn.Sequential(
            nn.LayerNorm(channels), _layer(channels, width), nn.GELU(), _layer(width, space.dim)
        )
        self.background = nn.Parameter(torch.empty(space.dim))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.layers[1], self.layers[3]):
                bound = 1 / math.sqrt(layer.in_features)  # type: ignore[arg-type]
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            self.background.copy_(F.normalize(torch.randn(space.dim, generator=generator), dim=0))
        self.to(space.device)

    def forward(self, photo: Tensor, boxes: np.ndarray) -> Tensor:
        """(3, H, W) photo and (R, 4) boxes in its pixels -> (R, D) unit rows."""
        return self.embed(region_features(self.space, photo, boxes, self.short_side_px))

    def embed(self, features: Tensor) -> Tensor:
        """(R, channels) of ``region_features`` -> (R, D) unit rows."""
        return F.normalize(self.layers(features), dim=1)

    def sha256(self) -> str:
        """A hash of its weights."""
        return sha256_of(b"".join(value.detach().cpu().numpy().tobytes() for value in self.state_dict().values()))

    def save(self, path: str | PathLike) -> None:
        """Write one .safetensors file, its facts as JSON in the header.

        Raises:
            FileError: another suffix, or the file cannot be written.
        """
        values = (self.space.id, self.channels, self.width, self.short_side_px, self.settings)
        tensors = {name: value.float() for name, value in self.state_dict().items()}
        write_model(path, tensors, _KEY, dict(zip(_FACTS, values, strict=True)))


def _layer(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without values: those of its own would come from the global generator."""
    return nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[return-value]


def load_head(path: str | PathLike, space: JointSpace) -> RegionHead:
    """Read what ``RegionHead.save`` wrote. Nothing in the file is run.

    Args:
        path: of the file.
        space: where it was made.

    Raises:
        FileError: missing, unreadable, or no head. SpaceMismatchError: made in another space.
    """

    def build(tensors: dict[str, Tensor], facts: dict[str, Any]) -> RegionHead:
        channels, width, side = (int(facts[name]) for name in ("channels", "width", "short_side_px"))
        if min(channels, width, side) < 1:
            raise ValueError("sizes are below 1")
        if (made_in := str(facts["space_id"])) != space.id:
            raise SpaceMismatchError(
                f"the head was made in space {made_in}, this is {space.id}",
                where=path,
                remedy="take that space, or train again with clipx train detect",
            )
        head = RegionHead(space, channels, width, side, settings=facts["settings"])
        head.load_state_dict(tensors)
        return head.eval()

    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**30)
    return restore_model(data, _KEY, build, "head of regions", path, "make it with clipx train detect")


def region_features(space: JointSpace, photo: Tensor, boxes: np.ndarray, short_side_px: int) -> Tensor:
    """What boxes show in the last stages of the tower, and what is in and around them: (R, channels) float32.

    Each is the mean of a stage in the box, or in the box of ``CONTEXT`` times its sides, by RoIAlign.

    Args:
        space: its image tower needs stages.
        photo: (3, H, W) RGB in [0, 1].
        boxes: (R, 4) in its pixels.
        short_side_px: what the photo's shorter side is scaled to, up or down, within ``MAX_CELLS`` cells.

    Raises:
        InputError: what is no photo. UnsupportedError: the tower has no stages.
    """
    pixels = space.checked(photo[None]).clamp(0, 1)
    height, width = pixels.shape[-2:]
    size = space.image_size
    if space.backbone.any_size:
        most = math.sqrt(MAX_CELLS * math.prod(space.backbone.stride) / (height * width))
        scale = min(short_side_px / min(height, width), most)
        size = max(1, round(height * scale)), max(1, round(width * scale))
    with torch.no_grad():
        stages = list(space.stages(space.preprocess.sample(pixels, size).clamp(0, 1)).values())[-STAGES:]
        places = (boxes, scaled(boxes, CONTEXT, (height, width)))
        return torch.cat([_pooled(maps, own, (height, width)) for maps in stages for own in places], dim=1)
