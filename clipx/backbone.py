"""open_clip behind one class: every touch of its internals is in this file, with a self-test.

open_clip moves its internals between releases; then ``Backbone.self_test`` fails instead of features going wrong.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import clipx
from clipx.domains import PHOTO, DomainCLIP
from clipx.errors import ClipxError, InputError, MissingDependencyError, SpaceError, UnsupportedError
from clipx.identity import Stamp, identity
from clipx.preprocess import Preprocess

Tokenizer = Callable[[Sequence[str]], Tensor]
TOLERANCES = {torch.float16: 2e-2, torch.bfloat16: 0.12}  # of self-tests, some 16 roundings; 1e-4 in other dtypes


class Backbone:
    """A frozen open_clip model. Everything takes pixels that are already normalised; nothing is unit norm yet.

    Frozen means: no parameter takes a gradient, ``train()`` does nothing, BatchNorm never drifts. Gradients reach the
    pixels.

    Args:
        model: an open_clip ``CLIP``, ``CustomTextCLIP`` or ``CoCa``; frozen here, in place.
        tokenizer: texts -> (N, context) token ids; None where there is none, and then ``encode_text`` raises.
        preprocess: the image tower's preprocessing.
        architecture: the architecture's name, for messages and identity.
        dim: D, the width of the joint space.
        domains: picture domain -> how its tower wants pictures prepared, of a ``DomainCLIP``.

    Attributes:
        logit_scale: what cosine is multiplied by before a softmax (the exponential of the stored parameter).
        logit_bias: what sigmoid-loss models add to that; None elsewhere.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer | None,
        preprocess: Preprocess,
        architecture: str,
        dim: int,
        domains: Mapping[str, Preprocess] | None = None,
    ):
        self.domains = dict(domains or {})
        self.photos: Backbone = self  # of a view of a domain, the whole
        self.model: Any = freeze(model)
        self.tokenizer, self.preprocess = tokenizer, preprocess
        self.architecture, self.dim = architecture, dim
        # read once, so that computing in half precision does not round them
        self.logit_scale = float(model.logit_scale.detach().cpu().double().exp())
        self.logit_bias = None if getattr(model, "logit_bias", None) is None else float(model.logit_bias)
        self.tower = _tower(model.visual)
        self.origin: tuple[Stamp, str] | None = None  # the file of the weights, and what else decides them

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.logit_scale.dtype

    @property
    def stride(self) -> tuple[int, int]:
        """Pixels (high, wide) under one cell of ``dense`` and ``attention``."""
        return self.tower.stride

    @property
    def any_size(self) -> bool:
        """Whether ``dense``, ``stages`` and ``attention`` take sizes other than ``preprocess.size``."""
        return self.tower.any_size

    def supports(self, capability: str) -> bool:
        """Whether this tower can do ``"dense"``, ``"tokens"``, ``"stages"`` or ``"attention"``.

        ``"class_attention"``: whether that is the attention of a class token, block by block, rather than a pool's.
        """
        return capability in self.tower.capabilities

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> (N, D), not normalised.

        Raises:
            InputError: a text is longer than the context; open_clip would cut it without a word.
            UnsupportedError: there is no tokenizer.
        """
        if self.tokenizer is None:
            raise UnsupportedError("this space has no tokenizer", where=self.architecture, remedy="load weights")
        return self.model.encode_text(self.tokenizer(texts).to(self.device))

    def of_domain(self, name: str) -> Backbone:
        """The same model as it looks at pictures of a domain, weights shared; itself, where it has no such domain."""
        if name == PHOTO or name not in self.domains:
            return self.photos
        view = copy.copy(self.photos)
        view.model, view.preprocess = self.photos.model.of_domain(name), self.domains[name]
        view.tower = _tower(view.model.visual)
        return view

    def encode_with_domain(self, x: Tensor) -> tuple[Tensor, list[str]]:
        """(N, 3, *size) -> (N, D) as ``encode_image``, and the picture domain of each, "photo" if it has no other."""
        x = x.to(self.device, self.dtype)
        if not self.domains:
            return self.model.encode_image(x), [PHOTO] * len(x)
        rows, which = self.photos.model.encode_with_domain(x)
        return rows, [self.model.domains[i] for i in which.tolist()]

    @property
    def averages(self) -> bool:
        """Whether a picture's vector is the mean of its cells', so that even the last stage says what is where."""
        return getattr(self.tower, "averaged", False)

    @property
    def adds_words(self) -> bool:
        """Whether the text tower adds up what words mean, whatever their order, so that a context is one more word."""
        return isinstance(self.model, DomainCLIP)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """(N, L) token ids -> (N, L, W), what the text tower begins with, before positions are added.

        Raises:
            UnsupportedError: as ``encode_embedded``.
        """
        return self._causal_text().token_embedding(tokens.to(self.device))

    def encode_embedded(self, embedded: Tensor, end: Tensor) -> Tensor:
        """(N, L, W) as ``embed_tokens`` makes them -> (N, D), not normalised; gradients reach the embeddings.

        Args:
            embedded: token embeddings, L at most the context.
            end: (N,) where each text ends, the place of its end-of-text token; the mask is causal, so what stands
                behind it does not matter.

        Raises:
            UnsupportedError: the text tower is not CLIP's causal one.
        """
        text, length = self._causal_text(), embedded.shape[1]
        cast = text.transformer.get_cast_dtype()
        x = embedded.to(self.device, cast) + text.positional_embedding[:length].to(cast)
        x = text.ln_final(text.transformer(x, attn_mask=text.attn_mask[:length, :length]))
        x, project = x[torch.arange(len(x), device=x.device), end.to(x.device)], text.text_projection
        return x if project is None else project(x) if isinstance(project, nn.Module) else x @ project

    def _causal_text(self) -> Any:
        """The module with the text tower's parts, if it is one that pools at the end of the text."""
        text = getattr(self.model, "text", self.model)
        pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
        causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
        if pool not in ("argmax", "eos") or not causal or not hasattr(text, "token_embedding"):
            raise UnsupportedError(
                f"this text tower ({type(text).__name__}) takes no token embeddings; only CLIP's own causal one does",
                where=self.architecture,
                remedy="take a space such as nano or ViT-B-32-quickgelu/openai",
            )
        return text

    def encode_image(self, x: Tensor) -> Tensor:
        """(N, 3, *size) -> (N, D), not normalised."""
        return self.model.encode_image(x.to(self.device, self.dtype))

    def dense(self, x: Tensor, path: str = "value") -> Tensor:
        """(N, 3, H, W), sides multiples of ``stride`` -> (N, D, H / stride, W / stride) in the joint space.

        Args:
            x: normalised pixels.
            path: ``"value"`` sends each location through the last attention's value and output projections and
                skips its mixing (MaskCLIP, Zhou et al., ECCV 2022), which keeps the location; ``"token"`` projects the
                plain last patch tokens (as PointCLIP V2 does), ViT only.
        """
        self._require("tokens" if path == "token" else "dense")
        return self.tower.dense(x.to(self.device, self.dtype), path)

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """(N, 3, H, W) -> features by stage, each (N, C, h, w), from the first to the last, or to the one named.

        ModifiedResNet: ``stem``, ``layer1`` to ``layer4``. Transformers: ``block0``, ``block1``, ...: patch tokens
        after each block. Other timm towers: ``stage0``, ``stage1``, ...

        Raises:
            UnsupportedError: the tower has no stages. InputError: none of the name ``last``.
        """
        self._require("stages")
        found = self.tower.stages(x.to(self.device, self.dtype), last)
        if last is None:
            return found
        names = list(found)
        if last not in names:
            raise InputError(f"no stage {last!r}", where=self.architecture, remedy=f"one of {', '.join(names)}")
        return {name: found[name] for name in names[: names.index(last) + 1]}

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """``encode_image`` and ``stages`` of (N, 3, *size) in one pass."""
        self._require("stages")
        return self.tower.encode_with_stages(x.to(self.device, self.dtype))

    def attention(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, layers, heads, 1 + hw, 1 + hw) attention weights; token 0 is the class token.

        A ModifiedResNet has one such layer, its attention pool, whose token 0 is the mean of the others.
        """
        self._require("attention")
        return self.tower.attention(x.to(self.device, self.dtype))

    def self_test(self, x: Tensor, tolerance: float | None = None) -> dict[str, float]:
        """Compare every hand-written path with the model's own forward pass; differences relative to the largest value.

        Args:
            x: (N, 3, *size) normalised pixels.
            tolerance: the largest relative difference allowed; by default that of ``self.dtype``, see ``TOLERANCES``.

        Raises:
            SpaceError: open_clip's internals are not what this file expects.
        """
        with torch.no_grad():
            encoded = self.encode_image(x)
            found = self.tower.self_test(x.to(self.device, self.dtype), encoded)
            if "stages" in self.tower.capabilities:
                together = F.normalize(self.encode_with_stages(x)[0], dim=-1)  # CoCa's encode_image normalises
                found["encoded with stages"] = _difference(together, F.normalize(encoded, dim=-1))
        tolerance = TOLERANCES.get(self.dtype, 1e-4) if tolerance is None else tolerance
        for what, difference in found.items():
            if not difference <= tolerance:
                raise SpaceError(
                    f"self-test failed: {what} differs by {difference:.2g} (at most {tolerance:.2g})",
                    where=self.architecture,
                    remedy="install the open_clip_torch version that clipx asks for",
                )
        return found

    def weights_sha256(self) -> str:
        """SHA-256 over names, shapes and float32 values of the weights; the same for every file format."""
        return state_sha256(self.model.state_dict())

    def loaded_sha256(self) -> str:
        """``weights_sha256`` of weights that are as they were loaded: from the user's cache where the file is known."""
        if self.origin is None:
            return self.weights_sha256()
        return identity(*self.origin, self.weights_sha256)

    def other_image_weight(self, state: Mapping[str, Tensor]) -> str | None:
        """The first parameter of the image tower that is missing in ``state`` or differs there; None if all are equal.

        Rounding to half precision on either side is no difference. Only parameters are compared: BatchNorm statistics
        drift in training loops that leave a frozen tower in ``train()``.

        Args:
            state: open_clip's names without ``visual.`` -> tensors.
        """
        for name, parameter in self.model.visual.named_parameters():
            own, other = parameter.detach().cpu(), state.get(name)
            if other is None or other.shape != own.shape:
                return name
            rounding = max(torch.finfo(kind).eps for kind in (own.dtype, torch.float16))  # twice the largest
            own, other = own.float(), other.detach().cpu().float()
            if not (own - other).norm() <= rounding * own.norm():  # also where one is not finite
                return name
        return None

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Backbone:
        """Move in place."""
        self.model.to(device=device, dtype=dtype)
        return self

    def _require(self, capability: str) -> None:
        if not self.supports(capability):
            can = ", ".join(sorted(self.tower.capabilities)) or "none of dense, stages, attention"
            raise UnsupportedError(
                f"this image tower ({type(self.model.visual).__name__}) has no {capability}; it has {can}",
                where=self.architecture,
                remedy="take a ViT or RN space, such as nano or ViT-B-32-quickgelu/openai",
            )


