"""What libraries log, and what C libraries print on stderr, is left out."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

_lock = threading.Lock()
# threads in it; the true stderr; its stand-in, and bytes passed on
_inside, _stderr, _seen = 0, -1, 0
_caught: IO[bytes] | None = None
_MPG123 = rb"(Note|Warning|Error):|\[.*mpg123|.*mpg123.*:\d+|main: |$"
_TIFF = rb"(tempfile\.tif|\w*(Decode|DecodeRaw|Setup|Fetch|Read)\w*|JPEGLib|TIFF\w+|LogLuv\w+|OJPEG\w+): "
_RAY = rb"\[\d{4}-\d\d-\d\d [\d:,]+ [IWE] \d+ \d+\] "
_NOTES = re.compile(_MPG123 + b"|" + _TIFF + b"|" + _RAY)


@contextmanager
def suppress_logging() -> Iterator[None]:
    """Leave out what libraries log, up to warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def suppress_library_notes() -> Iterator[None]:
    """Leave out what libmpg123, libtiff and Ray's core print on stderr: nothing can tell them to be quiet.

    File descriptor 2 is the process's own, so other threads may write to it meanwhile: their lines are passed on as
    soon as any thread leaves.
    """
    global _inside, _stderr, _caught
    with _lock:
        if not _inside:
            try:
                _stderr = os.dup(2)
                _caught = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115
                os.dup2(_caught.fileno(), 2)
            except OSError:  # no stderr, or no room for a file
                _release()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _caught is not None and not _inside:
                os.dup2(_stderr, 2)
            _pass_on()
            if not _inside:
                _release()


def _pass_on() -> None:
    """Write what was caught since the last time to the true stderr, without those lines."""
    global _seen
    if _caught is None:
        return
    _caught.seek(_seen)  # writes go to its end all the same: it is open for appending
    new = _caught.read()
    _seen += len(new)
    with suppress(OSError):
        os.write(_stderr, b"".join(line for line in new.splitlines(keepends=True) if not _NOTES.match(line)))


def _release() -> None:
    global _stderr, _caught, _seen
    if _stderr >= 0:
        os.close(_stderr)
    if _caught is not None:
        _caught.close()
    _stderr, _caught, _seen = -1, None, 0
