"""Reads sounds: WAV, FLAC, OGG (Vorbis, Opus) and MP3, short ones into memory and long ones block by block."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipx.errors import FileError, InputError, MissingDependencyError
from clipx.files import reading, require_regular

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
SHORTEST_S = 0.1  # anything shorter is warned of
SHORT_S = 60.0  # what is held in memory; anything longer is read as it is encoded
LONGEST_S = 24 * 3600.0
RATES_HZ = (1_000, 768_000)
BLOCK = 2**18  # frames decoded at a time


@dataclass(frozen=True)
class Sound:
    """A sample of the audio sense, held in memory.

    Args:
        samples: (C, T) float32, full scale is [-1, 1]; C is 1 or 2, T >= 1.
        sample_rate_hz: samples a second.
        source: where it came from, for messages.

    Raises:
        InputError: wrong shape, dtype or rate, no samples, NaN or infinity.
    """

    samples: Tensor
    sample_rate_hz: int = 44_100
    source: str | None = None

    def __post_init__(self):
        samples = self.samples
        if samples.ndim != 2 or samples.shape[0] not in (1, 2) or samples.dtype != torch.float32:
            got = f"{tuple(samples.shape)} {samples.dtype}"
            raise InputError(f"samples must be (1, T) or (2, T) float32, got {got}", where=self.source)
        if not samples.shape[1]:
            raise InputError("holds no samples", where=self.source)
        if not samples.isfinite().all():
            raise InputError("has NaN or infinite samples", where=self.source)
        require_rate(self.sample_rate_hz, self.source)

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate_hz

    def blocks(self) -> Iterator[Tensor]:
        """(C, n) parts in order; all of it at once."""
        yield self.samples


@dataclass(frozen=True)
class LongSound:
    """A file that is decoded anew whenever it is encoded, so that hours of sound need no memory.

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

    def blocks(self) -> Iterator[Tensor]:
        """(C, n) float32 parts in order, C 1 or 2, full scale [-1, 1]; warns at the end as ``read_sound`` does.

        Raises:
            FileError: the file has changed since it was loaded, or is damaged further on.
        """
        if _stamp(self.path) != self.stamp:
            raise FileError("has changed since it was loaded", where=self.path, remedy="load it again")
        levels = Levels(self.sample_rate_hz)
        for block in _decode(self.path):
            levels.add(block)
            yield block
        _warn(self.path, levels)


def read_sound(path: str | PathLike) -> Sound | LongSound:
    """Open a sound file: one of up to a minute is decoded, a longer one is checked as far as its header goes.

    The content decides the format, not the suffix. Integers of any width become floats in [-1, 1]; mono and stereo stay
    as they are, more channels are averaged to one. It warns (``UserWarning``) of a wrong scale, of a rate too low for
    most sounds, of silence, of clipping and of next to no length: see ``Levels``. An OGG that does not say where it
    ends, and an MP3 that is shorter than its header says, are warned of; the other formats' cut files are errors.

    Raises:
        FileError: missing, no file, empty, no sound file, cut short, without samples, with NaN, longer than 24 hours or
            of an impossible rate.
    """
    import soundfile

    path = Path(path)
    size, _ = stamp = _stamp(path)
    if not size:
        raise FileError("is empty (0 bytes)", where=path)
    try:
        about = soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise FileError(f"not a readable sound file: {_reason(error)}", where=path) from error
    try:
        require_rate(about.samplerate, None)
    except InputError as error:
        raise FileError(error.what, where=path) from error
    if _cut_short(path, size):
        raise FileError("is cut short: its header promises more than there is", where=path, remedy="get it whole")
    seconds = about.frames / about.samplerate
    if not about.frames:
        raise FileError("holds no samples", where=path)
    if seconds > LONGEST_S:
        raise FileError(f"lasts {seconds / 3600:,.0f} hours, more than {LONGEST_S / 3600:.0f}", where=path)
    if seconds > SHORT_S:
        return LongSound(path, about.samplerate, seconds, stamp)
    levels, blocks = Levels(about.samplerate), []
    for block in _decode(path):
        levels.add(block)
        blocks.append(block)
    _warn(path, levels)
    return Sound(torch.cat(blocks, dim=1), about.samplerate, str(path))


