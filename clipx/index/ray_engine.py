"""``Index.add`` on a Ray cluster: actors are given files, encode them and stage their rows.

Only paths and names of staged rows travel; pixels and vectors stay with the actor. The index's folder, and the files,
must be where every actor finds them under the same name.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipx._batches import batches
from clipx._quiet import suppress_library_notes, suppress_logging
from clipx.errors import (
    ClipxError,
    FileError,
    InputError,
    MissingDependencyError,
    SpaceError,
    SpaceMismatchError,
    first_line,
)
from clipx.index.collection import Collection
from clipx.index.known import KnownContents
from clipx.index.meta import Meta
from clipx.index.scan import Found
from clipx.index.steps import Options, Part, shared_store, stage
from clipx.index.store import StoreFactory

MAX_BLOCK = 1024  # files that an actor is given at once, and that are encoded again where it dies
BLOCKS = 8  # for each actor at least, so that none waits long for the last one
PATIENCE_S = 10.0  # until an address must answer
_HOST_PORT = re.compile(r"(?P<host>[^/@]+):(?P<port>\d{1,5})")
RETRIES = 3  # of files whose actor died
STORE_BYTES = 256 * 2**20  # of Ray's object store on this machine: paths


@dataclass(frozen=True)
class RayEngine:
    """Runs the steps of an update in Ray's actors.

    Args:
        workers: how many actors; by default as many as the cluster has GPUs, where ``device`` is one, else CPUs.
        address: of a Ray cluster, such as ``"auto"`` for the one that this machine belongs to; by default
            ``$RAY_ADDRESS``, or one that is started on this machine, unless the process is connected to one already.
        shard_files: files in one transaction; a driver that is killed loses those that it has not published.
        device, dtype, backend: with which each actor loads the space, as ``clipx.load_space`` takes them. An actor has
            one GPU for itself where that is ``"cuda"``, and one CPU.

    Raises:
        InputError: ``workers`` or ``shard_files`` is below 1, or ``device`` is neither ``"cpu"`` nor ``"cuda"``.
        MissingDependencyError: Ray is missing.
    """

    workers: int | None = None
    address: str | None = None
    shard_files: int = 100_000
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("workers", "shard_files"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.device not in ("cpu", "cuda"):
            raise InputError(f"no device {self.device!r} of an actor", remedy="each has one of its own: cpu or cuda")
        _ray()

    def parts(
        self, collection: Collection, files: Sequence[Found], contents: KnownContents, options: Options
    ) -> Generator[list[Part], None, None]:
        """See ``clipx.index.steps.Engine``.

        Raises:
            InputError: the store is not made for several writers, or the cluster has no GPU.
            SpaceError: an actor cannot load the space, such as one that exists only in this process.
            FileError: an actor does not see the index, or cannot write to it, or dies four times of the same files.
        """
        shared_store(collection)
        if not files:
            return
        ordered, done = sorted(files, key=lambda file: file.modality), 0
        with _cluster(self.address, self.workers) as ray:
            workers = self._workers(ray)
            size = min(MAX_BLOCK, max(options.batch_size, -(-len(ordered) // (BLOCKS * workers))))
            how = _How(
                collection.folder.absolute(),
                *(collection.meta, collection.make_store, self.device, self.dtype, self.backend),
                *(options.batch_size, options.thumbnails, options.tracks),
            )
            pool = _Pool(ray, min(workers, -(-len(ordered) // size)), int(self._on_gpu), how, contents)
            try:
                for shard in batches(ordered, self.shard_files):
                    parts: list[Part] = []
                    try:
                        for found in pool.encode(list(batches(shard, size))):
                            if isinstance(found, ClipxError):
                                raise _for_user(found, collection)
                            parts += found
                            done += sum(len(part.files) for part in found)
                            options.progress(done, len(files))
                    except KeyboardInterrupt:  # what there is, before the end
                        yield parts
                        raise
                    yield parts
            finally:
                pool.close()

    def spread(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """See ``clipx.index.steps.Engine``: each item is a task of one CPU.

        Raises:
            FileError: a task failed.
        """
        with _cluster(self.address, self.workers) as ray:
            task, shared = ray.remote(num_cpus=1, max_retries=RETRIES)(_call), ray.put(work)
            try:
                return ray.get([task.remote(shared, item) for item in items])
            except ray.exceptions.RayError as error:
                raise FileError(f"a task failed: {first_line(error)}") from error

    @property
    def _on_gpu(self) -> bool:
        return self.device == "cuda"

    def _workers(self, ray: Any) -> int:
        kind = "GPU" if self._on_gpu else "CPU"
        workers = self.workers or int(ray.cluster_resources().get(kind, 0))
        if not workers:
            remedy = "add machines, or say with --workers how many a cluster that grows will have"
            raise InputError(f"the cluster has no {kind}", remedy=remedy)
        return workers


@dataclass(frozen=True)
class _How:
    """What an actor must know to encode for an index."""

    folder: Path
    meta: Meta
    make_store: StoreFactory
    device: str
    dtype: str
    backend: str
    batch_size: int
    thumbnails: bool
    tracks: bool


class _Pool:
    """Actors that encode; one that does not start, as the cluster is small, is given nothing.

    An actor that dies is started again by Ray, elsewhere if need be, and begins the files that it had again.
    """

    def __init__(self, ray: Any, count: int, gpus: int, how: _How, contents: KnownContents):
        self._ray = ray
        self._idle: list[Any] = []
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=RETRIES)(_Encoder)
        self._about = ray.put((how, contents))  # once, for all; kept, as an actor that starts again needs it
        self._actors = [actor.remote(self._about) for _ in range(count)]
        self._running = {actor.encode.remote([]): actor for actor in self._actors}  # loads the space

    def encode(self, blocks: Sequence[Sequence[Found]]) -> Iterator[list[Part] | ClipxError]:
        """What becomes of each block of files, or goes wrong with it, as soon as it is known.

        Raises:
            FileError: an actor died too often of the same block, or met an error that is no ClipxError.
        """
        waiting, running = deque(blocks), self._running
        left = len(waiting)
        while left:
            while waiting and self._idle:
                actor = self._idle.pop()
                running[actor.encode.remote(waiting.popleft())] = actor
            (ready,), _ = self._ray.wait(list(running), num_returns=1)
            self._idle.append(running.pop(ready))
            try:
                found = self._ray.get(ready)
            except self._ray.exceptions.RayError as error:
                raise FileError(f"an actor failed: {first_line(error)}") from error
            left -= found != []
            yield found

    def close(self) -> None:
        """End the actors, whatever they do."""
        for actor in self._actors:
            self._ray.kill(actor)


class _Encoder:
    """An actor: holds the space, and takes files to the parts that it has staged."""

    def __init__(self, about: tuple[_How, KnownContents]):
        self._how, self._contents = about
        self._collection: Collection | None = None

    def encode(self, files: Sequence[Found]) -> list[Part] | ClipxError:
        """Files -> their parts, none for no file; an error is returned, so that it arrives as it is."""
        try:
            if self._collection is None:
                self._collection = self._open()
            options = Options(self._how.batch_size, thumbnails=self._how.thumbnails, tracks=self._how.tracks)
            return list(stage(self._collection, files, self._contents, options))
        except ClipxError as error:
            return error

    def _open(self) -> Collection:
        from clipx.spaces.loading import load_space

        how = self._how
        if not Meta.exists(how.folder):
            remedy = "put it in a folder that all machines of the cluster share, under the same name"
            raise FileError("an actor does not see the index", where=how.folder, remedy=remedy)
        collection = Collection(how.folder, how.meta, how.make_store)
        collection.use_space(load_space(how.meta.space.source, how.device, how.dtype, how.backend))
        return collection


def _call(work: Callable[[Any], Any], item: Any) -> Any:
    return work(item)


def _for_user(error: ClipxError, collection: Collection) -> ClipxError:
    """The error that an actor has met; of one that cannot load the space, what to do."""
    if not isinstance(error, SpaceError | SpaceMismatchError):
        return error
    return SpaceError(
        f"an actor cannot load the space {collection.meta.space.source}: {error.what}",
        where=collection.folder,
        remedy="make the index with a space that every machine loads by its name or from a folder",
    )


def _ray() -> Any:
    """Ray, which reports nothing to its makers. Raises MissingDependencyError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of its C++ part
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("Ray is missing", remedy="pip install 'clipx-modalities[ray]'") from error
    return ray


