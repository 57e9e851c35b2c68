"""CLIP's ModifiedResNet: convolutions under an attention pool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.backbone.towers.base import Tower, attention_weights, mix, relative_difference, resize_positions


class ResNetTower(Tower):
    """Stages, the value path of the attention pool as dense features, and the pool's attention."""

    capabilities = frozenset({"dense", "stages", "attention"})
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
        tokens = self.stages(x)["layer4"].permute(0, 2, 3, 1)  # (N, h, w, C)
        return self.pool.c_proj(self.pool.v_proj(tokens)).permute(0, 3, 1, 2)

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
        pooled = pool.c_proj(mix(weights[:, :, :1], pool.v_proj(tokens)))[:, 0]
        return {
            **{
                f"stage {name}": relative_difference(stages[name], other)
                for name, other in zip(stages, own, strict=True)
            },
            "attention weights": relative_difference(weights, theirs),
            "projected class token": relative_difference(pooled, encoded),
        }
