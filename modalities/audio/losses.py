"""Losses that put sounds beside the pictures and words of a frozen space."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.training import contrastive_loss

PAIRS = (("audio", "image"), ("audio", "text"), ("image", "text"))
LARGEST_SCALE = 100.0
START_SCALE = 1 / 0.07  # CLIP's own; AudioCLIP starts at 100, where its clamp lets no gradient through


class AudioScales(nn.Module):
    """The two learnt factors on the cosine, of sounds with pictures and of sounds with words, each in [1, 100].

    They keep AudioCLIP's names and logarithms. A scale that has run against a bound still learns its way back: the
    clamp passes the gradient straight through.
    """

    def __init__(self, start: float = START_SCALE):
        super().__init__()
        self.logit_scale_ai = nn.Parameter(torch.tensor(math.log(start)))
        self.logit_scale_at = nn.Parameter(torch.tensor(math.log(start)))

    def forward(self) -> tuple[Tensor, Tensor]:
        """The factors: audio-image, audio-text."""
        return through_clamp(self.logit_scale_ai), through_clamp(self.logit_scale_at)


def through_clamp(log_scale: Tensor) -> Tensor:
    """exp of the logarithm clamped to [0, log 100]; the gradient is that of exp, as if there were no clamp."""
    clamped = log_scale.clamp(0, math.log(LARGEST_SCALE))
    return (log_scale + (clamped - log_scale).detach()).exp()


def trimodal_loss(
    audio: Tensor,
    text: Tensor,
    text_targets: Tensor,
    text_scale: Tensor,
    image: Tensor | None = None,
    image_targets: Tensor | None = None,
    image_scale: Tensor | None = None,
) -> Tensor:
    """Sounds against frozen words and, where there are any, frozen pictures; several positives each.

    The third pair, pictures with words, is frozen and has nothing to learn.

    Args:
        audio: (B, D) unit vectors, the only ones that learn.
        text: (K, D) unit vectors.
        text_targets: (B, K) weights >= 0, positive where the words are true of the sound.
        text_scale: factor on the cosine.
        image: (M, D) unit vectors.
        image_targets: (B, M); sounds without any picture do not count.
        image_scale: factor on the cosine.

    Returns:
        Scalar: the mean of the pairs' ``contrastive_loss``.
    """
    words = contrastive_loss(audio, text, text_scale, text_targets)
    if image is None or image_targets is None or image_scale is None or not (image_targets > 0).any():
        return words
    return (words + contrastive_loss(audio, image, image_scale, image_targets)) / 2


def audioclip_loss(
    vectors: Mapping[str, Tensor], log_scales: Mapping[tuple[str, str], Tensor], penalty: Tensor | None = None
) -> tuple[Tensor, dict[tuple[str, str], Tensor]]:
    """AudioCLIP's loss as released, for comparison: row i of one modality belongs to row i of another and to no other.

    The sum over the pairs present of both cross-entropies is divided by the factorial of the number of pairs (1, 2, 6).
    A clamped scale has no gradient.

    Args:
        vectors: "audio", "image", "text", two of them or all -> (B, D), of any norm.
        log_scales: pair of ``PAIRS`` -> scalar.
        penalty: the filter bank's; added, undivided, where sounds are present.

    Returns:
        The loss, and (B, B) logits for each pair present.
    """
    unit = {name: F.normalize(rows, dim=-1) for name, rows in vectors.items()}
    logits = {}
    for one, other in PAIRS:
        if one in unit and other in unit:
            scale = log_scales[one, other].exp().clamp(1, LARGEST_SCALE)
            logits[one, other] = scale * unit[one] @ unit[other].T
    targets = torch.arange(len(next(iter(unit.values()))), device=next(iter(unit.values())).device)
    both = [F.cross_entropy(table, targets) + F.cross_entropy(table.T, targets) for table in logits.values()]
    loss = torch.stack(both).sum() / math.factorial(len(both))
    return (loss if penalty is None or "audio" not in unit else loss + penalty), logits
