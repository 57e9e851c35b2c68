"""How long work shows that it goes on: a bar on a terminal, a line now and then elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

LINE_EVERY_S = 10.0
_shown: list[Any] = []  # the Progress on the terminal, if any: a second one would draw over it


def note(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr)


@contextmanager
def progress(what: str, total: int | None, done: int = 0) -> Iterator[Callable[..., None]]:
    """A bar (a spinner without a total) on stderr while the block runs; where that is no terminal, a line now and then.

    Yields a function to call with how much more is done, and perhaps a few words to show behind the bar, and a total
    that is known only now. Within another one's block it is a line below the other's.

    Args:
        what: the work, such as "encoding".
        total: how much there is to do, if that is known.
        done: how much was done before, by a run that this one goes on with.
    """
    if not sys.stderr.isatty():
        yield _lines(what, total, done)
        return
    if _shown:
        yield from _line(_shown[0], what, total, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    counted = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) if total is not None else ()
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *counted,
        TextColumn("{task.fields[said]}", markup=False),
        console=console,
        transient=True,
    ) as bar:
        _shown.append(bar)
        try:
            yield from _line(bar, what, total, done)
        finally:
            _shown.remove(bar)


@contextmanager
def task_progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """``progress`` for the ``on_progress`` of a task, whose total is known at its first call."""
    with ExitStack() as stack:
        advance: Callable[..., None] | None = None
        before = 0

        def on_progress(done: int, total: int, note: str = "") -> None:
            nonlocal advance, before
            if advance is None:
                advance, before = stack.enter_context(progress(what, total, done)), done
            advance(done - before, note)
            before = done

        yield on_progress


def _line(bar: Any, what: str, total: int | None, done: int) -> Iterator[Callable[..., None]]:
    """A line of a rich Progress while its caller's block runs."""
    task = bar.add_task(what, total=total, completed=done, said="")
    try:
        yield lambda done, said="", total=None: bar.update(task, advance=done, said=said, total=total)
    finally:
        bar.remove_task(task)


def _lines(what: str, total: int | None, so_far: int) -> Callable[..., None]:
    """For logs: a line on stderr every ``LINE_EVERY_S`` seconds of work, so that short work says nothing."""
    began = printed = time.monotonic()

    def advance(done: int, said: str = "", total: int | None = total) -> None:
        nonlocal printed, so_far
        so_far += done
        now = time.monotonic()
        if now - printed >= LINE_EVERY_S:
            printed = now
            of = "" if total is None else f" of {total}"
            note(f"{what}: {so_far}{of}, {now - began:.0f} s{' ' if said else ''}{said}")

    return advance
