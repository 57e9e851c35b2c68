"""Reads a user's file into memory, or says in one line why not."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from clipx.errors import FileError

MAX_BYTES = 256 * 2**20


def read_bytes(path: str | PathLike, suffixes: Sequence[str], max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular, non-empty file of a known suffix and a bearable size.

    Raises:
        FileError: missing, a folder or device, unreadable, empty, larger than ``max_bytes``, or of another suffix.
    """
    path = Path(path)
    try:
        about = path.stat()
        if path.suffix.lower() not in suffixes:
            raise FileError(f"suffix {path.suffix!r} is not one of {' '.join(suffixes)}", where=path)
        if not stat.S_ISREG(about.st_mode):  # reading a pipe or /dev/zero would never end
            raise FileError("is a folder" if stat.S_ISDIR(about.st_mode) else "is not a regular file", where=path)
        if about.st_size > max_bytes:
            raise FileError(f"holds {about.st_size:,} bytes, more than the limit of {max_bytes:,}", where=path)
        with path.open("rb") as file:
            data = file.read(about.st_size)
    except FileNotFoundError as error:
        raise FileError("no such file", where=path) from error
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FileError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=path) from error
    if not data:
        raise FileError("is empty (0 bytes)", where=path)
    return data
