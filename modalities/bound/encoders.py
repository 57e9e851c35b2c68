"""The encoders that can be bound: a modality in another space, a timm model, or what a package registers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from clipx._arrays import to_array
from clipx.errors import InputError, MissingDependencyError, first_line
from clipx.parts import Parts
from clipx.registry import get_modality, load, registered

if TYPE_CHECKING:
    from clipx.modality import Modality

ENCODERS = "clipx.encoders"  # the entry points' group
_AT_ONCE = 32  # pictures in a batch


@runtime_checkable
class Encoder(Protocol):
    """What a package registers under the group ``clipx.encoders``: a class, made without arguments."""

    reads: str  # the modality whose files it takes, such as "audio": it decides which files of a folder are its own
    id: str  # its name and that of its weights: a map is of one encoder

    def load(self, path: str | PathLike[str]) -> Any:
        """Read one file into a sample. Raises FileError or InputError on a bad file."""

    def features(self, samples: Sequence[Any]) -> Any:
        """N samples -> (N, E) numbers, which must not depend on the batch."""


def get_encoder(name: str, device: str = "cpu") -> Encoder:
    """An encoder by its name.

    Args:
        name: ``"MODALITY@SPACE"``, such as ``"audio@lite"``; ``"timm:MODEL"``, whose weights are fetched from the hub,
            or ``"timm:MODEL=FILE"``; or a name that a package registered under ``clipx.encoders``.
        device: where it computes.

    Raises:
        InputError: no such encoder. MissingDependencyError: it needs a package.
        SpaceError, FileError: its space or its weights cannot be had.
        ContractError: what is registered cannot be imported.
    """
    modality, at, space = name.partition("@")
    if name.startswith("timm:"):
        model, _, weights = name.removeprefix("timm:").partition("=")
        return TimmEncoder(model, weights, device)
    if at:
        return OtherSpace(modality, space, device)
    known = registered(ENCODERS)
    if name not in known:
        installed = "".join(f", {one}" for one in sorted(known))
        remedy = f"take MODALITY@SPACE such as audio@lite, timm:MODEL{installed}"
        raise InputError(f"no encoder named {name!r}", remedy=remedy)
    made = load(known[name])
    try:
        found = made()
    except Exception as error:  # a package of somebody else's
        what = f"the encoder {name!r} cannot be made: {type(error).__name__}: {first_line(error)}"
        raise InputError(what, where=known[name].value) from error
    if not isinstance(found, Encoder):  # a runtime_checkable protocol asks for the names of its members
        missing = [part for part in ("reads", "id", "load", "features") if not hasattr(found, part)]
        raise InputError(f"the encoder {name!r} has no {', '.join(missing)}", where=known[name].value)
    return found


class OtherSpace:
    """A modality in another space; the parts of its samples stay separate.

    Args:
        modality: its name.
        space: what ``clipx.load_space`` takes.
        device: where it computes.
    """

    def __init__(self, modality: str, space: str, device: str = "cpu"):
        from clipx.api import make_modality
        from clipx.spaces.loading import load_space

        self.reads = modality
        get_modality(modality)  # refuses an unknown one before a space is loaded
        self.modality: Modality = make_modality(modality, load_space(space, device))
        if (why := self.modality.unavailable()) is not None:
            raise InputError(why, where=f"{modality}@{space}")
        self.id = f"{modality}@{self.modality.space.id} {self.modality.context}".strip()
        self.prompts = self.modality.prompts

    def load(self, path: str | PathLike[str]) -> Any:
        return self.modality.load(path)

    def parts(self, samples: Sequence[Any]) -> Parts:
        """The unit vectors of the samples' parts in that space."""
        return self.modality.parts(samples)

    def features(self, samples: Sequence[Any]) -> np.ndarray:
        """(N, E) the unit vectors of the samples in that space."""
        return to_array(self.modality.pool(self.modality.parts(samples)))


class TimmEncoder:
    """The pooled features of a timm model, of pictures as its own transform prepares them.

    Args:
        model: its name in timm.
        weights: a file of them; "" fetches those that timm names, from the hub.
        device: where it computes.
    """

    reads = "image"

    def __init__(self, model: str, weights: str = "", device: str = "cpu"):
        try:
            timm = import_module("timm")
        except ImportError as error:
            raise MissingDependencyError("a timm encoder needs timm", remedy="pip install timm") from error
        from clipx.backbone.weights import read_weights

        if not timm.is_model(model.split(".")[0]):
            raise InputError(f"timm knows no model {model!r}", remedy="timm.list_models() lists them")
        try:
            self._model = timm.create_model(model, pretrained=not weights, num_classes=0)
        except Exception as error:  # whatever the hub's client raises
            what = f"the weights of {model} cannot be fetched ({type(error).__name__})"
            raise InputError(what, remedy=f"name a file: timm:{model}=FILE") from error
        if weights:
            state = read_weights(Path(weights))
            own = self._model.state_dict()
            wrong = sorted(name for name in own if name not in state or state[name].shape != own[name].shape)
            if wrong:
                what = f"{wrong[0]} and {len(wrong) - 1} more weights are missing, or of another shape"
                raise InputError(what, where=weights, remedy=f"take a file of the weights of {model}")
            self._model.load_state_dict({name: state[name] for name in own})
        self._model.eval().requires_grad_(False).to(device)
        self._transform = timm.data.create_transform(**timm.data.resolve_model_data_config(self._model))
        total = hashlib.sha256()
        for value in self._model.state_dict().values():
            total.update(value.cpu().numpy().tobytes())
        self.id = f"timm {version('timm')} {model} {total.hexdigest()}"

    def load(self, path: str | PathLike[str]) -> Any:
        from clipx.pictures import on_white, open_picture

        return self._transform(on_white(open_picture(path), path)).numpy()

    def features(self, samples: Sequence[Any]) -> np.ndarray:
        import torch

        place, rows = next(self._model.parameters()).device, []
        for start in range(0, len(samples), _AT_ONCE):
            batch = torch.from_numpy(np.stack(samples[start : start + _AT_ONCE])).to(place)
            with torch.no_grad():
                rows.append(self._model(batch).cpu().numpy())
        return np.concatenate(rows)


def parts_of(encoder: Encoder, samples: Sequence[Any]) -> Parts:
    """The features of the samples' parts, one each where the encoder has none; of any norm."""
    if isinstance(encoder, OtherSpace):
        return encoder.parts(samples)
    return Parts.whole(to_array(encoder.features(samples)))
