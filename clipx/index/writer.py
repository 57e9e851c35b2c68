"""Writes to an index in transactions, in the background while the next files are encoded."""

from __future__ import annotations

from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from clipx._batches import batches
from clipx.index.collection import Collection
from clipx.index.known import KnownFiles
from clipx.index.store import Entry, Store

COMMIT = 256  # files in one transaction


class Writer:
    """Gathers entries and writes them in transactions, in a thread of its own.

    Args:
        collection: what is written to.
        known: the files that it holds before.
        replaced: those paths of what will be written that it holds before.
    """

    def __init__(self, collection: Collection, known: KnownFiles, replaced: Container[str]):
        self.before = replaced
        self._known = known
        self._hashes: set[tuple[str, str]] = set()  # of content that was written
        self.stale: list[str] = []
        self.added = self.updated = self.reused = 0
        self._collection = collection
        self._waiting: list[Entry] = []
        self._thread = ThreadPoolExecutor(1, "clipx-write")
        self._writing: Future[None] | None = None

    def holds(self, modality: str, sha256: str) -> bool:
        """Whether content of this SHA-256 is in the store, as that modality reads it."""
        return (sha256, modality) in self._hashes or self._known.contents.holds(modality, sha256)

    def put(self, entry: Entry) -> None:
        """Write an entry, now or later. Raises what an earlier write raised."""
        if self.holds(entry.file.modality, entry.sha256):
            self.reused += 1
        elif entry.file.path in self.before:
            self.updated += 1
        else:
            self.added += 1
        self._waiting.append(entry)
        if len(self._waiting) >= COMMIT:
            self._send()

    def finish(self) -> None:
        """Write what is left. Raises what a write raised."""
        self._send()
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """End the thread; what it has not begun to write is lost."""
        self._thread.shutdown(cancel_futures=True)

    def _send(self) -> None:
        if self._writing is not None:
            self._writing.result()
        entries, self._waiting = self._waiting, []
        self._writing = self._thread.submit(self._write, entries)

    def _write(self, entries: list[Entry]) -> None:
        self._collection.write(entries, replace=any(entry.file.path in self.before for entry in entries))
        self._hashes |= {(entry.sha256, entry.file.modality) for entry in entries}


def delete(store: Store, paths: Sequence[str]) -> None:
    """Remove the rows of these paths, in transactions of ``COMMIT`` files."""
    for part in batches(paths, COMMIT):
        store.delete(part)
