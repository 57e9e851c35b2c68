"""Arrays and tensors by the same functions: what is given as an array is drawn as one, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from clipx._arrays import A, is_tensor, to_array
from clipx.errors import InputError


def checked(points: A, resolution: int, where: str) -> A:
    """The points as they are drawn: those of an array in float32.

    Raises:
        InputError: points that are not floating (N, P, 3), or a resolution below 1.
    """
    shape, dtype = tuple(points.shape), points.dtype  # type: ignore[attr-defined]
    floating = dtype.is_floating_point if is_tensor(points) else dtype.kind == "f"
    if len(shape) != 3 or shape[-1] != 3 or not floating:
        raise InputError(f"points must be floating (N, P, 3), got {shape} {dtype}", where=where)
    if resolution < 1:
        raise InputError(f"resolution must be at least 1, got {resolution}", where=where)
    return points if is_tensor(points) else single(points)


def single(values: Any) -> Any:
    """An array in float32, without a copy where it is; a tensor as it is."""
    return values if is_tensor(values) else np.asarray(values, np.float32)


def to_tensor(values: Any) -> Any:
    """A copy of an array as a tensor; a tensor and None as they are."""
    import torch

    return values if values is None or is_tensor(values) else torch.tensor(values)


def alike(drawn: Any, given: A) -> A:
    """What was drawn as an array where an array was given, else as a tensor."""
    if not is_tensor(given):
        return to_array(drawn)  # type: ignore[return-value]
    return to_tensor(drawn)  # type: ignore[return-value]
