"""Where spaces come from: a name, a folder, weights or a seed -> a JointSpace, served by the backend that suits."""

from __future__ import annotations

import difflib
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from clipx.backends.manifest import is_exported
from clipx.errors import InputError, SpaceError
from clipx.space import JointSpace, random_space
from clipx.spaces.embedded import ABOUT, embedded_folder, embedded_names, load_embedded
from clipx.spaces.exported import load_exported

if TYPE_CHECKING:
    import torch

    from clipx.backbone import Backbone

DEFAULT = "lite"
BACKENDS = ("auto", "torch", "onnx")


def load_space(
    name: str | PathLike | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    backend: str = "auto",
) -> JointSpace:
    """Load a joint space, frozen.

    Args:
        name: by default ``default_name()``, else one of

            - ``"lite"`` or another embedded space: needs no network;
            - ``"ARCHITECTURE/TAG"``: weights open_clip knows, such as ``"ViT-B-32-quickgelu/openai"``;
            - ``"ARCHITECTURE/PATH"``: a weights file for one of open_clip's architectures, such as
              ``"RN50/weights.safetensors"``;
            - ``"hf-hub:ORGANISATION/NAME"``: an open_clip model of the Hugging Face hub;
            - a folder: an embedded space's, an exported one (``clipx export``), or one with
              ``open_clip_config.json`` and weights;
            - ``"random:ARCHITECTURE[:SEED]"``: untrained weights, for tests only.
        device: where it computes.
        dtype: what it computes in; float32 when None. Results are float32 whatever it is.
        backend: ``"torch"``, ``"onnx"`` (onnxruntime, for spaces that hold ONNX graphs, in float32 on the CPU), or
            ``"auto"``: onnx where it can be, which spares importing torch until something needs gradients, stages,
            dense maps or attention.

    Raises:
        SpaceError: the name is unknown, weights are missing, corrupt or do not fit, the activation, preprocessing or
            tokenizer does not match or is unknown, or the hub cannot be reached.
        InputError: the device, dtype or backend cannot be used.
    """
    name = default_name() if name is None else os.fspath(name)
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}", remedy=f"one of {', '.join(BACKENDS)}")
    plain = str(device) == "cpu" and str(dtype or "float32").removeprefix("torch.") == "float32"
    if backend == "onnx" and not plain:
        raise InputError("backend onnx computes in float32 on the CPU", remedy="take backend torch")
    if backend != "torch" and plain and (space := _served(name)) is not None:
        return space
    if backend == "onnx":
        raise SpaceError(f"{name} has no ONNX graphs", remedy=f"make them: clipx export {name} -o FOLDER")
    import torch

    from clipx._device import check_device, has_float64

    device = check_device(device)
    dtype = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype or torch.float32
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"torch has no dtype {dtype!r}", where="load_space", remedy="take float32")
    if dtype == torch.float64 and not has_float64(device):
        raise InputError(f"device {device} has no float64", where="load_space", remedy="take float32")
    if not dtype.is_floating_point:
        raise InputError(f"a space computes in a floating dtype, got {dtype}", where="load_space")
    space = _find(name)
    space.backbone.to(device, dtype)
    return space


def default_name() -> str:
    """The space to take where none is named: ``$CLIPX_SPACE``, else the embedded one."""
    return os.environ.get("CLIPX_SPACE") or DEFAULT


def _served(name: str) -> JointSpace | None:
    """The space by onnxruntime, if its folder holds graphs."""
    folder = embedded_folder(name) or Path(name).expanduser()
    return load_exported(folder) if name and is_exported(folder) else None


def _find(name: str) -> JointSpace:
    """A space by torch."""
    from clipx import backbone as bb

    if (embedded := embedded_folder(name)) is not None:
        return load_embedded(embedded)
    if name.startswith("hf-hub:"):
        return _opened(name, bb.create_from_hub(name.removeprefix("hf-hub:")))
    if name.startswith("random:"):
        architecture, _, seed = name.removeprefix("random:").partition(":")
        if not (seed or "0").isdigit():
            raise SpaceError(f"the seed must be a whole number, got {seed!r}", where=name)
        return random_space(architecture, seed=int(seed or 0))
    if name and Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
        if (folder / ABOUT).is_file():
            return load_embedded(folder)
        return _opened(name, bb.create_from_folder(folder))
    architecture, slash, pretrained = name.partition("/")
    if slash and pretrained and architecture not in ("", ".", "..", "~"):
        if "/" in pretrained and not bb.is_architecture(architecture):  # runs/small/space, mistyped
            raise SpaceError("no such folder", where=name, remedy=_advice(name))
        return _opened(name, bb.create(architecture, pretrained))
    raise SpaceError(f"no space named {name!r}", remedy=_advice(name))


def _opened(name: str, backbone: Backbone) -> JointSpace:
    return JointSpace(name, backbone, weights_sha256=backbone.loaded_sha256())


def _advice(name: str) -> str:
    from clipx import backbone as bb

    tags = [tag for architecture, tag in bb.pretrained_tags() if architecture == name]
    if tags:
        return f"say which weights: {name}/{tags[0]}"
    nearest = difflib.get_close_matches(name, embedded_names(), n=1)
    if nearest:
        return f"did you mean {nearest[0]}?"
    embedded = ", ".join([*embedded_names(), "ARCHITECTURE/TAG such as ViT-B-32-quickgelu/openai"])
    return f"take {embedded}, hf-hub:..., or a folder; clipx spaces lists them"
