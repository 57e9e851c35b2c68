"""JointSpace: a frozen CLIP with an identity."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clipx._arrays import is_tensor, to_array, unit_rows
from clipx.domains import PHOTO
from clipx.embedding import Embedding
from clipx.errors import InputError
from clipx.lexicon import Lexicon
from clipx.preprocess import Preprocess
from clipx.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from clipx.backbone import Backbone
    from clipx.backends import Backend

TEXT_BATCH = 256
SLACK = 0.1  # how far outside [0, 1] pixels may lie: interpolation overshoots, a 0..255 picture is caught


class JointSpace:
    """A frozen CLIP as a place where everything becomes a unit vector.

    Pixels are float RGB in [0, 1], (N, 3, H, W), any size, any float dtype; N may be 0. Vectors are float32 and do not
    depend on the batch (to 1e-5). Of an array ``encode_image`` makes an array. Of a tensor, on any device, it makes a
    tensor on the space's device, with gradients to the pixels, never to a weight.

    Args:
        name: what the user called it.
        backend: its towers; a ``Backbone`` becomes a ``TorchBackend``.
        version: of an embedded space; "" elsewhere.
        weights_sha256: identity of the weights; computed from them when left out.
        vocabulary: the words training saw; None where every word is taken.
        lexicon: of a space that takes every word, how well it knows which; None where it cannot say.
        folder: of an embedded space, where its files lie; None elsewhere.
    """

    def __init__(
        self,
        name: str,
        backend: Backend | Backbone,
        *,
        version: str = "",
        weights_sha256: str | None = None,
        vocabulary: Vocabulary | None = None,
        lexicon: Lexicon | None = None,
        folder: Path | None = None,
    ):
        if not hasattr(backend, "on_cpu"):
            from clipx.backends import TorchBackend

            backend = TorchBackend(backend)
        self.name, self.backend, self.version = name, backend, version
        self.vocabulary, self.lexicon, self.folder = vocabulary, lexicon, folder
        self.weights_sha256 = weights_sha256 or self.backbone.weights_sha256()
        self.id = space_id(backend.architecture, self.weights_sha256, backend.preprocess)

    def __repr__(self) -> str:
        where = f"{self.backend.dtype}, {self.backend.device}"
        return f"JointSpace({self.name!r}, id={self.id!r}, dim={self.dim}, {where})"

    @property
    def backbone(self) -> Backbone:
        """The model in torch, which is loaded now where another backend serves the space."""
        return self.backend.backbone

    @property
    def dim(self) -> int:
        """D, the width of the joint space."""
        return self.backend.dim

    @property
    def logit_scale(self) -> float:
        """What cosine is multiplied by before a softmax over labels."""
        return self.backend.logit_scale

    @property
    def preprocess(self) -> Preprocess:
        return self.backend.preprocess

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels that the image tower was trained on."""
        return self.preprocess.size

    @property
    def mean(self) -> tuple[float, float, float]:
        return self.preprocess.mean

    @property
    def std(self) -> tuple[float, float, float]:
        return self.preprocess.std

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the CPU; asking does not import torch, as ``device`` does."""
        return self.backend.on_cpu

    @property
    def device(self) -> torch.device:
        import torch

        return torch.device(self.backend.device)

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return getattr(torch, self.backend.dtype)

    def supports(self, capability: str) -> bool:
        """Whether the image tower can do ``"dense"``, ``"tokens"``, ``"stages"``, ``"keys"`` or ``"attention"``."""
        return self.backbone.supports(capability)

    @property
    def dense_paths(self) -> tuple[str, ...]:
        """What ``dense_image`` takes as its path, see ``Backbone.dense``; () where the tower has no dense features."""
        return self.backbone.dense_paths

    def train(self, mode: bool = True) -> JointSpace:
        """Does nothing: the space is frozen."""
        return self

    def self_test(self) -> dict[str, float]:
        """Compare every hand-written view of the image tower with open_clip's own pass; see ``Backbone.self_test``."""
        import torch

        noise = torch.rand(2, 3, *self.image_size, generator=torch.Generator().manual_seed(0))
        return self.backbone.self_test(self.preprocess.normalize(noise))

    # Words ------------------------------------------------------------------------------------------------------------

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> (N, D) float32 unit rows.

        Raises:
            InputError: not a list of strings, an empty text, or one longer than the context.
        """
        if isinstance(texts, str) or not all(isinstance(t, str) for t in texts):
            raise InputError("texts must be a list of strings")
        if not all(t.strip() for t in texts):
            raise InputError("a text is empty", where=f"text {[bool(t.strip()) for t in texts].index(False)}")
        if self.vocabulary is not None:
            texts = [self.vocabulary.rewrite(t) for t in texts]
        batches = (list(texts[i : i + TEXT_BATCH]) for i in range(0, len(texts), TEXT_BATCH))
        rows = [unit_rows(self.backend.encode_text(batch)) for batch in batches]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_text(self, texts: Sequence[str]) -> Embedding:
        """``encode_text`` as an Embedding; the texts are its ids."""
        return Embedding(self.encode_text(texts), self.id, "text", list(texts))

    def coverage(self, text: str) -> dict[str, str]:
        """How well the space knows the words of a text; {} where it cannot say, as of a CLIP trained on captions.

        Returns:
            Word or phrase -> ``"pictures"``: training saw pictures of it; ``"text"``: texts alone taught it, such as a
            dictionary's definition and hypernyms; ``"subwords"``: it is guessed from its spelling; ``"unknown"``.
        """
        known = self.vocabulary or self.lexicon
        return {} if known is None else known.coverage(text)

    def unknown(self, text: str) -> list[str]:
        """Words of the text that this space refuses, since training never saw them; [] where every word is taken."""
        return [] if self.vocabulary is None else self.vocabulary.unknown(text)

    def require_words(self, texts: Iterable[str]) -> None:
        """Raise VocabularyError if a text has a word the space never saw, naming it and the nearest known ones."""
        if self.vocabulary is not None:
            self.vocabulary.require([texts] if isinstance(texts, str) else texts, where=f"space {self.name}")

    # Pictures ---------------------------------------------------------------------------------------------------------

    @property
    def domains(self) -> tuple[str, ...]:
        """The picture domains that the space tells from each other, ``"photo"`` first; only that one in most spaces."""
        return (PHOTO, *self.backend.domains)

    def domain(self, name: str) -> JointSpace:
        """The same space as it looks at pictures of a domain; itself where it has no such one. Weights are shared."""
        backend = self.backend.of_domain(name)
        if backend is self.backend:
            return self
        view = copy.copy(self)
        view.backend = backend
        return view

    def encode_with_domain(self, pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Pixels -> (N, D) unit rows as ``encode_image`` has them, and the picture domain that each looks like.

        Args:
            pixels: (N, 3, H, W).
        """
        photos = self.backend.of_domain(PHOTO)
        pixels = self.checked(to_array(pixels) if is_tensor(pixels) else pixels)
        pixels = photos.preprocess.resize(pixels).clip(0, 1)
        if not len(pixels):
            return self.encode_image(pixels), []
        rows, domains = photos.encode_with_domain(photos.preprocess.normalize(pixels))
        return unit_rows(rows), domains

    def encode_image(self, pixels: Any, resize: bool = True, normalize: bool = True) -> Any:
        """Pixels -> (N, D) float32 unit rows, an array of an array and a tensor of a tensor.

        Args:
            pixels: (N, 3, H, W).
            resize: bring them to ``image_size`` as the space's preprocessing says; False demands that size.
            normalize: subtract ``mean``, divide by ``std``; False takes the pixels as they are, in any range.

        Raises:
            InputError: wrong shape, dtype, size or range, or values that are not finite.
        """
        pixels = self.checked(pixels, normalize)
        if resize:
            pixels = self.preprocess.resize(pixels)
            pixels = pixels.clip(0, 1) if normalize else pixels  # bicubic overshoots; Pillow clips as well
        elif tuple(pixels.shape[-2:]) != self.image_size:
            raise InputError(
                f"pixels are {pixels.shape[-2]} x {pixels.shape[-1]}, the space reads {self.image_size[0]} x "
                f"{self.image_size[1]}",
                where="encode_image",
                remedy="leave resize=True",
            )
        if not len(pixels):
            return pixels.flatten(1)[:, :1].expand(0, self.dim).float() if is_tensor(pixels) else _no_rows(self.dim)
        pixels = self.preprocess.normalize(pixels) if normalize else pixels
        return unit_rows((self.backbone if is_tensor(pixels) else self.backend).encode_image(pixels))

    def dense_image(
        self,
        pixels: Tensor,
        normalize: bool = True,
        path: str = "value",
        resize: bool = False,
        unit: Literal["cell", "picture"] = "cell",
    ) -> Tensor:
        """Pixels -> (N, D, h, w) float32: what each place shows, in the joint space.

        The picture is first resampled to the nearest multiple of the tower's stride, so that a cell is exactly one
        patch (ViT) or 32 x 32 pixels (ModifiedResNet); positions of other sizes are interpolated.

        Args:
            pixels: (N, 3, H, W); timm towers take ``image_size`` only, or ``resize``.
            normalize: as in ``encode_image``.
            path: one of ``dense_paths``, or ``"maskclip"``, which is ``"value"``; see ``Backbone.dense``.
            resize: squash to ``image_size`` first, whatever the aspect ratio.
            unit: what is of unit norm: each ``"cell"``, or each ``"picture"``, whose cells have squared norms of mean
                1. Where a picture's vector is the mean of its cells, those of the background are short.

        Raises:
            UnsupportedError: the tower has no such features.
            InputError: as in ``encode_image``.
        """
        if unit not in ("cell", "picture"):
            raise InputError(f"unit must be cell or picture, got {unit!r}", where="dense_image")
        cells = self._look(lambda x: self.backbone.dense(x, path), pixels, normalize, resize).float()
        if unit == "cell":
            return unit_rows(cells)
        return cells / cells.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)

    def keys_image(self, pixels: Tensor, normalize: bool = True, resize: bool = False) -> Tensor:
        """Pixels -> (N, C, h, w): each place's key in the last attention, heads side by side; sizes as in
        ``dense_image``.

        Raises:
            UnsupportedError: the tower has no keys. InputError: as in ``encode_image``.
        """
        return self._look(self.backbone.keys, pixels, normalize, resize)

    def stages(
        self, pixels: Tensor, normalize: bool = True, resize: bool = False, last: str | None = None
    ) -> dict[str, Tensor]:
        """Pixels -> features by stage, each (N, C, h, w), first to last, or to ``last``; sizes as in ``dense_image``.

        ModifiedResNet: stem, layer1 .. layer4; ViT: block0, block1, ... (patch tokens after each block).

        Raises:
            UnsupportedError: the tower has no stages. InputError: none of the name ``last``, or as in ``encode_image``.
        """
        return self._look(lambda x: self.backbone.stages(x, last), pixels, normalize, resize)

    def grid_image(self, pixels: Any, normalize: bool = True) -> Tensor:
        """Pixels -> (N, h, w, C) float32: what the image tower holds before it pools (CLIP-ViL's grid features).

        The last of ``stages``: layer4 of a ModifiedResNet, the patch tokens after a ViT's last block, before the last
        norm and the projection. They are no vectors of the joint space. Pictures are brought to ``image_size`` as
        ``encode_image`` brings them, so that all grids are of one shape.

        Args:
            pixels: (N, 3, H, W), a tensor or an array; N may be 0. Gradients reach the pixels of a tensor.
            normalize: as in ``encode_image``.

        Raises:
            UnsupportedError: the tower has no stages. InputError: as in ``encode_image``.
        """
        pixels = self.preprocess.resize(self.checked(pixels, normalize))
        pixels = pixels.clip(0, 1) if normalize else pixels
        return list(self.stages(pixels, normalize, resize=True).values())[-1].permute(0, 2, 3, 1).contiguous()

    def encode_with_stages(
        self, pixels: Tensor, normalize: bool = True, resize: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``encode_image`` and ``stages`` of one pass: (N, D) unit rows and features by stage.

        At ``image_size``; with ``resize=False`` at the pixels' own size, as ``dense_image`` takes them, which only a
        tower whose vector is the mean of its cells can embed.

        Raises:
            InputError: pixels of another size than ``image_size``, and a tower that embeds only that.
        """
        if not resize and not self.backbone.averages and tuple(pixels.shape[-2:]) != self.image_size:
            height, width = self.image_size
            raise InputError(
                f"this tower embeds {height} x {width} pixels only, got {pixels.shape[-2]} x {pixels.shape[-1]}",
                where=self.name,
                remedy="leave resize=True",
            )
        rows, stages = self._look(self.backbone.encode_with_stages, pixels, normalize, resize)
        return unit_rows(rows), stages

    def attention(self, pixels: Tensor, normalize: bool = True) -> Tensor:
        """Pixels -> (N, layers, heads, 1 + hw, 1 + hw) attention weights, rows summing to 1; token 0 is the class's.

        A ModifiedResNet has one such layer, its attention pool. Sizes as in ``dense_image``.
        """
        return self._look(self.backbone.attention, pixels, normalize)

    def _look(self, see: Any, pixels: Tensor, normalize: bool, resize: bool = False) -> Any:
        """Run a dense view on pixels of any size the tower takes; the results are float32 tensors."""
        if isinstance(pixels, np.ndarray):
            import torch

            pixels = torch.from_numpy(np.array(self.checked(pixels, normalize)))
        pixels = self.checked(pixels, normalize)
        h, w = pixels.shape[-2:]
        fitted = self.image_size  # of one-size towers not always a multiple of the stride: 384 px, patches of 14
        if self.backbone.any_size and not resize:
            stride = self.backbone.stride
            fitted = max(1, round(h / stride[0])) * stride[0], max(1, round(w / stride[1])) * stride[1]
        elif not resize and (h, w) != fitted:
            raise InputError(
                f"this image tower looks at {self.image_size[0]} x {self.image_size[1]} pixels only, got {h} x {w}",
                where=self.name,
                remedy="resize the pixels, or use clipx.dense",
            )
        if (h, w) != fitted:
            pixels = self.preprocess.sample(pixels, fitted)
            pixels = pixels.clamp(0, 1) if normalize else pixels
        pixels = self.preprocess.normalize(pixels) if normalize else pixels
        count = len(pixels)
        found = see(pixels if count else pixels.new_zeros(1, *pixels.shape[1:]))
        if isinstance(found, tuple):
            return tuple(_first(part, count) for part in found)
        return _first(found, count)

    def checked(self, pixels: Any, normalize: bool = True) -> Any:
        """(N, 3, H, W) pixels as they are, a tensor on this space's device, once they are known to be pixels.

        Every way of looking calls it. Whoever resamples and clips pixels first has to call it before that, or 0 to
        255 would become a white picture.

        Raises:
            InputError: another shape, an empty picture, integers, NaN, or with ``normalize`` values beyond [0, 1].
        """
        known = is_tensor(pixels) or isinstance(pixels, np.ndarray)
        if not known or pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
            got = tuple(pixels.shape) if known else type(pixels).__name__
            raise InputError(f"pixels must be an array or a tensor of shape (N, 3, H, W), got {got}")
        floating = pixels.is_floating_point() if is_tensor(pixels) else pixels.dtype.kind == "f"
        if not floating:
            raise InputError(f"pixels must be float in [0, 1], got {pixels.dtype}", remedy="divide by 255")
        if is_tensor(pixels):  # the cast on the pixels' own device: the space's may have no float64
            pixels = pixels.double() if self.backend.dtype == "float64" else pixels.float()
            pixels = pixels.to(self.device)
        else:
            pixels = pixels.astype(np.float32, copy=False)
        if not len(pixels):
            return pixels
        values = pixels.detach() if is_tensor(pixels) else pixels
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low + high):
            raise InputError("pixels hold NaN or infinity")
        if normalize and (low < -SLACK or high > 1 + SLACK):
            raise InputError(
                f"pixels must be in [0, 1], got {low:.3g} to {high:.3g}",
                remedy="scale them, or normalise them yourself and pass normalize=False",
            )
        return pixels


def space_id(architecture: str, weights_sha256: str, preprocess: Preprocess) -> str:
    """The identity of a space, which its vectors carry: the same for every backend and every file format."""
    prepared = hashlib.sha256(json.dumps(preprocess.as_config(), sort_keys=True).encode()).hexdigest()
    return f"{architecture}:{weights_sha256[:12]}:{prepared[:6]}"


def _no_rows(dim: int) -> np.ndarray:
    return np.zeros((0, dim), np.float32)


def _first(found: Any, count: int) -> Any:
    if isinstance(found, dict):
        return {name: value[:count].float() for name, value in found.items()}
    return found[:count].float()


def random_space(
    architecture: str | Mapping[str, Any], *, preprocess_cfg: Mapping[str, Any] | None = None, seed: int = 0
) -> JointSpace:
    """An untrained space, for tests: the same architecture and seed always give the same weights.

    Args:
        architecture: a name that open_clip knows, or a ``model_cfg``.
        preprocess_cfg: mean, std, interpolation, resize_mode; mean and std 0.5, bicubic and shortest by default.
        seed: of the weights.
    """
    from clipx import backbone as bb

    config = bb.model_config(architecture) if isinstance(architecture, str) else dict(architecture)
    name = architecture if isinstance(architecture, str) else "custom"
    return JointSpace(f"random:{name}:{seed}", bb.random_backbone(config, preprocess_cfg, name, seed))
