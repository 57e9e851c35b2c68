"""Progress of long work, on stderr: a line now and then, or what a renderer draws, such as a bar on a terminal.

The library itself draws no bars; the command line does, through ``use``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

LINE_EVERY_S = 10.0
Advance = Callable[..., None]
"""Called with how much more is done, and perhaps a few words to show, and a total that is known only now."""

Renderer = Callable[[str, int | None, int], AbstractContextManager[Advance]]
"""Draws the progress of one piece of work on a terminal; takes the arguments of ``progress``."""

_renderer: Renderer | None = None


def use(renderer: Renderer | None) -> None:
    """Draw progress on a terminal by this; None for lines."""
    global _renderer
    _renderer = renderer


def note(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)


@contextmanager
def progress(what: str, total: int | None, done: int = 0) -> Iterator[Advance]:
    """Show progress on stderr while the block runs. Yields an ``Advance``.

    Args:
        what: the work, such as "encoding".
        total: how much there is to do, if that is known.
        done: how much was done before, by a run that is resumed.
    """
    if _renderer is None or not sys.stderr.isatty():
        yield _lines(what, total, done)
        return
    with _renderer(what, total, done) as advance:
        yield advance


@contextmanager
def task_progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """``progress`` for the ``on_progress`` of a task, whose total is known at its first call."""
    with ExitStack() as stack:
        advance: Advance | None = None
        before = 0

        def on_progress(done: int, total: int, note: str = "") -> None:
            nonlocal advance, before
            if advance is None:
                advance, before = stack.enter_context(progress(what, total, done)), done
            advance(done - before, note)
            before = done

        yield on_progress


def _lines(what: str, total: int | None, so_far: int) -> Advance:
    """For logs: a line on stderr every ``LINE_EVERY_S`` seconds of work, so that short work says nothing."""
    began = printed = time.monotonic()

    def advance(done: int, text: str = "", total: int | None = total) -> None:
        nonlocal printed, so_far
        so_far += done
        now = time.monotonic()
        if now - printed >= LINE_EVERY_S:
            printed = now
            of = "" if total is None else f" of {total}"
            note(f"{what}: {so_far}{of}, {now - began:.0f} s{' ' if text else ''}{text}")

    return advance
