"""Towers on disk: a folder that names the space its vectors belong to, or a released checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import write_tensors, write_whole
from clipx.modalities.audio.spectrograms import LogMelConfig
from clipx.modalities.audio.weights import GRAPH, SHIPPED, WEIGHTS, check_fit, read_weights

if TYPE_CHECKING:
    from clipx.space import JointSpace

KINDS = ("logmel", "fbsp", "sfx")
ABOUT = "audio.json"


class Network(Protocol):
    """What a tower computes with."""

    @property
    def sample_rate_hz(self) -> int:
        """Of the sounds that it takes."""

    @property
    def full_scale(self) -> float:
        """What full scale, 1, is in its numbers."""

    @property
    def channels(self) -> int:
        """How many channels it takes."""

    @property
    def net(self) -> Any:
        """The module in torch, which is the definition: (B, C, T) tensors -> (B, D)."""

    def __call__(self, waves: np.ndarray) -> np.ndarray:
        """(B, C, T) float32 times ``full_scale`` -> (B, D) float32, not normalised."""

    def state(self) -> Mapping[str, np.ndarray]:
        """The weights, by the module's names for them."""


@dataclass(frozen=True)
class Tower:
    """A network that turns sounds into vectors of one space.

    Args:
        network: what computes.
        kind: "logmel", "fbsp" or "sfx".
        window_s: length in seconds of the pieces that it was trained on.
        about: what ``audio.json`` holds.
    """

    network: Network
    kind: str
    window_s: float = 5.0
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """The number of channels it takes; more are mixed to one. A net of two may have been trained on one."""
        return self.about.get("channels", self.network.channels)

    @property
    def net(self) -> Any:
        """The module in torch, which is loaded now where onnxruntime serves the tower."""
        return self.network.net

    def __call__(self, waves: np.ndarray) -> np.ndarray:
        """(B, C, T) in [-1, 1] -> (B, D), not normalised. This is where full scale becomes the net's own."""
        return self.network(waves * np.float32(self.network.full_scale))


def new_tower(kind: str, dim: int, seed: int = 0, logmel: LogMelConfig | None = None) -> Any:
    """An untrained net, of "sfx" its last layer only; the global random state is left as it was.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"no audio tower named {kind!r}", remedy=f"one of {', '.join(KINDS)}")
    import torch

    from clipx.modalities.audio.esresnext import ESResNeXt
    from clipx.modalities.audio.logmel import LogMelTower
    from clipx.modalities.audio.sfx import SfxTower, network_state

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        if kind == "sfx":
            net: Any = SfxTower(dim)
            net.network.load_state_dict(network_state())
            net.network.eval().requires_grad_(False)
        else:
            net = LogMelTower(dim, logmel) if kind == "logmel" else ESResNeXt(dim)
        return net.to(memory_format=torch.channels_last)


def save_tower(
    net: Any, folder: str | PathLike, space: JointSpace, window_s: float, about: dict[str, Any], half: bool = True
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
    exact = ("running_", "fbsp.", "window", "num_batches")
    state = {
        key: (value.half() if half and value.is_floating_point() and not any(e in key for e in exact) else value)
        .detach().cpu().contiguous()
        for key, value in (net.last if net.kind == "sfx" else net).state_dict().items()
    }  # fmt: skip
    record = {"schema": 1, "tower": net.kind, "space": space.id, "dim": space.dim, "window_s": window_s}
    if net.kind == "logmel":
        record["logmel"] = asdict(net.config)
    folder = Path(folder)
    (folder / GRAPH).unlink(missing_ok=True)  # of other weights
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
        from clipx.modalities.audio.torch_network import TorchNetwork

        return Tower(TorchNetwork(_released(path, space)), "fbsp")
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
        config, window_s = LogMelConfig(**options), float(about["window_s"])
        return Tower(_network(path, about["tower"], config, space), about["tower"], window_s, about)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"names no tower that can be built: {error}", where=path / ABOUT) from error


def _network(folder: Path, kind: str, config: LogMelConfig, space: JointSpace) -> Network:
    """By onnxruntime, where there is a graph and the space is on the CPU; else by torch."""
    from clipx.modalities.audio.graph import served

    build = partial(_module, folder, kind, config, space.dim)
    if space.on_cpu and (network := served(folder, kind, config, space.dim, build)) is not None:
        return network
    from clipx.modalities.audio.torch_network import TorchNetwork

    return TorchNetwork(build().to(space.device))


def _module(folder: Path, kind: str, config: LogMelConfig, dim: int) -> Any:
    """A tower's module, frozen, with the weights of its folder."""
    import torch

    net = new_tower(kind, dim, logmel=config)
    own = net.last if kind == "sfx" else net
    state, path = read_weights(folder / WEIGHTS), folder / WEIGHTS
    check_fit(state, {name: tuple(value.shape) for name, value in own.state_dict().items()}, path)
    own.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})  # half precision becomes the net's own
    return net.eval().requires_grad_(False)


def shipped_tower(space: JointSpace) -> Path | None:
    """The folder of the tower that clipx ships for a space; None where there is none."""
    for about in sorted(SHIPPED.glob(f"*/{ABOUT}")):
        if _read_about(about.parent)["space"] == space.id:
            return about.parent
    return None


def _released(path: Path, space: JointSpace) -> Any:
    from clipx.modalities.audio.checkpoint import load_audioclip

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
