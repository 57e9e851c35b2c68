"""Which devices have no float64 and no decompositions, and what is done on them instead."""

from __future__ import annotations

import torch
from torch import Tensor

from clipx._processes import own_device
from clipx.errors import InputError

LIMITED = {"mps"}  # kinds of device without float64 and without LAPACK's decompositions


def has_float64(device: torch.device) -> bool:
    """Whether tensors of float64 can be on that device."""
    return device.type not in LIMITED


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has none."""
    return torch.float64 if has_float64(device) else torch.float32


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """``torch.linalg.eigh`` of (..., n, n) on any device; on the CPU where the device cannot."""
    if matrices.device.type not in LIMITED:
        return torch.linalg.eigh(matrices)
    values, vectors = torch.linalg.eigh(matrices.cpu())
    return values.to(matrices.device), vectors.to(matrices.device)


def check_device(device: str | torch.device) -> torch.device:
    """The device, if this machine has it; ``cuda`` is this process's own card where torchrun started several.

    Raises:
        InputError: this machine has no such device.
    """
    try:
        return torch.zeros(0, device=own_device(device)).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, by how it was built
        raise InputError(
            f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}", remedy="take cpu"
        ) from error
