"""Sound files as people hear and see them: their loudness over time, and a part of one as WAV."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.containers import inspect

KINDS = {
    ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4", ".m4b": "audio/mp4", ".aac": "audio/aac",
}  # fmt: skip  # what browsers play
CONVERTED = (
    *(".aiff", ".aif", ".aifc", ".caf", ".w64", ".rf64", ".au", ".oga"),
    *(".wma", ".amr", ".ac3", ".mka", ".wv", ".ape"),
)  # which few browsers play
SUFFIXES = (*KINDS, *CONVERTED)
BARS = 160  # of a waveform
DRAWN_S = 600.0  # of a waveform; of a longer sound the minutes about the place are drawn


@dataclass(frozen=True, eq=False)
class Waveform:
    """How loud a sound is over time.

    Args:
        peaks: (B,) the loudest sample in each of B equal parts, the loudest of all 1.
        start_s, end_s: what part of the sound is drawn, in seconds.
        duration_s: of all of it.
    """

    peaks: np.ndarray
    start_s: float
    end_s: float
    duration_s: float


def is_sound(path: str | PathLike) -> bool:
    """Whether a file's suffix is that of a sound."""
    return Path(path).suffix.lower() in SUFFIXES


def waveform(path: str | PathLike, start_s: float | None = None, parts: int = BARS) -> Waveform:
    """The waveform of a file, of at most ten minutes about a place.

    Raises:
        Exception: whatever soundfile or PyAV raise of a damaged file; FileError of what is no sound; ImportError or
            MissingDependencyError where the package that reads it is not installed.
    """
    with _opened(path) as file:
        rate, length = file.samplerate, file.frames
        first, duration = 0, length / rate
        if length > DRAWN_S * rate:
            first = round(min(max(0.0, (start_s or 0.0) - DRAWN_S / 2), length / rate - DRAWN_S) * rate)
            length = round(DRAWN_S * rate)
        file.seek(first)
        peaks = np.zeros(parts)
        for i, count in enumerate(np.diff(np.linspace(0, length, parts + 1).astype(int))):
            part = file.read(count, dtype="float32", always_2d=True)
            peaks[i] = np.abs(part).max(initial=0.0)
    return Waveform(peaks / max(peaks.max(), 1e-4), first / rate, (first + length) / rate, duration)


def cut(path: str | PathLike, start_s: float, end_s: float | None, longest_s: float) -> tuple[bytes, float]:
    """A part of a sound as a 16-bit WAV, mono, of at most ``longest_s`` seconds, and where it ends, in seconds.

    Raises:
        Exception: as ``waveform``.
    """
    import soundfile

    with _opened(path) as file:
        rate = file.samplerate
        until = min(end_s or np.inf, start_s + longest_s, file.frames / rate)
        file.seek(min(round(start_s * rate), file.frames))
        samples = file.read(max(0, round((until - start_s) * rate)), dtype="float32", always_2d=True).mean(1)
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format="WAV", subtype="PCM_16")
    return sound.getvalue(), until


def _opened(path: str | PathLike) -> AbstractContextManager[Any]:
    """A ``soundfile.SoundFile``, or what of it a ``TrackReader`` has; the content decides, not the suffix."""
    path = Path(path)
    return inspect(path, path.stat().st_size).opened()
