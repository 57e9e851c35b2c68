"""Frames of a film by their presentation times, and no more decoded than they need."""

from __future__ import annotations

import math
import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from clipx._threads import threads
from clipx.errors import FileError
from clipx.files import reading, require_regular
from clipx.films import pyav
from clipx.modalities.video.colours import Fitted, picture
from clipx.modalities.video.foreign import what_else
from clipx.pictures import MAX_PIXELS

_FORMATS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg"  # none names other files or URLs to be read
_INDEXED, _INDEXED_LATER = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"  # AVIs of old encoders are grey after a jump
_WHOLE = ("h264", "hevc", "vp8", "vp9", "av1", "mjpeg", "prores", "dnxhd", "ffv1", "mpeg2video")  # after a keyframe
JUMP_S = 0.6  # of film that a jump to a keyframe has to save: it empties the decoder, which costs about 15 frames
BLIND_JUMP_S = 20.0  # likewise where the container does not say in advance where its keyframes are
LONGEST_S = 7 * 24 * 3600.0
_SLACK_S = 1e-4  # times of 90 kHz and of 1/1000 s are rounded


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that is shown at a time that was asked for.

    Args:
        pixels: (3, H, W) uint8 RGB, upright.
        time_s: when it is shown first, in seconds of the film.
    """

    pixels: np.ndarray
    time_s: float


@dataclass
class Losses:
    """What could not be decoded.

    Args:
        packets: that the decoder refused, or gave as corrupt pictures.
        missing: times that were asked for after the last frame that could be decoded.
        last_s: where that frame ends.
    """

    packets: int = 0
    missing: int = 0
    last_s: float = 0.0

    def lines(self, seconds: float | None) -> list[str]:
        """A line for each doubt; [] where there is none."""
        found = []
        if self.missing:
            of = "" if seconds is None else f" of {seconds:.1f} s"
            found.append(
                f"it ends early: nothing can be decoded after {self.last_s:.1f}{of}, and {self.missing:,} "
                f"frame{'s' if self.missing > 1 else ''} of the end are left out"
            )
        if self.packets:
            found.append(f"it is damaged: {self.packets:,} packet{'s' if self.packets > 1 else ''} cannot be decoded")
        return found


@dataclass(eq=False)
class Source:
    """An opened film.

    Args:
        path: the file.
        container, stream: PyAV's.
        seconds: how long its pictures last, by its header; None where that says nothing.
        rate: frames a second, about.
        losses: is filled as frames are decoded.
        decoded: frames that the decoder gave so far.
    """

    path: Path
    container: Any
    stream: Any
    seconds: float | None
    rate: float
    losses: Losses = field(default_factory=Losses)
    decoded: int = 0

    @property
    def origin_s(self) -> float:
        """When the film begins on the clock of the stream."""
        starts = [self.container.start_time and self.container.start_time / 1_000_000]
        if self.stream.start_time is not None:
            starts.append(float(self.stream.start_time * self.stream.time_base))
        known = [start for start in starts if start is not None]
        return min(known) if known else 0.0

    @property
    def ratio(self) -> float:
        """Width of a pixel over its height; 1 where the film says nothing, or nothing that a player would believe."""
        ratio = self.stream.sample_aspect_ratio
        return float(ratio) if ratio and 0.1 <= ratio <= 10 else 1.0


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Source]:
    """A film, opened as far as its header.

    Raises:
        FileError: missing, no file, empty, no film (the message names what it is instead), without pictures, of more
            than ``clipx.pictures.MAX_PIXELS`` pixels a frame, or of a codec that this FFmpeg does not know.
        MissingDependencyError: PyAV is not installed.
    """
    path, av = Path(path), pyav()
    with reading(path):
        about = path.stat()
        require_regular(path, about)
        with path.open("rb") as file:
            head = file.read(4096)
    if not head:
        raise FileError("is empty (0 bytes)", where=path)
    limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", options=limits, metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        what, remedy = what_else(head, about.st_size, path)
        raise FileError(f"not a readable film: {what}", where=path, remedy=remedy) from error
    with container:
        yield _source(path, container)


def _source(path: Path, container: Any) -> Source:
    pictures = [one for one in container.streams.video if not _is_cover(one)]
    if not pictures:
        sound = bool(container.streams.audio)
        remedy = "name the modality: --modality audio" if sound else None
        raise FileError(f"holds {'sound and no' if sound else 'no'} pictures", where=path, remedy=remedy)
    stream = pictures[0]
    if stream.codec_context is None:
        raise FileError("its pictures are of a codec that this FFmpeg does not know", where=path, remedy=_CONVERT)
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        size = f"{stream.codec_context.width} x {stream.codec_context.height}"
        raise FileError(f"{size} is more than {MAX_PIXELS:,} pixels a frame", where=path)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = threads()
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    seconds = _seconds(container, stream)
    if seconds is not None and seconds > LONGEST_S:
        raise FileError(f"lasts {seconds / 3600:,.0f} hours, more than {LONGEST_S / 3600:.0f}", where=path)
    return Source(path, container, stream, seconds, float(rate) if rate and 0.01 <= rate <= 1000 else 25.0)


_CONVERT = "is it whole? If so, convert it: ffmpeg -i FILM -c:v libx264 converted.mp4"


def _is_cover(stream: Any) -> bool:
    """Whether it is a picture of a song's album."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def _seconds(container: Any, stream: Any) -> float | None:
    """By the stream's header, else by the container's; None where neither says anything."""
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    for name, text in stream.metadata.items():
        if name.upper().startswith("DURATION"):  # Matroska: 00:01:30.5000
            parts = text.strip("\0 ").split(":")
            try:
                hours, minutes, seconds = map(float, parts)
            except ValueError:
                continue
            if (length := 3600 * hours + 60 * minutes + seconds) > 0:
                return length
    return container.duration / 1_000_000 if container.duration and container.duration > 0 else None


