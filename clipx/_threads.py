"""How torch shares the processors: work that is better done side by side, in threads that each compute alone.

Threads that share a step of torch wait for one another at each of them, and for whoever else is at work. Where steps
are of a millisecond, on a busy machine they wait ten times as long as they compute.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")

READERS = max(2, min(8, os.cpu_count() or 2))  # threads that read files while the space encodes


@contextmanager
def one_thread() -> Iterator[None]:
    """Steps of this thread are computed by it alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def lone_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of so many threads that each compute alone; this thread computes as before."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "clipx", torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the pool has set what later threads would start with


def ahead(function: Callable[[T], U], items: Iterable[T], pool: ThreadPoolExecutor, depth: int) -> Iterator[U]:
    """``map`` in a pool, in order, at most ``depth`` items before they are asked for."""
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def read_ahead(read: Callable[[T], U], items: Sequence[T], size: int) -> Iterator[list[U]]:
    """``read`` of each item, in batches of ``size``; while one batch is used, the next is read in other threads.

    A single item is read in this thread, which may have all of torch's threads. What ``read`` raises is raised where
    its batch is asked for.
    """
    if len(items) == 1:
        yield [read(items[0])]
        return
    with lone_threads(READERS) as pool:
        found = ahead(read, items, pool, size)
        while batch := list(islice(found, size)):
            yield batch
