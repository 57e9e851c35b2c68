"""A small tower for processors: log-mel spectrogram, a residual net of plain 3 x 3 convolutions, 1.3 M parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx._arrays import to_array
from clipx.modalities.audio.spectrograms import LogMelConfig, log_mel


class LogMelTower(nn.Module):
    """Waveforms -> vectors, not normalised.

    Loudness, which says little of what was recorded, does not matter, see ``log_mel``. Frequency is averaged and time
    is averaged and its peak added: a bark in five seconds of nothing counts.

    Args:
        dim: D, the width of the output.
        config: sizes.
    """

    kind = "logmel"
    full_scale = 1.0
    channels = 1  # stereo is mixed

    def __init__(self, dim: int, config: LogMelConfig | None = None):
        super().__init__()
        self.dim = dim
        self.config = config = config or LogMelConfig()
        self.sample_rate_hz = config.sample_rate_hz
        first, *_, last = config.widths
        self.stem = nn.Sequential(nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(first))
        given = (first, *config.widths[:-1])
        self.stages = nn.ModuleList(
            Block(a, b, i > 0) for i, (a, b) in enumerate(zip(given, config.widths, strict=True))
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(last, dim)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, C, T) in [-1, 1], on any device -> (B, dim); channels are averaged."""
        return self.body(self.listen(waves))

    def listen(self, waves: Tensor) -> Tensor:
        """(B, C, T) -> (B, mels, n) without gradient, on the tower's device: ``log_mel``."""
        return torch.from_numpy(log_mel(to_array(waves), self.config)).to(self.head.weight.device)

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
            # an odd last row or column is averaged with itself, an even one is followed by one that is left over: what
            # ceil_mode does, which torch cannot export for spectrograms of any length
            x = F.avg_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2)
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
