"""Reads a user's file into memory, or says in one line why not."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

import numpy as np

from clipx.errors import FileError

MAX_BYTES = 256 * 2**20


def read_bytes(path: str | PathLike, suffixes: Sequence[str] | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular, non-empty file of a bearable size, and of a known suffix where ``suffixes`` are given.

    Raises:
        FileError: missing, a folder or device, unreadable, empty, larger than ``max_bytes``, or of another suffix.
    """
    path = Path(path)
    with reading(path):
        about = path.stat()
        if suffixes is not None and path.suffix.lower() not in suffixes:
            raise FileError(f"suffix {path.suffix!r} is not one of {' '.join(suffixes)}", where=path)
        require_regular(path, about)
        if about.st_size > max_bytes:
            raise FileError(f"holds {about.st_size:,} bytes, more than the limit of {max_bytes:,}", where=path)
        with path.open("rb") as file:
            data = file.read(about.st_size)
    if not data:
        raise FileError("is empty (0 bytes)", where=path)
    return data


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What the system has against reading a file becomes one line. Raises FileError."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileError("no such file", where=path) from error
    except FileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FileError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=path) from error


def require_regular(path: Path, about: os.stat_result) -> None:
    """Raise FileError for a folder or a device: reading a pipe or /dev/zero would never end."""
    if not stat.S_ISREG(about.st_mode):
        raise FileError("is a folder" if stat.S_ISDIR(about.st_mode) else "is not a regular file", where=path)


def read_npz(
    file: str | PathLike | IO[bytes], names: Collection[str] | None = None, max_bytes: int = MAX_BYTES
) -> dict[str, np.ndarray]:
    """The arrays of an .npz, or those of ``names`` that it has; nothing is unpickled.

    Raises:
        ValueError: more than ``max_bytes`` in all, a hundredfold of what the file holds and over 16 MB (a bomb: numbers
            compress little), or as ``read_array``. Besides, whatever zipfile and zlib raise on a damaged file.
    """
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if names is not None:
            members = {name: info for name, info in members.items() if name in names}
        packed, whole = (sum(getattr(i, size) for i in members.values()) for size in ("compress_size", "file_size"))
        if whole > min(max_bytes, max(2**24, 100 * packed)):
            raise ValueError(f"would unpack from {packed:,} to {whole:,} bytes")
        arrays = {}
        for name, info in members.items():
            with archive.open(info) as member:
                arrays[name] = read_array(member, info.file_size)
        return arrays


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array of an .npy of ``size`` bytes in all; its header is compared with that before the rest is read.

    Raises:
        ValueError: no .npy, another size than its header promises, or an array of objects, which would be unpickled.
    """
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError(f"plain values expected, got an array of {dtype}")
    promised, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if promised != left:
        raise ValueError(f"the header promises {promised:,} bytes, the file holds {left:,}")
    data = bytearray()
    while chunk := file.read(2**20):  # by parts: a zip's member would otherwise be held twice
        data += chunk
    if len(data) != left:
        raise ValueError(f"the file is cut short: {left:,} bytes promised, {len(data):,} there")
    values = np.frombuffer(data, dtype) if promised else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")
