"""A tower's network in torch, as inference calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from clipx._arrays import to_array


class TorchNetwork:
    """A module that takes and gives arrays. Implements ``Network``.

    Args:
        net: the module, on any device; it brings its input there itself.
    """

    def __init__(self, net: Any):
        self.net = net
        self.sample_rate_hz, self.full_scale, self.channels = net.sample_rate_hz, net.full_scale, net.channels

    @torch.no_grad()
    def __call__(self, waves: np.ndarray) -> np.ndarray:
        return to_array(self.net(torch.from_numpy(waves)))

    def state(self) -> Mapping[str, np.ndarray]:
        return {name: to_array(value) for name, value in self.net.state_dict().items()}
