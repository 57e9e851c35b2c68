"""Samples of the video modality: short films in memory, long ones that are read while they are encoded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from pathlib import Path

import numpy as np

from clipx.errors import FileError, InputError
from clipx.modalities.video.colours import Fitted
from clipx.modalities.video.config import VideoConfig
from clipx.modalities.video.decode import Frame, Source, frames_at, measured_s, opened
from clipx.modalities.video.sampling import number_by_rate, wanted

SHORT_FRAMES = 32  # what is held in memory: 5 MB at 224 pixels; of a film of more, frames are read as it is encoded


@dataclass(frozen=True)
class Clip:
    """Frames in memory.

    Args:
        frames: (T, 3, H, W) uint8 RGB, T >= 1.
        times: when each is shown first, in seconds, rising.
        seconds: where the film ends.
        source: where it came from, for messages.

    Raises:
        InputError: wrong shape, dtype or times.
    """

    frames: np.ndarray
    times: tuple[float, ...]
    seconds: float
    source: str | None = None

    def __post_init__(self):
        frames, times = self.frames, self.times
        if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape or frames.dtype != np.uint8:
            raise InputError(f"frames must be (T, 3, H, W) uint8, got {frames.shape} {frames.dtype}", where=self.source)
        rising = all(a < b for a, b in pairwise(times))
        if len(times) != len(frames) or not rising or not times[0] >= 0 or not times[-1] <= self.seconds < np.inf:
            raise InputError(f"{len(frames)} frames need as many rising times up to the end", where=self.source)


@dataclass(frozen=True)
class Film:
    """A file that is decoded whenever it is encoded, so that hours of film need no memory.

    Args:
        path: the file.
        first: (3, H, W) uint8, its first frame.
        seconds: how long it is by its header; None where that says nothing.
        stamp: its size in bytes and its time of change in ns; a file that has changed since is refused.
    """

    path: Path
    first: np.ndarray
    seconds: float | None
    stamp: tuple[int, int]

    @property
    def source(self) -> str:
        return str(self.path)


def read_film(path: str | PathLike[str], config: VideoConfig, fitted: Fitted) -> Clip | Film:
    """Open a film: one of few frames is decoded, of a longer one the first frame.

    Args:
        path: the file.
        config: which frames.
        fitted: what they are resampled to.

    Raises:
        FileError: see ``opened`` and ``frames_at``.
    """
    with opened(path) as source:
        about = source.path.stat()
        expected = None if source.seconds is None else number_by_rate(config.fps, source.seconds)
        expected = config.uniform or (min(expected, config.frames) if expected and config.frames else expected)
        if expected is None or expected > SHORT_FRAMES:
            with closing(frames_at(source, [0.0], fitted)) as frames:
                first = next(frames)
            return Film(source.path, first.pixels, source.seconds, (about.st_size, about.st_mtime_ns))
        found = list(_frames(source, config, fitted))
        end = max(source.seconds or 0.0, found[-1].time_s) if not source.losses.missing else source.losses.last_s
    times = tuple(one.time_s for one in found)
    return Clip(np.stack([one.pixels for one in found]), times, max(end, times[-1]), str(path))


def frames_of(film: Film, config: VideoConfig, fitted: Fitted, ends: list[float]) -> Iterator[Frame]:
    """The frames of a long film, read one by one; where it ends is appended to ``ends`` after the last.

    Raises:
        FileError: the file has changed since it was loaded, or cannot be decoded.
    """
    with opened(film.path) as source:
        about = source.path.stat()
        if (about.st_size, about.st_mtime_ns) != film.stamp:
            raise FileError("has changed since it was loaded", where=film.path, remedy="load it again")
        yield from _frames(source, config, fitted)
        ends.append(source.losses.last_s if source.losses.missing or source.seconds is None else source.seconds)


def _frames(source: Source, config: VideoConfig, fitted: Fitted) -> Iterator[Frame]:
    """The frames that the config asks for; warns at the end of what cannot be decoded."""
    seconds = source.seconds
    if seconds is None and (config.uniform or config.frames):
        seconds = measured_s(source)
    yield from frames_at(source, wanted(config, seconds), fitted)
    for doubt in source.losses.lines(seconds):
        warnings.warn(f"{source.path}: {doubt}", stacklevel=2)
