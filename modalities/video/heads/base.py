"""What all heads have in common: frame vectors of one film in, its vector or its score with texts out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.errors import InputError


class HeadNetwork(nn.Module):
    """A head on frozen frame vectors.

    Each one is a residual to the mean of the frames whose last layer begins at zero: before training it is exactly
    ``Mean``. Frames are padded to one number and masked; what stands in the padding changes nothing.

    Args:
        dim: D, of the frame vectors.
        frames: most frames of a film; of longer films so many are taken, see ``spread``.
        layers: of the network; None for the published number. Heads of one layer take None or 1.

    Raises:
        InputError: sizes out of range.
    """

    default_layers = 1
    one_layer = True
    gives_vectors = True  # else it has no vector of a film, only a score with a text

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__()
        layers = self.default_layers if layers is None else layers
        if min(dim, frames, layers) < 1 or (self.one_layer and layers != 1):
            most = "1" if self.one_layer else "at least 1"
            raise InputError(f"a head takes {most} layers, of at least 1 frame and dimension, got {layers}, {frames}")
        self.shape = {"dim": dim, "frames": frames, "layers": layers}

    def vectors(self, frames: Tensor, mask: Tensor) -> Tensor:
        """The vector of each film.

        Args:
            frames: (B, T, D) unit vectors in the order of their times.
            mask: (B, T) bool, true where there is a frame; at least one a film, and padding at the end.

        Returns:
            (B, D) unit vectors.
        """
        return unit_mean(frames + self.change(frames, mask), mask)

    def change(self, frames: Tensor, mask: Tensor) -> Tensor:
        """What is added to the frame vectors, (B, T, D); arguments as of ``vectors``."""
        raise NotImplementedError

    def forward(self, frames: Tensor, mask: Tensor, text: Tensor) -> Tensor:
        """Scores of films with texts, which stand where cosines do.

        Args:
            frames, mask: see ``vectors``.
            text: (K, D) unit vectors.

        Returns:
            (B, K).
        """
        return self.vectors(frames, mask) @ text.T


def unit_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """The mean of the frames of each film, of unit norm: (B, T, D) and (B, T) -> (B, D)."""
    return F.normalize(mean_of(frames, mask), dim=1)


def mean_of(frames: Tensor, mask: Tensor) -> Tensor:
    """The mean of the frames of each film: (B, T, D) and (B, T) -> (B, D)."""
    return frames.masked_fill(~mask[..., None], 0.0).sum(1) / mask.sum(1, keepdim=True)


def zero_linear(inner: int, dim: int) -> nn.Linear:
    """A last layer that begins at zero."""
    layer = nn.Linear(inner, dim)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def attention_heads(dim: int) -> int:
    """CLIP's number, one for 64 channels, or the largest below it that divides them."""
    return next(count for count in range(max(1, dim // 64), 0, -1) if dim % count == 0)


def spread(count: int, most: int) -> list[int]:
    """Which of ``count`` frames are taken: all, or the middles of ``most`` equal parts."""
    return list(range(count)) if count <= most else [(2 * i + 1) * count // (2 * most) for i in range(most)]


def padded(films: list[Tensor], most: int) -> tuple[Tensor, Tensor]:
    """Frame vectors of B films, (T_i, D) each -> (B, T, D) and the mask (B, T); of long films ``spread`` frames."""
    taken = [film[spread(len(film), most)] for film in films]
    frames = nn.utils.rnn.pad_sequence(taken, batch_first=True)
    counts = torch.tensor([len(film) for film in taken])
    return frames, torch.arange(frames.shape[1]) < counts[:, None]
