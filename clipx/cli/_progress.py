"""Progress bars on a terminal, drawn by rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clipx.progress import Advance

_shown: list[Any] = []  # the Progress on the terminal, if any: a second one would draw over it


@contextmanager
def bar(what: str, total: int | None, done: int) -> Iterator[Advance]:
    """A bar, or a spinner without a total; within another one's block a line below it. See ``clipx.progress``."""
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
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
        transient=True,
    ) as drawn:
        _shown.append(drawn)
        try:
            yield from _line(drawn, what, total, done)
        finally:
            _shown.remove(drawn)


def _line(bar: Any, what: str, total: int | None, done: int) -> Iterator[Advance]:
    """A line of a rich Progress while its caller's block runs."""
    task = bar.add_task(what, total=total, completed=done, note="")
    try:
        yield lambda done, note="", total=None: bar.update(task, advance=done, note=note, total=total)
    finally:
        bar.remove_task(task)
