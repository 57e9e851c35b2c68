"""AudioCLIP's augmentations of waveforms, in its order; and masks of spectrograms, and mixtures.

Each function is plain: what is random is an argument. ``augment`` draws. Waves are (C, T) in any scale.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class AugmentConfig:
    """How far a sound in training may be from the recorded one."""

    flip: float = field(default=0.5, metadata={"help": "probability of playing it backwards"})
    speed: float = field(default=1.5, metadata={"help": "largest factor of the speed, and its inverse the smallest"})
    noise: float = field(default=0.25, metadata={"help": "probability of white noise"})


def augment(wave: Tensor, length: int, rng: np.random.Generator, config: AugmentConfig) -> Tensor:
    """(C, T) -> (C, length): backwards, faster or slower, padded or cropped at random, noisy."""
    if rng.random() < config.flip:
        wave = flip(wave)
    wave = speed(wave, config.speed ** rng.uniform(-1, 1))
    wave = fit(wave, length, rng.random())
    if rng.random() < config.noise:
        noise = torch.from_numpy(rng.standard_normal(wave.shape).astype(np.float32))
        wave = add_noise(wave, noise, 10 + 111 * rng.random())
    return wave


def flip(wave: Tensor) -> Tensor:
    """Backwards in time. (AudioCLIP flips the channels, which leaves mono as it is.)"""
    return wave.flip(-1)


def speed(wave: Tensor, factor: float) -> Tensor:
    """(C, T) -> (C, int(T * factor)), interpolated linearly: below 1 faster and higher, above 1 slower and lower."""
    count = wave.shape[-1]
    at = torch.arange(max(1, int(count * factor)), dtype=torch.float64) / factor
    before = at.long().clamp(max=count - 1)
    share = (at - before).to(wave.dtype)
    return wave[:, before] * (1 - share) + wave[:, (before + 1).clamp(max=count - 1)] * share


def fit(wave: Tensor, length: int, place: float | None = None) -> Tensor:
    """Pad or crop to ``length``.

    Args:
        wave: (C, T).
        length: samples.
        place: in [0, 1), where a crop begins and how much of the padding goes left; None for the centre.
    """
    spare = abs(wave.shape[-1] - length)
    start = round(spare / 2) if place is None else int(place * (spare + 1))
    return pad(wave, length, start) if wave.shape[-1] < length else crop(wave, length, start)


def pad(wave: Tensor, length: int, left: int) -> Tensor:
    """(C, T) -> (C, length): the first sample's mean over the channels ``left`` times, the last one's on the right."""
    channels, right = wave.shape[0], length - wave.shape[-1] - left
    before, after = wave[:, :1].mean(), wave[:, -1:].mean()
    return torch.cat([before.expand(channels, left), wave, after.expand(channels, right)], dim=1)


def crop(wave: Tensor, length: int, start: int) -> Tensor:
    """(C, T) -> (C, length) from ``start``, or the beginning where that piece's standard deviation is under half of the
    whole's. Where the beginning is louder than the piece, but still under half, the end."""
    half, piece = wave.std() / 2, wave[:, start : start + length]
    if piece.std() >= half:
        return piece
    beginning = wave[:, :length]
    return wave[:, -length:] if piece.std() < beginning.std() < half else beginning


def add_noise(wave: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """Add white noise of unit variance so that the signal's power over channels and time is ``snr_db`` above it."""
    return wave + noise * (wave.square().mean() / 10 ** (snr_db / 10)).sqrt()


def mask(spectra: Tensor, rng: np.random.Generator, bins: int, frames: int, count: int = 2) -> Tensor:
    """SpecAugment (Park et al. 2019) without its warp: bands and stretches of each spectrogram become its mean.

    Args:
        spectra: (B, K, n).
        rng: draws ``count`` bands of up to ``bins`` bins and as many stretches of up to ``frames`` frames.
        bins: widest band.
        frames: longest stretch.
        count: how many of each.
    """
    size, (bands, times) = len(spectra), spectra.shape[1:]
    hidden = torch.zeros(spectra.shape, dtype=torch.bool)
    for span, widest, axis in ((bands, bins, 1), (times, frames, 2)):
        at = torch.arange(span)
        for _ in range(count):
            width = torch.from_numpy(rng.integers(0, min(widest, span) + 1, size))
            first = torch.from_numpy((rng.random(size) * (span - width.numpy() + 1)).astype(np.int64))
            within = (at >= first[:, None]) & (at < (first + width)[:, None])  # (B, span)
            hidden |= within[:, :, None] if axis == 1 else within[:, None, :]
    return torch.where(hidden.to(spectra.device), spectra.mean((1, 2), keepdim=True), spectra)
