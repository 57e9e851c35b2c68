"""What MaskCLIP does with its maps afterwards: prompt denoising and key smoothing (Zhou et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError

ABSENT = -100.0  # the logit of a class that a picture does not show


def denoise_prompts(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Leave out classes that no place of the picture shows with confidence (section 3.2).

    Args:
        logits: (N, K, h, w) or (K, h, w), multiplied by the logit scale.
        threshold: in [0, 1]. A class whose highest probability over the picture is below gets the logit -100. A
            picture in which no class reaches it stays as it is.

    Raises:
        InputError: another shape, or a threshold out of range.
    """
    return logits.masked_fill(absent_classes(logits, threshold), ABSENT)


def absent_classes(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """(N, K, 1, 1) or (K, 1, 1): the classes that ``denoise_prompts`` leaves out."""
    _check(logits, "logits", threshold)
    absent = logits.softmax(-3).amax((-2, -1), keepdim=True) < threshold
    return absent & ~absent.all(-3, keepdim=True)


def smooth_keys(probabilities: Tensor, keys: Tensor, threshold: float = 1.0) -> Tensor:
    """Replace unsure places by the sum over all places, weighted by the cosine of their keys (section 3.2).

    Args:
        probabilities: (N, K, h, w).
        keys: (N, C, h, w) of ``JointSpace.keys_image``, of the same pictures and grid.
        threshold: in [0, 1]. A place is unsure if no class's probability reaches it.

    Returns:
        (N, K, h, w); what was smoothed does not sum to 1.

    Raises:
        InputError: shapes that do not agree, or a threshold out of range.
    """
    _check(probabilities, "probabilities", threshold)
    if (
        probabilities.ndim != 4
        or keys.ndim != 4
        or keys.shape[::2] + keys.shape[3:] != (probabilities.shape[::2] + probabilities.shape[3:])
    ):
        raise InputError(
            f"keys {tuple(keys.shape)} and probabilities {tuple(probabilities.shape)} must be (N, C, h, w) and "
            "(N, K, h, w) of the same places",
            remedy="take space.keys_image of the same pixels",
        )
    keys, flat = F.normalize(keys.flatten(2), dim=1), probabilities.flatten(2)
    unsure = flat.amax(1, keepdim=True) < threshold
    smoothed = torch.stack([(p @ k.mT) @ k for p, k in zip(flat, keys, strict=True)]) if len(flat) else flat
    return torch.where(unsure, smoothed, flat).view_as(probabilities)


def _check(maps: Tensor, what: str, threshold: float) -> None:
    if maps.ndim not in (3, 4):
        raise InputError(f"{what} must be (N, K, h, w), got {tuple(maps.shape)}")
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must be in [0, 1], got {threshold}")
