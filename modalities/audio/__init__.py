"""Sounds as a sense: files, windows, two towers, and their training."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Audio": "encoder",
    "AudioTrainConfig": "train",
    "ESResNeXt": "esresnext",
    "LogMelTower": "logmel",
    "LongSound": "files",
    "Sound": "files",
    "load_audioclip": "checkpoint",
    "load_tower": "towers",
    "read_sound": "files",
    "train_audio": "train",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """A name at first use: `clipx --help` loads this package's command and needs no torch for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
