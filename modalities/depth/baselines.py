"""What a number must beat: depth predicted without looking, or by colour and position alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError

CELLS = (24, 32)  # of the ridge
RIDGE = 1e-2  # its penalty, as a share of the mean squared input


@dataclass
class Baselines:
    """What the training depths say by themselves; ``from_pairs`` makes it.

    Args:
        constant_m: exp of the mean log depth of all known pixels.
        mean_map_m: (H, W), the mean depth of each pixel.
        log_mean_map_m: (H, W), exp of the mean log depth of each pixel.
        ridge: (I,) weights of log depth on the ``_inputs`` of each cell.
        images: how many photos they come from.
    """

    constant_m: float
    mean_map_m: Tensor
    log_mean_map_m: Tensor
    ridge: Tensor
    images: int

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Tensor, Tensor]]) -> Baselines:
        """From photos (3, H, W) in [0, 1] and their depths (H, W) in metres, 0 or NaN where unknown.

        The maps take the first depth's size.

        Raises:
            InputError: no pairs, or no known depth.
        """
        total: Tensor | None = None
        logs: Tensor | None = None
        count: Tensor | None = None
        shape: tuple[int, int] = (0, 0)
        gram = torch.zeros(0, 0, dtype=torch.float64)
        images = 0
        for pixels, depth in pairs:
            inputs = _inputs(pixels).double()
            if total is None or logs is None or count is None:
                shape = int(depth.shape[0]), int(depth.shape[1])
                total, logs, count = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
                gram = torch.zeros(len(inputs) + 1, len(inputs) + 1, dtype=torch.float64)
            own = resized(depth, shape).double()
            known = (own > 0) & own.isfinite()
            log = torch.where(known, own, 1.0).log()
            total, logs, count = total + torch.where(known, own, 0.0), logs + log, count + known
            inputs = inputs.flatten(1)  # (I, cells)
            cells, share = (F.adaptive_avg_pool2d(v[None], CELLS).flatten() for v in (log * known, known.double()))
            known = share > 0.5
            rows = torch.cat([inputs, (cells / share.clamp(min=1e-9))[None]])[:, known]
            gram += rows @ rows.T
            images += 1
        if total is None or logs is None or count is None or not count.any():
            raise InputError("no training photo with a known depth", remedy="the baselines need rows of fold train")
        constant = float((logs.sum() / count.sum()).exp())

        def filled(means: Tensor) -> Tensor:
            return torch.where(count > 0, means, constant).float()  # a pixel that no training photo knows

        xx, xy = gram[:-1, :-1], gram[:-1, -1]
        penalty = RIDGE * xx.diagonal().mean() * torch.eye(len(xx), dtype=torch.float64)
        penalty[0, 0] = 0  # the constant
        some = count.clamp(min=1)
        return cls(
            constant,
            filled(total / some),
            filled((logs / some).exp()),
            torch.linalg.solve(xx + penalty, xy),
            images,
        )

    def rows(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Name -> photo (3, H, W) -> metres (H, W): the three rows that any figure is compared with."""
        return {
            "constant": lambda pixels: torch.full(tuple(pixels.shape[1:]), self.constant_m),
            "mean map": lambda pixels: resized(self.mean_map_m, tuple(pixels.shape[1:])),
            "mean map of log depth": lambda pixels: resized(self.log_mean_map_m, tuple(pixels.shape[1:])),
        }

    def by_color_and_position(self, pixels: Tensor) -> Tensor:
        """A ridge on each cell's colours and place: photo (3, H, W) -> metres (H, W)."""
        log = torch.einsum("ihw,i->hw", _inputs(pixels).double(), self.ridge)
        return F.interpolate(log[None, None], tuple(pixels.shape[1:]), mode="bilinear")[0, 0].exp().float()


def resized(depth: Tensor, shape: tuple[int, int]) -> Tensor:
    """(H, W) -> (*shape,), by the nearest pixel: between near and far there is nothing."""
    if tuple(depth.shape) == shape:
        return depth
    return F.interpolate(depth[None, None], shape, mode="nearest-exact")[0, 0]


def _inputs(pixels: Tensor) -> Tensor:
    """(3, H, W) -> (I, *CELLS): 1, mean colours with squares and products, their spread, place to the third power."""
    mean = F.adaptive_avg_pool2d(pixels[None].float(), CELLS)[0]
    spread = (F.adaptive_avg_pool2d(pixels[None].float() ** 2, CELLS)[0] - mean**2).clamp(min=0).sqrt()
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in CELLS), indexing="ij")
    places = [x**i * y**j for i in range(4) for j in range(4) if 0 < i + j <= 3]
    r, g, b = mean
    colors = torch.stack([r * r, g * g, b * b, r * g, g * b, b * r])
    return torch.cat([torch.ones(1, *CELLS), mean, colors, spread, torch.stack(places)])
