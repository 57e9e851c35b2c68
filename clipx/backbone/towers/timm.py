"""Trunks of timm: SigLIP's transformers, convolutions such as EfficientNet, and others."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from clipx.backbone.towers.base import (
    Tower,
    attention_weights,
    first_inputs,
    mix,
    per_head,
    relative_difference,
    to_map,
)


class TimmTower(Tower):
    """timm trunks: stages where timm gives intermediates; the rest where the trunk is timm's own plain ViT.

    A convolutional trunk whose features are averaged and then mapped linearly is dense, too: the map commutes with the
    average, so that each cell has a vector of its own, and the picture's is their mean.
    """

    any_size = False  # timm fixes the positions (or windows) of most trunks at creation

    def __init__(self, visual: Any):
        from timm.layers import Attention, AttentionPoolLatent
        from timm.models.vision_transformer import VisionTransformer

        self.visual, self.trunk = visual, visual.trunk
        self.vit = isinstance(self.trunk, VisionTransformer)
        self.stride = tuple(visual.image_size)
        self.averaged = not self.vit and _averages(self.trunk) and _is_linear(visual.head)
        can = {"stages"} if hasattr(self.trunk, "forward_intermediates") else set()
        if self.vit:
            self.stride = tuple(self.trunk.patch_embed.patch_size)
            pool = self.trunk.attn_pool
            siglip = isinstance(pool, AttentionPoolLatent) and pool.pool == "token" and pool.pos_embed is None
            if siglip and pool.mlp is not None and not self.trunk.pool_include_prefix:
                can.add("dense")
            # without a class token (SigLIP) there is no token 0 for the maps to speak of
            if self.trunk.num_prefix_tokens == 1 and all(type(b.attn) is Attention for b in self.trunk.blocks):
                can |= {"attention", "class_attention"}
        if self.averaged:
            can.add("dense")
            self.any_size, side = True, self.trunk.feature_info[-1]["reduction"]
            self.stride = (side, side)
        self.capabilities = frozenset(can)

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        number = re.fullmatch(r"(?:block|stage)(\d+)", last or "")
        depth = len(getattr(self.trunk, "feature_info", ()))
        some = list(range(int(number[1]) + 1)) if number and int(number[1]) < depth else None
        early = {"indices": some, "stop_early": some is not None}
        return self._maps(self.trunk.forward_intermediates(x, intermediates_only=True, **early))

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        last, maps = self.trunk.forward_intermediates(x)
        return self.visual.head(self.trunk.forward_head(last)), self._maps(maps)

    def _maps(self, maps: list[Tensor]) -> dict[str, Tensor]:
        return {f"{'block' if self.vit else 'stage'}{i}": y for i, y in enumerate(maps)}

    def dense(self, x: Tensor, path: str) -> Tensor:
        """Convolutions: what is averaged, mapped cell by cell. SigLIP: its attention pool on each value alone."""
        if self.averaged:
            return self.visual.head(self.trunk.forward_features(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        pool, tokens = self.trunk.attn_pool, self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
        values = self._finish(pool.kv(tokens).chunk(2, dim=-1)[1])
        return to_map(values, (x.shape[-2] // self.stride[0], x.shape[-1] // self.stride[1]))

    def _finish(self, values: Tensor) -> Tensor:
        """(N, L, C) pooled values -> (N, L, D), by what follows the mixing in the pool and after it."""
        pool, trunk = self.trunk.attn_pool, self.trunk
        values = pool.proj(values)
        return self.visual.head(trunk.head(trunk.fc_norm(values + pool.mlp(pool.norm(values)))))

    def attention(self, x: Tensor) -> Tensor:
        with first_inputs([block.attn for block in self.trunk.blocks]) as inputs:
            self.trunk.forward_features(x)
        return torch.stack([self._block_weights(b.attn, y) for b, y in zip(self.trunk.blocks, inputs, strict=True)], 1)

    @staticmethod
    def _block_weights(attn: Any, normed: Tensor) -> Tensor:
        q, k, _ = attn.qkv(normed).chunk(3, dim=-1)
        q, k = per_head(attn.q_norm, q, attn.num_heads), per_head(attn.k_norm, k, attn.num_heads)
        return attention_weights(q, k, attn.num_heads)

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        found = {}
        if self.averaged:
            found["mean of the cells"] = relative_difference(self.dense(x, "value").mean((2, 3)), encoded)
        elif "dense" in self.capabilities:
            pool, tokens = self.trunk.attn_pool, self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
            k, v = pool.kv(tokens).chunk(2, dim=-1)
            q = pool.q(pool.latent).expand(len(x), -1, -1)
            q, k = per_head(pool.q_norm, q, pool.num_heads), per_head(pool.k_norm, k, pool.num_heads)
            pooled = self._finish(mix(attention_weights(q, k, pool.num_heads), v))[:, 0]
            found["projected pool"] = relative_difference(pooled, encoded)
        if "attention" in self.capabilities:
            own: list[Tensor] = []
            blocks, ours = self.trunk.blocks, self.attention(x)
            fused = [block.attn.fused_attn for block in blocks]
            hooks = [b.attn.attn_drop.register_forward_pre_hook(lambda _, args: own.append(args[0])) for b in blocks]
            try:
                for block in blocks:
                    block.attn.fused_attn = False  # the plain path alone makes the weights
                self.trunk.forward_features(x)
            finally:
                for block, was, hook in zip(blocks, fused, hooks, strict=True):
                    block.attn.fused_attn = was
                    hook.remove()
            found["attention weights"] = relative_difference(ours, torch.stack(own, dim=1))
        if "stages" in self.capabilities and self.vit:
            last = list(self.stages(x).values())[-1].flatten(2).mT
            tokens = self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
            found["last stage"] = relative_difference(self.trunk.norm(last), tokens)
        return found


def _averages(trunk: Any) -> bool:
    """Whether a timm trunk ends in a map of features, averaged over places, and nothing after it."""
    pool = getattr(trunk, "global_pool", None)
    convolutional = "pool_size" in getattr(trunk, "default_cfg", {}) and hasattr(trunk, "conv_head")
    return convolutional and getattr(pool, "pool_type", None) == "avg" and trunk.num_classes == 0


def _is_linear(head: nn.Module) -> bool:
    return all(isinstance(part, nn.Linear | nn.Dropout | nn.Identity) for part in head.children())
