"""A small tower for processors: log-mel spectrogram, a residual net of plain 3 x 3 convolutions, 1.3 M parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LogMelConfig:
    """The input of a ``LogMelTower`` and how wide it is."""

    sample_rate_hz: int = field(default=22_050, metadata={"help": "samples a second"})
    n_fft: int = field(default=1024, metadata={"help": "samples of a frame"})
    hop: int = field(default=441, metadata={"help": "samples between two frames: 20 ms"})
    mels: int = field(default=64, metadata={"help": "bands"})
    low_hz: float = field(default=40.0, metadata={"help": "lower edge of the lowest band"})
    widths: tuple[int, ...] = field(default=(32, 64, 128, 256), metadata={"help": "channels of the four stages"})


class LogMel(nn.Module):
    """Waveforms -> log-mel spectrograms; without parameters."""

    mel: Tensor
    window: Tensor

    def __init__(self, config: LogMelConfig | None = None):
        super().__init__()
        self.config = config = config or LogMelConfig()
        self.sample_rate_hz = config.sample_rate_hz
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("mel", mel_bank(config), persistent=False)

    def listen(self, waves: Tensor) -> Tensor:
        """(B, C, T) -> (B, mels, n) log-mel spectrograms of mean 0 and deviation 1, n = 1 + T // hop."""
        config = self.config
        x = F.pad(waves.mean(1), (config.n_fft // 2, config.n_fft // 2))
        spectra = torch.stft(x, config.n_fft, config.hop, window=self.window, center=False, return_complex=True)
        # 1e-10 is -100 dB of full scale, below a 16-bit file's own noise
        spectrograms = torch.log(self.mel @ spectra.abs().square() / self.window.sum() ** 2 + 1e-10)
        return (spectrograms - spectrograms.mean((1, 2), keepdim=True)) / (spectrograms.std((1, 2), keepdim=True) + 0.1)


class LogMelTower(LogMel):
    """Waveforms -> vectors, not normalised.

    Mean and deviation of each spectrogram are removed, so that loudness, which says little of what was recorded, does
    not matter. Frequency is averaged and time is averaged and its peak added: a bark in five seconds of nothing counts.

    Args:
        dim: D, the width of the output.
        config: sizes.
    """

    full_scale = 1.0
    channels = 1  # stereo is mixed

    def __init__(self, dim: int, config: LogMelConfig | None = None):
        super().__init__(config)
        self.dim, config = dim, self.config
        first, *_, last = config.widths
        self.stem = nn.Sequential(nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(first))
        given = (first, *config.widths[:-1])
        self.stages = nn.ModuleList(
            Block(a, b, i > 0) for i, (a, b) in enumerate(zip(given, config.widths, strict=True))
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(last, dim)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, C, T) in [-1, 1] -> (B, dim); channels are averaged."""
        return self.body(self.listen(waves))

    def body(self, spectrograms: Tensor) -> Tensor:
        """(B, mels, n) -> (B, dim)."""
        return self.head(self.dropout(self.pooled(spectrograms)))

    @property
    def last(self) -> nn.Linear:
        """The layer that makes the output of what ``pooled`` returns."""
        return self.head

    def pooled(self, spectrograms: Tensor) -> Tensor:
        """(B, mels, n) -> (B, width of the last stage)."""
        # channels last: a fifth faster on processors
        x = F.relu(self.stem(spectrograms[:, None].contiguous(memory_format=torch.channels_last)))
        for stage in self.stages:
            x = stage(x)
        x = x.mean(2)  # over frequency: (B, last, time)
        return x.mean(2) + x.amax(2)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; a halving one averages 2 x 2 first, which keeps what strides skip."""

    def __init__(self, given: int, wanted: int, halve: bool):
        super().__init__()
        self.halve = halve
        self.conv1 = nn.Conv2d(given, wanted, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wanted)
        self.conv2 = nn.Conv2d(wanted, wanted, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wanted)
        self.shortcut = nn.Identity() if given == wanted else nn.Conv2d(given, wanted, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, given, h, w) -> (B, wanted, h or h / 2, w or w / 2)."""
        if self.halve:
            x = F.avg_pool2d(x, 2, ceil_mode=True)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def mel_bank(config: LogMelConfig) -> Tensor:
    """(mels, n_fft / 2 + 1) triangles, evenly spaced in mel = 2595 log10(1 + f / 700), each of peak 1."""
    top = config.sample_rate_hz / 2

    def to_mel(hz: Tensor) -> Tensor:
        return 2595 * torch.log10(1 + hz / 700)

    edges_mel = torch.linspace(0, 1, config.mels + 2, dtype=torch.float64)
    low, high = to_mel(torch.tensor([config.low_hz, top], dtype=torch.float64))
    edges = 700 * (10 ** ((low + edges_mel * (high - low)) / 2595) - 1)  # Hz
    bins = torch.linspace(0, top, config.n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()
