"""NumPy arrays and torch tensors put together by the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipx._arrays import is_tensor


def stacked(parts: Sequence[Any], axis: int) -> Any:
    """Arrays or tensors of one shape along a new axis."""
    if not is_tensor(parts[0]):
        return np.stack(parts, axis)
    import torch

    return torch.stack(tuple(parts), axis)


def joined(parts: Sequence[Any], axis: int = 0) -> Any:
    """Arrays or tensors one after the other."""
    if not is_tensor(parts[0]):
        return np.concatenate(parts, axis)
    import torch

    return torch.cat(tuple(parts), axis)
