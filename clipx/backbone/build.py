"""Models from a config, and frozen backbones from an architecture, a folder, the hub or a seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import clipx
from clipx.backbone.backbone import Backbone
from clipx.backbone.config import (
    CONFIG,
    agreed_preprocess,
    check_quick_gelu,
    has_lexicon,
    model_config,
    read_config,
    recorded_quick_gelu,
)
from clipx.backbone.domain_clip import DomainCLIP
from clipx.backbone.hub import WEIGHT_FILES, fetch, fetch_tag, fetching
from clipx.backbone.tokenizer import Tokenizer, build_tokenizer
from clipx.backbone.weights import load_state, read_weights
from clipx.backends.manifest import exported_architecture
from clipx.domains import PHOTO
from clipx.errors import ClipxError, SpaceError, first_line
from clipx.identity import Stamp
from clipx.preprocess import Preprocess

OPENAI_KEYS = {"input_resolution", "context_length", "vocab_size"}


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
        check_quick_gelu(architecture, config, tag.get("quick_gelu", False), f"tag {pretrained}")
        path = fetch_tag(tag, f"{architecture}/{pretrained}")
        return build_backbone(config, tag, architecture=architecture, weights=path, fit_positions=True)
    path = Path(pretrained).expanduser()
    if not path.is_file():
        tags = list_pretrained_tags_by_model(architecture)
        raise SpaceError(
            f"{str(pretrained)!r} is neither a weights file nor a pretrained tag of {architecture}",
            remedy=f"tags: {', '.join(tags)}" if tags else f"open_clip knows no tags for {architecture}",
        )
    beside = read_config(path.parent) if (path.parent / CONFIG).is_file() else {}
    stamp = Stamp.of(path)
    state = read_weights(path)
    openai = bool(OPENAI_KEYS & set(state))  # numbers that OpenAI's archives carry among their weights
    state = {name: value for name, value in state.items() if name not in OPENAI_KEYS}
    check_quick_gelu(architecture, config, openai or recorded_quick_gelu(path, beside), f"weights {path}")
    preprocess = beside.get("preprocess_cfg") or agreed_preprocess(architecture, path)
    return build_backbone(config, preprocess, architecture=architecture, weights=state, where=str(path), stamp=stamp)


def create_from_folder(folder: str | PathLike) -> Backbone:
    """A folder in open_clip's own layout: ``open_clip_config.json`` beside one weights file.

    Raises:
        SpaceError: no or malformed config, no or several weights files, preprocessing or tokenizer unknown.
    """
    folder = Path(folder)
    architecture, config = exported_architecture(folder) or folder.name, read_config(folder)
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
    return build_backbone(
        config["model_cfg"],
        preprocess,
        architecture=architecture,
        weights=candidates[0],
        tokenizer_folder=folder,
    )


def create_from_hub(repository: str) -> Backbone:
    """A model of the Hugging Face hub, ``"organisation/name"``; the hub's cache serves when offline.

    Raises:
        SpaceError: the hub cannot be reached, has no such model, or the model is not an open_clip one.
    """
    config = read_config(fetch(repository, [CONFIG]).parent)
    weights = fetch(repository, WEIGHT_FILES)
    preprocess = config.get("preprocess_cfg") or {}
    return build_backbone(config["model_cfg"], preprocess, architecture=repository.replace("/", "-"), weights=weights)


def build_backbone(
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
    backbone.config = config
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
    backbone = Backbone(model, tokenizer, sized, architecture, config["embed_dim"])
    backbone.config = config
    return backbone


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
        with fetching(hub_text) if hub_text else nullcontext(), torch.random.fork_rng(devices=[]):
            if hub_text:
                import_module("transformers")  # where it is absent, open_clip raises an error that does not name it
            torch.random.default_generator.manual_seed(seed)
            return kind(**arguments)
    except ClipxError:
        raise
    except Exception as error:  # whatever a malformed config runs into
        raise SpaceError(f"open_clip cannot build this model_cfg: {first_line(error)}", where=CONFIG) from error


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
