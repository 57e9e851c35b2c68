"""Reads sounds of any format that libsndfile or FFmpeg knows, short ones into memory, long ones block by block."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from clipx.containers import Container, inspect, is_open
from clipx.errors import FileError, InputError
from clipx.files import reading, require_regular
from clipx.tracks import Track

SHORTEST_S = 0.1  # anything shorter is warned of
SHORT_S = 60.0  # what is held in memory; anything longer is read as it is encoded
LONGEST_S = 24 * 3600.0
RATES_HZ = (1_000, 768_000)
BLOCK = 2**18  # frames decoded at a time
SEGMENT = 4096  # frames in which channels are compared, 0.1 s or so


@dataclass(frozen=True)
class Sound:
    """A sample of the audio modality, held in memory.

    Args:
        samples: (C, T) float32 array, full scale is [-1, 1]; C is 1 or 2, T >= 1.
        sample_rate_hz: samples a second.
        source: where it came from, for messages.

    Raises:
        InputError: wrong shape, dtype or rate, no samples, NaN or infinity.
    """

    samples: np.ndarray
    sample_rate_hz: int = 44_100
    source: str | None = None

    def __post_init__(self):
        samples = self.samples
        if samples.ndim != 2 or samples.shape[0] not in (1, 2) or samples.dtype != np.float32:
            got = f"{tuple(samples.shape)} {samples.dtype}"
            raise InputError(f"samples must be a (1, T) or (2, T) float32 array, got {got}", where=self.source)
        if not samples.shape[1]:
            raise InputError("holds no samples", where=self.source)
        if not np.isfinite(samples).all():
            raise InputError("has NaN or infinite samples", where=self.source)
        require_rate(self.sample_rate_hz, self.source)

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate_hz

    def blocks(self) -> Iterator[np.ndarray]:
        """(C, n) parts in order; all of it at once."""
        yield self.samples


@dataclass(frozen=True)
class LongSound:
    """A file that is decoded again whenever it is encoded, so that hours of sound need no memory.

    Args:
        path: the file.
        sample_rate_hz: samples a second.
        seconds: how long it is by its header, which an MP3's only guesses.
        stamp: its size in bytes and its time of change in ns; a file that has changed since is refused.
    """

    path: Path
    sample_rate_hz: int
    seconds: float
    stamp: tuple[int, int]

    @property
    def source(self) -> str:
        return str(self.path)

    def blocks(self) -> Iterator[np.ndarray]:
        """(C, n) float32 parts in order, C 1 or 2, full scale [-1, 1]; warns at the end as ``read_sound`` does.

        Raises:
            FileError: the file has changed since it was loaded, or is damaged further on.
        """
        if _stamp(self.path) != self.stamp:
            raise FileError("has changed since it was loaded", where=self.path, remedy="load it again")
        levels = Levels(self.sample_rate_hz)
        for block in _decode(inspect(self.path, self.stamp[0])):
            mono = levels.add(block)
            yield block if len(block) <= 2 else mono
        _warn(self.path, levels)


def read_sound(path: str | PathLike) -> Sound | LongSound:
    """Open a sound file: one of up to a minute is decoded, a longer one is checked as far as its header goes.

    The content decides the format, not the suffix; of a film the first sound track is read. Integers of any width
    become floats in [-1, 1]; mono and stereo stay as they are, more channels become one by ``mix``. It warns
    (``UserWarning``) of a wrong scale, of a rate too low for most sounds, of silence, of clipping, of channels that
    cancel and of next to no length: see ``Levels``.

    A WAV whose header has a wrong size is read to the end of the file, with a warning. Uncompressed files and OGGs that
    end early are read as far as they go, with a warning, as are MP3s that are shorter than their header says; cut files
    of other formats are errors.

    Raises:
        FileError: missing, no file, empty, no sound that can be read (the message names what it is instead), without
            samples, with NaN, longer than 24 hours or of an impossible rate.
    """
    import soundfile

    path = Path(path)
    size, _ = stamp = _stamp(path)
    if not size:
        raise FileError("is empty (0 bytes)", where=path)
    about = inspect(path, size)
    try:
        with about.opened() as file:
            rate, frames, log = file.samplerate, file.frames, file.extra_info
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        remedy = f"is it whole? If so, convert it: ffmpeg -i {path.name} {path.stem}-converted.wav"
        what = f"not a readable sound file: {_reason(error)}"
        if isinstance(about, Track):
            named = "" if path.suffix.lower() in about.kind else f", not {path.suffix[1:].upper()},"
            what = f"is {about.kind}{named} and cannot be read ({_reason(error)})"
        raise FileError(what, where=path, remedy=remedy) from error
    try:
        require_rate(rate, None)
    except InputError as error:
        raise FileError(error.what, where=path) from error
    seconds = frames / rate
    if not frames:
        raise FileError("holds no samples", where=path)
    if seconds > LONGEST_S:
        raise FileError(f"lasts {seconds / 3600:,.0f} hours, more than {LONGEST_S / 3600:.0f}", where=path)
    for doubt in filter(None, (about.note, _ends_early(path, size, log) if about.note is None else None)):
        warnings.warn(f"{path}: {doubt}", stacklevel=2)
    if seconds > SHORT_S:
        return LongSound(path, rate, seconds, stamp)
    levels, blocks = Levels(rate), []
    for block in _decode(about):
        mono = levels.add(block)
        blocks.append(block if len(block) <= 2 else mono)
        if levels.frames > 2 * SHORT_S * rate:  # its header is wrong
            return LongSound(path, rate, levels.frames / rate, stamp)
    _warn(path, levels)
    return Sound(np.concatenate(blocks, axis=1), rate, str(path))


def mix(samples: np.ndarray) -> np.ndarray:
    """(C, T) -> (1, T): the mean of the channels, or the loudest one alone where they cancel.

    Channels of a sound that was recorded or wired in opposite phase cancel in the mean. They do where, in segments that
    hold over a tenth of the energy, the mean has less than half of the power that unrelated channels would leave; equal
    channels leave C times that, and a channel beside silent ones leaves just that.
    """
    if len(samples) == 1:
        return samples
    mean, offsets = samples.mean(0, keepdims=True), samples.mean(1, keepdims=True)
    power = _segments(samples, offsets)  # (C, S)
    unrelated = power.sum(0) / len(samples) ** 2
    cancels = _segments(mean, offsets.mean(0, keepdims=True))[0] < 0.5 * unrelated
    if unrelated[cancels].sum() > 0.1 * unrelated.sum():
        return samples[power.sum(1).argmax()][None]  # of equal ones the first
    return mean


def _segments(samples: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The power of (C, T) samples in each segment, (C, S) float64, without their offsets, which are no sound."""
    whole = samples.shape[1] // SEGMENT * SEGMENT
    parts = samples[:, :whole].reshape(len(samples), -1, SEGMENT)
    rest = samples[:, None, whole:] if whole < samples.shape[1] else parts[:, :0]
    powers = [np.square(part - offsets[:, :, None]).sum(2) for part in (parts, rest)]
    return np.concatenate(powers, axis=1).astype(np.float64)


