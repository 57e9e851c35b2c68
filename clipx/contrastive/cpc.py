"""CPC for pictures: patches summed up from the top down, and those below predicted (van den Oord et al. 2018, 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx._processes import gather
from clipx.contrastive.network import Network, Parts
from clipx.contrastive.presets import Method

SKIPPED = 1  # rows below a patch that overlap with it: they would be too easy


class Context(nn.Module):
    """A masked convolutional network in the manner of PixelCNN: (N, D, g, g), where row r depends on rows 0 to r alone.

    Args:
        dim: D.
        layers: residual ones of 3 x 3.
    """

    def __init__(self, dim: int, layers: int = 2):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=(0, 1)) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(F.pad(x.relu(), (0, 0, 2, 0)))  # two rows above and none below
        return x


class PatchNetwork(Network):
    """Each patch by the tower, a context over their grid, and a linear prediction for each distance W_k c.

    ``method.views.grid`` - 2 distances: patches 2, 3, ... rows below, as those directly below overlap half.
    """

    def __init__(self, method: Method, tower: nn.Module, dim: int, pictures: int):
        super().__init__(method, tower, dim, pictures)
        self.context = Context(method.dim)
        distances = method.views.grid - 1 - SKIPPED
        self.below = nn.ModuleList(nn.Linear(method.dim, method.dim, bias=False) for _ in range(distances))

    def forward(self, views: list[Tensor]) -> tuple[Parts, Parts]:
        """Patches (N, g * g, 3, s, s) -> by distance: predictions and the patches that they are of, (M, D) each."""
        (patches,) = views
        grid = self.method.views.grid
        encoded = self.online(patches.flatten(0, 1)).unflatten(0, (len(patches), grid, grid))
        context = self.context(encoded.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        predicted, target = [], []
        for rows, predict in enumerate(self.below, start=1 + SKIPPED):
            predicted.append(gather(predict(context[:, :-rows]).flatten(0, 2)))
            target.append(gather(encoded[:, rows:].flatten(0, 2)))
        return predicted, target


def network_of(method: Method, tower: nn.Module, dim: int, pictures: int, seed: int = 0) -> Network:
    """The network of a method; arguments as ``Network`` takes them."""
    kind = PatchNetwork if method.views.kind == "patches" else Network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(method, tower, dim, pictures)
