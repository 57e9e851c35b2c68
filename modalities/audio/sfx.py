"""The sound-effects tower: a frozen CNN that was trained on professional sound libraries, and a linear head.

The CNN is "X-Sequential-CE" of Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects
Libraries", ISMIR 2022 (CC BY 4.0), an eight-layer network of the PANNs family (Kong et al., arXiv 1912.10211). Its
batch norms are folded into the convolutions, its classifiers are left out, and weights are stored in half precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.modalities.audio.logmel import LogMelConfig, mel_bank

SAMPLE_RATE_HZ = 44_100
N_FFT, HOP, MELS = 2048, 1024, 96
BLOCK, BLOCK_HOP = 100, 50  # frames: 2.3 s and half of that
LOUDEST = 9.457798957824707  # the largest value of the spectrograms that the CNN was trained on
SILENT = 0.05  # a block whose loudest cell is below this says nothing
WIDTHS = (64, 128, 256, 512)


class SfxTower(nn.Module):
    """Waveforms -> vectors, not normalised.

    Args:
        dim: D, the width of the output.
    """

    full_scale = 1.0
    channels = 1  # stereo is mixed
    sample_rate_hz = SAMPLE_RATE_HZ
    mel: Tensor
    window: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        bank = mel_bank(LogMelConfig(SAMPLE_RATE_HZ, N_FFT, HOP, MELS, 0.0))
        self.register_buffer("mel", bank / bank.sum(1, keepdim=True), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        pairs = zip((1, *WIDTHS), WIDTHS, strict=False)
        layers = [(given, wanted) for a, b in pairs for given, wanted in ((a, b), (b, b))]
        self.convs = nn.ModuleList(nn.Conv2d(given, wanted, 3, padding=1) for given, wanted in layers)
        self.head = nn.Linear(WIDTHS[-1], dim)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, C, T) in [-1, 1] -> (B, dim); channels are averaged."""
        return self.body(self.listen(waves))

    def listen(self, waves: Tensor) -> Tensor:
        """(B, C, T) -> (B, 96, n) spectrograms in [0, 1] or so, n = 1 + T // 1024; the peak's level does not matter."""
        x = waves.mean(1)
        x = x / x.abs().amax(1, keepdim=True).clamp(min=1e-9)
        pad = N_FFT // 2
        # reflected at the ends, as torch.stft does; what is too short to be reflected is followed by silence
        x = F.pad(x, (0, max(0, pad + 1 - x.shape[1])))
        spectra = torch.stft(x, N_FFT, HOP, window=self.window, return_complex=True)
        return torch.log10(1 + 10_000 * (self.mel @ spectra.abs().square())) / LOUDEST

    def body(self, heard: Tensor) -> Tensor:
        """(B, 96, n) -> (B, dim)."""
        return self.head(self.pooled(heard))

    @property
    def last(self) -> nn.Linear:
        """The layer that makes the output of what ``pooled`` returns."""
        return self.head

    def pooled(self, heard: Tensor) -> Tensor:
        """(B, 96, n) -> (B, 512): the mean over blocks of 2.3 s, half overlapping, that are not silent.

        What does not fill a block is followed by silence; after the first block, an incomplete one is left out.
        """
        heard = F.pad(heard, (0, max(0, BLOCK - heard.shape[2])))
        blocks = heard.unfold(2, BLOCK, BLOCK_HOP).transpose(1, 2)  # (B, blocks, 96, 100)
        loud = (blocks.amax((2, 3)) >= SILENT).float()
        loud = torch.where(loud.sum(1, keepdim=True) > 0, loud, 1.0)
        found = self.features(blocks.flatten(0, 1)).unflatten(0, blocks.shape[:2])
        return (loud[..., None] * found).sum(1) / loud.sum(1, keepdim=True)

    def features(self, blocks: Tensor) -> Tensor:
        """(B, 96, n) -> (B, 512): the mean over frequency, then the maximum over time; n >= 8."""
        # channels last: a fifth faster on processors
        x = blocks.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        for index, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if index in (1, 3, 5):
                x = F.max_pool2d(x, 2)
        return x.mean(3).amax(2)
