"""The steps of an update that any process can run: what there is to do, encode it, and stage its rows.

They are functions of plain records, and change nothing that a reader sees. ``clipx.index.update`` runs them in one
process, ``clipx.index.shards`` in the jobs of a batch queue, ``clipx.index.ray_engine`` in the actors of a cluster.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clipx import registry
from clipx.errors import ClipxError, InputError
from clipx.index.collection import Collection
from clipx.index.entries import KnownContent, entries
from clipx.index.known import KnownContents, KnownFiles
from clipx.index.meta import Meta
from clipx.index.scan import Failure, Found, suffix_of
from clipx.index.store import TRACK, Entry, SharedStore

if TYPE_CHECKING:
    from clipx.modality import Modality

PART_ROWS = 4096  # staged at once: 8 MB of vectors, besides thumbnails
PART_SECONDS = 120.0  # after which what there is is staged: what a killed job loses

Progress = Callable[[int, int], None]
"""Called after every batch with the number of files that are done, and of all files."""


@dataclass(frozen=True)
class Options:
    """How files are encoded and kept; see ``Index.add``."""

    batch_size: int = 32
    progress: Progress = lambda done, total: None
    thumbnails: bool = True
    retry: bool = False
    tracks: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {self.batch_size}")


@dataclass(frozen=True)
class Part:
    """What became of some files; ``to_json`` and ``from_json`` take it to another process.

    Args:
        files: those that were tried.
        staged: what ``SharedStore.publish`` takes; "" where there are no rows.
        failures: those of the files that could not be taken in.
        reused: paths of the others whose content the index held.
        modalities: name -> how it encoded them, as ``Meta.modalities`` has it.
    """

    files: Sequence[Found]
    staged: str
    failures: Sequence[Failure]
    reused: Sequence[str]
    modalities: Mapping[str, Mapping[str, Any]]

    @property
    def written(self) -> list[Found]:
        """The files that it has rows of."""
        failed = {failure.path for failure in self.failures}
        return [file for file in self.files if file.path not in failed]

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        rows = {"files": list(map(astuple, self.files)), "failures": list(map(astuple, self.failures))}
        return {**rows, "staged": self.staged, "reused": list(self.reused), "modalities": dict(self.modalities)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Part:
        """What ``to_json`` returned. Raises KeyError, TypeError, AttributeError where it is something else."""
        files = [Found(*row) for row in record["files"]]
        failures = [Failure(*row) for row in record["failures"]]
        paths = [*(file.path for file in files), *(one.path for one in failures), *record["reused"], record["staged"]]
        if not all(isinstance(text, str) for text in paths):
            raise TypeError
        modalities = {name: dict(own.items()) for name, own in record["modalities"].items()}
        return cls(files, record["staged"], failures, record["reused"], modalities)


class Engine(Protocol):
    """Runs the work of ``Index.add`` in other processes."""

    def parts(
        self, collection: Collection, files: Sequence[Found], contents: KnownContents, options: Options
    ) -> Generator[list[Part], None, None]:
        """Encode and stage files; each list is published in one transaction before the next is asked for.

        Args:
            collection: the index.
            files: to encode, each once.
            contents: what need not be encoded again.
            options: how; ``progress`` is called here.
        """
        ...

    def spread(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """``work`` of each item, in order; see ``clipx.index.store.Spread``."""
        ...


def to_do(
    collection: Collection, files: Sequence[Found], known: KnownFiles, options: Options
) -> tuple[list[Found], list[Failure]]:
    """The files to encode, and those that are not tried again as they could not be read before.

    Args:
        collection: the index.
        files: as a walk found them.
        known: what it holds.
        options: with ``retry`` the latter are tried all the same, as are tracks of files that have none.
    """
    before, failed = known.as_before(files), collection.failures()
    if options.retry and options.tracks:
        tracked = set(collection.store.scan(["path"], window=[TRACK])["path"].to_pylist())
        for i in np.flatnonzero(before).tolist():
            before[i] = files[i].path in tracked or not track_readers([files[i]])
    new = [files[i] for i in np.flatnonzero(~before).tolist()]
    if options.retry:
        return new, []
    again = {file.path for file in new if _is_same(file, failed.get(file.path))}
    left = [Failure(path, failed[path]["reason"], read=True, known=True) for path in sorted(again)]
    return [file for file in new if file.path not in again], left


def encoded(
    collection: Collection,
    files: Sequence[Found],
    holds: Callable[[str, str], bool],
    options: Options,
    record: Callable[[Meta], None],
) -> Iterator[list[Entry | Failure]]:
    """Files -> their entries, one modality after the other, batch by batch.

    Args:
        collection: whose modalities encode them.
        files: each once.
        holds: modality, SHA-256 -> whether the index is likely to hold that content.
        options: how.
        record: takes the record of the index with what decides the vectors of each modality.
    """
    for name in dict.fromkeys(file.modality for file in files):
        own = [file for file in files if file.modality == name]
        try:
            encoder = collection.checked_encoder(name)
            record(collection.meta.with_context(name, encoder.context))
        except ClipxError as error:  # its package or its tower is missing; the others go on
            yield [Failure(file.path, str(error)) for file in own]
            continue
        content = KnownContent(partial(holds, name), partial(collection.entries, modality=name))
        readers = _track_readers(collection, own, record) if options.tracks else []
        yield from entries(own, encoder, content, options.batch_size, options.thumbnails, readers)


def track_readers(files: Iterable[Found]) -> set[str]:
    """The modalities that read tracks of these files."""
    suffixes = {(suffix_of(file.path), file.modality) for file in files}
    return {name for suffix, own in suffixes for name in registry.track_readers(suffix) if name != own}


def modalities_of(files: Sequence[Found], options: Options) -> set[str]:
    """The modalities that read these files, and their tracks where the options have them taken in."""
    return {file.modality for file in files} | (track_readers(files) if options.tracks else set())


def _track_readers(collection: Collection, files: Sequence[Found], record: Callable[[Meta], None]) -> list[Modality]:
    """Those that the space has a tower for; ``record`` is as ``encoded`` takes it.

    One that cannot work for another reason is left out with a warning.
    """
    found = []
    for name in sorted(track_readers(files)):
        try:
            if collection.encoder(name).unavailable() is not None:
                continue
            encoder = collection.checked_encoder(name)
            record(collection.meta.with_modalities([name], {}).with_context(name, encoder.context))
            found.append(encoder)
        except ClipxError as error:
            warnings.warn(f"tracks of modality {name} are left out: {error}", stacklevel=2)
    return found


def stage(collection: Collection, files: Sequence[Found], contents: KnownContents, options: Options) -> Iterator[Part]:
    """Encode files and stage their rows, a few thousand at a time.

    Args:
        collection: of this process alone; nothing is recorded in the index's folder.
        files: each once.
        contents: what need not be encoded again.
        options: how.
    """
    store, begun, done = shared_store(collection), time.monotonic(), 0
    by_path = {file.path: file for file in files}
    taken: list[Entry] = []
    failures: list[Failure] = []

    def part() -> Part:
        reused = [one.file.path for one in taken if contents.holds(one.file.modality, one.sha256)]
        tried = [*(one.file for one in taken), *(by_path[one.path] for one in failures)]
        names = {file.modality for file in tried} | {track.modality for one in taken for track in one.tracks}
        used = {name: own for name, own in collection.meta.modalities.items() if name in names and "context" in own}
        return Part(tried, store.stage(collection.rows(taken)) if taken else "", list(failures), reused, used)

    try:
        for batch in encoded(collection, files, contents.holds, options, partial(setattr, collection, "meta")):
            for one in batch:
                if isinstance(one, Failure):
                    failures.append(one)
                else:
                    taken.append(one)
            rows = sum(one.rows for one in taken)
            if rows >= PART_ROWS or len(failures) >= PART_ROWS or time.monotonic() - begun > PART_SECONDS:
                yield part()
                taken, failures, begun = [], [], time.monotonic()
            done += len(batch)
            options.progress(done, len(files))
    except KeyboardInterrupt:  # what there is, before the end
        if taken or failures:
            yield part()
        raise
    if taken or failures:
        yield part()


def with_modalities_of(meta: Meta, parts: Iterable[Part]) -> Meta:
    """The record of an index with the modalities of parts.

    Raises:
        InputError: a modality encoded them otherwise than what is in the index, or than another part.
    """
    for part in parts:
        for name, own in part.modalities.items():
            meta = meta.with_encoded(name, own)
    return meta


def shared_store(collection: Collection) -> SharedStore:
    """The store of an index that several processes fill. Raises InputError where it is not made for that."""
    if isinstance(collection.store, SharedStore):
        return collection.store
    raise InputError(
        f"its store, {type(collection.store).__qualname__}, is not made for several writers",
        where=collection.folder,
        remedy="index on one machine, or give the store what clipx.index.store.SharedStore asks for",
    )


def records_folder(collection: Collection) -> Path:
    """The folder with the records of what the jobs of a batch queue have staged."""
    return collection.folder / f"{collection.meta.table}-shards"


def remove_unpublished(collection: Collection) -> None:
    """Remove what processes that were stopped have staged, but for what a record of a shard names.

    Args:
        collection: the caller holds the lock of its index.
    """
    if not isinstance(store := collection.store, SharedStore):
        return
    kept = []
    for file in records_folder(collection).glob("*-of-*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):  # gone meanwhile, or corrupt, or of a whole shard
            kept.append(json.loads(file.read_text(encoding="utf-8"))["part"]["staged"])
    store.unstage([staged for staged in kept if staged])


def _is_same(file: Found, before: Mapping[str, Any] | None) -> bool:
    return before is not None and all(before.get(name) == value for name, value in vars(file).items())