def freeze(model: nn.Module) -> nn.Module:
    """Freeze in place: no gradient to any parameter (logit scale included), eval mode that ``train()`` cannot leave."""
    model.requires_grad_(False).eval()
    for module in model.modules():
        module.train = partial(_stay, module)  # type: ignore[method-assign]  # survives deepcopy and pickle
    return model


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 values of a state dict, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().float().contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


# Image towers ---------------------------------------------------------------------------------------------------------


def _tower(visual: nn.Module) -> _Tower:
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    for kind, tower in ((ModifiedResNet, _ResNet), (VisionTransformer, _ViT), (TimmModel, _Timm)):
        if isinstance(visual, kind):
            return tower(visual)
    raise SpaceError(f"image tower {type(visual).__name__} is not one clipx knows", remedy="take a ViT or RN one")


class _Tower:
    """What one family of image towers can do beyond ``encode_image``."""

    capabilities: frozenset[str] = frozenset()
    stride: tuple[int, int]
    any_size = True  # whether dense, stages and attention take sizes other than the tower's own

    def dense(self, x: Tensor, path: str) -> Tensor:
        raise NotImplementedError

    def stages(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """What comes behind the stage ``last`` need not be computed."""
        raise NotImplementedError

    def encode_with_stages(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError

    def attention(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        raise NotImplementedError


class _ResNet(_Tower):
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
        return _weights(self.pool.q_proj(tokens), self.pool.k_proj(tokens), self.pool.num_heads)[:, None]

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
        pooled = pool.c_proj(_mix(weights[:, :, :1], pool.v_proj(tokens)))[:, 0]
        return {
            **{f"stage {name}": _difference(stages[name], other) for name, other in zip(stages, own, strict=True)},
            "attention weights": _difference(weights, theirs),
            "projected class token": _difference(pooled, encoded),
        }


class _ViT(_Tower):
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
        return {f"block{i}": _to_map(t[:, 1:], grid) for i, t in enumerate(tokens[1:])}

    def dense(self, x: Tensor, path: str) -> Tensor:
        if path == "token":
            tokens, grid = self._run(x)
            last = tokens[-1]
        else:
            tokens, grid = self._run(x, self.blocks[:-1])  # the value path is what becomes of the last
            last = self._value_path(tokens[-1])
        return _to_map(self.visual.ln_post(last)[:, 1:] @ self.visual.proj, grid)

    def attention(self, x: Tensor) -> Tensor:
        with _tapped([block.attn for block in self.blocks]) as inputs:
            self._run(x)
        return torch.stack([self._block_weights(b, y) for b, y in zip(self.blocks, inputs, strict=True)], dim=1)

    @staticmethod
    def _block_weights(block: Any, normed: Tensor) -> Tensor:
        q, k, _ = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)
        return _weights(q, k, block.attn.num_heads)

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
            found["projected class token"] = _difference(pooled @ self.visual.proj, encoded)
        if "attention" in self.capabilities:
            weights = self.attention(x)
            for i, block in enumerate(self.blocks):
                normed = block.ln_1(tokens[i])
                mixed, torchs = block.attn(normed, normed, normed, need_weights=True, average_attn_weights=False)
                found[f"attention weights of block {i}"] = _difference(weights[:, i], torchs)
            values = F.linear(normed, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=-1)[2]
            found["value path"] = _difference(block.attn.out_proj(_mix(weights[:, -1], values)), mixed)
        return found


class _Timm(_Tower):
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
        return _to_map(values, (x.shape[-2] // self.stride[0], x.shape[-1] // self.stride[1]))

    def _finish(self, values: Tensor) -> Tensor:
        """(N, L, C) pooled values -> (N, L, D), by what follows the mixing in the pool and after it."""
        pool, trunk = self.trunk.attn_pool, self.trunk
        values = pool.proj(values)
        return self.visual.head(trunk.head(trunk.fc_norm(values + pool.mlp(pool.norm(values)))))

    def attention(self, x: Tensor) -> Tensor:
        with _tapped([block.attn for block in self.trunk.blocks]) as inputs:
            self.trunk.forward_features(x)
        return torch.stack([self._block_weights(b.attn, y) for b, y in zip(self.trunk.blocks, inputs, strict=True)], 1)

    @staticmethod
    def _block_weights(attn: Any, normed: Tensor) -> Tensor:
        q, k, _ = attn.qkv(normed).chunk(3, dim=-1)
        q, k = _per_head(attn.q_norm, q, attn.num_heads), _per_head(attn.k_norm, k, attn.num_heads)
        return _weights(q, k, attn.num_heads)

    def self_test(self, x: Tensor, encoded: Tensor) -> dict[str, float]:
        found = {}
        if self.averaged:
            found["mean of the cells"] = _difference(self.dense(x, "value").mean((2, 3)), encoded)
        elif "dense" in self.capabilities:
            pool, tokens = self.trunk.attn_pool, self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
            k, v = pool.kv(tokens).chunk(2, dim=-1)
            q = pool.q(pool.latent).expand(len(x), -1, -1)
            q, k = _per_head(pool.q_norm, q, pool.num_heads), _per_head(pool.k_norm, k, pool.num_heads)
            pooled = self._finish(_mix(_weights(q, k, pool.num_heads), v))[:, 0]
            found["projected pool"] = _difference(pooled, encoded)
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
            found["attention weights"] = _difference(ours, torch.stack(own, dim=1))
        if "stages" in self.capabilities and self.vit:
            last = list(self.stages(x).values())[-1].flatten(2).mT
            tokens = self.trunk.forward_features(x)[:, self.trunk.num_prefix_tokens :]
            found["last stage"] = _difference(self.trunk.norm(last), tokens)
        return found


def _averages(trunk: Any) -> bool:
    """Whether a timm trunk ends in a map of features, averaged over places, and nothing after it."""
    pool = getattr(trunk, "global_pool", None)
    convolutional = "pool_size" in getattr(trunk, "default_cfg", {}) and hasattr(trunk, "conv_head")
    return convolutional and getattr(pool, "pool_type", None) == "avg" and trunk.num_classes == 0


def _is_linear(head: nn.Module) -> bool:
    return all(isinstance(part, nn.Linear | nn.Dropout | nn.Identity) for part in head.children())


def _to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, hw, C) -> (N, C, h, w)."""
    return tokens.mT.unflatten(-1, grid)


def resize_positions(embedding: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """(1 + hw, C) positions of one grid -> those of another, bicubic; the class token's stays."""
    if tuple(grid) == tuple(wanted):
        return embedding
    first, rest = embedding[:1], embedding[1:]
    rest = rest.mT.unflatten(-1, grid)[None].float()
    rest = F.interpolate(rest, tuple(wanted), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, rest[0].flatten(1).mT.to(first.dtype)])


def _per_head(norm: nn.Module, x: Tensor, heads: int) -> Tensor:
    """Normalise (N, L, C) head by head."""
    return norm(x.unflatten(-1, (heads, -1))).flatten(-2)


def _weights(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """(N, Lq, C), (N, Lk, C) -> attention weights (N, heads, Lq, Lk)."""
    q, k = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
    return ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(dim=-1)


def _mix(weights: Tensor, values: Tensor) -> Tensor:
    """(N, heads, Lq, Lk), (N, Lk, C) -> (N, Lq, C)."""
    values = values.unflatten(-1, (weights.shape[1], -1)).transpose(1, 2)
    return (weights @ values).transpose(1, 2).flatten(2)


def _difference(ours: Tensor, theirs: Tensor | None) -> float:
    """Largest difference, relative to the largest value."""
    if theirs is None or ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-12))


@contextmanager
def _tapped(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect each module's first positional input while the block runs. Nothing else changes."""
    inputs: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, kwargs: dict) -> None:  # returning a value would replace the input
        inputs.append(args[0])

    hooks = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in modules]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


