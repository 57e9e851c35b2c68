"""Trunks of timm: SigLIP's transformers, convolutions such as EfficientNet, and others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone.towers.base import (
    Tower,
    attention_weights,
    first_inputs,
    mix,
    per_head,
    relative_difference,
    to_map,
)
from clipx.backbone.towers.paths import DENSE_PATHS, AttentionParts, LastBlock, by_parts_difference, heads_of, merged


class TimmTower(Tower):
    """timm trunks: stages where timm gives intermediates; the rest where the trunk is timm's own plain ViT.

    A convolutional trunk whose features are averaged and then mapped linearly is dense, too: the map commutes with the
    average, so that each cell has a vector of its own, and the picture's is their mean.
    """

    any_size = False  # timm fixes the positions (or windows) of most trunks at creation

    def __init__(self, visual: Any):
        from timm.layers import Attention, AttentionPoolLatent
        from timm.models.vision_transformer import Block, VisionTransformer

        self.visual, self.trunk = visual, visual.trunk
        self.vit = isinstance(self.trunk, VisionTransformer)
        self.stride = tuple(visual.image_size)
        self.averaged = not self.vit and _averages(self.trunk) and _is_linear(visual.head)
        can = {"stages"} if hasattr(self.trunk, "forward_intermediates") else set()
        if self.vit:
            self.stride = tuple(self.trunk.patch_embed.patch_size)
            pool = self.trunk.attn_pool
            siglip = isinstance(pool, AttentionPoolLatent) and pool.pool == "token" and pool.pos_embed is None
            plain = type(self.trunk) is VisionTransformer and all(
                type(b) is Block and _is_plain(b.attn, Attention) for b in self.trunk.blocks
            )
            if siglip and pool.mlp is not None and not self.trunk.pool_include_prefix:
                can |= {"dense", "keys"}
                self.paths = ("value",)
            elif pool is None and plain and self.trunk.global_pool in ("token", "avg"):
                can |= {"dense", "keys", "tokens"}
                calibrated = self.trunk.cls_token is not None and len(self.trunk.blocks) > 1
                self.paths = tuple(name for name in DENSE_PATHS if calibrated or name != "sc-clip")
            # without a class token (SigLIP) there is no token 0 for the maps to speak of
            if self.trunk.num_prefix_tokens == 1 and all(type(b.attn) is Attention for b in self.trunk.blocks):
                can |= {"attention", "class_attention"}
        if self.averaged:
            can.add("dense")
            self.paths = ("value",)
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
        if self.trunk.attn_pool is not None:
            return to_map(self._finish(self._pool_keys_and_values(x)[1]), self._grid(x))
        tokens = DENSE_PATHS[path](self._run(x), self._last(), self._grid(x))
        return to_map(self._project(tokens), self._grid(x))

    def keys(self, x: Tensor) -> Tensor:
        if (pool := self.trunk.attn_pool) is not None:
            return to_map(per_head(pool.k_norm, self._pool_keys_and_values(x)[0], pool.num_heads), self._grid(x))
        last = self._last()
        return to_map(merged(last.attention.key(last.norm(self._run(x)[-1][:, last.prefix :]))), self._grid(x))

    def _project(self, tokens: Tensor) -> Tensor:
        """(N, L, C) after the last block of a plain ViT -> (N, L, D), as it does with what it pools."""
        return self.visual.head(self.trunk.head(self.trunk.fc_norm(self.trunk.norm(tokens))))

    def _grid(self, x: Tensor) -> tuple[int, int]:
        return x.shape[-2] // self.stride[0], x.shape[-1] // self.stride[1]

    def _run(self, x: Tensor) -> list[Tensor]:
        """Tokens before the first block of a plain ViT and after each but the last, each (N, prefix + hw, C)."""
        trunk = self.trunk
        tokens = [trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(x))))]
        for block in trunk.blocks[:-1]:
            tokens.append(block(tokens[-1]))
        return tokens

    def _last(self) -> LastBlock:
        block = self.trunk.blocks[-1]
        attn = block.attn

        def part(i: int, norm: nn.Module | None = None) -> Callable[[Tensor], Tensor]:
            w, b = attn.qkv.weight.chunk(3)[i], None if attn.qkv.bias is None else attn.qkv.bias.chunk(3)[i]
            plain = nn.Identity() if norm is None else norm
            return lambda y: plain(heads_of(F.linear(y, w, b), attn.num_heads))

        def mixed_out(mixed: Tensor) -> Tensor:
            return block.ls1(attn.proj(merged(mixed)))

        return LastBlock(
            attention=AttentionParts(part(0, attn.q_norm), part(1, attn.k_norm), part(2), mixed_out),
            norm=block.norm1,
            feed_forward=lambda y: block.ls2(block.mlp(block.norm2(y))),
            whole=block,
            prefix=self.trunk.num_prefix_tokens,
        )

    def _pool_keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, hw, C) each, before the norm of the keys."""
        tokens = self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
        keys, values = self.trunk.attn_pool.kv(tokens).chunk(2, dim=-1)
        return keys, values

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
        elif "tokens" in self.capabilities:
            block, before = self._last(), self._run(x)[-1]
            after = block.whole(before)
            found["last block by its parts"] = by_parts_difference(block, before, after)
            found["tokens"] = relative_difference(self.trunk.norm(after), self.trunk.forward_features(x))
            if self.trunk.global_pool == "token":
                found["projected class token"] = relative_difference(self._project(after)[:, 0], encoded)
        elif "dense" in self.capabilities:
            pool, (k, v) = self.trunk.attn_pool, self._pool_keys_and_values(x)
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


def _is_plain(attn: Any, kind: type) -> bool:
    """Whether a timm attention is query, key, value and projection, with nothing in between but norms of q and k."""
    return (
        type(attn) is kind
        and getattr(attn, "gate", None) is None
        and isinstance(getattr(attn, "norm", None), nn.Identity)
    )


def _averages(trunk: Any) -> bool:
    """Whether a timm trunk ends in a map of features, averaged over places, and nothing after it."""
    pool = getattr(trunk, "global_pool", None)
    convolutional = "pool_size" in getattr(trunk, "default_cfg", {}) and hasattr(trunk, "conv_head")
    return convolutional and getattr(pool, "pool_type", None) == "avg" and trunk.num_classes == 0


def _is_linear(head: nn.Module) -> bool:
    return all(isinstance(part, nn.Linear | nn.Dropout | nn.Identity) for part in head.children())