def _require_answer(address: str, host: str, port: int) -> None:
    """Raise InputError where nobody listens at an address: Ray itself would wait for it for very long."""
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except OSError as error:
        what = f"Ray does not answer ({error.strerror or error})"
        raise InputError(what, where=address, remedy="start it: ray start --head") from error


@contextmanager
def _cluster(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, connected: to what this process is connected to, to a cluster, or to one that lasts as long as the work."""
    ray = _ray()
    begun = not ray.is_initialized()
    with suppress_logging(), redirect_stdout(sys.stderr):  # where Ray prints what befalls its processes
        if begun:
            _connect(ray, address or os.environ.get("RAY_ADDRESS"), workers)
        try:
            yield ray
        finally:
            if begun:
                ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    """Connect to the cluster at an address, or start one on this machine. Raises InputError."""
    how: dict[str, Any] = {"address": address}
    if address is not None and (match := _HOST_PORT.fullmatch(address)) is not None:
        _require_answer(address, match["host"].strip("[]"), int(match["port"]))
    if address is None:
        cpus = max(workers or 1, os.cpu_count() or 1)
        how = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        with suppress_library_notes(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork-safe")  # its processes are no forks
            ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        remedy = None if address is None else "start it: ray start --head"
        raise InputError(f"Ray does not answer ({first_line(error)})", where=address, remedy=remedy) from error
