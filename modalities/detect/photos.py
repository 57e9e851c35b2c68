"""Photos as tensors: upright, on white where they are transparent, of 8 or 16 bits."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from torch import Tensor

from clipx.pictures import on_white, open_picture


def read_photo(path: str | PathLike) -> Tensor:
    """A picture file -> (3, H, W) float32 RGB in [0, 1].

    Raises:
        FileError: no readable picture.
    """
    pixels = np.asarray(on_white(open_picture(path), path), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