class Levels:
    """What the preflight check looks at, gathered block by block.

    - scale: a peak above 2 (full scale is 1) is that of 16-bit integers in floats, one below 0.001 may have been
      divided twice;
    - rate: below 16 kHz most of what tells sounds apart is gone;
    - silence: nothing, or nothing above -80 dB of full scale;
    - length: below a tenth of a second hardly anything can be told from anything else;
    - clipping: over 0.1 % of the samples stand at full scale beside another one that does.
    """

    def __init__(self, sample_rate_hz: int):
        self.sample_rate_hz, self.peak, self.count, self.clipped = sample_rate_hz, 0.0, 0, 0
        self.frames = 0

    def add(self, block: Tensor) -> None:
        """Take in (C, n) samples."""
        loud = block.abs()
        self.peak = max(self.peak, float(loud.max()) if loud.numel() else 0.0)
        self.count += loud.numel()
        self.frames += loud.shape[-1]
        full = loud >= 0.999
        self.clipped += int((full[:, 1:] & full[:, :-1]).sum())

    def warnings(self) -> list[str]:
        """One line for each doubt; [] where there is none."""
        found = []
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
            heard = f"{self.sample_rate_hz / 2000:g} kHz"
            found.append(f"its rate is {self.sample_rate_hz:,} Hz: nothing above {heard} is there to be heard")
        return found


def resample(samples: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """(..., T) at one rate -> (..., ceil(T * to / from)) at another, by torchaudio's windowed sinc.

    The ratio is rounded to a fraction of terms up to 1,280, which is exact for all common rates (384 to 44.1 kHz
    included) and off by under 0.1 % for odd ones: those would need a filter of gigabytes.
    """
    ratio = Fraction(to_hz, from_hz)
    if max(ratio.numerator, ratio.denominator) > 1280:
        small = min(ratio, 1 / ratio).limit_denominator(1280) or Fraction(1, 1280)
        ratio = small if ratio < 1 else 1 / small
    if ratio == 1:
        return samples
    try:
        import torchaudio.functional
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: built for another CUDA than torch
        remedy = "pip install 'torch<2.15' 'torchaudio>=2.11,<2.12'"
        raise MissingDependencyError(f"torchaudio cannot be imported: {error}", remedy=remedy) from error
    return torchaudio.functional.resample(samples, ratio.denominator, ratio.numerator)


def require_rate(sample_rate_hz: int, where: str | None) -> None:
    """Raise InputError unless a sound can have that rate."""
    if not RATES_HZ[0] <= sample_rate_hz <= RATES_HZ[1]:
        low, high = RATES_HZ
        raise InputError(f"a sample rate must be {low:,} to {high:,} Hz, got {sample_rate_hz:,}", where=where)


def _decode(path: Path) -> Iterator[Tensor]:
    """A file -> (C, n) float32 parts, C 1 or 2."""
    import soundfile

    class Forward(soundfile.SoundFile):
        """Read from start to end. SoundFile seeks after every read, which is slow in OGG and inexact in MP3."""

        def seekable(self) -> bool:
            return False

    read, promised, kind = 0, 0, ""
    try:
        with Forward(str(path)) as file:
            promised, kind, rate = file.frames, file.format, file.samplerate
            while len(frames := file.read(BLOCK, dtype="float32", always_2d=True)):
                read += len(frames)
                if read > LONGEST_S * rate:
                    raise FileError(f"is longer than {LONGEST_S / 3600:.0f} hours", where=path)
                if not np.isfinite(frames).all():
                    raise FileError("has NaN or infinite samples", where=path)
                kept = frames if frames.shape[1] <= 2 else frames.mean(axis=1, keepdims=True)
                yield torch.from_numpy(np.ascontiguousarray(kept.T))
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise FileError(f"cannot be decoded: {_reason(error)}", where=path, remedy="get it whole") from error
    if not read:
        raise FileError("holds no samples", where=path)
    if read < promised and kind != "MP3":
        raise FileError(f"is cut short: {read:,} of {promised:,} samples", where=path, remedy="get it whole")
    if read < 0.95 * promised:  # headers of MP3 files are guesses
        warnings.warn(f"{path}: it may be cut short: {read:,} of {promised:,} samples", stacklevel=3)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a regular file."""
    with reading(path):
        about = path.stat()
        require_regular(path, about)
        with path.open("rb"):
            return about.st_size, about.st_mtime_ns


def _cut_short(path: Path, size: int) -> bool:
    """Whether a WAV's data chunk promises more bytes than follow; an OGG without its last page is warned of.

    libsndfile reads both without a word.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            while len(chunk := file.read(8)) == 8:
                name, length = struct.unpack("<4sI", chunk)
                if name == b"data":
                    open_ended = length >= 2**31 - 2**12  # written by a program that could not go back
                    return not open_ended and file.tell() + length > size
                file.seek(length + length % 2, 1)
        elif head[:4] == b"OggS":
            file.seek(max(0, size - 2**17))
            tail = file.read()
            page = tail[tail.rfind(b"OggS") :]
            whole = len(page) >= 27 and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
            if not (whole and page[5] & 4):  # the flag of a stream's last page
                warnings.warn(f"{path}: it may be cut short: its last page is missing", stacklevel=3)
    return False


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", "") or error).strip().rstrip(".")
    return text or "unknown format"


def _warn(path: Path, levels: Levels) -> None:
    for doubt in levels.warnings():
        warnings.warn(f"{path}: {doubt}", stacklevel=3)
