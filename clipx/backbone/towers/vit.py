"""open_clip's own vision transformer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone.towers.base import (
    Tower,
    attention_weights,
    first_inputs,
    mix,
    relative_difference,
    resize_positions,
    to_map,
)


class ViTTower(Tower):
    """Patch tokens block by block, dense features and attention, where the blocks are plain ones."""

    def __init__(self, visual: Any):
        self.visual, self.stride, self.grid = visual, tuple(visual.patch_size), tuple(visual.grid_size)
        self.blocks = visual.transformer.resblocks
        plain = all(isinstance(block.attn, nn.MultiheadAttention) for block in self.blocks)
        joint = visual.attn_pool is None and visual.proj is not None and visual.pool_type in ("tok", "avg")
        self.capabilities = frozenset(
            ["stages", *["attention", "class_attention"] * plain, *["dense"] * (plain and joint), *["tokens"] * joint]
        )

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        return self._maps(*self._run(x))

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, grid = self._run(x)
        pooled, _ = self.visual._pool(tokens[-1])
        encoded = pooled if self.visual.proj is None else pooled @ self.visual.proj
        return encoded, self._maps(tokens, grid)

    @staticmethod
    def _maps(tokens: list[Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
        return {f"block{i}": to_map(t[:, 1:], grid) for i, t in enumerate(tokens[1:])}

    def dense(self, x: Tensor, path: str) -> Tensor:
        if path == "token":
            tokens, grid = self._run(x)
            last = tokens[-1]
        else:
            tokens, grid = self._run(x, self.blocks[:-1])  # the value path is what becomes of the last
            last = self._value_path(tokens[-1])
        return to_map(self.visual.ln_post(last)[:, 1:] @ self.visual.proj, grid)

    def attention(self, x: Tensor) -> Tensor:
        with first_inputs([block.attn for block in self.blocks]) as inputs:
            self._run(x)
        return torch.stack([self._block_weights(b, y) for b, y in zip(self.blocks, inputs, strict=True)], dim=1)

    @staticmethod
    def _block_weights(block: Any, normed: Tensor) -> Tensor:
        q, k, _ = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
        return attention_weights(q, k, block.attn.num_heads)

    def _run(self, x: Tensor, blocks: Iterable[nn.Module] | None = None) -> tuple[list[Tensor], tuple[int, int]]:
        """Tokens before the first block and after each, each (N, 1 + hw, C), and the grid (h, w)."""
        visual = self.visual
        x = visual.conv1(x)
        grid = x.shape[-2], x.shape[-1]
        x = torch.cat([visual.class_embedding.to(x.dtype).expand(len(x), 1, -1), x.flatten(2).mT], dim=1)
        x = visual.ln_pre(x + resize_positions(visual.positional_embedding, self.grid, grid).to(x.dtype))
        tokens = [x]
        for block in self.blocks if blocks is None else blocks:
            tokens.append(block(tokens[-1]))
        return tokens, grid

    def _value_path(self, x: Tensor) -> Tensor:
        """The last block, every token attending to itself alone."""
        block = self.blocks[-1]
        attn = block.attn
        _, _, w = attn.in_proj_weight.chunk(3)
        _, _, b = attn.in_proj_bias.chunk(3)
        x = x + block.ls_1(attn.out_proj(F.linear(block.ln_1(x), w, b)))
        return x + block.ls_2(block.mlp(block.ln_2(x)))

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        tokens, _ = self._run(x)
        found = {}
        if self.visual.attn_pool is None:  # else this is CoCa, whose encode_image normalises
            pooled, _ = self.visual._pool(tokens[-1])
            found["projected class token"] = relative_difference(pooled @ self.visual.proj, encoded)
        if "attention" in self.capabilities:
            weights = self.attention(x)
            for i, block in enumerate(self.blocks):
                normed = block.ln_1(tokens[i])
                mixed, torchs = block.attn(normed, normed, normed, need_weights=True, average_attn_weights=False)
                found[f"attention weights of block {i}"] = relative_difference(weights[:, i], torchs)
            values = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)[2]
            found["value path"] = relative_difference(block.attn.out_proj(mix(weights[:, -1], values)), mixed)
        return found