def measured_s(source: Source) -> float:
    """How long the film is by the times of its packets, none of which is decoded; the source is at its start after it.

    Raises:
        FileError: no packet has a time.
    """
    av, end = pyav(), 0.0
    try:
        for packet in source.container.demux(source.stream):
            if packet.pts is not None:
                last = packet.pts + (packet.duration or 0)
                end = max(end, float(last * packet.time_base) - source.origin_s)
    except av.FFmpegError:
        pass
    _seek(source, source.origin_s)
    if not end > 0:
        raise FileError("its frames have no times", where=source.path, remedy=_CONVERT)
    return end


def frames_at(source: Source, times: Iterable[float], fitted: Fitted) -> Generator[Frame, None, None]:
    """The frames that are shown at these times, each frame once.

    The frame at a time is the last one whose presentation time is not later, or the film's first. Where a keyframe lies
    between what was decoded and the time, the film is read from there: what is skipped is never decoded. After the
    last frame, times that the header promises count as ``Losses.missing``.

    Args:
        source: at its start.
        times: in seconds, rising; they may be without end.
        fitted: what the frames are resampled to; that of the first frame holds for all.

    Raises:
        FileError: no frame at all can be decoded.
    """
    times, ahead = tee(times)
    reader, shown = _Reader(source, ahead), None
    size: tuple[int, int] | None = None
    scaler = pyav().video.reformatter.VideoReformatter()

    def as_the_first(height: int, width: int) -> tuple[int, int]:
        return size or fitted(height, width)

    for time in times:
        found = reader.at(time)
        if found is None:
            if source.seconds is None:  # ``times`` may have no end
                break
            source.losses.missing += 1
            continue
        frame, when = found
        if when == shown:
            continue
        shown = when
        pixels = picture(frame, as_the_first, source.ratio, scaler)
        size = pixels.shape[1], pixels.shape[2]
        yield Frame(pixels, when)
    source.losses.last_s = reader.end_s
    if shown is None:
        failed = source.losses.packets
        what = f"none of its {failed:,} packets can be decoded" if failed else "holds no frame that can be decoded"
        raise FileError(what, where=source.path, remedy=f"is it encrypted, or cut short? Else {_CONVERT[19:]}")


