"""State dicts: read without unpickling, loaded strictly, hashed by value, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipx.errors import SpaceError, first_line
from clipx.identity import weights_sha256


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
    return weights_sha256((name, state[name].detach().cpu().float().numpy()) for name in sorted(state))


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, .pt, .pth or .bin. No pickled code is ever run.

    Raises:
        SpaceError: missing, corrupt, a TorchScript archive, or not a state dict.
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
            f"weights cannot be read: {first_line(error)}", where=path, remedy="fetch them again; safetensors is best"
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