class Levels:
    """What the preflight check looks at, gathered block by block.

    - scale: a peak above 2 (full scale is 1) is that of 16-bit integers in floats, one below 0.001 may have been
      divided twice;
    - rate: below 16 kHz most of what distinguishes sounds is gone;
    - channels: where they cancel, one of them is taken, see ``mix``; the levels are those of the mix;
    - silence: nothing, or nothing above -80 dB of full scale;
    - length: below a tenth of a second hardly any two sounds can be distinguished;
    - clipping: over 0.1 % of the samples stand at full scale beside another one that does.
    """

    def __init__(self, sample_rate_hz: int):
        self.sample_rate_hz, self.peak, self.count, self.clipped = sample_rate_hz, 0.0, 0, 0
        self.frames = self.cancelled = 0

    def add(self, block: np.ndarray) -> np.ndarray:
        """Take in (C, n) samples; returns their ``mix``."""
        mono = mix(block)
        self.peak = max(self.peak, _peak(mono))
        self.count += block.size
        self.frames += block.shape[-1]
        if not np.array_equal(mono, block.mean(0, keepdims=True)):
            self.cancelled += block.shape[-1]
        if _peak(block) >= 0.999:
            full = np.abs(block) >= 0.999
            self.clipped += int((full[:, 1:] & full[:, :-1]).sum())
        return mono

    def warnings(self) -> list[str]:
        """One line for each doubt; [] where there is none."""
        found = []
        if self.cancelled:
            where = "" if self.cancelled == self.frames else f" in {self.cancelled / self.sample_rate_hz:.3g} s of it"
            found.append(f"its channels cancel when they are mixed{where}: the loudest one is taken alone")
        if self.peak > 2:
            found.append(f"its peak is {self.peak:,.4g}, full scale is 1: divide 16-bit values by 32768")
        elif self.peak < 1e-4:
            beside = f" (its peak is {self.peak:.1e})" if self.peak else ""
            found.append(f"it is silent{beside}: whatever is said of it means nothing")
        elif self.peak < 1e-3:
            found.append(f"its peak is {self.peak:.1e}, full scale is 1: was it divided by 32768 twice?")
        elif self.clipped > 1e-3 * self.count:
            found.append(f"it is clipped: {100 * self.clipped / self.count:.1f} % of it stands at full scale")
        if self.frames < SHORTEST_S * self.sample_rate_hz:
            lasts = f"{1000 * self.frames / self.sample_rate_hz:.3g} ms"
            found.append(f"it lasts {lasts}, less than {SHORTEST_S:g} s: whatever is said of it means little")
        if self.sample_rate_hz < 16_000:
            limit = f"{self.sample_rate_hz / 2000:g} kHz"
            found.append(f"its rate is {self.sample_rate_hz:,} Hz: it holds nothing above {limit}")
        return found


