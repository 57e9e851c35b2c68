"""CLIP4Clip's tight head: text and frames are read together, and a score comes out (arXiv 2104.08860, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.modalities.video.heads.base import HeadNetwork, unit_mean, zero_linear
from clipx.modalities.video.heads.temporal import transformer

_PAIRS_AT_ONCE = 4096


class Tight(HeadNetwork):
    """A cross encoder over [text; frames], whose score is added to the cosine of the mean of the frames.

    It has no vector of a film, so it ranks and names films that it reads together with each text, and cannot fill an
    index. A text is one vector here, where CLIP4Clip gives its tokens.
    """

    default_layers, one_layer, gives_vectors = 4, False, False

    def __init__(self, dim: int, frames: int, layers: int | None = None):
        super().__init__(dim, frames, layers)
        self.blocks = transformer(dim, self.shape["layers"])
        self.places = nn.Parameter(0.5 / dim**0.5 * torch.randn(frames, dim))
        self.kinds = nn.Parameter(0.5 / dim**0.5 * torch.randn(2, dim))  # of the text, and of frames
        self.out = zero_linear(dim, 1)

    def forward(self, frames: Tensor, mask: Tensor, text: Tensor) -> Tensor:
        plain = unit_mean(frames, mask) @ text.T
        given = frames + self.places[: frames.shape[1]] + self.kinds[1]
        asked = text + self.kinds[0]
        count = max(1, _PAIRS_AT_ONCE // len(frames))
        found = [self._added(given, mask, some) for some in asked.split(count)]
        return plain + torch.cat(found, 1)

    def _added(self, given: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        """(B, T, D) frames and (K, D) texts -> (B, K)."""
        films, texts = len(given), len(asked)
        pairs = torch.cat([
            asked.expand(films, -1, -1)[:, :, None], given[:, None].expand(-1, texts, -1, -1)
        ], 2).flatten(0, 1)  # fmt: skip
        seen = self.blocks(pairs, src_key_padding_mask=~F.pad(mask, (1, 0), value=True).repeat_interleave(texts, 0))
        return self.out(seen[:, 0]).view(films, texts)
