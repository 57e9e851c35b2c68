"""Reads AudioCLIP's released audio towers: its whole checkpoints, and the tower that was trained alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipx.errors import FileError, InputError
from clipx.files import ignore_library_warnings
from clipx.modalities.audio.esresnext import ESResNeXt

PREFIX, VISUAL = "audio.", "visual."
SCALES = ("logit_scale_ai", "logit_scale_at")


@dataclass(frozen=True)
class AudioCLIP:
    """What a checkpoint holds of the audio side.

    Args:
        tower: the audio tower, in eval mode.
        scales: "logit_scale_ai" and "logit_scale_at", logarithms; none in a file of the tower alone.
        visual: the image tower that it was trained beside, by open_clip's names; empty in a file of the tower alone.
    """

    tower: ESResNeXt
    scales: dict[str, float]
    visual: dict[str, Tensor]


def load_audioclip(path: str | PathLike, dim: int | None = None) -> AudioCLIP:
    """Load the audio tower of ``AudioCLIP-Partial-Training.pt``, or a tower alone such as ``ESRNXFBSP.pt``.

    Only Partial was trained against a frozen CLIP, so only its tower belongs to the space ``RN50-quickgelu/openai``;
    Full changed the other two towers as well: its ``visual`` is another one. A tower alone ends in the 527 classes of
    AudioSet, not in a joint space. Nothing is unpickled but tensors.

    Args:
        path: the checkpoint.
        dim: D of the space that it is wanted for; None takes any.

    Raises:
        FileError: missing, corrupt, not a PyTorch checkpoint, or one that holds more than tensors.
        InputError: no audio tower in it, keys that are missing, unknown or of another shape, values that are not
            finite, or another D.
    """
    path = Path(path)
    state = _read(path)
    prefixed = any(key.startswith(PREFIX) for key in state)
    own = {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX) or not prefixed}
    width = own.get("fc.weight")
    if width is None or width.ndim != 2 or "fbsp.fc" not in own:
        raise InputError("holds no ESResNeXt-fbsp tower", where=path, remedy="give AudioCLIP-Partial-Training.pt")
    if dim is not None and len(width) != dim:
        what = f"its tower gives vectors of {len(width)} numbers, the space has {dim}"
        raise InputError(what, where=path, remedy="take the space it was trained for: RN50-quickgelu/openai has 1,024")
    with torch.device("meta"):
        tower = ESResNeXt(len(width))
    expected = {key: tuple(value.shape) for key, value in tower.state_dict().items()}
    own.setdefault("fbsp.bias", torch.zeros(0))  # empty; some files leave it out
    missing, unknown = expected.keys() - own.keys(), own.keys() - expected.keys()
    shaped = [key for key in expected.keys() & own.keys() if tuple(own[key].shape) != expected[key]]
    for what, keys in (("missing keys", missing), ("unknown keys", unknown), ("keys of another shape", shaped)):
        if keys:
            names = ", ".join(sorted(keys)[:3]) + ", ..." * (len(keys) > 3)
            raise InputError(f"{what} of the tower ({len(keys)}): {names}", where=path)
    broken = sorted(key for key, value in own.items() if not value.isfinite().all())
    if broken:
        raise InputError(f"has NaN or infinite weights in {broken[0]}", where=path)
    whole = {k: v if k.endswith("num_batches_tracked") else v.float() for k, v in own.items()}
    tower.load_state_dict(whole, assign=True)
    scales = {name: float(state[name]) for name in SCALES if prefixed and name in state and state[name].numel() == 1}
    visual = {k.removeprefix(VISUAL): v for k, v in state.items() if k.startswith(VISUAL)}
    return AudioCLIP(tower.eval(), scales, visual)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The state dict of a file; one inside ``state_dict`` or ``model`` is found there."""
    if not path.is_file():
        raise FileError("no such file", where=path)
    try:
        with ignore_library_warnings():  # about the pickle protocol of old files
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive ends in whatever torch trips over
        first = str(error).strip().split("\n")[0][:120] or type(error).__name__
        raise FileError(f"not a readable checkpoint of tensors: {first}", where=path) from error
    for name in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError("holds no state dict", where=path, remedy="save model.state_dict()")
    return found
