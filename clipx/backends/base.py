"""The protocol of a backend: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from clipx.backbone import Backbone
    from clipx.preprocess import Preprocess


class Backend(Protocol):
    """The towers of a joint space. Vectors are float32 and not of unit norm.

    Attributes:
        architecture: the architecture's name, part of the space's id.
        dim: D, the width of the joint space.
        logit_scale: what a cosine is multiplied by before a softmax.
        logit_bias: what models trained with a sigmoid loss add to that; None elsewhere.
        preprocess: how the image tower wants pictures.
        domains: further picture domain -> how its tower wants them.
        on_cpu: whether it computes on the CPU.
        device, dtype: torch's names of where and in what it computes, such as ``"cpu"`` and ``"float32"``.
    """

    architecture: str
    dim: int
    logit_scale: float
    logit_bias: float | None
    preprocess: Preprocess
    domains: Mapping[str, Preprocess]

    @property
    def on_cpu(self) -> bool: ...

    @property
    def device(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """N >= 1 texts -> (N, D).

        Raises:
            InputError: a text is longer than the context.
            UnsupportedError: there is no tokenizer.
        """
        ...

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3, *preprocess.size) float32, N >= 1, resized and normalised -> (N, D)."""
        ...

    def encode_with_domain(self, pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """``encode_image`` of pictures that are prepared as photos, and the picture domain that each looks like."""
        ...

    def of_domain(self, name: str) -> Backend:
        """The same towers as they look at pictures of a domain; as at photos for ``"photo"`` and unknown domains."""
        ...

    @property
    def backbone(self) -> Backbone:
        """The model in torch, which also gives gradients, stages, dense maps and attention; loaded at first use."""
        ...
