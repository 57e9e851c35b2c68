"""The lock of an index: one process writes at a time."""

from __future__ import annotations

import os
from pathlib import Path

from clipx.errors import FileError


class WriterLock:
    """The right to write to an index; the system takes it back when the process ends.

    Args:
        folder: the index.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock, unless it is held already.

        Raises:
            FileError: another process holds it, or the folder cannot be written.
        """
        if self._handle is not None:
            return
        try:
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=self.folder) from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise FileError("another process writes to it", where=self.folder, remedy="wait for it to end") from error
        self._handle = handle

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
