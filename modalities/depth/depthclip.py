"""DepthCLIP as released (Zhang et al., arXiv 2207.03077): the faithful preset.

Its image features never enter the joint space: it takes the 2,048 channels before the attention pool, keeps every
second one, and compares them with words. It is here to be compared with, and is called ``depthclip`` throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import UnsupportedError

if TYPE_CHECKING:
    from clipx.space import JointSpace

PROMPT = "This object is {}"  # the released code says so of each picture
WORDS = ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen")
BINS_M = (1.00, 1.50, 2.00, 2.25, 2.50, 2.75, 3.00)
TEMPERATURE = 0.1
LOGIT_SCALE = 100.0
TOP, BOTTOM, LEFT, RIGHT = 56, 472, 60, 604  # the part of a 480 x 640 photo that it looks at
SIZE = (480, 640)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, not CLIP's
CHANNELS = 2048


def prompts() -> list[str]:
    """The seven sentences, near to far as the bins are."""
    return [PROMPT.format(word) for word in WORDS]


def text_vectors(rows: Tensor) -> Tensor:
    """(7, D) -> (7, D) unit rows: normalised, averaged over the one template, normalised again."""
    return F.normalize(F.normalize(rows, dim=-1), dim=-1)


def prepare(pixels: Tensor) -> Tensor:
    """(N, 3, 480, 640) RGB in [0, 1] -> (N, 3, 416, 544), cropped and normalised."""
    mean, std = (pixels.new_tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels[..., TOP:BOTTOM, LEFT:RIGHT] - mean) / std


def cell_responses(features: Tensor, text: Tensor) -> Tensor:
    """(N, 2048, h, w) of layer4 and (7, 1024) -> (N, 7, h, w) shares that sum to 1 over the words.

    The even channels of a unit vector are no unit vector: its norm, about 0.7, is part of the temperature.
    """
    kept = F.normalize(features.float(), dim=1)[:, ::2]
    return (LOGIT_SCALE / TEMPERATURE * torch.einsum("nchw,kc->nkhw", kept, text_vectors(text.float()))).softmax(dim=1)


def expected(responses: Tensor) -> Tensor:
    """(N, 7, h, w) shares -> (N, 1, h, w) metres."""
    return torch.einsum("nkhw,k->nhw", responses, responses.new_tensor(BINS_M))[:, None]


def resized(depth: Tensor) -> Tensor:
    """(N, 1, h, w) -> (N, 1, 416, 544)."""
    return F.interpolate(depth, (BOTTOM - TOP, RIGHT - LEFT), mode="bilinear", align_corners=True)


def pasted(depth: Tensor) -> Tensor:
    """(N, 1, 416, 544) -> (N, 480, 640), 0 where it says nothing."""
    return F.pad(depth[:, 0], (LEFT, SIZE[1] - RIGHT, TOP, SIZE[0] - BOTTOM))


def predict(space: JointSpace, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Photos of any size -> metres (N, H, W), 0 outside what it looks at, and responses (N, 7, 13, 17).

    A photo that is not 480 x 640 is resampled to that, and its map back (by the nearest pixel).

    Raises:
        InputError: what are no pixels.
        UnsupportedError: the image tower is no ResNet whose layer4 has 2,048 channels, or its text is not 1,024 wide.
    """
    require_tower(space)
    shape = int(pixels.shape[-2]), int(pixels.shape[-1])
    fitted = space.preprocess.sample(space.checked(pixels), SIZE).clamp(0, 1)
    text = torch.from_numpy(space.encode_text(prompts())).to(space.device)

    def see(view: Tensor) -> Tensor:
        return cell_responses(space.stages(view, normalize=False)["layer4"], text)

    view = prepare(fitted)
    plain, mirrored = see(view), see(view.flip(-1)).flip(-1)
    responses = (plain + mirrored) / 2
    depth = pasted(resized((expected(plain) + expected(mirrored)) / 2))
    if shape != SIZE:
        depth = F.interpolate(depth[:, None], shape, mode="nearest-exact")[:, 0]
    return depth, responses


def require_tower(space: JointSpace) -> None:
    """Raise UnsupportedError for a space that DepthCLIP's pipeline does not fit."""
    visual = space.backbone.model.visual
    channels = getattr(getattr(getattr(visual, "attnpool", None), "v_proj", None), "in_features", None)
    if channels != CHANNELS or 2 * space.dim != CHANNELS:
        raise UnsupportedError(
            f"the preset depthclip needs a ResNet of {CHANNELS} channels and text of {CHANNELS // 2}, "
            f"this has {channels or 'no layer4'} and {space.dim}",
            where=space.name,
            remedy="take RN50, such as RN50-quickgelu/openai, or the default preset",
        )
