"""Whether what a label names is in a photo at all, by comparison with everyday nouns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.index.vocabulary import NULL_PROMPT, null_vectors
from clipx.modalities.detect.regions import RegionEncoder
from clipx.prompts import spoken
from clipx.space import JointSpace

FEWEST = 50  # nouns that a share can be of


class Presence:
    """How well labels fit a photo: the share of everyday nouns that fit it less.

    Most nouns are not in a photo, so that they are a null distribution: the presence of a label that is not there is
    spread over [0, 1], that of one that is lies near 1. A label fits as well as its best box, contrast times
    objectness, and as the whole photo, both in standard deviations of the nouns.

    Args:
        space: the frozen joint space.
        labels: K words. They are read in the nouns' sentence, since a CLIP's cosines move with the sentence.

    Attributes:
        every: (K + B, D) unit vectors of the labels and of the nouns.

    Raises:
        InputError: the space takes fewer than ``FEWEST`` of the nouns.
    """

    def __init__(self, space: JointSpace, labels: Sequence[str]):
        try:
            nouns = null_vectors(space, FEWEST)
        except InputError as error:
            raise InputError(error.what, where=space.name, remedy="leave presence at 0") from error
        self._whole = RegionEncoder(space, "crops", crop_scales=(1.0,))
        own = space.encode_text([NULL_PROMPT.format(spoken(label)) for label in labels])
        self.every, self._labels = torch.from_numpy(np.concatenate([own, nouns])).to(space.device), len(own)

    def __call__(self, photo: Tensor, contrast: np.ndarray, objectness: np.ndarray) -> np.ndarray:
        """(K,) float32 in [0, 1].

        Args:
            photo: (3, H, W) RGB in [0, 1].
            contrast: (R, K + B) logits of ``RegionEncoder.logits`` of ``every``; R may be 0.
            objectness: (R,) of the boxes.
        """
        labels = self._labels
        boxes = (np.maximum(contrast, 0) * objectness[:, None]).max(axis=0, initial=0.0)
        height, width = photo.shape[-2:]
        whole = self._whole(photo, np.array([[0, 0, width, height]], np.float32)) @ self.every.T
        fit = _standard(boxes, labels) + _standard(whole[0].cpu().double().numpy(), labels)
        below = np.searchsorted(np.sort(fit[labels:]), fit[:labels])  # nouns that fit less
        return (below / len(fit[labels:])).astype(np.float32)


def _standard(values: np.ndarray, labels: int) -> np.ndarray:
    """In standard deviations of the nouns, which follow the labels; 0 where all are alike."""
    null = values[labels:]
    return (values - null.mean()) / max(float(null.std()), 1e-9)
