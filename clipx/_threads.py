"""How many threads an operator may use, and pools whose threads use one each."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")

READERS = max(2, min(8, os.cpu_count() or 2))  # threads that read files while the space encodes
_own = threading.local()


def threads() -> int:
    """How many threads an operator that is called in this thread may use.

    One in a ``single_threaded_pool``. Elsewhere what torch is set to, where it is loaded; else ``OMP_NUM_THREADS``, as
    torch has it, or the number of processors that this process may run on.
    """
    if getattr(_own, "single", False):
        return 1
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):  # else it is being imported by another thread
        return torch.get_num_threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pictures_at_once(pixels_per_thread: int, height: int, width: int) -> int:
    """How many pictures of that size a tower takes in one pass on a CPU, at least 1; larger batches fit no cache."""
    return max(1, pixels_per_thread * threads() // (height * width))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run operators in this thread alone."""
    before, was = threads(), getattr(_own, "single", False)
    _alone()
    try:
        with _numpy_threads:
            yield
    finally:
        _own.single = was
        _set_torch_threads(before)


@contextmanager
def single_threaded_pool(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``count`` threads that each run operators alone; the calling thread keeps its setting."""
    before = threads()
    pool = ThreadPoolExecutor(count, "clipx", _alone)
    try:
        with _numpy_threads:
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        _set_torch_threads(before)  # the pool has set what later threads would start with


class _NumpyThreads:
    """Matrix products of arrays in one thread while any pool of ours runs.

    The threads of OpenBLAS, which NumPy's and SciPy's wheels hold, wait for the next product by spinning: a product of
    a millisecond was measured to cost 60 ms of a processor on which other threads of ours had work to do.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limits = _controller(len(sys.modules)).limit(limits=1, user_api="blas")
                self._limits.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limits.__exit__(None, None, None)


@lru_cache(maxsize=1)
def _controller(modules: int) -> Any:
    """Of the libraries that are loaded, found again when there are other ``modules``: SciPy brings its own."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_numpy_threads = _NumpyThreads()


def _alone() -> None:
    _own.single = True
    _set_torch_threads(1)


def _set_torch_threads(count: int) -> None:
    """Where torch is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(count)


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
