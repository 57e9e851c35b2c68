"""AudioCLIP's front end: frequency B-spline wavelets as a learnable filter bank over windowed frames.

After Guzhov et al., ESResNe(X)t-fbsp (IJCNN 2021), by its constants. ``filters``, ``frames`` and ``decibels`` are the
definition; ``LinearFBSP`` holds the parameters and keeps the filters between two calls in eval mode.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE_HZ = 44_100
FULL_SCALE = 32_768.0  # this tower takes 16-bit numbers
WINDOW, HOP, N_FFT = 1654, 561, 2048
BINS = N_FFT // 2 + 1
BANDS, BAND_BINS = 3, 341  # of the 1,025 bins the last two are dropped
FLOOR = 1e-18  # power that stands for none


def filters(m: Tensor, fb: Tensor, fc: Tensor) -> Tensor:
    """The filter bank: order, bandwidth and centre, each (K,) -> (K, 2048, 2), the last axis real and imaginary.

    W = sqrt(fb) * sinc(fb t / m)^m * exp(-i fc t) / sqrt(2048) with sinc(x) = sin(x) / x and t from -pi to pi, both
    included. Where sinc is negative, its power is the complex one: |s|^m e^(i pi m).
    """
    t = math.pi * torch.linspace(-1, 1, N_FFT, dtype=fc.dtype, device=fc.device) + 1e-8
    m, fb, fc = m[:, None], fb[:, None], fc[:, None]
    x = fb * t / (m + 1e-8)
    s = torch.sin(x) / x
    turn = torch.where(s < 0, math.pi * m, torch.zeros_like(s))  # the angle of s^m
    size = torch.sqrt(fb) * s.abs() ** m / math.sqrt(N_FFT)
    angle = fc * t
    cos, sin = torch.cos(angle), -torch.sin(angle)
    real, imaginary = size * torch.cos(turn), size * torch.sin(turn)
    return torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)


def frames(waves: Tensor, window: Tensor) -> Tensor:
    """(..., T) in [-32768, 32767] -> (..., n, 2048) windowed frames of which 197 samples at each end are 0.

    n = 1 + max(0, ceil((T - 1654) / 561)); zeros are added on both sides, the odd one on the right, after scaling.
    """
    x = (waves + 32768) * 2 / 65535 - 1
    left, right = frame_padding(x.shape[-1])
    cut = F.pad(x, (left, right)).unfold(-1, WINDOW, HOP) * window
    margin = (N_FFT - WINDOW) // 2
    return F.pad(cut, (margin, margin))


def frame_count(length: int) -> int:
    """n, the number of frames of T samples."""
    return 1 + max(0, math.ceil((length - WINDOW) / HOP))


def frame_padding(length: int) -> tuple[int, int]:
    """Zeros left and right of T samples."""
    missing = (frame_count(length) - 1) * HOP + WINDOW - length
    return missing // 2, missing - missing // 2


def spectrum(cut: Tensor, bank: Tensor) -> Tensor:
    """Frames (..., n, 2048) and filters (K, 2048, 2) -> (..., K, n, 2)."""
    both = cut @ bank.permute(1, 0, 2).flatten(1)  # (..., n, 2 K)
    return both.unflatten(-1, (bank.shape[0], 2)).transpose(-3, -2)


def decibels(spectra: Tensor) -> Tensor:
    """(..., 1025, n, 2) -> (..., 3, 341, n) power in dB, the three bands as channels, the lowest bin in row 0."""
    power = spectra[..., : BANDS * BAND_BINS, :, :].square().sum(-1)
    return 10 * torch.log10(torch.where(power > 0, power, FLOOR)).unflatten(-2, (BANDS, BAND_BINS))


def norm_penalty(bank: Tensor) -> Tensor:
    """Mean squared distance of the filters' 2-norms from 1: what keeps the bank from growing in training."""
    return (torch.linalg.vector_norm(bank.flatten(1), dim=1) - 1).square().mean()


class LinearFBSP(nn.Module):
    """The filter bank's parameters, started as a (nearly) discrete Fourier transform.

    The gradient of each of ``m``, ``fb`` and ``fc`` is divided by its infinity norm, once a backward pass.
    """

    bias: Tensor

    def __init__(self, bins: int = BINS):
        super().__init__()
        self.m = nn.Parameter(torch.zeros(bins))
        self.fb = nn.Parameter(torch.ones(bins))
        self.fc = nn.Parameter(torch.arange(bins, dtype=torch.float32))
        self.register_buffer("bias", torch.zeros(0))  # empty, but a key of the released weights
        for parameter in (self.m, self.fb, self.fc):
            parameter.register_hook(lambda gradient: gradient / (gradient.abs().max() + 1e-8))
        self._kept: tuple[Any, Tensor] | None = None

    def filters(self) -> Tensor:
        """(K, 2048, 2); recomputed where a gradient may flow or the parameters have changed."""
        own = (self.m, self.fb, self.fc)
        if self.training or (torch.is_grad_enabled() and any(p.requires_grad for p in own)):
            self._kept = None
            return filters(*own)
        state = [(p.data_ptr(), p._version, p.dtype, p.device) for p in own]
        if self._kept is None or self._kept[0] != state:
            with torch.no_grad():
                self._kept = state, filters(*own)
        return self._kept[1]

    def forward(self, cut: Tensor, bank: Tensor | None = None) -> Tensor:
        """Frames (..., n, 2048) -> (..., K, n, 2), with the filters at hand or those of the parameters."""
        return spectrum(cut, self.filters() if bank is None else bank)
