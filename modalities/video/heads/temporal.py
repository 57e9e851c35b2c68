"""Heads that give a film a vector: CLIP4Clip's (arXiv 2104.08860) and ActionCLIP's (arXiv 2109.08472)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.modalities.video.heads.base import HeadNetwork, attention_heads, mean_of, zero_linear


class Mean(HeadNetwork):
    """The mean of the frames, which learns nothing and knows no order: CLIP4Clip's meanP."""

    def change(self, frames: Tensor, mask: Tensor) -> Tensor:
        return torch.zeros_like(frames)


class SeqLSTM(HeadNetwork):
    """CLIP4Clip's seqLSTM: one layer in one direction, added to the frames."""

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__(dim, frames, layers)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.out = zero_linear(dim, dim)

    def change(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.out(
            self.lstm(frames * frames.shape[-1] ** 0.5)[0]
        )  # padding lies at the end: it is read after all that counts


class SeqTransf(HeadNetwork):
    """CLIP4Clip's seqTransf: position embedding, 4 transformer layers, added to the frames.

    CLIP4Clip begins with the text tower's first layers, this one with random layers behind a zero last one.
    """

    default_layers, one_layer = 4, False

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__(dim, frames, layers)
        self.blocks = transformer(dim, self.shape["layers"])
        self.places = nn.Parameter(0.5 / dim**0.5 * torch.randn(frames, dim))
        self.out = zero_linear(dim, dim)

    def change(self, frames: Tensor, mask: Tensor) -> Tensor:
        given = frames + self.places[: frames.shape[1]]
        return self.out(self.blocks(given, src_key_padding_mask=~mask))


class Transf(SeqTransf):
    """ActionCLIP's Transf: the same with 6 layers."""

    default_layers = 6


class TransfCls(SeqTransf):
    """ActionCLIP's Transf_cls: a class token before the frames, whose output is added to their mean."""

    default_layers = 6

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__(dim, frames, layers)
        self.token = nn.Parameter(dim**-0.5 * torch.randn(dim))

    def vectors(self, frames: Tensor, mask: Tensor) -> Tensor:
        token = self.token.expand(len(frames), 1, -1)
        given = torch.cat([token, frames + self.places[: frames.shape[1]]], 1)
        seen = self.blocks(given, src_key_padding_mask=~F.pad(mask, (1, 0), value=True))
        return F.normalize(mean_of(frames, mask) + self.out(seen[:, 0]), dim=1)


class Conv1D(HeadNetwork):
    """ActionCLIP's Conv_1D: a convolution over three frames in each channel, which begins as its shift of channels.

    Time and channels are transposed for it, where the released code reshapes and so mixes the two. The mean of a linear
    convolution hardly depends on the order of the frames, so a GELU and a layer over the channels stand behind it.
    """

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__(dim, frames, layers)
        self.shift = nn.Conv1d(dim, dim, 3, padding=1, groups=dim, bias=False)
        eighth = dim // 8
        with torch.no_grad():
            self.shift.weight.zero_()
            self.shift.weight[:eighth, 0, 2] = 1  # these see the next frame
            self.shift.weight[eighth : 2 * eighth, 0, 0] = 1  # these the one before
            self.shift.weight[2 * eighth :, 0, 1] = 1
        self.mix = nn.Linear(dim, dim)
        self.out = zero_linear(dim, dim)

    def change(self, frames: Tensor, mask: Tensor) -> Tensor:
        kept = frames.masked_fill(~mask[..., None], 0.0)
        shifted = self.shift(kept.transpose(1, 2)).transpose(1, 2)
        return self.out(F.gelu(self.mix(shifted * frames.shape[-1] ** 0.5)))


def transformer(dim: int, layers: int) -> nn.TransformerEncoder:
    """CLIP's blocks, without dropout: normalised before attention and perceptron, GELU, four times as wide within."""
    block = nn.TransformerEncoderLayer(
        dim, attention_heads(dim), 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(block, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
