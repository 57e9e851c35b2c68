"""StyleCLIP's two losses of a picture against words: by its own direction, and by the direction of its change."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FLOOR = 0.1  # of the length of a change: below it the loss falls with the length, above it with the angle alone


def similarity_loss(image: Tensor, target: Tensor) -> Tensor:
    """1 - cos of a picture and words (StyleCLIP, eq. 1).

    Args:
        image: (D,) unit vector of the picture.
        target: (D,) unit vector.

    Returns:
        A scalar in [0, 2].
    """
    return 1 - image @ target


def directional_loss(image: Tensor, start: Tensor, target: Tensor, source: Tensor, floor: float = FLOOR) -> Tensor:
    """1 - dI . dT / (|dI| |dT|): the change of a picture against that of words (StyleGAN-NADA, section 4).

    A picture that has not changed has no direction, and the gradient of its cosine is infinite. |dI| is therefore
    sqrt(|dI|^2 + floor^2): the loss is 1 at the start and its gradient finite.

    Args:
        image, start: (D,) unit vectors of the picture and of what it was at the start.
        target, source: (D,) unit vectors of the words for the picture and for what it was.
        floor: in the units of a distance of unit vectors.

    Returns:
        A scalar in [0, 2].
    """
    moved = image - start
    return 1 - (moved @ F.normalize(target - source, dim=0)) / torch.sqrt(moved.square().sum() + floor**2)
