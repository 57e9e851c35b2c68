"""The lock of an index: one process writes at a time."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from clipx.errors import FileError

_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}  # what the system says of a lock that another process holds


class WriterLock:
    """The right to write to an index; the system takes it back when the process ends.

    Args:
        folder: the index, or another folder.
        name: of the file in it that is locked.
    """

    def __init__(self, folder: Path, name: str = ".lock"):
        self.folder, self._name = folder, name
        self._handle: int | None = None

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock, unless it is held already.

        Args:
            wait_s: how long to wait for another process to give it back.

        Raises:
            FileError: another process holds it, or the folder cannot be written or locked.
        """
        until = time.monotonic() + wait_s
        while not self.try_acquire():
            if time.monotonic() >= until:
                raise FileError("another process writes to it", where=self.folder, remedy="wait for it to end")
            time.sleep(0.05)

    def try_acquire(self) -> bool:
        """Take the lock, unless another process holds it; returns whether it is held now.

        Raises:
            FileError: the folder cannot be written or locked.
        """
        if self._handle is not None:
            return True
        try:
            handle = os.open(self.folder / self._name, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=self.folder) from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in _BUSY:
                return False
            raise FileError(
                f"cannot be locked ({error.strerror})",
                where=self.folder,
                remedy="mount its file system with locks, or put it on another one",
            ) from error
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._handle is not None:
            os.close(self._handle)  # which gives the lock back
            self._handle = None


def _lock(handle: int) -> None:
    """Lock an open file until it is closed, or its process ends. Raises OSError where another process has."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
