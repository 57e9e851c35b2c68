"""The lock of an index: one process writes at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clipx.errors import FileError


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
            FileError: another process holds it, or the folder cannot be written.
        """
        if self._handle is not None:
            return
        try:
            handle = os.open(self.folder / self._name, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=self.folder) from error
        until = time.monotonic() + wait_s
        while self._handle is None:
            try:
                _lock(handle)
                self._handle = handle
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                os.close(handle)
                what, remedy = "another process writes to it", "wait for it to end"
                raise FileError(what, where=self.folder, remedy=remedy) from error

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