def _peak(samples: np.ndarray) -> float:
    return max(float(samples.max(initial=0)), -float(samples.min(initial=0)))


def require_rate(sample_rate_hz: int, where: str | None) -> None:
    """Raise InputError unless a sound can have that rate."""
    if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1]:
        low, high = RATES_HZ
        raise InputError(f"a sample rate must be {low:,} to {high:,} Hz, got {sample_rate_hz:,}", where=where)


def _decode(about: Container | Track) -> Iterator[np.ndarray]:
    """A file -> (C, n) float32 parts."""
    import soundfile

    path, read, promised, guessed, damaged = about.path, 0, 0, False, 0
    try:
        with about.opened() as file:
            promised, rate = getattr(file, "promised", file.frames), file.samplerate
            guessed = file.format == "MP3" or "MPEG" in file.subtype  # MP3 in a WAV
            while len(frames := file.read(BLOCK, dtype="float32", always_2d=True)):
                read += len(frames)
                if read > LONGEST_S * rate:
                    raise FileError(f"is longer than {LONGEST_S / 3600:.0f} hours", where=path)
                if not np.isfinite(frames).all():
                    raise FileError("has NaN or infinite samples", where=path)
                yield np.ascontiguousarray(frames.T)
            damaged = getattr(file, "damaged", 0)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise FileError(f"cannot be decoded: {_reason(error)}", where=path, remedy="get it whole") from error
    if not read:
        raise FileError("holds no samples", where=path)
    if read < promised and not guessed:
        raise FileError(f"is cut short: {read:,} of {promised:,} samples", where=path, remedy="get it whole")
    if damaged:
        warnings.warn(f"{path}: its sound is damaged: {damaged:,} packets cannot be decoded", stacklevel=3)
    if read < 0.95 * promised:  # such a header is a guess
        warnings.warn(f"{path}: it may be cut short: {read:,} of {promised:,} samples", stacklevel=3)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a regular file."""
    with reading(path):
        about = path.stat()
        require_regular(path, about)
        with path.open("rb"):
            return about.st_size, about.st_mtime_ns


def _ends_early(path: Path, size: int, log: str) -> str | None:
    """A warning where a file ends before its header or its format says it does; libsndfile reads on without a word.

    Args:
        log: what libsndfile notes of the file, such as ``Data Size : 44100 (should be 26450)``.
    """
    for stated, held in re.findall(r"(?:FORM|SSND|riff|data|Data Size) *: (\d+) \(should be (\d+)\)", log):
        if int(stated) > int(held) and not is_open(int(stated)):
            return f"it may be cut short: its header says {int(stated):,} bytes, there are {int(held):,}"
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return None
        file.seek(max(0, size - 2**17))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    whole = len(page) >= 27 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    last = whole and page[5] & 4  # the flag of a stream's last page
    return None if last else "it may be cut short: its last page is missing"


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", "") or error).strip().rstrip(".")
    return text or "unknown format"


def _warn(path: Path, levels: Levels) -> None:
    for doubt in levels.warnings():
        warnings.warn(f"{path}: {doubt}", stacklevel=3)
