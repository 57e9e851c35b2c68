"""What a sound file is by its bytes, whatever its name and its header say, and how it is opened."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from clipx._quiet import suppress_library_notes
from clipx.errors import FileError
from clipx.tracks import Track

MAX_FMT_BYTES = 2**16  # of a WAV's format chunk, which takes 16 to 40
MAX_CHUNKS = 10_000  # of a WAV
MAX_PADDING = 2**24  # zeros before the first frame of an MP3
SEARCHED = 2**16  # bytes after them in which that frame is looked for

_READ = {  # magic -> format; the rest is libsndfile's work
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "WAV",
    b"BW64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "OGG",
    b"FORM": "AIFF",
    b"caff": "CAF",
    b"riff": "W64",
    b".snd": "AU",
    b"dns.": "AU",
}
_NO_SOUNDS = (  # pattern at the start of a file -> what it is, and what can be done
    (rb"\xff\xd8\xff|\x89PNG|GIF8|.{4}ftyp(heic|heix|mif1|avif)", "a picture", "rename it"),
    (rb"MThd", "MIDI, which holds notes and no sound", "render it with a synthesizer"),
    (rb"%PDF", "a PDF document", "rename it"),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive", "unpack it"),
    (rb"\s*<(!doctype|html|\?xml)", "a web page or XML", "download the sound again"),
)
_TRACKS = (  # likewise, of what PyAV decodes
    (rb".{4}ftypM4[AB] ", "MPEG-4 audio (.m4a)"),
    (rb".{4}ftyp3g", "3GPP audio (.3gp)"),
    (rb".{4}ftypqt", "a QuickTime film (.mov)"),
    (rb".{4}(ftyp|moov|mdat)", "MPEG-4 audio or film (.mp4, .m4v, .m4a)"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (.wma, .wmv)"),
    (rb"#!AMR", "AMR speech (.amr)"),
    (rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", "AAC audio (.aac)"),
    (rb"RIFF.{4}AVI ", "an AVI film (.avi)"),
    (rb"\0\0\x01[\xb3\xba]", "an MPEG film (.mpg)"),
    (rb"\x1a\x45\xdf\xa3", "Matroska or WebM (.mkv, .mka, .webm)"),
    (rb"wvpk", "WavPack (.wv)"),
    (rb"MAC ", "Monkey's Audio (.ape)"),
    (rb"DSD |FRM8", "DSD audio (.dsf, .dff)"),
    (rb"\x0b\x77", "Dolby Digital (.ac3)"),
    (rb"FLV", "a Flash film (.flv)"),
    (rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G", "an MPEG transport stream (.mts, .m2ts, .ts)"),
)
# Versions 1 and 2 of MPEG, layers 1 to 3: kbit/s by index; Hz by index.
_KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)


@dataclass(frozen=True)
class Container:
    """How a file is opened.

    Args:
        path: the file.
        head: bytes to read in place of those before ``start``: a header whose sizes are right.
        start, end: the part of the file that follows ``head``; all of the file where ``head`` is empty and start 0.
        note: a warning, where the file's own header is wrong.
    """

    path: Path
    head: bytes = b""
    start: int = 0
    end: int = 0
    note: str | None = None

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """A ``soundfile.SoundFile`` that reads from start to end.

        Raises:
            soundfile.SoundFileError, RuntimeError, TypeError: what soundfile raises.
        """
        import soundfile

        class Forward(soundfile.SoundFile):
            """SoundFile seeks after every read, which is slow in OGG and inexact in MP3."""

            def seekable(self) -> bool:
                return False

            def read(self, *args: Any, **options: Any) -> Any:
                with suppress_library_notes() if self.format == "MP3" else nullcontext():
                    return super().read(*args, **options)

        with suppress_library_notes():
            spliced = self.head or self.start
            file = Forward(_Spliced(self) if spliced else str(self.path))
        with file:
            yield file


def inspect(path: Path, size: int) -> Container | Track:
    """Tell what a file of ``size`` bytes is by its content.

    Raises:
        FileError: no sound that can be read; the message names what it is instead, where that is known.
    """
    with path.open("rb") as file:
        start = _past_tags(file, size)
        file.seek(start)
        head = file.read(4096)
        for magic, what in _TRACKS:
            if re.match(magic, head, re.DOTALL | re.IGNORECASE):
                return Track(path, what)
        kind = _READ.get(head[:4])
        if kind == "WAV" and head[8:12] == b"WAVE":
            return _wave(path, file, start, size)
        if (kind == "AIFF" and head[8:12] not in (b"AIFF", b"AIFC")) or kind == "WAV":
            kind = None
        if kind is None and (frame := _mpeg_start(file, start, size)) is not None:
            tag = _tag_size(_at(file, 0, 10))
            # libsndfile skips one tag itself, and reads by the path faster
            return Container(path) if frame in (0, tag) else Container(path, b"", frame, size)
    if kind is not None:
        return Container(path, b"", start, size) if start else Container(path)
    for magic, what, remedy in _NO_SOUNDS:
        if re.match(magic, head, re.DOTALL | re.IGNORECASE):
            suffix = path.suffix.lstrip(".").upper()
            raise FileError(f"is {what}, not {suffix or 'a sound'}", where=path, remedy=remedy)
    raise FileError("not a readable sound file: unknown format", where=path)


def is_open(length: int) -> bool:
    """Whether the size in a header is a stream's, whose writer could not go back: the greatest there is, or near it."""
    return any(most - 2**12 <= length <= most for most in (2**31, 2**32))


