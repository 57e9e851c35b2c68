"""Importing late, and at less cost: names that a package resolves at first use, large libraries loaded at one go."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def at_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package: each name comes from its module, imported when it is asked for.

    Args:
        package: its ``__name__``.
        homes: name -> module below the package.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return getattr_


@contextmanager
def uncollected() -> Iterator[None]:
    """Put garbage collection off while large libraries are imported: they make a million objects and drop few, and
    looking through them again and again takes half a second of torch's and open_clip's four."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
