"""What a file is that is no film, in words, by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

_COPY = "copy or download it again"
_OTHERS = (  # pattern at the start of a file -> what it is, and what can be done
    (rb"\xff\xd8\xff|\x89PNG|.{8}(heic|heix|mif1|avif)|RIFF.{4}WEBP|BM.{4}\0\0\0\0", "a picture", "--modality image"),
    (rb"RIFF.{4}WAVE|fLaC|ID3|\xff[\xfa\xfb\xf3\xf2]|OggS.{24}.?\x01vorbis|FORM.{4}AIF", "a sound", "--modality audio"),
)
_NO_FILMS = (
    (rb"\s*<(!doctype html|html)", "it is a web page (HTML)", "download the film itself"),
    (rb"#EXTM3U", "it is a playlist (HLS), and no film itself", "download the film itself"),
    (rb"%PDF-", "it is a PDF document", None),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "it is an archive", "unpack it"),
    (rb"version https://git-lfs", "it is a Git LFS pointer, not the file itself", "run git lfs pull"),
)
_FILMS = (
    (rb".{4}(ftyp|moov|mdat|wide|free|skip)", "an MP4 or QuickTime film"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM film"),
    (rb"RIFF.{4}AVI ", "an AVI film"),
    (rb"GIF8", "a GIF"),
)


def what_else(head: bytes, size: int, path: Path) -> tuple[str, str | None]:
    """What is wrong with a file that cannot be opened as a film, and what to do about it.

    Args:
        head: its first bytes.
        size: of the file, in bytes.
        path: of the file.
    """

    def begins(pattern: bytes) -> bool:
        return re.match(pattern, head, re.DOTALL | re.IGNORECASE) is not None

    if not head.strip(b"\0") and len(head) == min(size, 4096):
        return "it begins with zeros", _COPY
    for pattern, what, flag in _OTHERS:
        if begins(pattern):
            return f"it is {what}", f"name the modality: {flag}"
    for pattern, what, remedy in _NO_FILMS:
        if begins(pattern):
            return what, remedy
    for pattern, what in _FILMS:
        if begins(pattern):
            return f"it is {what} that is damaged or cut short", _COPY
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "it is text", None
    return "no film data that FFmpeg knows", f"is it whole? If so, convert it: ffmpeg -i {path.name} converted.mp4"
