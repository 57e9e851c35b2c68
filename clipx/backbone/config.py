"""open_clip's configs: which architectures and tags there are, and what a config or a weights file says."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipx.errors import SpaceError, first_line

CONFIG = "open_clip_config.json"


def has_lexicon(config: Mapping[str, Any]) -> bool:
    """Whether a ``model_cfg`` is that of a ``DomainCLIP``, whose text tower is a lexicon."""
    return "phrases" in config.get("text_cfg", {})


def is_architecture(name: str) -> bool:
    """Whether open_clip has a built-in architecture of that name."""
    from open_clip.factory import list_models

    return name in list_models()


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


def read_config(folder: Path) -> dict[str, Any]:
    """The ``open_clip_config.json`` of a folder.

    Raises:
        SpaceError: missing, malformed, or without what a ``model_cfg`` must have.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {first_line(error)}"
        raise SpaceError(why, where=path, remedy="write it as open_clip's local-dir does") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise SpaceError("has no model_cfg", where=path, remedy="give the architecture as open_clip's local-dir does")
    missing = {"embed_dim", "vision_cfg", "text_cfg"} - set(config["model_cfg"])
    if missing:
        raise SpaceError(f"missing in model_cfg: {', '.join(sorted(missing))}", where=path)
    return config


def check_quick_gelu(architecture: str, config: Mapping[str, Any], trained_with: bool | None, what: str) -> None:
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


def recorded_quick_gelu(path: Path, config: Mapping[str, Any]) -> bool | None:
    """Whether weights were trained with QuickGELU, by the config in their folder or by their name; None if unknown."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained

    if "model_cfg" in config:
        return bool(config["model_cfg"].get("quick_gelu", False))
    for tag in (get_pretrained_cfg(*pair) for pair in list_pretrained()):
        hub = tag.get("hf_hub", "").strip("/")
        named = tag.get("url", "").rsplit("/", 1)[-1] == path.name
        cached = bool(hub) and f"models--{hub.replace('/', '--')}" in path.parts
        if named or cached:
            return bool(tag.get("quick_gelu", False))
    return True if "quickgelu" in path.name.lower() else None


def agreed_preprocess(architecture: str, path: Path) -> dict[str, Any]:
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
