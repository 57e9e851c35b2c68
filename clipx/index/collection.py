"""The files of an index in one space: the record of it, the store of the rows, and the modalities that encode files.

An index has one collection. A move to another space fills a second one and then puts it in place of the first.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import clipx
from clipx.errors import ClipxError, FileError, SpaceMismatchError
from clipx.files import write_whole
from clipx.index.arrays import unit
from clipx.index.entries import check
from clipx.index.known import KnownFiles
from clipx.index.lock import WriterLock
from clipx.index.meta import NAME, Meta, SpaceRecord, only_begun
from clipx.index.snapshot import Snapshot, take_snapshot
from clipx.index.store import KEPT, Entry, StoreFactory, entries_of, matrix, rows_of, writing
from clipx.index.vocabulary import WORDS, Vocabulary
from clipx.settings import source_of

if TYPE_CHECKING:
    import pyarrow as pa

    from clipx.embedding import Embedding
    from clipx.modality import Modality
    from clipx.space import JointSpace


EXACT_ROWS = 50_000  # of one modality, up to which it is searched exactly whatever was built
_UNFINISHED = re.compile(r"\.(items-\d+|meta|next)\b.*\.[0-9a-f]{16}\.part\.\w+")  # as write_whole names them


class Collection:
    """The files of an index in one space.

    Args:
        folder: the index.
        meta: its record.
        make_store: makes the store of ``meta.table``.
        space: the joint space; loaded at first use when left out.
    """

    def __init__(self, folder: Path, meta: Meta, make_store: StoreFactory, space: JointSpace | None = None):
        self.folder, self.meta, self.make_store = folder, meta, make_store
        self.store = make_store(folder, meta.table)
        self._space = space
        self._encoders: dict[str, Modality] = {}
        self._snapshot: Snapshot | None = None
        self._snapshot_of: int | None = None
        self._read: tuple[int, int, int] | None = None  # which meta.json was read last

    # The space and its modalities -------------------------------------------------------------------------------------

    @property
    def space(self) -> JointSpace:
        """The joint space, loaded at first use. Raises SpaceError, SpaceMismatchError."""
        if self._space is None:
            self.use_space(load(self.meta.space.source))
            return self.space
        return self._space

    def use_space(self, space: JointSpace) -> None:
        """Take this space. Raises SpaceMismatchError where the vectors are of another."""
        if space.id != self.meta.space.id:
            raise self.mismatch(f"{space.name} ({space.id})")
        self._space = space

    def mismatch(self, other: str) -> SpaceMismatchError:
        """The error of vectors of another space."""
        own = self.meta.space
        return SpaceMismatchError(
            f"holds vectors of space {own.name} ({own.id}), not of {other}",
            where=self.folder,
            remedy="leave --space out, or move the index: clipx index --reembed --space ...",
        )

    def encoder(self, name: str) -> Modality:
        """A modality, set as the index was made with."""
        from clipx.api import make_modality

        if name not in self._encoders:
            encoder = make_modality(name, self.space, self.meta.config_of(name))
            if "context" in self.meta.modalities.get(name, {}):
                self.meta.with_context(name, encoder.context)  # refuses another
            self._encoders[name] = encoder
        return self._encoders[name]

    def checked_encoder(self, name: str) -> Modality:
        """``encoder``, once it has encoded its own example. Raises ClipxError where it cannot."""
        encoder = self.encoder(name)
        try:
            check(encoder)
        except ClipxError:
            del self._encoders[name]  # it may be set otherwise yet
            raise
        return encoder

    # The record -------------------------------------------------------------------------------------------------------

    def record(self, meta: Meta) -> None:
        """Write the record, if it has changed."""
        if meta != self.meta:
            meta.write(self.folder)
            self.meta = meta

    def refresh(self) -> None:
        """Read the record, which another process may have written since.

        Raises:
            FileError: the index was moved to another space, or is damaged.
        """
        stamp = _stamp(self.folder / NAME)
        if stamp is not None and stamp == self._read:
            return
        meta = Meta.read(self.folder)
        if meta.table != self.meta.table:  # moved to another space since
            raise FileError(
                f"was moved from space {self.meta.space.name} to {meta.space.name}",
                where=self.folder,
                remedy="open it again",
            )
        if meta.modalities != self.meta.modalities:
            self._encoders = {}
        self.meta, self._read = meta, stamp

    # The rows ---------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the store and the words, unless they are there; the space is loaded only if so."""
        with writing(self.folder):
            if not self._words_file.exists():
                Vocabulary.of(self.space).save(self._words_file)
        self.store.create(self.meta.space.dim, min(WORDS, len(self.vocabulary.words)))

    def is_made(self) -> bool:
        """Whether ``create`` was called to its end."""
        try:
            self.store.state()
        except FileError:
            return False
        return self._words_file.exists()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The words whose weights the rows have. Raises FileError."""
        return Vocabulary.load(self._words_file)

    def files(self) -> KnownFiles:
        """The files as they were when they were indexed."""
        return KnownFiles.of(self.store)

    def entries(self, hashes: Sequence[str], modality: str) -> dict[str, Entry]:
        """SHA-256 -> a file with that content as it stands in the index, as one modality reads it."""
        return entries_of(self.store, hashes, modality)

    def write(self, entries: Sequence[Entry], replace: bool) -> None:
        """Put the files' rows in place of those they had, in one transaction.

        Args:
            entries: files, each once.
            replace: whether any of them may have rows; where none has, rows are appended, which is faster.
        """
        if entries:
            self.store.write(self.rows(entries), replace)

    def rows(self, entries: Sequence[Entry]) -> pa.Table:
        """Files, at least one, as rows of the store."""
        vectors = np.concatenate([track.vectors for entry in entries for track in entry.all_tracks])
        return rows_of(entries, self.vocabulary.items(vectors.astype(np.float32, copy=False)))

    def snapshot(self) -> Snapshot:
        """The rows of the present state, as a search reads them."""
        self.refresh()
        return self.take_snapshot()

    def take_snapshot(self) -> Snapshot:
        """As ``snapshot``, without a look at the record."""
        most = None if self.meta.cells is None else EXACT_ROWS
        before = self._snapshot if self._snapshot_of == most else None
        self._snapshot = take_snapshot(self.store, self.folder, self.meta.table, before, most)
        self._snapshot_of = most
        return self._snapshot

    def drop_others(self) -> None:
        """Remove what other collections left in the folder, and what a process that was killed was writing.

        The words go before their store, so that a kill in between leaves none for a later store of that name.
        """
        with writing(self.folder):
            for file in [*self.folder.glob("items-*.*"), *self.folder.glob(".items-*.part.*")]:
                owner = re.match(r"\.?(items-\d+)\b", file.name)
                if owner is not None and owner[1] != self.meta.table and file.is_file():
                    file.unlink(missing_ok=True)
            for records in self.folder.glob("items-*-shards"):
                if records.name != f"{self.meta.table}-shards":
                    shutil.rmtree(records)
        self.store.drop_others()

    def drop_unfinished(self) -> None:
        """Remove what processes that were killed were writing, once it is older than ``KEPT``.

        The caller holds the lock of the index. A search, which takes no lock, may be writing its snapshot meanwhile.
        """
        oldest = time.time() - KEPT.total_seconds()
        with writing(self.folder):
            for file in self.folder.iterdir():
                if _UNFINISHED.fullmatch(file.name) and _changed_s(file) < oldest:
                    file.unlink(missing_ok=True)

    # Files that could not be read -------------------------------------------------------------------------------------

    def failures(self) -> dict[str, dict[str, Any]]:
        """Path -> size, mtime_ns, modality and reason, as recorded. Empty where the file is missing or corrupt."""
        try:
            record = json.loads(self._failures_file.read_text(encoding="utf-8"))
            return record["failures"] if record["clipx"] == clipx.__version__ else {}  # a later one may read them
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def record_failures(self, failures: Mapping[str, Mapping[str, Any]]) -> None:
        """Record what could not be read, so that it need not be tried again until it changes. Raises FileError."""
        write_whole(self._failures_file, json.dumps({"clipx": clipx.__version__, "failures": failures}))

    @property
    def _failures_file(self) -> Path:
        return self.folder / f"{self.meta.table}-failures.json"

    @property
    def _words_file(self) -> Path:
        return self.folder / f"{self.meta.table}-words.npz"


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced; None where it is missing."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def _changed_s(file: Path) -> float:
    """When a file was last written to, in seconds since the epoch; infinity where it is no longer there."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def create_collection(
    lock: WriterLock,
    space: str | PathLike[str] | JointSpace | None,
    source: str | PathLike[str] | None,
    make_store: StoreFactory,
    store_name: str,
) -> Collection:
    """The collection of a new index, empty, in the folder of the lock, which is acquired; see ``Index.create``."""
    folder = lock.folder
    _require_new(folder)
    if folder.exists() and not (folder.is_dir() and only_begun(folder)):
        raise FileError("is in use for something else", where=folder, remedy="choose another folder")
    from clipx.spaces.loading import default_name

    space = default_name() if space is None else space
    joint = load(space)
    meta = Meta(record_of(joint, space if source is None else source), store=store_name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", where=folder) from error
    collection = Collection(folder, meta, make_store, joint)
    try:
        lock.acquire()
        _require_new(folder)  # another process may have been quicker
        meta.write(folder)
        collection.create()
    except BaseException:
        lock.release()
        raise
    return collection


def open_collection(
    folder: Path, space: str | PathLike[str] | JointSpace | None, make_store: StoreFactory, store_name: str
) -> Collection:
    """The collection of an index that exists; see ``Index.open``."""
    meta = Meta.read(folder)
    if meta.store != store_name:
        raise FileError(
            f"was made with {meta.store or 'the default store'}, not with {store_name or 'the default store'}",
            where=folder,
            remedy="open it in Python with the store that made it: clipx.Index.open(folder, store=...)",
        )
    collection = Collection(folder, meta, make_store)
    if space is not None:
        collection.use_space(load(space))
    return collection


def _require_new(folder: Path) -> None:
    if Meta.exists(folder):
        raise FileError("is an index already", where=folder, remedy="open it, or choose another folder")


def statistics(collection: Collection) -> dict[str, Any]:
    """Numbers of files and rows, files by modality, bytes on disk, and the space."""
    snapshot, meta = collection.snapshot(), collection.meta
    counts = snapshot.counts
    return {
        "files": snapshot.file_count,
        "rows": sum(rows for _, rows in counts.values()),
        "modalities": {name: files for name, (files, _) in counts.items()},
        "bytes": sum(map(_size, collection.folder.rglob("*"))),
        "approximate": meta.cells is not None,
        "space": meta.space.name,
        "space_id": meta.space.id,
    }


def stored_embedding(
    collection: Collection, path: str, start_s: float | None, modality: str | None
) -> Embedding | None:
    """The vector of a file, or of a window of it, as the store holds it; see ``Index.embedding_of``."""
    from clipx.embedding import Embedding

    rows = collection.store.scan(["vector", "modality", "window", "start_s"], path=[path]).sort_by("window")
    vectors, modalities = matrix(rows["vector"]), rows["modality"].to_pylist()
    modality = modality or next(iter(modalities), "")
    kept = np.array([i for i, name in enumerate(modalities) if name == modality], int)
    if start_s is not None:
        starts = np.array(rows["start_s"].to_pylist(), float)  # NaN where there are no windows
        kept = kept[np.abs(starts[kept] - start_s) < 1e-3]
    mean = unit(vectors[kept].sum(0, keepdims=True)).astype(np.float32)
    return Embedding(mean, collection.meta.space.id, modality, [path]) if mean.any() else None


def record_of(space: JointSpace, source: str | PathLike[str] | JointSpace) -> SpaceRecord:
    """Which space it is, and what ``clipx.load_space`` takes to load it again from any folder."""
    where = source_of(source) if isinstance(source, str | PathLike) else source.name
    return SpaceRecord(space.id, space.name, space.version, space.dim, where)


def load(space: str | PathLike[str] | JointSpace) -> JointSpace:
    """A space, loaded unless it is one."""
    if not isinstance(space, str | PathLike):
        return space
    from clipx.spaces.loading import load_space

    return load_space(space)


def _size(path: Path) -> int:
    """In bytes; 0 for what a writer has just removed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