# Headers ------------------------------------------------------------------------------------------------------------


def _wave(path: Path, file: IO[bytes], start: int, size: int) -> Container:
    """A WAV, RF64 or BW64: with a header rebuilt where the file's own has wrong sizes."""
    order = ">" if _at(file, start, 4) == b"RIFX" else "<"
    at, fmt, data64, unpadded = start + 12, b"", 0, False
    for _ in range(MAX_CHUNKS):
        chunk = _at(file, at, 8)
        if len(chunk) < 8 or not _is_name(chunk[:4]):
            return Container(path)  # no data: libsndfile says why
        name, length = struct.unpack(f"{order}4sI", chunk)
        if name == b"data":
            break
        if name == b"fmt ":
            fmt = _at(file, at + 8, min(length, MAX_FMT_BYTES))
        if name == b"ds64":
            data64 = int.from_bytes(_at(file, at + 16, 8), "little")
        at += 8 + length
        if length % 2:  # a byte of padding follows, but some writers leave it out
            if not _is_name(_at(file, at + 1, 4)) and _is_name(_at(file, at, 4)):
                unpadded = True
            else:
                at += 1
    else:
        return Container(path)
    magic = _at(file, start, 4)
    if magic in (b"RF64", b"BW64") and length == 2**32 - 1:
        length = data64
    first = at + 8
    held = size - first
    end, note = first + min(length, held), None
    sizes = f"its header says {length:,} bytes of sound, the file holds {held:,}"
    if length > held and not is_open(length):
        note = f"it may be cut short: {sizes}"
    elif length < held and not _only_chunks(file, first + length, size, order):
        end, note = size, f"{sizes}: it is read to the end"
        wraps = (held - length) // 2**32  # of a size of 32 bits
        if wraps and _only_chunks(file, first + length + wraps * 2**32, size, order):
            end = first + length + wraps * 2**32
    joined = _at(file, end + end % 2, 4) in (b"RIFF", b"RF64")  # which libsndfile takes for an error
    if joined and note is None:
        note = f"another WAV follows at byte {end + end % 2:,} and is left unread"
    if not fmt or (note is None and not unpadded and magic != b"BW64" and not start):
        return Container(path, note=note)

    def number(value: int) -> bytes:  # a size that is too large is a stream's, which libsndfile reads to its end
        return struct.pack(f"{order}I", min(value, 2**32 - 1))

    body = b"WAVEfmt " + number(len(fmt)) + fmt + b"\0" * (len(fmt) % 2) + b"data" + number(end - first)
    head = (b"RIFX" if order == ">" else b"RIFF") + number(len(body) + end - first) + body
    return Container(path, head, first, end, note)


