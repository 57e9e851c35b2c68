"""AudioCLIP's audio tower: ESResNeXt-fbsp (Guzhov et al. 2021), by the released weights' own names and shapes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx._threads import one_thread
from clipx.modalities.audio import fbsp

LAYERS = (3, 4, 6, 3)
GATES = ((64, 256, (3, 1)), (256, 512, (1, 5)), (512, 1024, (3, 1)), (1024, 2048, (1, 5)), (2048, 2048, (3, 5)))


class ESResNeXt(nn.Module):
    """Waveforms -> vectors, not normalised: filter bank, ResNeXt-50 32x4d, a gate after each stage.

    Args:
        dim: D, the width of the output.
    """

    window: Tensor
    att5: Gate
    kind = "fbsp"
    sample_rate_hz = fbsp.SAMPLE_RATE_HZ
    full_scale = fbsp.FULL_SCALE
    channels = 2  # takes mono and stereo

    def __init__(self, dim: int = 1024):
        super().__init__()
        self.dim = dim
        # In NumPy: once transformers has replaced torch.linspace, a default device may no longer be its device.
        turns = 2 * np.pi * np.outer(np.arange(4), np.arange(fbsp.WINDOW)) / fbsp.WINDOW
        window = np.array([0.35875, -0.48829, 0.14128, -0.01168]) @ np.cos(turns)  # Blackman-Harris, periodic
        self.register_buffer("window", torch.from_numpy(window.astype(np.float32)))
        self.fbsp = fbsp.LinearFBSP()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inside = 64
        for number, count in enumerate(LAYERS):
            width = 128 * 2**number
            blocks = [
                Bottleneck(inside if i == 0 else 2 * width, width, 1 + (number > 0 and i == 0)) for i in range(count)
            ]
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))
            inside = 2 * width
        for number, (given, wanted, kernel) in enumerate(GATES):
            setattr(self, f"att{number + 1}", Gate(given, wanted, kernel))
        self.fc = nn.Linear(2048, dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, waves: Tensor, bank: Tensor | None = None) -> Tensor:
        """(B, C, T) in int16 range at 44.1 kHz -> (B, dim); the channels' vectors are added before ``fc``.

        Args:
            waves: the sounds, T >= 1, on any device.
            bank: filters that are at hand already.
        """
        return self.body(self.listen(waves, bank))

    def body(self, spectrograms: Tensor) -> Tensor:
        """(B, C, 3, 341, n) -> (B, dim)."""
        return self.fc(self.pooled(spectrograms))

    @property
    def last(self) -> nn.Linear:
        """The layer that makes the output of what ``pooled`` returns."""
        return self.fc

    def listen(self, waves: Tensor, bank: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C, 3, 341, n) in dB.

        In eval mode one sound at a time, in one thread: the rounding noise in its silence, which dB amplify, then
        depends neither on its batch nor on the number of threads.
        """
        waves = waves.to(self.window.device)
        if self.training:
            return fbsp.decibels(self.fbsp(fbsp.frames(waves, self.window), bank))
        with one_thread():
            found = [fbsp.decibels(self.fbsp(fbsp.frames(wave, self.window), bank)) for wave in waves.split(1)]
        return torch.cat(found)

    def pooled(self, spectrograms: Tensor) -> Tensor:
        """(B, C, 3, 341, n) -> (B, 2048): each audio channel separately, added up."""
        channels = [list(self.stages(one))[-1][1] for one in spectrograms.unbind(1)]
        return torch.stack(channels).sum(0).flatten(1)

    def stages(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """(B, 3, 341, n) -> each stage's name and features; the last are (B, 2048, 1, 1)."""
        x = x.contiguous(memory_format=torch.channels_last)  # a quarter faster on processors
        yield "conv1", (x := self.conv1(x))
        yield "bn1", (x := self.bn1(x))
        yield "maxpool", (x := F.max_pool2d(F.relu(x), 3, stride=2, padding=1))
        for number in range(1, 5):
            y = getattr(self, f"layer{number}")(x)
            yield f"layer{number}", y
            gate = getattr(self, f"att{number}")(x, y.shape[-2:])
            yield f"att{number}", gate
            x = y * gate
            yield f"gated{number}", x
        yield "avgpool", (y := F.adaptive_avg_pool2d(x, 1))
        gate = self.att5(x, (1, 1))
        yield "att5", gate
        yield "gated5", y * gate


class Bottleneck(nn.Module):
    """ResNeXt's block: 1x1, 3x3 in 32 groups (which strides), 1x1, beside the identity or a projection."""

    def __init__(self, given: int, width: int, stride: int):
        super().__init__()
        wanted = 2 * width
        self.conv1 = nn.Conv2d(given, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, groups=32, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, wanted, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wanted)
        self.downsample: nn.Module | None = None
        if stride != 1 or given != wanted:
            projection = nn.Conv2d(given, wanted, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(wanted))

    def forward(self, x: Tensor) -> Tensor:
        """(B, given, h, w) -> (B, 2 width, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Gate(nn.Module):
    """What a stage's input says of its output, place by place and channel by channel, in (0, 1).

    A kernel (3, 1) runs along frequency, (1, 5) along time.
    """

    def __init__(self, given: int, wanted: int, kernel: tuple[int, int]):
        super().__init__()
        padding = kernel[0] // 2, kernel[1] // 2
        self.conv_depth = nn.Conv2d(given, given, kernel, padding=padding, groups=given)
        self.conv_point = nn.Conv2d(given, wanted, 1)
        self.bn = nn.BatchNorm2d(wanted)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, given, h, w) -> (B, wanted, *size)."""
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(F.adaptive_max_pool2d(x, size)))))