# Creation -------------------------------------------------------------------------------------------------------------

CONFIG = "open_clip_config.json"
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
OPENAI_KEYS = {"input_resolution", "context_length", "vocab_size"}
HUB_EXTRA = "pip install 'clipx-senses[hub]'"
WAYS_OUT = "without the hub, take the embedded space lite or a local folder or weights file"


def create(architecture: str, pretrained: str | PathLike) -> Backbone:
    """A built-in architecture of open_clip with pretrained weights.

    Args:
        architecture: one of ``open_clip.list_models()``, such as ``"ViT-B-32-quickgelu"``.
        pretrained: a tag that open_clip knows for it (downloaded, or taken from the hub's cache), or a weights file
            (.safetensors, .pt, .pth, .bin). A file's preprocessing comes from an ``open_clip_config.json`` beside it,
            or is that of the architecture's tags where all agree.

    Raises:
        SpaceError: unknown architecture or tag, weights that cannot be had or do not fit, QuickGELU mismatch, unknown
            preprocessing or tokenizer. A file that gives no hint of its activation cannot be checked for QuickGELU.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    config = model_config(architecture)
    tag = get_pretrained_cfg(architecture, str(pretrained))
    if tag:
        _check_quick_gelu(architecture, config, tag.get("quick_gelu", False), f"tag {pretrained}")
        path = _fetch_tag(tag, f"{architecture}/{pretrained}")
        return build(config, tag, architecture=architecture, weights=path, fit_positions=True)
    path = Path(pretrained).expanduser()
    if not path.is_file():
        tags = list_pretrained_tags_by_model(architecture)
        raise SpaceError(
            f"{str(pretrained)!r} is neither a weights file nor a pretrained tag of {architecture}",
            remedy=f"tags: {', '.join(tags)}" if tags else f"open_clip knows no tags for {architecture}",
        )
    beside = _read_config(path.parent) if (path.parent / CONFIG).is_file() else {}
    stamp = Stamp.of(path)
    state = read_weights(path)
    openai = bool(OPENAI_KEYS & set(state))  # numbers that OpenAI's archives carry among their weights
    state = {name: value for name, value in state.items() if name not in OPENAI_KEYS}
    _check_quick_gelu(architecture, config, openai or _told_quick_gelu(path, beside), f"weights {path}")
    preprocess = beside.get("preprocess_cfg") or _agreed_preprocess(architecture, path)
    return build(config, preprocess, architecture=architecture, weights=state, where=str(path), stamp=stamp)


def create_from_folder(folder: str | PathLike) -> Backbone:
    """A folder in open_clip's own layout: ``open_clip_config.json`` beside one weights file.

    Raises:
        SpaceError: no or malformed config, no or several weights files, preprocessing or tokenizer unknown.
    """
    folder = Path(folder)
    config = _read_config(folder)
    found = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    named = [p for p in found if p.stem in ("open_clip_model", "open_clip_pytorch_model", "model", "pytorch_model")]
    safe = [p for p in named if p.suffix == ".safetensors"]
    candidates = safe or named or found
    if not candidates:
        raise SpaceError("the folder holds no weights", where=folder, remedy="put open_clip_model.safetensors into it")
    if len(candidates) > 1:
        names = ", ".join(p.name for p in candidates)
        raise SpaceError(f"several weights files: {names}", where=folder, remedy="keep one")
    preprocess = config.get("preprocess_cfg")
    if not preprocess:
        raise SpaceError(
            "preprocessing is unknown: no preprocess_cfg", where=folder / CONFIG, remedy="give mean, std, resize_mode"
        )
    return build(
        config["model_cfg"],
        preprocess,
        architecture=folder.name,
        weights=candidates[0],
        tokenizer_folder=folder,
    )


def create_from_hub(repository: str) -> Backbone:
    """A model of the Hugging Face hub, ``"organisation/name"``; the hub's cache serves when offline.

    Raises:
        SpaceError: the hub cannot be reached, has no such model, or the model is not an open_clip one.
    """
    config = _read_config(_fetch(repository, [CONFIG]).parent)
    weights = _fetch(repository, WEIGHT_FILES)
    preprocess = config.get("preprocess_cfg") or {}
    return build(config["model_cfg"], preprocess, architecture=repository.replace("/", "-"), weights=weights)


def build(
    config: Mapping[str, Any],
    preprocess: Mapping[str, Any],
    *,
    architecture: str,
    weights: Path | Mapping[str, Tensor],
    fit_positions: bool = False,
    tokenizer_folder: Path | None = None,
    where: str | None = None,
    stamp: Stamp | None = None,
    tokenizer: Tokenizer | None = None,
) -> Backbone:
    """A frozen backbone from its parts.

    Args:
        config: open_clip's ``model_cfg``.
        preprocess: open_clip's ``preprocess_cfg``.
        architecture: name for messages and identity.
        weights: a file or a state dict; every parameter must be there, and nothing else.
        fit_positions: resample positional embeddings of another size, as open_clip does for its own tags.
        tokenizer_folder: where a Hugging Face tokenizer's files lie; fetched by the name in the config when None.
        where: what messages call the weights; their path by default.
        stamp: of the file that a state dict was read from, taken before.
        tokenizer: the text tower's; the one that the config names when None.
    """
    if not isinstance(weights, Mapping):
        with suppress(OSError):  # missing: reported below
            stamp = Stamp.of(weights)
    state = weights if isinstance(weights, Mapping) else read_weights(weights)
    where = where or (architecture if isinstance(weights, Mapping) else str(weights))
    model = build_model(config)
    load_state(model, state, where=where, fit_positions=fit_positions)
    tokenizer = tokenizer or build_tokenizer(config, tokenizer_folder, where=where)
    sized = Preprocess.from_config(preprocess, size=_pair(model.visual.image_size), where=where)
    prepared = {PHOTO: sized}
    for tower, entry in config.get("towers", {}).items():
        size = _pair(model.towers[tower].image_size)
        prepared[tower] = Preprocess.from_config(entry["preprocess_cfg"], size=size, where=where)
    domains = {name: prepared[tower] for name, tower in config.get("domains", {}).items()}
    backbone = Backbone(model, tokenizer, sized, architecture, config["embed_dim"], domains)
    if stamp is not None:
        made = json.dumps([config, fit_positions], sort_keys=True, default=str)
        backbone.origin = stamp, f"open_clip {version('open_clip_torch')}, clipx {clipx.__version__}, weights of {made}"
    return backbone


def random_backbone(
    config: Mapping[str, Any], preprocess: Mapping[str, Any] | None, architecture: str, seed: int
) -> Backbone:
    """A frozen backbone with random weights, for tests. A tokenizer that lives on the hub is left out."""
    model = build_model(config, seed)
    for name, parameter in model.named_parameters():
        if name.endswith("bn3.weight"):  # open_clip starts residual branches at zero, which would leave nothing to test
            parameter.data.fill_(1)
    preprocess = {"mean": 0.5, "std": 0.5, **(preprocess or {})}
    text = config.get("text_cfg", {})
    elsewhere = text.get("hf_tokenizer_name") or text.get("hf_model_name") or has_lexicon(config)
    tokenizer = None if elsewhere else build_tokenizer(config)
    sized = Preprocess.from_config(preprocess, size=_pair(model.visual.image_size), where=architecture)
    return Backbone(model, tokenizer, sized, architecture, config["embed_dim"])


# Towers in training -----------------------------------------------------------------------------------------------


def require_trainable(model: Any, where: str = CONFIG) -> None:
    """Refuse (InputError) a model that ``short_text_features`` and ``any_size_image_features`` do not fit."""
    plain_text = getattr(model, "text_pool_type", None) == "argmax" and getattr(model, "attn_mask", None) is not None
    tower = _tower(model.visual)
    vit = isinstance(tower, _ViT) and {"dense", "tokens"} <= tower.capabilities
    if not (plain_text and (vit or isinstance(tower, _ResNet))):
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

    if isinstance(_tower(visual), _ViT):
        # On a processor the fused kernel's backward is slower than plain products: 430 pictures a second, not 600.
        with sdpa_kernel(SDPBackend.MATH) if pixels.device.type == "cpu" else nullcontext():
            return _ViT(visual).encode_with_stages(pixels)[0]
    tower = _ResNet(visual)
    x = tower.stages(pixels)["layer4"]
    positions = resize_positions(tower.pool.positional_embedding, tower.grid, (x.shape[-2], x.shape[-1]))
    return torch.func.functional_call(tower.pool, {"positional_embedding": positions}, (x,))


def build_model(config: Mapping[str, Any], seed: int = 0) -> Any:
    """An open_clip model with random weights, as open_clip initialises them: trainable, in train mode.

    The global random state is left as it was.

    Raises:
        SpaceError: open_clip refuses the config, or its text tower has to come from the hub and cannot.
    """
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    arguments = copy.deepcopy(dict(config))
    hub_text = arguments.get("text_cfg", {}).get("hf_model_name")
    custom = arguments.pop("custom_text", False) or bool(hub_text)
    kind: Any = CoCa if "multimodal_cfg" in arguments else CustomTextCLIP if custom else CLIP
    if has_lexicon(config):
        kind = DomainCLIP
    try:
        if hub_text:
            arguments["text_cfg"]["hf_model_pretrained"] = False
        for entry in (arguments, *arguments.get("towers", {}).values()):
            if "timm_model_name" in entry["vision_cfg"]:
                entry["vision_cfg"]["timm_model_pretrained"] = False
        with _fetching(hub_text) if hub_text else nullcontext(), torch.random.fork_rng(devices=[]):
            if hub_text:
                import_module("transformers")  # where it is absent, open_clip raises what cannot be told apart
            torch.random.default_generator.manual_seed(seed)
            return kind(**arguments)
    except ClipxError:
        raise
    except Exception as error:  # whatever a malformed config runs into
        raise SpaceError(f"open_clip cannot build this model_cfg: {_first_line(error)}", where=CONFIG) from error


def has_lexicon(config: Mapping[str, Any]) -> bool:
    """Whether a ``model_cfg`` is that of a ``DomainCLIP``, whose text tower is a lexicon."""
    return "phrases" in config.get("text_cfg", {})


def build_tokenizer(config: Mapping[str, Any], folder: Path | None = None, *, where: str = CONFIG) -> Tokenizer:
    """The tokenizer that a ``model_cfg`` names: the standard CLIP one, or a Hugging Face one.

    The result refuses (InputError) a text that is longer than the context.

    Raises:
        SpaceError: the tokenizer cannot be had, or its vocabulary is not the model's.
    """
    if has_lexicon(config):
        raise SpaceError("its words are in vocabulary.json: it loads as an embedded space", where=where)
    text = config.get("text_cfg", {})
    context = text.get("context_length", 77)
    options = dict(text.get("tokenizer_kwargs") or {})
    if text.get("hf_tokenizer_name") or text.get("hf_model_name"):
        from open_clip.tokenizer import HFTokenizer

        source = text.get("hf_tokenizer_name")
        if not source:
            raise SpaceError("tokenizer is unknown: text_cfg has hf_model_name but no hf_tokenizer_name", where=where)
        if folder is not None:
            if not [*folder.glob("tokenizer*"), *folder.glob("*.model"), *folder.glob("vocab*")]:
                raise SpaceError("tokenizer files are missing", where=folder, remedy=f"save {source}'s tokenizer there")
            source = str(folder)
        if folder is None and not _reachable():
            options["local_files_only"] = True  # the hub's cache may hold it
        with _fetching(f"tokenizer {source}"):
            hub = HFTokenizer(source, context_length=context, tokenizer_mode=text.get("tokenizer_mode"), **options)
        return _Tokenizer(hub, lambda t: len(hub.tokenizer(hub.clean_fn(t)).input_ids), context)
    simple = _simple_tokenizer(context, **options)
    if simple.vocab_size != text.get("vocab_size", 49408):
        raise SpaceError(
            f"tokenizer is unknown: the model has {text['vocab_size']} tokens, CLIP's own {simple.vocab_size}",
            where=where,
            remedy="name the tokenizer in text_cfg.hf_tokenizer_name",
        )
    return _Tokenizer(simple, lambda t: len(simple.encode(t)) + 2, context)


@lru_cache(maxsize=8)
def _simple_tokenizer(context: int, **options: Any) -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer(context_length=context, **options)


class _Tokenizer:
    """A tokenizer that refuses what it would cut."""

    def __init__(self, tokenize: Callable[[list[str]], Tensor], length: Callable[[str], int], context: int):
        self.tokenize, self.length, self.context = tokenize, length, context

    def __call__(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            # a token is at least a byte, so short texts need no second look
            if len(text.encode()) > self.context - 2 and self.length(text) > self.context:
                raise InputError(
                    f"a text of {self.length(text)} tokens does not fit the {self.context} this space reads",
                    where=f"{text[:40]}...",
                    remedy="shorten it",
                )
        return self.tokenize(list(texts))


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, .pt, .pth or .bin. No pickled code is ever run.

    Raises:
        SpaceError: missing, torn, a TorchScript archive, or not a state dict.
    """
    if not path.is_file():
        raise SpaceError("weights are missing", where=path, remedy="check the path")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "TorchScript" in str(error):
            raise SpaceError(
                "this is a TorchScript archive (OpenAI's own download), which is code and not loaded",
                where=path,
                remedy="take the same weights by tag, such as ViT-B-32-quickgelu/openai, or save its state_dict",
            ) from error
        raise SpaceError(
            f"weights cannot be read: {_first_line(error)}", where=path, remedy="fetch them again; safetensors is best"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise SpaceError("the file holds no state dict", where=path, remedy="save model.state_dict()")
    return {name.removeprefix("module."): value for name, value in state.items()}


def load_state(model: Any, weights: Mapping[str, Tensor], *, where: str, fit_positions: bool = False) -> None:
    """Load every parameter, strictly; older open_clip layouts are converted, as open_clip does.

    Raises:
        SpaceError: names or shapes differ.
    """
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed

    state: dict[str, Tensor] = dict(convert_state_dict(model, dict(weights)))
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):  # a scalar in some releases, one element in others
        own = getattr(model, name, None)
        if own is not None and name in state and state[name].numel() == 1:
            state[name] = state[name].reshape(own.shape)
    position_ids = "text.transformer.embeddings.position_ids"  # a buffer of older transformers
    if position_ids in state and position_ids not in model.state_dict():
        del state[position_ids]
    if fit_positions:
        resize_pos_embed(state, model)
        resize_text_pos_embed(state, model)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise SpaceError(
            f"weights do not fit the architecture: {' '.join(lines)[:200]}", where=where, remedy="name the right one"
        ) from error


