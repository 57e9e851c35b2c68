"""Thread pools whose threads each run torch's operators single-threaded.

An operator that several threads share ends with all of them waiting for the slowest. Where operators take a
millisecond, on a busy machine threads wait ten times as long as they compute; independent work in single-threaded
workers has no such waits.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")

READERS = max(2, min(8, os.cpu_count() or 2))  # threads that read files while the space encodes


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's operators in this thread alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def single_threaded_pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``count`` threads that each run torch's operators alone; the calling thread keeps its setting."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "clipx", torch.set_num_threads, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the pool has set what later threads would start with


def prefetch(function: Callable[[T], U], items: Iterable[T], pool: ThreadPoolExecutor, depth: int) -> Iterator[U]:
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

