"""The sound of films, and of containers that libsndfile does not read, decoded by PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import MissingDependencyError, NoTrackError
from clipx.films import pyav

GAP_S = 0.1  # by the times of the packets, from which silence stands for what is missing, as at a late beginning
_SILENCE = 2**16  # samples at once
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,aac,amr,ac3,wv,ape,dsf"  # none names other files or URLs
_UNTIMED = ("aac", "amr", "ac3", "wv", "ape", "dsf")  # where FFmpeg makes up times from sizes
_RAW = ("aac", "amr", "ac3")  # no header says how long they are; FFmpeg guesses it from their size
PREROLL_S = 1.0  # decoded before a place, which gives the codec its state


@dataclass(frozen=True)
class Track:
    """The first sound track of a file.

    Args:
        path: the file.
        kind: what it is, such as "an AVI film (.avi)".
    """

    path: Path
    kind: str
    note: str | None = None

    @contextmanager
    def opened(self) -> Iterator[TrackReader]:
        """A reader from the beginning of the file.

        Raises:
            NoTrackError: it has no sound.
            RuntimeError: FFmpeg cannot read it.
            MissingDependencyError: PyAV is not installed.
        """
        av = pyav(f"is {self.kind}, which needs PyAV", f", or convert it: ffmpeg -i {self.path.name} converted.wav")
        with _open(self.path, av) as container:
            if not container.streams.audio:
                raise NoTrackError("has no sound", where=self.path)
            if container.streams.audio[0].codec_context is None:
                raise RuntimeError("its sound is of a codec that this FFmpeg does not know")
            yield TrackReader(container, av)


def has_pictures(path: str | PathLike[str]) -> bool:
    """Whether there is more to a film than its sound; True where nothing tells, such as without PyAV or of a pipe.

    Args:
        path: a film by its suffix. The cover of an album is no picture of a film.
    """
    if not os.path.isfile(path):  # reading a pipe might never end
        return True
    try:
        av = pyav()
        with _open(Path(path), av) as container:
            films = [one for one in container.streams.video if not one.disposition & av.stream.Disposition.attached_pic]
            return bool(films) or not container.streams.audio
    except (MissingDependencyError, RuntimeError):
        return True


def _open(path: Path, av: Any) -> Any:
    """PyAV's container. Raises RuntimeError: FFmpeg cannot read it."""
    limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        return av.open(f"file:{path}", options=limits, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise RuntimeError(_reason(error)) from error


class TrackReader:
    """What of ``soundfile.SoundFile`` is needed to read a file from its beginning to its end.

    Args:
        container: PyAV's, with at least one stream of sound, at its beginning.
        av: the package.
    """

    format = ""
    extra_info = ""
    subtype = "MPEG"  # as in an MP3, the length in the header is a guess

    def __init__(self, container: Any, av: Any):
        self._container, self._av = container, av
        self._stream = container.streams.audio[0]
        self.samplerate = int(self._stream.rate or 0)
        name = container.format.name
        self._untimed, self._raw = name in _UNTIMED, name in _RAW
        own = None if self._raw else self._stream.duration
        own_s = float(own * self._stream.time_base) if own is not None and own > 0 else 0.0
        self.promised = round(own_s * self.samplerate)  # the sound may be shorter than the pictures
        self.frames = self.promised or round(self._seconds() * self.samplerate)
        self.damaged = 0  # packets that could not be decoded so far
        self._place, self._blocks = 0, self._decoded()  # the next frame
        self._held = np.zeros((0, 1), np.float32)

    def _seconds(self) -> float:
        """By the header of the container, else by its packets."""
        stream, container = self._stream, self._container
        if not self._raw and container.duration is not None and container.duration > 0:
            return float(container.duration) / 1_000_000
        end = total = 0.0
        with suppress(self._av.FFmpegError):
            for packet in container.demux(stream):
                total += _seconds_of(packet)
                if packet.pts is not None:
                    end = max(end, float(packet.pts * packet.time_base) + _seconds_of(packet) - self._begins_s)
            container.seek(0)
        return total if self._raw else end

    @property
    def _begins_s(self) -> float:
        """When the file begins on the clock of its streams."""
        return (self._container.start_time or 0) / 1_000_000

    def read(self, count: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next (n, C) float32 frames, ``count`` but for the last; (0, C) at the end."""
        parts, held = [self._held], len(self._held)
        while held < count and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            held += len(block)
        frames = np.concatenate([part for part in parts if len(part)]) if held else self._held
        self._held, frames = frames[count:], frames[:count]
        self._place += len(frames)
        return frames

    def seek(self, frames: int) -> None:
        """Go on at a frame, counted from the beginning of the file, at or after the next one.

        Of what is between no more than ``PREROLL_S`` is decoded.
        """
        ahead = frames - self._place
        if ahead <= PREROLL_S * self.samplerate:
            self.read(max(0, ahead))
        else:
            self._place, self._held, self._blocks = frames, self._held[:0], self._decoded(frames)

    def _decoded(self, first: int = 0) -> Iterator[np.ndarray]:
        """(n, C) float32 blocks from a frame on, with silence where the track has nothing.

        All have the channels of the first. Packets that are damaged are left out, and what follows keeps its time.

        Raises:
            RuntimeError: FFmpeg cannot decode it.
        """
        try:
            for begins, block in self._placed(first):
                if begins + len(block) > first:
                    yield block[max(0, first - begins) :]
        except self._av.FFmpegError as error:
            raise RuntimeError(_reason(error)) from error

    def _placed(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks and the frames at which they begin, of which those up to ``first`` may be wrong."""
        starts, packets = self._packets(first)
        made = first if starts is None else starts
        resampler = self._av.AudioResampler("fltp", rate=self.samplerate)
        layout = shape = None  # of the first frame, and of the last
        for frame in self._frames(packets):
            untimed = self._untimed or frame.time is None
            if starts is None and untimed:
                continue  # nothing says yet where it belongs
            layout = layout or frame.layout
            now = frame.format.name, frame.layout.name, frame.sample_rate
            if now != shape:  # broadcasts change it
                shape = now
                resampler = self._av.AudioResampler("fltp", layout, self.samplerate)
            begins = made if untimed else self._sample_at(frame.time)
            if starts is None:
                starts = made = min(begins, first)
            if GAP_S * self.samplerate < begins - made and begins <= self._most:
                for start in range(made, begins, _SILENCE):
                    yield start, np.zeros((min(_SILENCE, begins - start), layout.nb_channels), np.float32)
                made = begins
            for even in resampler.resample(frame):
                block = even.to_ndarray().T
                yield made, block
                made += len(block)

    def _packets(self, first: int) -> tuple[int | None, Iterator[Any]]:
        """At which frame they begin, None where their times say that: at least ``PREROLL_S`` before ``first``."""
        passed, target_s = 0.0, first / self.samplerate - PREROLL_S
        if target_s > 0 and not self._untimed:
            with suppress(self._av.FFmpegError):
                self._container.seek(int((target_s + self._begins_s) / self._stream.time_base), stream=self._stream)
                return None, self._container.demux(self._stream)
            self._container.seek(0)
        packets = self._container.demux(self._stream)
        if target_s > 0 and self._untimed:
            for packet in packets:
                if passed + _seconds_of(packet) > target_s:
                    packets = chain([packet], packets)
                    break
                passed += _seconds_of(packet)
        return round(passed * self.samplerate), packets

    def _sample_at(self, time_s: float) -> int:
        return round((time_s - self._begins_s) * self.samplerate)

    @property
    def _most(self) -> float:
        """The last sample that can be one of the file by its header: later times are wrong."""
        own_s = self.promised / self.samplerate + float((self._stream.start_time or 0) * self._stream.time_base)
        return (max(own_s - self._begins_s, (self._container.duration or 0) / 1_000_000) + 1) * self.samplerate

    def _frames(self, packets: Iterator[Any]) -> Iterator[Any]:
        for packet in packets:
            try:
                frames = packet.decode()
            except self._av.FFmpegError:  # of several kinds
                self.damaged += 1
                continue
            yield from frames


def _seconds_of(packet: Any) -> float:
    return float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