class _Reader:
    """Walks through the decoded frames, and jumps to keyframes.

    Args:
        source: at its start.
        times: that ``at`` will be asked for, so that the decoder may leave out pictures between them.
    """

    def __init__(self, source: Source, times: Iterator[float]):
        self._source, self._origin = source, source.origin_s
        self._frames = self._decoded()
        self._held: tuple[Any, float] | None = None  # the last frame that begins at or before the last time
        self._ahead: tuple[Any, float] | None = None  # the one after it
        self._begun = self._ended = False
        self.end_s = 0.0  # of what was decoded
        self._keys = _keyframes(source, self._origin)
        self._blind_s = BLIND_JUMP_S
        self._times, self._next = times, deque[float]()  # those that no packet was as late as; those that are to come
        steady = source.stream.base_rate and abs(float(source.stream.base_rate) / source.rate - 1) < 1e-3
        self._lasts = 1.5 / source.rate if steady else math.inf  # what a picture is shown for at most

    def at(self, time: float) -> tuple[Any, float] | None:
        """The frame that is shown at a time and when it begins; None after the end. Times rise from call to call."""
        while self._next and self._next[0] < time:
            self._next.popleft()
        if self._begun and (self._ahead is None or self._ahead[1] <= time):
            self._jump(time)
        while not self._ended and (self._ahead is None or self._ahead[1] <= time + _SLACK_S):
            if self._ahead is not None:
                self._held = self._ahead
            self._ahead = next(self._frames, None)
            self._begun = True
            if self._ahead is None:
                self._ended = True
            elif self._held is None and self._ahead[1] > time:  # the film's first frame comes late
                break
        if self._held is None and self._ahead is not None:
            return self._ahead
        rounded = 0.0 if self._source.seconds is None else 0.5 / self._source.rate  # what headers say is
        if self._ended and time >= self.end_s + rounded:
            return None
        return self._held

    def _jump(self, time: float) -> None:
        """Go on at the last keyframe before a time, where that saves enough."""
        here = self._ahead[1] if self._ahead else self.end_s
        if self._keys is None or self._ended or time - here < JUMP_S:
            return
        if self._keys:
            where = self._keys[max(0, bisect_right(self._keys, time + _SLACK_S) - 1)]
            if where - here < JUMP_S:
                return
        elif time - here < self._blind_s:
            return
        else:
            where = time
        back = 0.0
        while where - back > here:
            _seek(self._source, where - back + self._origin)
            frames = self._decoded()
            first = next(frames, None)
            if first is not None and first[1] <= time + _SLACK_S:
                if not self._keys:
                    self._keys = _keyframes(self._source, self._origin, jumped=True)
                    self._blind_s *= 2 if first[1] < here + JUMP_S else 1  # nothing was saved: keyframes are rare
                self._frames, self._ahead, self._held = frames, first, None
                return
            back = 2 * back + 1.0  # the index of the container is not right
        if back:  # its keyframes cannot be trusted: from the start, and on without jumps
            self._keys = None
            _seek(self._source, self._origin)
            self._frames, self._ahead, self._held = self._decoded(), None, None

    def _decoded(self) -> Iterator[tuple[Any, float]]:
        """The frames from here on with their times; packets that cannot be decoded are counted."""
        source, av = self._source, pyav()
        last, base = None, float(source.stream.time_base)
        for packet in self._packets():
            source.stream.codec_context.skip_frame = "DEFAULT" if self._may_be_wanted(packet) else "NONREF"
            try:
                frames = source.stream.codec_context.decode(packet)
            except av.FFmpegError:
                source.losses.packets += 1
                continue
            for frame in frames:
                source.decoded += 1
                if frame.is_corrupt:
                    source.losses.packets += 1
                    continue
                if frame.pts is None:
                    when = 0.0 if last is None else last + 1 / source.rate
                else:
                    when = frame.pts * base - self._origin
                lasts = frame.duration * base if frame.duration else 0.0
                self.end_s = max(self.end_s, when + (lasts or 1 / source.rate))
                last = when
                yield frame, max(when, 0.0)

    def _may_be_wanted(self, packet: Any) -> bool:
        """Whether the picture of a packet may be shown at a time that is to come, or else only others depend on it."""
        if packet is None or packet.pts is None or math.isinf(self._lasts):
            return True
        start = float(packet.pts * packet.time_base) - self._origin
        while not self._next or self._next[-1] < start + self._lasts:
            if (time := next(self._times, None)) is None:
                break
            self._next.append(time)
        first = bisect_left(self._next, start - _SLACK_S)
        return first < len(self._next) and self._next[first] <= start + self._lasts

    def _packets(self) -> Iterator[Any]:
        """Those of the pictures from here on; at the end None, for which the decoder gives the frames it still has."""
        try:
            for packet in self._source.container.demux(self._source.stream):
                if packet.size:
                    yield packet
        except pyav().FFmpegError:
            self._source.losses.packets += 1
        yield None


def _keyframes(source: Source, origin: float, jumped: bool = False) -> list[float] | None:
    """When the keyframes of the container's index begin; None where jumps are no good.

    Args:
        source: of the film.
        origin: when it begins on the clock of its stream.
        jumped: whether it was sought in. FFmpeg reads Matroska's index then: before, there are none.
    """
    codec = source.stream.codec_context.codec.canonical_name
    kind = source.container.format.name
    if kind not in (_INDEXED, _INDEXED_LATER) or codec not in _WHOLE:
        return None
    entries = source.stream.index_entries
    if not len(entries) or not (jumped or kind == _INDEXED):
        return []
    first = source.stream.start_time
    delay = 0 if first is None else first - entries[0].timestamp  # the index is by time of decoding
    base = float(source.stream.time_base)
    keys = [(entry.timestamp + delay) * base - origin for entry in entries if entry.is_keyframe]
    return keys if len(keys) > 1 else []


def _seek(source: Source, time: float) -> None:
    """To the keyframe at or before a time on the clock of the stream. An error is that of a file that has changed."""
    av = pyav()
    try:
        offset = math.floor(time / float(source.stream.time_base) + 0.5)
        source.container.seek(offset, stream=source.stream, backward=True)
    except (av.FFmpegError, OSError) as error:
        raise FileError(f"cannot be read from {time:.1f} s on", where=source.path) from error