def model_config(architecture: str) -> dict[str, Any]:
    """open_clip's ``model_cfg`` of a built-in architecture (a copy).

    Raises:
        SpaceError: no such architecture.
    """
    from open_clip.factory import get_model_config, list_models

    if architecture not in list_models():
        near = difflib.get_close_matches(architecture, list_models(), n=3)
        raise SpaceError(
            f"open_clip has no architecture {architecture!r}",
            remedy=f"did you mean {', '.join(near)}?" if near else "see clipx spaces for the names",
        )
    return get_model_config(architecture)


def pretrained_tags() -> list[tuple[str, str]]:
    """Every (architecture, tag) that open_clip knows and clipx loads."""
    from open_clip.factory import get_model_config
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    def fits(architecture: str, tag: str) -> bool:
        config = get_model_config(architecture)
        quick_gelu = get_pretrained_cfg(architecture, tag).get("quick_gelu", False)
        return config is not None and quick_gelu == config.get("quick_gelu", False)

    return [pair for pair in list_pretrained() if fits(*pair)]


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {_first_line(error)}"
        raise SpaceError(why, where=path, remedy="write it as open_clip's local-dir does") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise SpaceError("has no model_cfg", where=path, remedy="give the architecture as open_clip's local-dir does")
    missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config["model_cfg"])
    if missing:
        raise SpaceError(f"model_cfg lacks {', '.join(sorted(missing))}", where=path)
    return config


