"""Sounds as a modality: files, windows, three towers, and their training."""

from __future__ import annotations

from clipx._lazy import at_first_use

_HOMES = {
    "Audio": "encoder",
    "AudioConfig": "encoder",
    "AudioTrainConfig": "config",
    "ESResNeXt": "esresnext",
    "LogMelTower": "logmel",
    "LongSound": "files",
    "SfxTower": "sfx",
    "Sound": "files",
    "load_audioclip": "checkpoint",
    "load_tower": "towers",
    "read_sound": "files",
    "synthesise": "synthesis",
    "train_audio": "train",
}

__all__ = list(_HOMES)

# `clipx --help` loads this package's command and needs no torch for it.
__getattr__ = at_first_use(__name__, _HOMES)
