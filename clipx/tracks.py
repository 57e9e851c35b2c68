"""The sound of films, and of containers that libsndfile does not read, decoded by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import NoTrackError
from clipx.films import pyav

GAP_S = 0.1  # by the times of the packets, from which silence stands for what is missing, as at a late beginning
_SILENCE = 2**16  # samples at once
_FORMATS = "mov,matroska,avi,mpegts,mpeg,flv,asf,aac,amr,ac3,wv,ape,dsf"  # none names other files or URLs
_UNTIMED = ("aac", "amr", "ac3", "wv", "ape", "dsf")  # where FFmpeg makes up times from sizes


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
        limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        try:
            container = av.open(f"file:{self.path}", options=limits, metadata_errors="ignore")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise RuntimeError(_reason(error)) from error
        with container:
            if not container.streams.audio:
                raise NoTrackError("has no sound", where=self.path)
            if container.streams.audio[0].codec_context is None:
                raise RuntimeError("its sound is of a codec that this FFmpeg does not know")
            yield TrackReader(container, av)


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
        own = self._stream.duration
        own_s = float(own * self._stream.time_base) if own is not None and own > 0 else 0.0
        self.promised = round(own_s * self.samplerate)  # the sound may be shorter than the pictures
        self.frames = self.promised or round(self._seconds() * self.samplerate)
        self.damaged = 0  # packets that could not be decoded so far
        self._blocks = self._decoded()
        self._held = np.zeros((0, 1), np.float32)

    def _seconds(self) -> float:
        """By the header of the container, else by the last packet."""
        stream, container = self._stream, self._container
        if container.duration is not None and container.duration > 0:
            return float(container.duration) / 1_000_000
        end = 0.0
        with suppress(self._av.FFmpegError):
            for packet in container.demux(stream):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._begins_s)
            container.seek(0)
        return end

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
        self._held = frames[count:]
        return frames[:count]

    def seek(self, frames: int) -> None:
        """Pass over the next frames, by decoding them: packets that are skipped leave the codec without its state."""
        while frames > 0 and len(passed := self.read(min(frames, _SILENCE))):
            frames -= len(passed)

    def _decoded(self) -> Iterator[np.ndarray]:
        """(n, C) float32 blocks from the beginning of the file, with silence where the track has nothing.

        All have the channels of the first. Packets that are damaged are left out, and what follows keeps its time.

        Raises:
            RuntimeError: FFmpeg cannot decode it.
        """
        made, resampler = 0, self._av.AudioResampler("fltp", rate=self.samplerate)
        layout = shape = None  # of the first frame, and of the last
        untimed = self._container.format.name in _UNTIMED
        try:
            for frame in self._frames():
                layout = layout or frame.layout
                now = frame.format.name, frame.layout.name, frame.sample_rate
                if now != shape:  # broadcasts change it
                    shape = now
                    resampler = self._av.AudioResampler("fltp", layout, self.samplerate)
                begins = made if frame.time is None or untimed else self._sample_at(frame.time)
                if GAP_S * self.samplerate < begins - made and begins <= self._most:
                    for start in range(made, begins, _SILENCE):
                        yield np.zeros((min(_SILENCE, begins - start), layout.nb_channels), np.float32)
                    made = begins
                for even in resampler.resample(frame):
                    block = even.to_ndarray().T
                    made += len(block)
                    yield block
        except self._av.FFmpegError as error:
            raise RuntimeError(_reason(error)) from error

    def _sample_at(self, time_s: float) -> int:
        return round((time_s - self._begins_s) * self.samplerate)

    @property
    def _most(self) -> float:
        """The last sample that can be one of the file by its header: later times are wrong."""
        own_s = self.promised / self.samplerate + float((self._stream.start_time or 0) * self._stream.time_base)
        return (max(own_s - self._begins_s, (self._container.duration or 0) / 1_000_000) + 1) * self.samplerate

    def _frames(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except self._av.FFmpegError:  # of several kinds
                self.damaged += 1
                continue
            yield from frames


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
