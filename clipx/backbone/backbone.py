"""A frozen open_clip model behind one class, with a self-test of every hand-written path."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone.domain_clip import DomainCLIP
from clipx.backbone.tokenizer import Tokenizer
from clipx.backbone.towers import tower_of
from clipx.backbone.towers.base import relative_difference
from clipx.backbone.towers.paths import path_name
from clipx.backbone.weights import freeze, state_sha256
from clipx.domains import PHOTO
from clipx.errors import InputError, SpaceError, UnsupportedError
from clipx.identity import Stamp, identity
from clipx.preprocess import Preprocess

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
        self.tower = tower_of(model.visual)
        self.origin: tuple[Stamp, str] | None = None  # the file of the weights, and what else decides them
        self.config: Mapping[str, Any] | None = None  # open_clip's model_cfg that it was built from

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
        """Whether this tower can do ``"dense"``, ``"tokens"``, ``"stages"``, ``"keys"`` or ``"attention"``.

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
        return self.model.encode_text(torch.as_tensor(self.tokenizer(texts)).to(self.device))

    def of_domain(self, name: str) -> Backbone:
        """The same model as it looks at pictures of a domain, weights shared; itself, where it has no such domain."""
        if name == PHOTO or name not in self.domains:
            return self.photos
        view = copy.copy(self.photos)
        view.model, view.preprocess = self.photos.model.of_domain(name), self.domains[name]
        view.tower = tower_of(view.model.visual)
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

    @property
    def reads_embeddings(self) -> bool:
        """Whether ``embed_tokens`` and ``encode_embedded`` work: the text tower is CLIP's causal one."""
        try:
            self._causal_text()
        except UnsupportedError:
            return False
        return True

    def ends(self, tokens: Tensor) -> Tensor:
        """(N, L) token ids -> (N,) where each text ends, the place of its end-of-text token."""
        text = self._causal_text()
        if getattr(text, "text_pool_type", getattr(text, "pool_type", None)) == "eos":
            end: int = getattr(text, "text_eos_id", getattr(text, "eos_id", -1))
            return tokens.eq(end).int().argmax(1)
        return tokens.argmax(1)

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
        x = self._read_embedded(embedded, text.positional_embedding[:length], text.attn_mask[:length, :length])
        x = text.ln_final(x)
        return self._project_text(x[torch.arange(x.shape[0], device=x.device), end.to(x.device)])

    def encode_packed(self, embedded: Tensor, places: Tensor, mask: Tensor, ends: Tensor) -> Tensor:
        """K texts with a common beginning in one sequence, N of them: (N, L, W) -> (N, K, D), not normalised.

        Args:
            embedded: as ``embed_tokens`` makes them; the beginning once, then what each text has of its own.
            places: (L,) where each token stands in its own text.
            mask: (L, L), 0 where a token sees another and -inf where it does not.
            ends: (K,) places in the sequence of the texts' end-of-text tokens.

        Raises:
            UnsupportedError: as ``encode_embedded``.
        """
        text = self._causal_text()
        x = self._read_embedded(embedded, text.positional_embedding[places.to(self.device)], mask.to(self.device))
        return self._project_text(text.ln_final(x[:, ends.to(x.device)]))

    def _read_embedded(self, embedded: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(N, L, W), the (L, W) embeddings of positions and the (L, L) mask -> (N, L, W) after the last block."""
        transformer = self._causal_text().transformer
        cast = transformer.get_cast_dtype()
        return transformer(embedded.to(self.device, cast) + positions.to(cast), attn_mask=mask)

    def _project_text(self, x: Tensor) -> Tensor:
        project = self._causal_text().text_projection
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
                remedy="take a space such as ViT-B-32-quickgelu/openai",
            )
        return text

    def encode_image(self, x: Tensor) -> Tensor:
        """(N, 3, *size) -> (N, D), not normalised."""
        return self.model.encode_image(x.to(self.device, self.dtype))

    def dense(self, x: Tensor, path: str = "value") -> Tensor:
        """(N, 3, H, W), sides multiples of ``stride`` -> (N, D, H / stride, W / stride) in the joint space.

        Args:
            x: normalised pixels.
            path: what the last attention does, one of ``dense_paths``. The rest of its block stays unless said.

                ``"value"``, also named ``"maskclip"``: each place sees its own value alone (MaskCLIP, Zhou et al., ECCV
                2022). ``"token"``: the block as it is, patch tokens projected (PointCLIP V2). ``"sclip"``: attention
                of queries to queries plus keys to keys (SCLIP, Wang et al., ECCV 2024). ``"clearclip"``: queries to
                queries; no residual, no feed-forward (ClearCLIP, Lan et al., ECCV 2024). ``"naclip"``: keys to keys
                plus a Gaussian around each place; neither (NACLIP, Hajimiri et al., WACV 2025). ``"sc-clip"``: outliers
                replaced, attention by the cosines of a middle block, blocks fused; neither (SC-CLIP, Bai et al., 2024).

        Raises:
            InputError: no path of that name. UnsupportedError: the tower does not have it.
        """
        return self.tower.dense(x.to(self.device, self.dtype), self.known_path(path))

    def known_path(self, path: str) -> str:
        """A path's name among ``dense_paths``. Raises as ``dense``."""
        name = path_name(path)
        if name not in self.dense_paths:
            self._require("tokens" if name == "token" else "dense")
            raise UnsupportedError(
                f"this image tower ({type(self.model.visual).__name__}) has no dense path {path!r}; it has "
                f"{', '.join(self.dense_paths)}",
                where=self.architecture,
                remedy="take one of those, or a ViT space, such as ViT-B-32-quickgelu/openai",
            )
        return name

    @property
    def dense_paths(self) -> tuple[str, ...]:
        """What ``dense`` takes as its path; () where the tower has no dense features."""
        return self.tower.paths

    def keys(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, h, w): each place's key in the last attention, its heads side by side.

        Places whose keys have a high cosine show the same thing (MaskCLIP's key smoothing).
        """
        self._require("keys")
        return self.tower.keys(x.to(self.device, self.dtype))

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
                found["encoded with stages"] = relative_difference(together, F.normalize(encoded, dim=-1))
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
                remedy="take a ViT or RN space, such as ViT-B-32-quickgelu/openai",
            )
