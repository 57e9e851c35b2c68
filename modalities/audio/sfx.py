"""The sound-effects tower: a network that was trained on professional sound libraries, frozen, and a linear layer.

The network is "X-Sequential-CE" of Ma and Lerch, "Representation Learning for the Automatic Indexing of Sound Effects
Libraries", ISMIR 2022 (CC BY 4.0): eight 3 x 3 convolutions, and three of its nine classifiers, whose outputs are named
in ``categories``. Batch norms are folded into the convolutions; weights are stored in half precision.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx._arrays import to_array
from clipx.errors import FileError
from clipx.modalities.audio.categories import CATEGORIES
from clipx.modalities.audio.spectrograms import SFX_MEL, sfx_log_mel
from clipx.modalities.audio.weights import SFX, WEIGHTS

NETWORK = SFX / WEIGHTS
SAMPLE_RATE_HZ = SFX_MEL.sample_rate_hz
WIDTHS = (64, 128, 256, 512)


class SfxTower(nn.Module):
    """Waveforms -> vectors, not normalised.

    In the paper the network processes blocks of 2.3 s, and the mean over blocks is taken. Here it processes a whole
    window at once and takes the maximum over time: silence around a short sound does little harm.

    Args:
        dim: D, the width of the output.
    """

    kind = "sfx"
    full_scale = 1.0
    channels = 1  # stereo is mixed
    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.network = SfxNetwork()
        self.head = nn.Linear(WIDTHS[-1] + sum(map(len, CATEGORIES)), dim)

    def forward(self, waves: Tensor) -> Tensor:
        """(B, C, T) in [-1, 1], on any device -> (B, dim); channels are averaged."""
        return self.body(self.listen(waves))

    def listen(self, waves: Tensor) -> Tensor:
        """(B, C, T) -> (B, 96, n) without gradient, on the tower's device: ``sfx_log_mel``."""
        return torch.from_numpy(sfx_log_mel(to_array(waves))).to(self.head.weight.device)

    def body(self, mels: Tensor) -> Tensor:
        """(B, 96, n) -> (B, dim)."""
        return self.head(self.pooled(mels))

    @property
    def last(self) -> nn.Linear:
        """The layer that makes the output of what ``pooled`` returns."""
        return self.head

    def pooled(self, mels: Tensor) -> Tensor:
        """(B, 96, n) -> (B, 512 + 226): features, and the square roots of the categories' probabilities."""
        features = self.network.features(mels)
        return torch.cat([features, *(p.sqrt() for p in self.network.categories(features))], dim=1)


class SfxNetwork(nn.Module):
    """The frozen part: (B, 96, n) log-mel spectrograms -> features -> probabilities of categories."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip((1, *WIDTHS), WIDTHS, strict=False)
        layers = [(given, wanted) for a, b in pairs for given, wanted in ((a, b), (b, b))]
        self.convs = nn.ModuleList(nn.Conv2d(given, wanted, 3, padding=1) for given, wanted in layers)
        width = WIDTHS[-1]
        self.classifiers = nn.ModuleList(
            nn.Sequential(
                *(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width // 4), nn.ReLU()),
                nn.Linear(width // 4, len(names)),
            )
            for names in CATEGORIES
        )

    def features(self, mels: Tensor) -> Tensor:
        """(B, 96, n) -> (B, 512): the mean over frequency, then the maximum over time; n >= 8."""
        # channels last: a fifth faster on processors
        x = mels.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        for index, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if index in (1, 3, 5):
                x = F.max_pool2d(x, 2)
        return x.mean(3).amax(2)

    def categories(self, features: Tensor) -> list[Tensor]:
        """(B, 512) -> three (B, K) probabilities, named by ``CATEGORIES``."""
        return [classifier(features).softmax(1) for classifier in self.classifiers]


@lru_cache(maxsize=1)
def network_state() -> dict[str, Tensor]:
    """The frozen part's weights, float32.

    Raises:
        FileError: they are missing or corrupt.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {key: value.float() for key, value in load_file(NETWORK).items()}
    except (OSError, SafetensorError) as error:
        raise FileError(
            "the sound-effects network is missing or corrupt", where=NETWORK, remedy="install clipx again"
        ) from error
