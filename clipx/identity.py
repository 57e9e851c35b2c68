"""Hashes of large files, kept between runs: a checkpoint of a gigabyte is not hashed by every command.

They lie in the user's cache folder, one small file each, under the file's path, size, inode and times of change: also
the inode's, which no program can set, as rsync, tar and images of containers give a new content the old time. An entry
holds a hash over itself, so that a damaged one is computed again and never believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from clipx.files import write_whole

SETTLED_NS = 2 * 10**9  # a file may change once more within the resolution of its time: younger ones are not kept


@dataclass(frozen=True)
class Stamp:
    """A file as it was at one moment.

    Args:
        path: absolute, without symbolic links.
        size: bytes.
        inode: its number on its device.
        mtime_ns: when its content last changed, as programs set it.
        ctime_ns: when its content, name or rights last changed, as the system counts it; on Windows, when it was made.
    """

    path: str
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, path: str | PathLike[str]) -> Stamp:
        """Taken before the file is read. Raises OSError."""
        real = os.path.realpath(path)
        about = os.stat(real)
        return cls(real, about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns)

    @property
    def settled(self) -> bool:
        """Whether another change would show in the times, however coarse they are."""
        return time.time_ns() - max(self.mtime_ns, self.ctime_ns) > SETTLED_NS


def identity(stamp: Stamp, what: str, compute: Callable[[], str]) -> str:
    """A SHA-256 that depends on a file and on nothing else but ``what``: from the cache, or computed and kept.

    Args:
        stamp: of the file, taken before it was read.
        what: what is hashed, such as a model's weights as float32, and all besides the file that decides it.
        compute: the hash, as 64 hexadecimal digits.
    """
    key = hashlib.sha256("\0".join([*map(str, astuple(stamp)), what]).encode(errors="surrogateescape")).hexdigest()
    with suppress(OSError, ValueError):  # missing, or no text
        value, check = _entry(key).read_text(encoding="ascii").split()
        if re.fullmatch("[0-9a-f]{64}", value) and check == _check(key, value):
            return value
    value = compute()
    with suppress(OSError):  # no room, or no permission: it is computed again next time
        if stamp.settled and Stamp.of(stamp.path) == stamp:
            write_whole(_entry(key), f"{value} {_check(key, value)}\n", parents=True)
    return value


def weights_sha256(weights: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 over names, shapes and float32 values of arrays, which come in order of name."""
    digest = hashlib.sha256()
    for name, value in weights:
        digest.update(f"{name}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value, np.float32).tobytes())
    return digest.hexdigest()


def _check(key: str, value: str) -> str:
    return hashlib.sha256(f"{key} {value}".encode()).hexdigest()


def _entry(key: str) -> Path:
    """Raises OSError where there is no home folder, as in a container whose user has no name."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return cache / "clipx" / "identities" / f"{key}.txt"
