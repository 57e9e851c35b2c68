"""Runs of an iterable, as ``itertools.batched`` of Python 3.12 gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """``items`` in runs of ``size``; the last may be shorter."""
    items = iter(items)
    while some := list(islice(items, size)):
        yield some
