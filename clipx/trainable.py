"""An open_clip model as the trainer wants it: any picture size, no padding in the text tower."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clipx.backbone import resize_positions
from clipx.errors import InputError


def short_text_features(model: nn.Module, tokens: Tensor) -> Tensor:
    """(N, context) -> (N, D), run no further than the longest text: the mask is causal, so the result is the same."""
    end = tokens.argmax(1)  # the end-of-text id is the largest
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x), device=x.device), end] @ model.text_projection


def any_size_image_features(model: nn.Module, pixels: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, D) for a ModifiedResNet of any input size: its pool's positions are interpolated."""
    visual: Any = model.visual
    if not hasattr(visual, "attnpool"):
        raise InputError("training at other sizes than the tower's own needs a ModifiedResNet")
    x = visual.stem(pixels)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = stage(x)
    side = visual.image_size // 32
    positions = resize_positions(visual.attnpool.positional_embedding, (side, side), (x.shape[-2], x.shape[-1]))
    return torch.func.functional_call(visual.attnpool, {"positional_embedding": positions}, (x,))
