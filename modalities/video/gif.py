"""Whether a GIF is a film."""

from __future__ import annotations

from os import PathLike
from typing import IO


def is_animated(path: str | PathLike[str]) -> bool:
    """Whether a file is a GIF of at least two pictures; its pixels are not decoded. False for what cannot be read.

    A GIF of one picture is a photo, even where it says that it repeats.
    """
    try:
        with open(path, "rb") as file:
            return _has_two_pictures(file)
    except (OSError, ValueError, IndexError):  # ValueError: a null byte in the name; IndexError: it ends early
        return False


def _has_two_pictures(file: IO[bytes]) -> bool:
    """By the blocks of GIF89a, appendix A."""
    if file.read(6) not in (b"GIF87a", b"GIF89a"):
        return False
    _skip_table(file, file.read(7)[4])
    pictures = 0
    while True:
        kind = file.read(1)
        if kind == b",":  # a picture: its place, its colours, its pixels
            pictures += 1
            if pictures == 2:
                return True
            _skip_table(file, file.read(9)[8])
            file.seek(1, 1)
        elif kind == b"!":  # an extension
            file.seek(1, 1)
        else:
            return False
        while size := file.read(1)[0]:
            file.seek(size, 1)


def _skip_table(file: IO[bytes], flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), 1)
