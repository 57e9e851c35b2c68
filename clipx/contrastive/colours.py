"""Colour spaces for batches of pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)  # D65
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def to_lab(pictures: Tensor) -> Tensor:
    """sRGB (N, 3, H, W) in [0, 1] -> CIE L*a*b* (D65), L in [0, 100], a and b within about +-110."""
    linear = torch.where(pictures > 0.04045, ((pictures.clamp(min=0) + 0.055) / 1.055) ** 2.4, pictures / 12.92)
    matrix = pictures.new_tensor(XYZ) / pictures.new_tensor(WHITE)[:, None]
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def turned_hues(pictures: Tensor, turns: np.ndarray) -> Tensor:
    """RGB (N, 3, H, W) with the hue of each turned by (N,) whole turns, as a rotation of the chroma plane of YIQ.

    torchvision turns the hue of HSV, which also changes the luma and takes ten times as long.
    """
    yiq = np.array(YIQ)
    angle = 2 * np.pi * turns
    turn = np.zeros((len(turns), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2] = np.cos(angle), -np.sin(angle)
    turn[:, 2, 1], turn[:, 2, 2] = np.sin(angle), np.cos(angle)
    matrix = torch.from_numpy((np.linalg.inv(yiq) @ turn @ yiq).astype(np.float32)).to(pictures.device)
    return (matrix @ pictures.flatten(2)).view_as(pictures)
