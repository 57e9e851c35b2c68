"""Photos as line drawings: what a pen would keep of them, so that a tower also reads drawings that are no icons."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 2  # lines are found on a grid this much finer, and are as thin as 0.4 % of the picture


def line_drawings(photos: Tensor, rng: np.random.Generator) -> Tensor:
    """(n, 3, R, R) in [0, 1] -> (n, 1, R, R), dark lines on white, no two alike.

    The strongest edges of the smoothed photo, thinned along the gradient (Canny, 1986), drawn with a pen of random
    width; how far it is smoothed, how much is drawn and where the pen was lifted is random.
    """
    n, _, side, _ = photos.shape
    if not n:
        return photos[:, :1]
    grey = F.interpolate(photos.mean(1, keepdim=True), scale_factor=FINE, mode="bilinear", align_corners=False)
    smooth = _blur(grey, np.exp(rng.uniform(np.log(1.2), np.log(5.0), n)))
    dy, dx = smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1], smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]
    strength = F.pad((dx.square() + dy.square()).sqrt(), (1, 1, 1, 1))
    steep = F.pad(dy.abs() > dx.abs(), (1, 1, 1, 1))  # the gradient runs more up and down than across
    across = F.max_pool2d(strength, (1, 3), 1, (0, 1))
    along = F.max_pool2d(strength, (3, 1), 1, (1, 0))
    thin = torch.where(strength >= torch.where(steep, along, across), strength, 0.0)

    drawn = torch.from_numpy(np.exp(rng.uniform(np.log(0.008), np.log(0.06), n)).astype(np.float32))  # share of pixels
    least = torch.stack([row.quantile(1 - share) for row, share in zip(thin.flatten(1), drawn, strict=True)])
    pen = (thin >= least.clamp(min=1e-3).view(n, 1, 1, 1)).float()
    lifted = torch.from_numpy(rng.random((n, 1, 7, 7)).astype(np.float32))
    lifted = F.interpolate(lifted, pen.shape[-2:], mode="bilinear", align_corners=False)
    pen *= lifted > torch.from_numpy(rng.uniform(0.0, 0.5, n).astype(np.float32)).view(n, 1, 1, 1)
    pen = F.pad(pen[..., 6:-6, 6:-6], (6, 6, 6, 6))  # no line is cut by the margin: what lies outside repeats it
    widths = rng.choice([1, 3, 5, 7], n, p=[0.15, 0.4, 0.3, 0.15])
    wide = torch.cat([F.max_pool2d(one[None], int(w), 1, int(w) // 2) for one, w in zip(pen, widths, strict=True)])
    return F.interpolate(1 - wide, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _blur(pictures: Tensor, sigma: np.ndarray) -> Tensor:
    """(n, 1, H, W), each by its own Gaussian of (n,) pixels."""
    n, reach = len(pictures), int(np.ceil(3 * sigma.max()))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * torch.from_numpy(sigma.astype(np.float32))[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).view(n, 1, 1, -1)
    rows = F.pad(pictures.transpose(0, 1), (reach,) * 4, mode="reflect")  # (1, n, H, W): a group for each
    return F.conv2d(F.conv2d(rows, kernel, groups=n), kernel.transpose(2, 3), groups=n).transpose(0, 1)