def _only_chunks(file: IO[bytes], at: int, size: int, order: str) -> bool:
    """Whether nothing but chunks, tags or zeros follows at ``at``, where the sound ends by its header."""
    for _ in range(MAX_CHUNKS):
        at += at % 2 if not _is_name(_at(file, at, 4)) else 0
        left = size - at
        if left < 8:
            return True
        name, length = struct.unpack(f"{order}4sI", _at(file, at, 8))
        if name[:3] == b"ID3" or name == b"APET" or (name[:3] == b"TAG" and left == 128):
            return True
        if not _is_name(name):
            return left <= SEARCHED and not any(_at(file, at, left))
        at += 8 + length
        if at > size:
            return name in (b"LIST", b"bext", b"iXML", b"id3 ", b"cue ", b"_PMX", b"axml")
    return False


def _is_name(four: bytes) -> bool:
    """Whether four bytes can be the name of a chunk."""
    return re.fullmatch(rb"[A-Za-z0-9_][A-Za-z0-9_ .\-]{3}", four) is not None


def _past_tags(file: IO[bytes], size: int) -> int:
    """Where a file begins behind its ID3v2 tags and the zeros that follow them."""
    at = 0
    while step := _tag_size(_at(file, at, 10)):
        at += step
    zeros = 0
    while at + zeros < size and zeros < MAX_PADDING:
        block = _at(file, at + zeros, SEARCHED)
        zeros += len(block) - len(block.lstrip(b"\0"))
        if block.strip(b"\0"):
            break
    begun = at + zeros
    # an MPEG-4 file begins with the upper bytes of a size, an MPEG film with a code: zeros that are no padding
    boxes, codes = (b"ftyp", b"moov", b"mdat", b"wide", b"free"), (b"\0\0\1\xba", b"\0\0\1\xb3")
    begins = _at(file, at + 4, 4) in boxes or _at(file, at, 4) in codes
    return at if begins or begun >= size else begun


def _tag_size(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins so; 0 where none does."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    a, b, c, d = head[6:10]
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 16 else 0)


def _mpeg_start(file: IO[bytes], start: int, size: int) -> int | None:
    """Where the first of two MPEG frames in a row lies, near ``start``; of a file of one frame, that frame."""
    searched = _at(file, start, SEARCHED)
    for found in re.finditer(rb"\xff[\xe2-\xff]", searched):
        at = found.start()
        if length := _frame_bytes(searched[at : at + 4]):
            after = _at(file, start + at + length, 4)
            if (_frame_bytes(after) and after[1] == searched[at + 1]) or (at == 0 and start + at + length >= size):
                return start + at
    return None


def _frame_bytes(header: bytes) -> int:
    """The length of the MPEG audio frame with this header of four bytes; 0 where it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return 0
    first = version == 3
    hz = _RATES[rate] >> (0 if first else 1 if version == 2 else 2)
    speed = 1000 * _KBITS[1 if first else 2, layer][bits]
    if layer == 1:
        return 4 * (12 * speed // hz + padding)
    return (144 if first or layer == 2 else 72) * speed // hz + padding


def _at(file: IO[bytes], at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


class _Spliced(io.RawIOBase):
    """``Container.head``, then the file from ``start`` to ``end``."""

    def __init__(self, about: Container):
        self._about, self._file, self._at = about, about.path.open("rb"), 0
        self._size = len(about.head) + about.end - about.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view, about = memoryview(buffer).cast("B"), self._about
        count, done = min(len(view), max(0, self._size - self._at)), 0
        if part := about.head[self._at : self._at + count]:
            view[: len(part)], done = part, len(part)
        if done < count:
            self._file.seek(about.start + self._at + done - len(about.head))
            done += self._file.readinto(view[done:count])  # type: ignore[attr-defined]
        self._at += done
        return done

    def close(self) -> None:
        self._file.close()
        super().close()