def _check_quick_gelu(architecture: str, config: Mapping[str, Any], trained_with: bool | None, what: str) -> None:
    """Weights trained with one activation give silently wrong features with the other (open_clip #771)."""
    built_with = config.get("quick_gelu", False)
    if trained_with is None or trained_with == built_with:
        return
    name = architecture.removesuffix("-quickgelu") if built_with else f"{architecture}-quickgelu"
    raise SpaceError(
        f"QuickGELU mismatch: {what} was trained {'with' if trained_with else 'without'} QuickGELU, {architecture} is "
        f"built {'with' if built_with else 'without'}",
        remedy=f"take {name}",
    )


def _told_quick_gelu(path: Path, beside: Mapping[str, Any]) -> bool | None:
    """What a weights file's surroundings say of its activation; None when they say nothing."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    if "model_cfg" in beside:
        return bool(beside["model_cfg"].get("quick_gelu", False))
    for tag in (get_pretrained_cfg(*pair) for pair in list_pretrained()):
        hub = tag.get("hf_hub", "").strip("/")
        named = tag.get("url", "").rsplit("/", 1)[-1] == path.name
        cached = bool(hub) and f"models--{hub.replace('/', '--')}" in path.parts
        if named or cached:
            return bool(tag.get("quick_gelu", False))
    return True if "quickgelu" in path.name.lower() else None


def _agreed_preprocess(architecture: str, path: Path) -> dict[str, Any]:
    """The preprocessing of an architecture's tags where all agree; a bare file says nothing of its own."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    keys = ("mean", "std", "interpolation", "resize_mode")
    tags = [get_pretrained_cfg(architecture, t) for t in list_pretrained_tags_by_model(architecture)]
    known = {tuple(tag[k] for k in keys) for tag in tags}
    if len(known) != 1:
        raise SpaceError(
            f"preprocessing is unknown: the tags of {architecture} {'disagree' if known else 'do not exist'}",
            where=path,
            remedy=f"put an {CONFIG} with model_cfg and preprocess_cfg beside the weights",
        )
    return dict(zip(keys, known.pop(), strict=True))


