"""The checkpoint of a drawing that was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipx.errors import FileError, InputError
from clipx.files import write_tensors


def save(path: Path, runs: Any, tensors: Sequence[str], identity: dict, step: int) -> None:
    """Write the named tensors of ``runs``, which of them move, and their losses so far; whole or not at all."""
    about = {"identity": identity, "step": step, "alive": runs.alive, "history": runs.history}
    state = {name: getattr(runs, name).contiguous() for name in tensors}
    try:
        write_tensors(path, state, {"about": json.dumps(about)}, parents=True)
    except FileError as error:
        raise FileError(error.what, where=path, remedy="name another with -o") from error


def load(path: Path, runs: Any, tensors: Sequence[str], identity: dict) -> int:
    """Put what ``save`` wrote into ``runs``, and return the step.

    Raises:
        FileError: the file is damaged. InputError: it is of another drawing.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            found = {name: file.get_tensor(name) for name in tensors}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError("the checkpoint is corrupt", where=path, remedy="delete it and start again") from error
    if about["identity"] != json.loads(json.dumps(identity)):
        raise InputError(
            "the checkpoint is of another drawing", where=path, remedy="leave --resume, or name another -o"
        )
    for name, tensor in found.items():
        setattr(runs, name, tensor)
    runs.alive, runs.history = about["alive"], about["history"]
    return int(about["step"])
