"""Towers on disk: a folder that names the space its vectors belong to, or a released checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clipx.errors import FileError, InputError
from clipx.files import write_tensors, write_whole
from clipx.modalities.audio.checkpoint import load_audioclip
from clipx.modalities.audio.esresnext import ESResNeXt
from clipx.modalities.audio.logmel import LogMelConfig, LogMelTower
from clipx.modalities.audio.sfx import SfxTower, network_state

if TYPE_CHECKING:
    from clipx.space import JointSpace

KINDS = ("logmel", "fbsp", "sfx")
WEIGHTS, ABOUT = "weights.safetensors", "audio.json"
SHIPPED = Path(__file__).parent / "towers"


@dataclass(frozen=True)
class Tower:
    """A network that turns sounds into vectors of one space.

    Args:
        net: (B, C, T) times ``full_scale`` at ``sample_rate_hz`` -> (B, D).
        kind: "logmel", "fbsp" or "sfx".
        window_s: length in seconds of the pieces that it was trained on.
        about: what ``audio.json`` holds.
    """

    net: Any
    kind: str
    window_s: float = 5.0
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """The number of channels it takes; more are mixed to one. A net of two may have been trained on one."""
        return self.about.get("channels", self.net.channels)

    def __call__(self, waves: Tensor) -> Tensor:
        """(B, C, T) in [-1, 1] -> (B, D), not normalised. This is where full scale becomes the net's own."""
        return self.net(waves * self.net.full_scale)


def new_tower(kind: str, dim: int, seed: int = 0, logmel: LogMelConfig | None = None) -> Any:
    """An untrained net, of "sfx" its last layer only; the global random state is left as it was.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"no audio tower named {kind!r}", remedy=f"one of {', '.join(KINDS)}")
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        if kind == "sfx":
            net: Any = SfxTower(dim)
            net.network.load_state_dict(network_state())
            net.network.eval().requires_grad_(False)
        else:
            net = LogMelTower(dim, logmel) if kind == "logmel" else ESResNeXt(dim)
        return net.to(memory_format=torch.channels_last)


def kind_of(net: nn.Module) -> str:
    """The name of a net in ``KINDS``."""
    return "sfx" if isinstance(net, SfxTower) else "logmel" if isinstance(net, LogMelTower) else "fbsp"


def save_tower(
    net: nn.Module, folder: str | PathLike, space: JointSpace, window_s: float, about: dict[str, Any], half: bool = True
) -> Path:
    """Write a folder that ``load_tower`` takes: weights, by default in half precision, and ``audio.json``.

    Of an ``SfxTower`` only the last layer is written: the frozen network comes with clipx once for all spaces.

    Args:
        net: a ``LogMelTower``, an ``ESResNeXt`` or an ``SfxTower``.
        folder: made where it is not there.
        space: the space that it was trained in.
        window_s: length of the pieces that it was trained on.
        about: whatever else is to be known of it: training, figures, licence.
        half: store floats as float16. Statistics and the filter bank's parameters, whose size says more than their
            direction, stay as they are.
    """
    kind = kind_of(net)
    exact = ("running_", "fbsp.", "window", "num_batches")
    state = {
        key: (value.half() if half and value.is_floating_point() and not any(e in key for e in exact) else value)
        .detach().cpu().contiguous()
        for key, value in _own(net).state_dict().items()
    }  # fmt: skip
    record = {"schema": 1, "tower": kind, "space": space.id, "dim": space.dim, "window_s": window_s}
    if isinstance(net, LogMelTower):
        record["logmel"] = asdict(net.config)
    folder = Path(folder)
    write_tensors(folder / WEIGHTS, state, parents=True)
    write_whole(folder / ABOUT, json.dumps(about | record, indent=1) + "\n")
    return folder


def load_tower(path: str | PathLike, space: JointSpace) -> Tower:
    """A folder of ``save_tower``, or AudioCLIP's "Partial" checkpoint (.pt) in the space that it was trained in.

    Raises:
        FileError: there is none, or it is corrupt.
        InputError: it belongs to another space (a checkpoint's ``visual.*`` weights are compared with the space's image
            tower), or its weights do not fit.
    """
    path = Path(path)
    if path.is_file():
        return Tower(_released(path, space), "fbsp")
    about = _read_about(path)
    if about["space"] != space.id:
        raise InputError(
            f"this tower belongs to the space {about['space']}, not to {space.id}",
            where=path,
            remedy="take that space with --space, or train one: clipx train audio DATA --space ...",
        )
    try:
        options: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in about.get("logmel", {}).items()
        }
        net = new_tower(about["tower"], space.dim, logmel=LogMelConfig(**options))
        window_s = float(about["window_s"])
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"names no tower that can be built: {error}", where=path / ABOUT) from error
    _fill(_own(net), path / WEIGHTS)
    return Tower(net.to(space.device).eval().requires_grad_(False), about["tower"], window_s, about)


def shipped_tower(space: JointSpace) -> Path | None:
    """The folder of the tower that clipx ships for a space; None where there is none."""
    for about in sorted(SHIPPED.glob(f"*/{ABOUT}")):
        if _read_about(about.parent)["space"] == space.id:
            return about.parent
    return None


def _own(net: Any) -> nn.Module:
    """The part of a tower whose weights its folder holds."""
    return net.last if isinstance(net, SfxTower) else net


def _released(path: Path, space: JointSpace) -> nn.Module:
    released = load_audioclip(path, space.dim)
    if not released.visual:
        raise InputError(
            "holds no visual.* weights, so that the space of its audio tower cannot be checked",
            where=path,
            remedy="give the whole AudioCLIP-Partial-Training.pt",
        )
    if (other := space.backbone.other_image_weight(released.visual)) is not None:
        raise InputError(
            f"was trained beside another image tower than that of {space.name}: visual.{other} differs",
            where=path,
            remedy="take AudioCLIP-Partial-Training.pt and --space RN50-quickgelu/openai",
        )
    return released.tower.to(space.device).eval().requires_grad_(False)


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not folder.exists():
            raise FileError("no such folder", where=folder, remedy="name the folder of a tower") from error
        within = folder / "tower"  # clipx train audio -o FOLDER
        remedy = f"name {within}" if (within / ABOUT).is_file() else "name the folder that holds it"
        raise FileError(f"no audio tower there: {ABOUT} is missing", where=folder, remedy=remedy) from error
    except (OSError, ValueError) as error:
        raise FileError(f"cannot be read: {error}", where=folder / ABOUT) from error
    if not isinstance(about, dict) or not {"tower", "space", "window_s"} <= about.keys():
        raise FileError("is no description of an audio tower", where=folder / ABOUT)
    return about


def _fill(net: nn.Module, path: Path) -> None:
    """Load weights, every key and no other."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileError("the weights are missing or corrupt", where=path) from error
    own = net.state_dict()
    if state.keys() != own.keys() or any(state[key].shape != own[key].shape for key in own):
        odd = sorted(
            k for k in state.keys() | own.keys() if k not in state or k not in own or state[k].shape != own[k].shape
        )
        raise InputError(f"the weights do not fit the tower: {odd[0]} and {len(odd) - 1} more", where=path)
    if not all(value.isfinite().all() for value in state.values()):
        raise InputError("has NaN or infinite weights", where=path)
    net.load_state_dict(state)  # half precision becomes the net's own
