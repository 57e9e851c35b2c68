"""The towers of a model in training: any picture size, and texts run no further than their end."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from clipx.backbone.config import CONFIG
from clipx.backbone.towers import ResNetTower, ViTTower, resize_positions, tower_of
from clipx.errors import InputError


def require_trainable(model: Any, where: str = CONFIG) -> None:
    """Refuse (InputError) a model that ``short_text_features`` and ``any_size_image_features`` do not fit."""
    plain_text = getattr(model, "text_pool_type", None) == "argmax" and getattr(model, "attn_mask", None) is not None
    tower = tower_of(model.visual)
    vit = isinstance(tower, ViTTower) and {"dense", "tokens"} <= tower.capabilities
    if not (plain_text and (vit or isinstance(tower, ResNetTower))):
        raise InputError("the trainer takes a ModifiedResNet or a plain ViT, and CLIP's causal text tower", where=where)


def short_text_features(model: Any, tokens: Tensor) -> Tensor:
    """(N, context) -> (N, D), run no further than the longest text: the mask is causal, so the result is the same.

    ``model`` need only have the text tower's parts; the end-of-text id is the largest of ``tokens``.
    """
    end = tokens.argmax(1)
    length = int(end.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x), device=x.device), end] @ model.text_projection


def any_size_image_features(visual: Any, pixels: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, D) of a ModifiedResNet or a ViT, positions interpolated where H, W are not its own size."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if isinstance(tower_of(visual), ViTTower):
        # On a processor the fused kernel's backward is slower than plain products: 430 pictures a second, not 600.
        with sdpa_kernel(SDPBackend.MATH) if pixels.device.type == "cpu" else nullcontext():
            return ViTTower(visual).encode_with_stages(pixels)[0]
    tower = ResNetTower(visual)
    x = tower.stages(pixels)["layer4"]
    positions = resize_positions(tower.pool.positional_embedding, tower.grid, (x.shape[-2], x.shape[-1]))
    return torch.func.functional_call(tower.pool, {"positional_embedding": positions}, (x,))
