"""open_clip's own vision transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone.towers.base import (
    Tower,
    attention_weights,
    first_inputs,
    relative_difference,
    resize_positions,
    to_map,
)
from clipx.backbone.towers.paths import DENSE_PATHS, AttentionParts, LastBlock, by_parts_difference, heads_of, merged


class ViTTower(Tower):
    """Patch tokens block by block, dense features and attention, where the blocks are plain ones."""

    def __init__(self, visual: Any):
        self.visual, self.stride, self.grid = visual, tuple(visual.patch_size), tuple(visual.grid_size)
        self.blocks = visual.transformer.resblocks
        plain = all(isinstance(block.attn, nn.MultiheadAttention) for block in self.blocks)
        joint = visual.attn_pool is None and visual.proj is not None and visual.pool_type in ("tok", "avg")
        self.capabilities = frozenset(
            ["stages", *["attention", "class_attention", "keys"] * plain]
            + ["dense"] * (plain and joint)
            + ["tokens"] * joint
        )
        possible = {"token"} if joint else set()
        if plain and joint:  # earlier blocks calibrate the last, so that there must be some
            possible = set(DENSE_PATHS) - ({"sc-clip"} if len(self.blocks) < 2 else set())
        self.paths = tuple(name for name in DENSE_PATHS if name in possible)

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
        tokens, grid = self._run(x, self.blocks[:-1])  # the path is what becomes of the last
        return to_map(self.visual.ln_post(DENSE_PATHS[path](tokens, self._last(), grid)) @ self.visual.proj, grid)

    def keys(self, x: Tensor) -> Tensor:
        tokens, grid = self._run(x, self.blocks[:-1])
        last = self._last()
        return to_map(merged(last.attention.key(last.norm(tokens[-1][:, 1:]))), grid)

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

    def _last(self) -> LastBlock:
        block: Any = self.blocks[-1]
        attn = block.attn

        def part(i: int) -> Callable[[Tensor], Tensor]:
            w, b = (t.chunk(3)[i] for t in (attn.in_proj_weight, attn.in_proj_bias))
            return lambda y: heads_of(F.linear(y, w, b), attn.num_heads)

        return LastBlock(
            attention=AttentionParts(part(0), part(1), part(2), lambda mixed: block.ls_1(attn.out_proj(merged(mixed)))),
            norm=block.ln_1,
            feed_forward=lambda x: block.ls_2(block.mlp(block.ln_2(x))),
            whole=block,
            prefix=1,
        )

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
                _, torchs = block.attn(normed, normed, normed, need_weights=True, average_attn_weights=False)
                found[f"attention weights of block {i}"] = relative_difference(weights[:, i], torchs)
        if "dense" in self.capabilities:
            found["last block by its parts"] = by_parts_difference(self._last(), tokens[-2], tokens[-1])
        return found
