"""The files of towers: weights and graphs, and where those that come with clipx lie."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clipx.errors import FileError, InputError

WEIGHTS, GRAPH = "weights.safetensors", "network.onnx"
SHIPPED = Path(__file__).parent / "towers"
SFX = SHIPPED / "sfx"  # the frozen network that the sfx towers of all spaces share


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .safetensors file, as they are stored. Raises FileError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: bfloat16, which NumPy has not
        raise FileError("the weights are missing or corrupt", where=path) from error


def check_fit(state: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raise InputError unless weights have these names and no others, these shapes, and finite values."""
    found = {name: value.shape for name, value in state.items()}
    if odd := sorted(k for k in found.keys() | shapes.keys() if found.get(k) != shapes.get(k)):
        raise InputError(f"the weights do not fit the tower: {odd[0]} and {len(odd) - 1} more", where=path)
    if not all(np.isfinite(value).all() for value in state.values()):
        raise InputError("has NaN or infinite weights", where=path)
