"""CLIP's ModifiedResNet: convolutions under an attention pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.backbone.towers.base import Tower, attention_weights, mix, relative_difference, resize_positions, to_map
from clipx.backbone.towers.paths import MIXING, AttentionParts, heads_of, merged, pooled


class ResNetTower(Tower):
    """Stages, dense features by the attention pool over the places, and the pool's attention."""

    capabilities = frozenset({"dense", "stages", "attention", "keys"})
    paths = tuple(MIXING)
    stride = (32, 32)

    def __init__(self, visual: Any):
        self.visual, self.pool = visual, visual.attnpool
        side = visual.image_size // 32
        self.grid = (side, side)

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        found = {}
        for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
            x = found[name] = getattr(self.visual, name)(x)
            if name == last:
                break
        return found

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found = self.stages(x)
        return self.pool(found["layer4"]), found

    def dense(self, x: Tensor, path: str) -> Tensor:
        features = self.stages(x)["layer4"]
        grid = features.shape[-2], features.shape[-1]
        return to_map(pooled(path, self._parts(grid), features.flatten(2).mT, grid), grid)

    def keys(self, x: Tensor) -> Tensor:
        features = self.stages(x)["layer4"]
        grid = features.shape[-2], features.shape[-1]
        return to_map(merged(self._parts(grid).key(features.flatten(2).mT)), grid)

    def _parts(self, grid: tuple[int, int]) -> AttentionParts:
        """The pool over places without their mean: queries and keys know the place, values are what it shows alone."""
        pool = self.pool
        positions = resize_positions(pool.positional_embedding, self.grid, grid)[1:]
        return AttentionParts(
            query=lambda x: heads_of(pool.q_proj(x + positions.to(x.dtype)), pool.num_heads),
            key=lambda x: heads_of(pool.k_proj(x + positions.to(x.dtype)), pool.num_heads),
            value=lambda x: heads_of(pool.v_proj(x), pool.num_heads),
            out=lambda mixed: pool.c_proj(merged(mixed)),
        )

    def attention(self, x: Tensor) -> Tensor:
        tokens = self._pool_tokens(self.stages(x)["layer4"])
        return attention_weights(self.pool.q_proj(tokens), self.pool.k_proj(tokens), self.pool.num_heads)[:, None]

    def _pool_tokens(self, features: Tensor) -> Tensor:  # (N, C, h, w) -> (N, 1 + hw, C), the mean first
        tokens = features.flatten(2).mT
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        grid = features.shape[-2], features.shape[-1]
        return tokens + resize_positions(self.pool.positional_embedding, self.grid, grid).to(tokens.dtype)

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        own = self.visual.forward_intermediates(x, intermediates_only=True)["image_intermediates"]
        stages, weights = self.stages(x), self.attention(x)[:, 0]
        tokens, pool = self._pool_tokens(stages["layer4"]), self.pool
        rows = tokens.transpose(0, 1)
        theirs = F.multi_head_attention_forward(
            query=rows, key=rows, value=rows, embed_dim_to_check=rows.shape[-1], num_heads=pool.num_heads,
            in_proj_weight=None, in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0, training=False,
            out_proj_weight=pool.c_proj.weight, out_proj_bias=pool.c_proj.bias, use_separate_proj_weight=True,
            q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
            need_weights=True, average_attn_weights=False,
        )[1]  # fmt: skip
        places = stages["layer4"].flatten(2).mT
        parts = self._parts((stages["layer4"].shape[-2], stages["layer4"].shape[-1]))
        own_places = attention_weights(merged(parts.query(places)), merged(parts.key(places)), pool.num_heads)
        among = weights[..., 1:, 1:] / weights[..., 1:, 1:].sum(-1, keepdim=True)  # without the mean token
        one = pool.c_proj(mix(weights[:, :, :1], pool.v_proj(tokens)))[:, 0]
        return {
            **{
                f"stage {name}": relative_difference(stages[name], other)
                for name, other in zip(stages, own, strict=True)
            },
            "attention weights": relative_difference(weights, theirs),
            "attention among places": relative_difference(own_places, among),
            "projected class token": relative_difference(one, encoded),
        }
