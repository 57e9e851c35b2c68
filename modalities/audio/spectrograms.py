"""Log-mel spectrograms: what the towers but AudioCLIP's look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class LogMelConfig:
    """The input of a ``LogMelTower`` and how wide it is."""

    sample_rate_hz: int = field(default=22_050, metadata={"help": "samples a second"})
    n_fft: int = field(default=1024, metadata={"help": "samples of a frame"})
    hop: int = field(default=441, metadata={"help": "samples between two frames: 20 ms"})
    mels: int = field(default=64, metadata={"help": "bands"})
    low_hz: float = field(default=40.0, metadata={"help": "lower edge of the lowest band"})
    widths: tuple[int, ...] = field(default=(32, 64, 128, 256), metadata={"help": "channels of the four stages"})


SFX_MEL = LogMelConfig(sample_rate_hz=44_100, n_fft=2048, hop=1024, mels=96, low_hz=0.0)  # the sound-effects network's
SFX_LOUDEST = 9.457798957824707  # the largest value of the spectrograms that it was trained on
SFX_SHORTEST = 100  # frames, 2.3 s: what it was trained on


def log_mel(waves: np.ndarray, config: LogMelConfig | None = None) -> np.ndarray:
    """(B, C, T) -> (B, mels, n) log-mel spectrograms of mean 0 and deviation 1, n = 1 + T // hop.

    Channels are averaged. Mean and deviation of each spectrogram are removed, so that loudness does not matter.
    """
    config = config or LogMelConfig()
    half = config.n_fft // 2
    power = _mel_power(np.pad(waves.mean(1), ((0, 0), (half, half))), config, mel_bank(config))
    # 1e-10 is -100 dB of full scale, below a 16-bit file's own noise
    found = np.log(power / np.float32(_window(config.n_fft).sum(dtype=np.float64) ** 2) + np.float32(1e-10))
    deviation = found.std((1, 2), ddof=1, keepdims=True)
    return (found - found.mean((1, 2), keepdims=True)) / (deviation + np.float32(0.1))


def sfx_log_mel(waves: np.ndarray) -> np.ndarray:
    """(B, C, T) -> (B, 96, n) log-mel spectrograms, n = 1 + T // 1024 or more; the level of the peak is subtracted.

    Channels are averaged. What is shorter than 100 frames is followed by silence.
    """
    x = waves.mean(1)
    x = x / np.abs(x).max(1, keepdims=True).clip(1e-9)
    half = SFX_MEL.n_fft // 2
    x = np.pad(x, ((0, 0), (0, max(0, half + 1 - x.shape[1]))))  # edges are reflected, which needs that many samples
    power = _mel_power(np.pad(x, ((0, 0), (half, half)), mode="reflect"), SFX_MEL, sfx_bank())
    mels = np.log10(1 + 10_000 * power) / np.float32(SFX_LOUDEST)
    return np.pad(mels, ((0, 0), (0, 0), (0, max(0, SFX_SHORTEST - mels.shape[2]))))


@lru_cache(maxsize=4)
def mel_bank(config: LogMelConfig) -> np.ndarray:
    """(mels, n_fft / 2 + 1) triangles, evenly spaced in mel = 2595 log10(1 + f / 700), each of peak 1."""
    top = config.sample_rate_hz / 2
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (config.low_hz, top))
    edges = 700 * (10 ** (np.linspace(low, high, config.mels + 2) / 2595) - 1)  # Hz
    bins = np.linspace(0, top, config.n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.minimum(rising, falling).clip(0).astype(np.float32)


@lru_cache(maxsize=1)
def sfx_bank() -> np.ndarray:
    """(96, 1025) the triangles of the sound-effects network, each of sum 1."""
    bank = mel_bank(SFX_MEL)
    return bank / bank.sum(1, keepdims=True)


def _mel_power(x: np.ndarray, config: LogMelConfig, bank: np.ndarray) -> np.ndarray:
    """(B, T) -> (B, mels, n) power in each band, of the frames that lie within."""
    frames = np.lib.stride_tricks.sliding_window_view(x, config.n_fft, axis=1)[:, :: config.hop]
    spectra = np.fft.rfft(frames * _window(config.n_fft))  # complex64
    power = spectra.real**2 + spectra.imag**2  # (B, n, n_fft / 2 + 1)
    return np.ascontiguousarray((power @ bank.T).swapaxes(1, 2))


@lru_cache(maxsize=4)
def _window(length: int) -> np.ndarray:
    """A periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