def _fetch_tag(tag: Mapping[str, Any], what: str) -> Path:
    from open_clip.pretrained import download_pretrained

    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    if repository:
        return _fetch(repository, [file] if file else WEIGHT_FILES)
    with _fetching(what):
        return Path(download_pretrained(tag))


def _fetch(repository: str, files: Sequence[str]) -> Path:
    """The first of the files that the hub has, or its cache; the cache is not asked whether it is fresh."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    with _fetching(repository):
        for file in files:
            cached = try_to_load_from_cache(repository, file)
            if isinstance(cached, str):
                return Path(cached)
        if not _reachable():
            raise _unreachable(repository)
        for file in files:
            try:
                return Path(hf_hub_download(repository, file))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
    raise SpaceError(f"{repository} has none of {', '.join(files)}", remedy="name a model made for open_clip")


def _reachable() -> bool:
    """One quick question; the hub's own client retries for most of a minute before it gives up."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:
        return False
    return True


@contextmanager
def _fetching(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while fetching into one line that says offline, absent or not installed."""
    try:
        yield
    except ClipxError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs a package: {_first_line(error)}", remedy=HUB_EXTRA) from error
    except Exception as error:
        chain, link = [type(error).__name__], error.__cause__ or error.__context__
        while link is not None:
            chain.append(type(link).__name__)
            link = link.__cause__ or link.__context__
        if {"RepositoryNotFoundError", "RemoteEntryNotFoundError", "GatedRepoError"} & set(chain):
            raise SpaceError(f"the hub has no {what}, or asks for a login", remedy="check the name") from error
        if not _reachable():
            raise _unreachable(what) from error
        raise SpaceError(f"cannot fetch {what}: {_first_line(error)}", remedy=WAYS_OUT) from error


def _unreachable(what: str) -> SpaceError:
    return SpaceError(f"cannot fetch {what}: this machine is offline, or the hub cannot be reached", remedy=WAYS_OUT)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
