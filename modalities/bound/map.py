"""The map from an encoder's features into a joint space, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import unit_rows
from clipx.errors import SpaceMismatchError
from clipx.files import MODEL_SUFFIX, read_bytes, restore_model, sha256_of, write_model

if TYPE_CHECKING:
    from clipx.space import JointSpace

_KEY = "clipx_bound_map"
_FACTS = ("encoder", "encoder_id", "space_id", "prompts", "settings")
_HIDDEN = ("down", "down_bias", "up")  # of the perceptron


@dataclass(frozen=True, eq=False)
class BoundMap:
    """x -> unit(z W + b), with z = (x - mean) / scale; a perceptron adds relu(z A + a) B before the norm is taken.

    Args:
        arrays: mean (E,), scale (), weight (E, D), bias (D,); down (E, H), down_bias (H,), up (H, D) of a perceptron.
        encoder: what ``get_encoder`` takes.
        encoder_id: that encoder's ``id``: with other weights the map means nothing.
        space_id: the space that it leads to.
        prompts: the prompt set that suits what is encoded.
        settings: how it was fitted, as JSON has it.
        sha256: of its file; "" where it was not read from one.
    """

    arrays: Mapping[str, np.ndarray]
    encoder: str
    encoder_id: str
    space_id: str
    prompts: str = "photo"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, E) features -> (N, D) float32 unit vectors."""
        own = self.arrays
        z = (features.astype(np.float32) - own["mean"]) / own["scale"]
        rows = z @ own["weight"] + own["bias"]
        if "up" in own:
            rows += np.maximum(z @ own["down"] + own["down_bias"], 0) @ own["up"]
        return unit_rows(rows)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write one .safetensors file. Raises FileError: another suffix, or it cannot be written."""
        import torch

        tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in self.arrays.items()}
        return write_model(path, tensors, _KEY, {name: getattr(self, name) for name in _FACTS})


def load_map(path: str | PathLike[str], space: JointSpace) -> BoundMap:
    """Read what ``BoundMap.save`` wrote. Nothing in the file is run.

    Raises:
        FileError: missing, unreadable, or no map. SpaceMismatchError: it leads to another space.
    """
    data = read_bytes(path, (MODEL_SUFFIX,), max_bytes=2**31)

    def build(tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> BoundMap:
        arrays = {name: value.float().numpy() for name, value in tensors.items()}
        features, dim = arrays["weight"].shape
        shapes = {"mean": (features,), "scale": (), "weight": (features, dim), "bias": (dim,)}
        if "up" in arrays:
            hidden = len(arrays["up"])
            shapes |= {"down": (features, hidden), "down_bias": (hidden,), "up": (hidden, dim)}
        if {name: value.shape for name, value in arrays.items()} != shapes:
            raise ValueError("its arrays do not fit each other")
        if arrays["scale"] <= 0:
            raise ValueError("its scale is not above 0")
        found = BoundMap(arrays, sha256=sha256_of(data), **{name: facts[name] for name in _FACTS})
        if not all(isinstance(getattr(found, name), str) for name in _FACTS[:4]):
            raise ValueError("its facts are damaged")
        return found

    found = restore_model(data, _KEY, build, "map of an encoder", path, "make one with clipx bind")
    if found.space_id != space.id or len(found.arrays["bias"]) != space.dim:
        raise SpaceMismatchError(
            f"the map leads to space {found.space_id}, this is {space.id}",
            where=path,
            remedy="take that space, or bind again with clipx bind",
        )
    return found
