"""JointSpace: a frozen backbone with an identity, and where spaces come from."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx import backbone as bb
from clipx._device import has_float64
from clipx._processes import own_device
from clipx.domains import PHOTO
from clipx.embedding import Embedding
from clipx.errors import ClipxError, InputError, SpaceError
from clipx.files import write_whole
from clipx.lexicon import Lexicon
from clipx.preprocess import Preprocess
from clipx.vocabulary import Vocabulary

SPACES = Path(__file__).parent / "spaces"
DEFAULT = "lite"
TEXT_BATCH = 256


def load_space(
    name: str | PathLike | None = None, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> JointSpace:
    """Load a joint space, frozen.

    Args:
        name: by default ``default_name()``, else one of

            - ``"lite"`` or another embedded space: needs no network;
            - ``"ARCHITECTURE/TAG"``: weights open_clip knows, such as ``"ViT-B-32-quickgelu/openai"``;
            - ``"ARCHITECTURE/PATH"``: a weights file for one of open_clip's architectures, such as
              ``"RN50/weights.safetensors"``;
            - ``"hf-hub:ORGANISATION/NAME"``: an open_clip model of the Hugging Face hub;
            - a folder: an embedded space's, or one with ``open_clip_config.json`` and weights;
            - ``"random:ARCHITECTURE[:SEED]"``: untrained weights, for tests only.
        device: where it computes.
        dtype: what it computes in; float32 when None. Results are float32 whatever it is.

    Raises:
        SpaceError: the name is unknown, weights are missing, corrupt or do not fit, the activation, preprocessing or
            tokenizer does not match or is unknown, or the hub cannot be reached.
        InputError: the device or dtype cannot be used.
    """
    device, dtype = check_device(device), dtype or torch.float32
    if dtype == torch.float64 and not has_float64(device):
        raise InputError(f"device {device} has no float64", where="load_space", remedy="take float32")
    if not dtype.is_floating_point:
        raise InputError(f"a space computes in a floating dtype, got {dtype}", where="load_space")
    space = _find(default_name() if name is None else os.fspath(name))
    space.backbone.to(device, dtype)
    return space


def default_name() -> str:
    """The space to take where none is named: ``$CLIPX_SPACE``, else the embedded one."""
    return os.environ.get("CLIPX_SPACE") or DEFAULT


def check_device(device: str | torch.device) -> torch.device:
    """The device, if this machine has it; ``cuda`` is this process's own card where torchrun started several.

    Raises:
        InputError: this machine has no such device.
    """
    try:
        return torch.zeros(0, device=own_device(device)).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, by how it was built
        raise InputError(
            f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}", remedy="take cpu"
        ) from error


def _find(name: str) -> JointSpace:
    if name in embedded_names():
        return load_embedded(SPACES / name)
    if name.startswith("hf-hub:"):
        return _opened(name, bb.create_from_hub(name.removeprefix("hf-hub:")))
    if name.startswith("random:"):
        architecture, _, seed = name.removeprefix("random:").partition(":")
        if not (seed or "0").isdigit():
            raise SpaceError(f"the seed must be a whole number, got {seed!r}", where=name)
        return random_space(architecture, seed=int(seed or 0))
    if name and Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
        if (folder / "space.json").is_file():
            return load_embedded(folder)
        return _opened(name, bb.create_from_folder(folder))
    architecture, slash, pretrained = name.partition("/")
    if slash and pretrained and architecture not in ("", ".", "..", "~"):
        return _opened(name, bb.create(architecture, pretrained))
    raise SpaceError(f"no space named {name!r}", remedy=_advice(name))


def _opened(name: str, backbone: bb.Backbone) -> JointSpace:
    return JointSpace(name, backbone, weights_sha256=backbone.loaded_sha256())


def _advice(name: str) -> str:
    tags = [tag for architecture, tag in bb.pretrained_tags() if architecture == name]
    if tags:
        return f"say which weights: {name}/{tags[0]}"
    nearest = difflib.get_close_matches(name, embedded_names(), n=1)
    if nearest:
        return f"did you mean {nearest[0]}?"
    embedded = ", ".join([*embedded_names(), "ARCHITECTURE/TAG such as ViT-B-32-quickgelu/openai"])
    return f"take {embedded}, hf-hub:..., or a folder; clipx spaces lists them"


class JointSpace:
    """A frozen CLIP as a place where everything becomes a unit vector.

    Pixels are float RGB in [0, 1], (N, 3, H, W), any size, any float dtype, any device; N may be 0. Results are float32
    on the space's device, do not depend on the batch (to 1e-5), and carry gradients to the pixels, never to a weight.

    Args:
        name: what the user called it.
        backbone: the frozen model.
        version: of an embedded space; "" elsewhere.
        weights_sha256: identity of the weights; computed from them when left out.
        vocabulary: the words training saw; None where every word is taken.
        lexicon: of a space that takes every word, how well it knows which; None where it cannot say.
    """

    def __init__(
        self,
        name: str,
        backbone: bb.Backbone,
        *,
        version: str = "",
        weights_sha256: str | None = None,
        vocabulary: Vocabulary | None = None,
        lexicon: Lexicon | None = None,
        embedded: bool = False,
    ):
        self.name, self.backbone, self.version = name, backbone, version
        self.vocabulary, self.lexicon, self.embedded = vocabulary, lexicon, embedded
        self.weights_sha256 = weights_sha256 or backbone.weights_sha256()
        preprocess = hashlib.sha256(json.dumps(backbone.preprocess.as_config(), sort_keys=True).encode()).hexdigest()
        self.id = f"{backbone.architecture}:{self.weights_sha256[:12]}:{preprocess[:6]}"

    def __repr__(self) -> str:
        return f"JointSpace({self.name!r}, id={self.id!r}, dim={self.dim}, {self.dtype}, {self.device})"

    @property
    def dim(self) -> int:
        """D, the width of the joint space."""
        return self.backbone.dim

    @property
    def logit_scale(self) -> float:
        """What cosine is multiplied by before a softmax over labels."""
        return self.backbone.logit_scale

    @property
    def preprocess(self) -> Preprocess:
        return self.backbone.preprocess

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
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def dtype(self) -> torch.dtype:
        return self.backbone.dtype

    def supports(self, capability: str) -> bool:
        """Whether the image tower can do ``"dense"``, ``"tokens"``, ``"stages"`` or ``"attention"``."""
        return self.backbone.supports(capability)

    def train(self, mode: bool = True) -> JointSpace:
        """Does nothing: the space is frozen."""
        return self

    def self_test(self) -> dict[str, float]:
        """Compare every hand-written view of the image tower with open_clip's own pass; see ``Backbone.self_test``."""
        noise = torch.rand(2, 3, *self.image_size, generator=torch.Generator().manual_seed(0))
        return self.backbone.self_test(self.preprocess.normalize(noise))

    # Words ------------------------------------------------------------------------------------------------------------

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> (N, D) float32 unit rows, without gradient.

        Raises:
            InputError: not a list of strings, an empty text, or one longer than the context.
        """
        if isinstance(texts, str) or not all(isinstance(t, str) for t in texts):
            raise InputError("texts must be a list of strings")
        if not all(t.strip() for t in texts):
            raise InputError("a text is empty", where=f"text {[bool(t.strip()) for t in texts].index(False)}")
        if self.vocabulary is not None:
            texts = [self.vocabulary.rewrite(t) for t in texts]
        with torch.no_grad():
            batches = (list(texts[i : i + TEXT_BATCH]) for i in range(0, len(texts), TEXT_BATCH))
            rows = [_unit(self.backbone.encode_text(batch)) for batch in batches]
        return torch.cat(rows) if rows else torch.zeros(0, self.dim, device=self.device)

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
        return (PHOTO, *self.backbone.domains)

    def domain(self, name: str) -> JointSpace:
        """The same space as it looks at pictures of a domain; itself where it has no such one. Weights are shared."""
        backbone = self.backbone.of_domain(name)
        if backbone is self.backbone:
            return self
        view = copy.copy(self)
        view.backbone = backbone
        return view

    def encode_with_domain(self, pixels: Tensor) -> tuple[Tensor, list[str]]:
        """Pixels -> (N, D) unit rows as ``encode_image`` has them, and the picture domain that each looks like.

        Args:
            pixels: (N, 3, H, W).
        """
        photos = self.backbone.photos
        pixels = photos.preprocess.resize(self.checked(pixels)).clamp(0, 1)
        if not len(pixels):
            return self.encode_image(pixels), []
        rows, domains = photos.encode_with_domain(photos.preprocess.normalize(pixels))
        return _unit(rows), domains

    def encode_image(self, pixels: Tensor, resize: bool = True, normalize: bool = True) -> Tensor:
        """Pixels -> (N, D) float32 unit rows.

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
            pixels = pixels.clamp(0, 1) if normalize else pixels  # bicubic overshoots; Pillow clips as well
        elif tuple(pixels.shape[-2:]) != self.image_size:
            raise InputError(
                f"pixels are {pixels.shape[-2]} x {pixels.shape[-1]}, the space reads {self.image_size[0]} x "
                f"{self.image_size[1]}",
                where="encode_image",
                remedy="leave resize=True",
            )
        if not len(pixels):
            return pixels.new_zeros(0, self.dim, dtype=torch.float32)
        return _unit(self.backbone.encode_image(self.preprocess.normalize(pixels) if normalize else pixels))

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
            path: ``"value"`` or ``"token"``, see ``Backbone.dense``.
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
            return _unit(cells)
        return cells / cells.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt().clamp(min=1e-12)

    def stages(
        self, pixels: Tensor, normalize: bool = True, resize: bool = False, last: str | None = None
    ) -> dict[str, Tensor]:
        """Pixels -> features by stage, each (N, C, h, w), first to last, or to ``last``; sizes as in ``dense_image``.

        ModifiedResNet: stem, layer1 .. layer4; ViT: block0, block1, ... (patch tokens after each block).

        Raises:
            UnsupportedError: the tower has no stages. InputError: none of the name ``last``, or as in ``encode_image``.
        """
        return self._look(lambda x: self.backbone.stages(x, last), pixels, normalize, resize)

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
        return _unit(rows), stages

    def attention(self, pixels: Tensor, normalize: bool = True) -> Tensor:
        """Pixels -> (N, layers, heads, 1 + hw, 1 + hw) attention weights, rows summing to 1; token 0 is the class's.

        A ModifiedResNet has one such layer, its attention pool. Sizes as in ``dense_image``.
        """
        return self._look(self.backbone.attention, pixels, normalize)

    def _look(self, see: Any, pixels: Tensor, normalize: bool, resize: bool = False) -> Any:
        """Run a dense view on pixels of any size the tower takes; the results are float32."""
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

    def checked(self, pixels: Tensor, normalize: bool = True) -> Tensor:
        """(N, 3, H, W) pixels as they are, on this space's device, once they are known to be pixels.

        Every way of looking calls it. Whoever resamples and clamps pixels first has to call it before that, or 0 to
        255 would become a white picture.

        Raises:
            InputError: another shape, an empty picture, integers, NaN, or with ``normalize`` values beyond [0, 1].
        """
        if not isinstance(pixels, Tensor) or pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in pixels.shape[2:]:
            got = tuple(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
            raise InputError(f"pixels must be a (N, 3, H, W) tensor, got {got}")
        if not pixels.is_floating_point():
            raise InputError(f"pixels must be float in [0, 1], got {pixels.dtype}", remedy="divide by 255")
        # the cast on the pixels' own device: the space's may have no float64
        pixels = pixels.to(torch.float64 if self.dtype == torch.float64 else torch.float32).to(self.device)
        if not len(pixels):
            return pixels
        low, high = pixels.detach().aminmax()
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            raise InputError("pixels hold NaN or infinity")
        if normalize and (low < -SLACK or high > 1 + SLACK):
            raise InputError(
                f"pixels must be in [0, 1], got {float(low):.3g} to {float(high):.3g}",
                remedy="scale them, or normalise them yourself and pass normalize=False",
            )
        return pixels


def _first(found: Any, count: int) -> Any:
    if isinstance(found, dict):
        return {name: value[:count].float() for name, value in found.items()}
    return found[:count].float()


def _unit(rows: Tensor) -> Tensor:
    """float32 rows (or maps) of unit L2 norm over dimension 1."""
    return F.normalize(rows.float(), dim=1)


# Embedded spaces ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpaceInfo:
    """One line of ``clipx spaces``: what ``load_space`` takes, and of embedded spaces what is known without loading."""

    name: str
    kind: str  # "embedded" or "pretrained"
    version: str = ""
    licence: str = ""
    weights_bytes: int | None = None
    weights_sha256: str | None = None


def list_spaces(pretrained: bool = True) -> list[SpaceInfo]:
    """Embedded spaces, then (unless ``pretrained`` is False, which spares importing open_clip) every known tag."""
    found = []
    for name in embedded_names():
        about = _about(SPACES / name)
        size, sha256 = about["weights_bytes"], about["weights_sha256"]
        found.append(SpaceInfo(name, "embedded", about["version"], about.get("licence", ""), size, sha256))
    if pretrained:
        found += [SpaceInfo(f"{architecture}/{tag}", "pretrained") for architecture, tag in bb.pretrained_tags()]
    return found


def embedded_names() -> list[str]:
    """Names of the spaces that come with clipx."""
    return sorted(p.parent.name for p in SPACES.glob("*/space.json"))


def embedded_for(use: str) -> list[str]:
    """Names of the embedded spaces whose recipe lists ``use`` under ``provides``.

    Args:
        use: ``"class_attention"``: the attention of its class token shows what it looks at. ``"drawings"``: trained on
            drawings by hand, and judges drawings. ``"drawings_of_photos"``: trained also on line drawings made from
            photos, which it judges best.
    """
    abouts = {name: _about(SPACES / name) for name in embedded_names()}
    return [name for name, about in abouts.items() if use in about.get("recipe", {}).get("provides", ())]


def load_embedded(folder: str | PathLike) -> JointSpace:
    """Load the folder of an embedded space, as ``save_embedded`` writes it.

    Raises:
        SpaceError: a file is missing or malformed, or the weights are not those that space.json names.
    """
    from safetensors.torch import load as load_bytes

    folder = Path(folder)
    about = _about(folder)
    try:
        blob = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise SpaceError("weights are missing", where=folder / WEIGHTS, remedy="reinstall clipx") from error
    if hashlib.sha256(blob).hexdigest() != about["weights_sha256"]:
        raise SpaceError(
            "weights are corrupt: their SHA-256 is not the one in space.json",
            where=folder / WEIGHTS,
            remedy="reinstall clipx",
        )
    config, words = _read_json(folder / bb.CONFIG), _read_json(folder / "vocabulary.json")
    try:
        model_cfg, preprocess_cfg = config["model_cfg"], config["preprocess_cfg"]
        lexicon = Lexicon(**words) if bb.has_lexicon(model_cfg) else None
        vocabulary = Vocabulary(words["words"]) if lexicon is None else None
        state = _unpack(load_bytes(blob), model_cfg)
        if lexicon is not None:
            lexicon.check(model_cfg["text_cfg"])
        backbone = bb.build_backbone(
            model_cfg, preprocess_cfg, architecture=about["name"], weights=state, tokenizer=lexicon
        )
    except ClipxError:
        raise
    except Exception as error:  # whatever safetensors, torch or open_clip trip over in a malformed file
        raise SpaceError(f"malformed space: {error!r}", where=folder, remedy="reinstall clipx") from error
    return JointSpace(
        about["name"],
        backbone,
        version=about["version"],
        weights_sha256=about["weights_sha256"] if lexicon is None else _whole_sha256(about["weights_sha256"], folder),
        vocabulary=vocabulary,
        lexicon=lexicon,
        embedded=True,
    )


def _whole_sha256(weights_sha256: str, folder: Path) -> str:
    """Identity of weights whose meaning other files decide, too: the numbers of phrases, the towers of domains."""
    digest = hashlib.sha256(weights_sha256.encode())
    for name in (bb.CONFIG, "vocabulary.json"):
        digest.update((folder / name).read_bytes().replace(b"\r\n", b"\n"))  # git may write either
    return digest.hexdigest()


def save_embedded(
    model: torch.nn.Module,
    folder: str | PathLike,
    *,
    name: str,
    version: str,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    vocabulary: Mapping[str, Any],
    token_index: Iterable[int] = (),
    licence: str = "Apache-2.0",
    card: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write an open_clip model as an embedded space; existing files are replaced one by one, space.json last.

    Weights are stored in float16 (the logit scale and other scalars as they are). Of the token table only the rows that
    training touched are kept; the rest load as zeros.

    Args:
        model: an open_clip ``CLIP`` or ``CustomTextCLIP``, or a ``DomainCLIP``, on any device.
        folder: where to; made if missing.
        name, version: identity, such as ``"lite"`` and ``"1"``.
        model_cfg: the architecture, as open_clip's ``model_cfg``.
        preprocess_cfg: size, mean, std, interpolation and resize_mode that training used.
        vocabulary: ``{"words": ...}``, the argument of ``Vocabulary``, or those of ``Lexicon``.
        token_index: ids of the token rows that training touched; a lexicon's are all kept.
        licence: SPDX identifier of the weights.
        card: the model card in Markdown, written as README.md; an existing one stays when None.
        about: more entries for space.json (recipe, data hashes, figures).

    Returns:
        The folder.

    Raises:
        InputError: a weight overflows float16, or a token id is out of range.
    """
    from safetensors.torch import save as save_bytes

    index = torch.tensor(sorted(set(token_index)), dtype=torch.int32)
    blob = save_bytes(_pack(model.state_dict(), index, model_cfg))
    entry = {
        **(about or {}),
        "name": name,
        "version": version,
        "licence": licence,
        "weights_sha256": hashlib.sha256(blob).hexdigest(),
        "weights_bytes": len(blob),
    }
    files = {
        WEIGHTS: blob,
        bb.CONFIG: _json({"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg)}),
        "vocabulary.json": _json(vocabulary),
        **({"README.md": card.encode()} if card is not None else {}),
        "space.json": _json(entry),
    }
    folder = Path(folder)
    for file, content in files.items():
        write_whole(folder / file, content, parents=True)
    return folder


def random_space(
    architecture: str | Mapping[str, Any], *, preprocess_cfg: Mapping[str, Any] | None = None, seed: int = 0
) -> JointSpace:
    """An untrained space, for tests: the same architecture and seed always give the same weights.

    Args:
        architecture: a name that open_clip knows, or a ``model_cfg``.
        preprocess_cfg: mean, std, interpolation, resize_mode; mean and std 0.5, bicubic and shortest by default.
        seed: of the weights.
    """
    config = bb.model_config(architecture) if isinstance(architecture, str) else dict(architecture)
    name = architecture if isinstance(architecture, str) else "custom"
    return JointSpace(f"random:{name}:{seed}", bb.random_backbone(config, preprocess_cfg, name, seed))


WEIGHTS = "weights.safetensors"
SLACK = 0.1  # how far outside [0, 1] pixels may lie: interpolation overshoots, a 0..255 picture is caught
_TOKENS = "token_embedding.weight"


def _pack(state: Mapping[str, Tensor], index: Tensor, model_cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    if bb.has_lexicon(model_cfg):
        return {k: _half(k, v) for k, v in state.items()}
    key = next(k for k in state if k.endswith(_TOKENS))
    if len(index) and not 0 <= int(index[0]) <= int(index[-1]) < len(state[key]):
        raise InputError(f"token ids must be in 0..{len(state[key]) - 1}, got {int(index[0])}..{int(index[-1])}")
    packed = {k: _half(k, v) for k, v in state.items() if k != key}
    return {**packed, "token_rows": _half(key, state[key].cpu()[index.long()]), "token_index": index}


def _half(name: str, value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point() or value.ndim == 0:
        return value
    half = value.half()
    if not bool(torch.isfinite(half).all()):
        raise InputError("a weight does not fit float16", where=name, remedy="train with weight decay or rescale")
    return half


def _unpack(packed: dict[str, Tensor], model_cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    if bb.has_lexicon(model_cfg):
        return {k: v.float() if v.is_floating_point() else v for k, v in packed.items()}
    text = model_cfg["text_cfg"]
    rows, index = packed.pop("token_rows"), packed.pop("token_index")
    table = torch.zeros(text.get("vocab_size", 49408), rows.shape[1])
    if index.shape != rows.shape[:1] or index.is_floating_point() or (index < 0).any():  # torch would wrap or broadcast
        raise ValueError(f"token_index must name a row for each of {len(rows)} token_rows")
    table[index.long()] = rows.float()
    prefix = "text." if any(k.startswith("text.") for k in packed) else ""
    return {prefix + _TOKENS: table, **{k: v.float() if v.is_floating_point() else v for k, v in packed.items()}}


def _about(folder: Path) -> dict[str, Any]:
    about = _read_json(folder / "space.json")
    kinds = {"name": str, "version": str, "weights_bytes": int, "weights_sha256": str}
    missing = [key for key, kind in kinds.items() if not isinstance(about.get(key), kind)]
    if missing:
        raise SpaceError(f"missing keys: {', '.join(missing)}", where=folder / "space.json", remedy="reinstall clipx")
    return about


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpaceError(f"cannot be read ({type(error).__name__})", where=path, remedy="reinstall clipx") from error
    if not isinstance(value, dict):
        raise SpaceError("is not a JSON object", where=path, remedy="reinstall clipx")
    return value


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
