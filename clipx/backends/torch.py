"""The backend that is the definition: a frozen open_clip model, on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from clipx._arrays import to_array
from clipx._threads import pictures_at_once
from clipx.backbone import Backbone
from clipx.backends.base import Backend
from clipx.preprocess import Preprocess

T = TypeVar("T")
PIXELS_PER_THREAD = 400_000  # of one pass on a CPU; larger batches take longer, see tests/benchmarks/bench_batches.py


class TorchBackend(Backend):
    """A ``Backbone`` that takes and gives arrays.

    Args:
        backbone: the frozen model.
    """

    def __init__(self, backbone: Backbone):
        self._backbone = backbone
        self.architecture, self.dim = backbone.architecture, backbone.dim
        self.logit_scale, self.logit_bias = backbone.logit_scale, backbone.logit_bias
        self.preprocess: Preprocess = backbone.preprocess
        self.domains: Mapping[str, Preprocess] = backbone.domains

    @property
    def backbone(self) -> Backbone:
        return self._backbone

    @property
    def on_cpu(self) -> bool:
        return self.backbone.device.type == "cpu"

    @property
    def device(self) -> str:
        return str(self.backbone.device)

    @property
    def dtype(self) -> str:
        return str(self.backbone.dtype).removeprefix("torch.")

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return _rows(self.backbone.encode_text(texts))

    @torch.no_grad()
    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        return np.concatenate([_rows(self._run(self.backbone.encode_image, part)) for part in self._parts(pixels)])

    @torch.no_grad()
    def encode_with_domain(self, pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
        parts = [self._run(self.backbone.photos.encode_with_domain, part) for part in self._parts(pixels)]
        return np.concatenate([_rows(rows) for rows, _ in parts]), [domain for _, own in parts for domain in own]

    def of_domain(self, name: str) -> TorchBackend:
        backbone = self.backbone.of_domain(name)
        return self if backbone is self.backbone else TorchBackend(backbone)

    def _parts(self, pixels: np.ndarray) -> list[np.ndarray]:
        """A batch in parts of at most ``PIXELS_PER_THREAD`` a thread; whole on a GPU."""
        if not self.on_cpu or not len(pixels):
            return [pixels]
        most = pictures_at_once(PIXELS_PER_THREAD, *pixels.shape[-2:])
        return [pixels[i : i + most] for i in range(0, len(pixels), most)]

    def _run(self, function: Callable[[Tensor], T], pixels: np.ndarray) -> T:
        return function(torch.from_numpy(np.require(pixels, np.float32, ["C", "W"])).to(self.backbone.device))


def _rows(rows: Tensor) -> np.ndarray:
    return to_array(rows).astype(np.float32, copy=False)
