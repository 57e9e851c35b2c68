"""``Index``, the index as its users see it; the other files of this package do the work."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipx.index.ann import build, build_if_large
from clipx.index.collection import (
    Collection,
    create_collection,
    load,
    open_collection,
    statistics,
    stored_embedding,
)
from clipx.index.lance import LanceStore as DefaultStore
from clipx.index.lock import WriterLock
from clipx.index.merge import merge
from clipx.index.meta import Meta, SpaceRecord
from clipx.index.query import Term
from clipx.index.relocate import relocate
from clipx.index.scan import absolute, find_files, listed
from clipx.index.search import Hit, Searcher
from clipx.index.steps import Engine, Options, Progress
from clipx.index.store import Store, StoreFactory, store_name, thumbnails_of
from clipx.index.thumbnail import moment
from clipx.index.update import Added, add, move, remove

if TYPE_CHECKING:
    from clipx.embedding import Embedding
    from clipx.index.shards import Committed
    from clipx.modality import Modality
    from clipx.space import JointSpace

MAKING_S = 60.0  # how long to wait for another process that makes the index


class Index:
    """Files of every modality as unit vectors of one joint space, on disk; made by ``create`` or ``open``.

    An index is a folder: ``meta.json`` says of which space the vectors are and how each modality is set, and a store
    holds the rows. One process may write while any number read; ``close`` lets the next writer in.
    """

    def __init__(self, collection: Collection, lock: WriterLock):
        self.folder, self._lock = collection.folder, lock
        self._use(collection)

    @classmethod
    def exists(cls, folder: str | PathLike[str]) -> bool:
        """Whether the folder is an index, damaged or not."""
        return Meta.exists(Path(folder).expanduser())

    @classmethod
    def create(
        cls,
        folder: str | PathLike[str],
        space: str | PathLike[str] | JointSpace | None = None,
        source: str | PathLike[str] | None = None,
        store: StoreFactory = DefaultStore,
    ) -> Index:
        """A new, empty index.

        Args:
            folder: made here; it must not exist or be empty.
            space: whose vectors it holds, or what ``clipx.load_space`` takes; by default ``$CLIPX_SPACE``, else lite.
            source: what ``clipx.load_space`` takes to load it again; its name when left out.
            store: folder, name -> a ``clipx.index.Store`` for the rows; ``open`` must be given the same. By default a
                table in the folder.

        Raises:
            FileError: the folder is an index already, is in use for something else, or cannot be made.
            SpaceError: see ``clipx.load_space``.
        """
        lock = WriterLock(Path(folder).expanduser())
        return cls(create_collection(lock, space, source, store, store_name(store, DefaultStore)), lock)

    @classmethod
    def open(
        cls,
        folder: str | PathLike[str],
        space: str | PathLike[str] | JointSpace | None = None,
        store: StoreFactory = DefaultStore,
    ) -> Index:
        """An index that exists.

        Args:
            folder: where it is.
            space: loads the space from here, or takes this one; what the index was made with when left out.
            store: as ``create`` was given it.

        Raises:
            FileError: no index is there, it was made with another store, or it is damaged or newer than this clipx.
            SpaceMismatchError: ``space`` is not the index's.
        """
        folder = Path(folder).expanduser()
        return cls(open_collection(folder, space, store, store_name(store, DefaultStore)), WriterLock(folder))

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write. The index may still be read."""
        self._lock.release()

    @property
    def space(self) -> JointSpace:
        """The joint space, loaded at first use. Raises SpaceError, and SpaceMismatchError if it is another by now."""
        return self._collection.space

    @property
    def space_record(self) -> SpaceRecord:
        """Which space the vectors are of; known without loading it."""
        return self._collection.meta.space

    @property
    def store(self) -> Store:
        """The store that holds the rows; ``reembed`` puts another one in its place."""
        return self._collection.store

    def encoder(self, modality: str) -> Modality:
        """A modality, set as the files of the index were encoded.

        Raises:
            InputError: no such modality. SpaceError, SpaceMismatchError: see ``space``.
        """
        return self._collection.encoder(modality)

    def add(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        modality: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
        retry: bool = False,
        tracks: bool = True,
        engine: Engine | None = None,
    ) -> Added:
        """Bring the index up to date with folders and files.

        A file is skipped where size and time of change are as they were; where its content is known, its vectors are
        taken over; else it is read and encoded. What is gone from the folders given is removed. Every 256 files are
        one transaction: what is killed goes on at the next call, with nothing lost or doubled.

        Args:
            paths: folders, searched at any depth, and files; or one of them.
            modality: take only what this one reads, and read it by this one, now and in later calls. None: a file is
                read as before, and a new one by the modality that its suffix belongs to.
            settings: modality -> fields of its ``Config``; must be the same in every call.
            batch_size: samples encoded at a time.
            progress: called after every batch with the number of files that are done, and of all.
            thumbnails: keep a small picture of each file.
            retry: try again what could not be read before, though it has not changed, and the sound of films that have
                none in the index.
            tracks: take in the sound of films as well, where the space has a tower for it; it gives windows of the
                modality audio under the film's path.
            engine: what encodes, such as ``clipx.index.ray_engine.RayEngine``; this process when left out.

        Raises:
            FileError: a path does not exist, or the index cannot be written, such as on a full disk.
            InputError: a modality is set otherwise than what is in the index.
        """
        begun, options = time.perf_counter(), Options(batch_size, progress, thumbnails, retry, tracks)
        walk = find_files(listed(paths), modality)
        self._start_writing()
        report = add(self._collection, walk, modality, settings or {}, options, engine)
        build_if_large(self._collection, spread=None if engine is None else engine.spread)
        self._collection.take_snapshot()  # so that the first search need not
        report.seconds = time.perf_counter() - begun
        return report

    def stage(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        shard: tuple[int, int],
        modality: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
        retry: bool = False,
        tracks: bool = True,
    ) -> Added:
        """Encode a part of folders and files, which nobody sees before ``commit``.

        Any number of processes may do so at once, each for a shard of its own, which a hash of the paths decides. What
        is killed goes on at the next call, and at most 4,096 rows or two minutes of it are lost. The index is locked
        only while it is made.

        Args:
            paths: as ``add`` takes them, the same in every process.
            shard: which part, from 1, of how many.
            modality, settings, batch_size, progress, thumbnails, retry, tracks: as ``add`` takes them.

        Raises:
            FileError: as ``add``, or another process stages the same shard.
            InputError: as ``add``, or shards of another number wait for a commit.
        """
        from clipx.index.shards import Shard, stage_shard

        begun, options = time.perf_counter(), Options(batch_size, progress, thumbnails, retry, tracks)
        own, walk = Shard(*shard), find_files(listed(paths), modality)
        if not self._collection.is_made():
            self._lock.acquire(MAKING_S)
            self._collection.create()
        self._lock.release()
        self._collection.refresh()
        report = stage_shard(self._collection, walk, own, modality, settings or {}, options)
        report.seconds = time.perf_counter() - begun
        return report

    def commit(self) -> Committed:
        """Publish what ``stage`` has prepared, in one transaction, and remove what is gone.

        Shards that are missing or unfinished are named, and published as far as they are there; once they are staged,
        commit again. A commit that was killed may be repeated.

        Raises:
            InputError: nothing is staged, or shards were staged with different settings or of different numbers.
        """
        from clipx.index.shards import commit_shards

        begun = time.perf_counter()
        self._start_writing()
        report = commit_shards(self._collection)
        build_if_large(self._collection)
        self._collection.take_snapshot()  # so that the first search need not
        report.seconds = time.perf_counter() - begun
        return report

    def remove(self, paths: str | PathLike[str] | Iterable[str | PathLike[str]]) -> int:
        """Take files, and all that lies in folders, out of the index; returns how many files that were.

        Raises:
            InputError: shards wait for a commit.
        """
        from clipx.index.shards import require_none_staged

        self._start_writing()
        require_none_staged(self._collection)
        return remove(self._collection, listed(paths))

    def merge(
        self,
        other: str | PathLike[str] | Index,
        progress: Progress = lambda done, total: None,
    ) -> Added:
        """Take in what another index of the same space holds, with thumbnails and windows; nothing is encoded.

        Files that both hold stay as they are here. Every few thousand rows are one transaction: what is stopped goes on
        at the next call, with nothing lost or doubled.

        Args:
            other: an index, or its folder; it is only read.
            progress: called after every transaction with the number of files that are done, and of all.

        Returns:
            How many files were added, and how many were there already (``unchanged``).

        Raises:
            SpaceMismatchError: it is of another space.
            InputError: it is this index, or one of its modalities is set otherwise.
            FileError: it is no index, is damaged, or is being written to.
        """
        begun = time.perf_counter()
        if not isinstance(other, Index):
            other = Index.open(other, store=self._collection.make_store)
        self._start_writing()
        report = merge(self._collection, other._collection, progress)
        build_if_large(self._collection)
        self._collection.take_snapshot()
        report.seconds = time.perf_counter() - begun
        return report

    def move(self, old: str | PathLike[str], new: str | PathLike[str]) -> int:
        """Rewrite the paths of the files under a folder that was moved; nothing is read or encoded.

        Args:
            old: the folder, or the URL of one; it need not be there any more.
            new: where it is now.

        Returns:
            How many files that were; 0 where none of the index lies under ``old``.

        Raises:
            FileError: ``new`` is not there or is no folder, or none of the files is in it.
            InputError: both are the same, ``old`` is a file, or the index holds a file of a new path already,
                or shards wait for a commit.
        """
        from clipx.index.shards import require_none_staged

        self._start_writing()
        require_none_staged(self._collection)
        count = relocate(self._collection, old, new)
        self._collection.take_snapshot()
        return count

    def reembed(
        self,
        space: str | PathLike[str] | JointSpace,
        source: str | PathLike[str] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
        tracks: bool = True,
    ) -> Added:
        """Move the index to another space, or to other settings: every file is encoded again.

        The rows go into a second store; until that is complete the index is searched as it was, and a run that is
        stopped goes on at the next call.

        Args:
            space, source: as ``create`` takes them.
            settings: modality -> fields of its ``Config`` that change.
            batch_size, progress, thumbnails, tracks: as ``add`` takes them.

        Returns:
            What was done; files of a modality that is unavailable in that space are failures, and leave the index.

        Raises:
            FileError: a file of the index is missing.
            ClipxError: a modality cannot encode though it is available, or is unavailable though ``settings`` change
                it, or all that the index holds would leave it.
        """
        begun, options = time.perf_counter(), Options(batch_size, progress, thumbnails, tracks=tracks)
        joint = load(space)
        self._start_writing()
        approximate = self._collection.meta.cells is not None
        collection, report = move(self._collection, joint, source or space, settings or {}, options)
        self._use(collection)
        collection.drop_others()
        build_if_large(collection, rebuild=approximate)
        collection.take_snapshot()
        report.seconds = time.perf_counter() - begun
        return report

    def build_ann(self, engine: Engine | None = None) -> float:
        """Build an approximate index of the vectors, and search by it from now on; see ``clipx.index.ann.build``.

        Args:
            engine: what builds its parts, as ``add`` takes it.

        Returns its measured recall@10 by cosine, 0.97 or more. Raises InputError for fewer than 1,000 rows.
        """
        self._start_writing()
        return build(self._collection, None if engine is None else engine.spread)

    def search(
        self,
        query: str | PathLike[str] | Embedding | Sequence[Term],
        k: int = 10,
        modality: str | None = None,
        sql: str | None = None,
        min_confidence: float = 0.0,
        exact: bool = False,
        ranking: str = "auto",
    ) -> list[Hit]:
        """The files nearest to a query, best first; one hit for each file, at its best place.

        Args:
            query: a sentence, a file, arithmetic of both (see ``clipx.index.query``), an embedding of one row, or
                terms with weights.
            k: how many; all there are where the index holds fewer.
            modality: only files of this one.
            sql: an SQL expression that must hold for a file, over the columns path, modality, size, mtime_ns, sha256,
                start_s and end_s.
            min_confidence: leave out hits below it; none may remain, which says that nothing here matches.
            exact: look at every row, even where an approximate index is built.
            ranking: ``"cosine"``, ``"described"`` (similarity of the nearest words, plus a weighted cosine), or
                ``"auto"``: by words where the space has its own or several modalities are searched, else by cosine.

        Raises:
            InputError: the query or ``sql`` is malformed, ``k`` is below 1, or the ranking is unknown.
            FileError: a file of the query is missing or damaged.
            VocabularyError: a word that an embedded space was not trained on.
            SpaceMismatchError: the query is of another space.
        """
        return self._searcher.search(query, k, modality, sql, min_confidence, exact, ranking)

    def embedding_of(
        self, path: str | PathLike[str], start_s: float | None = None, modality: str | None = None
    ) -> Embedding | None:
        """The vector of a file as the index holds it, without reading the file; None where it holds none.

        Args:
            path: of the file, or its URL.
            start_s: where a window begins, in seconds, as a ``Hit`` says; the mean of all windows by default.
            modality: of which track, as a ``Hit`` says; by default the file's own, such as the pictures of a film.
        """
        return stored_embedding(self._collection, absolute(path), start_s, modality)

    def describe(self, query: str | PathLike[str] | Embedding | Sequence[Term], k: int = 10) -> list[tuple[str, float]]:
        """The words of the index nearest to a query, nearest first, with their cosines.

        Args:
            query: as ``search`` takes it.
            k: how many; all there are where those are fewer.

        Raises:
            InputError, FileError, VocabularyError, SpaceMismatchError: as ``search``.
        """
        return self._searcher.describe(query, k)

    def counts(self) -> dict[str, int]:
        """Modality -> how many files have rows of it; unlike ``stats`` it does not look at the disk.

        A film with sound counts as one of video and as one of audio.
        """
        return {name: files for name, (files, _) in self._collection.snapshot().counts.items()}

    def stats(self) -> dict[str, Any]:
        """Numbers of files and rows, files by modality, bytes on disk, and the space."""
        return statistics(self._collection)

    def thumbnails(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Path -> a JPEG of what the space looked at, for those files that have one."""
        return thumbnails_of(self.store, paths)

    def moments(self, hits: Iterable[Hit]) -> dict[str, bytes]:
        """Path -> a JPEG of what the file shows at the place that was found, for those that show one at each time."""
        found = {hit.path: self.moment(hit.path, hit.start_s, hit.end_s) for hit in hits}
        return {path: picture for path, picture in found.items() if picture is not None}

    def moment(self, path: str, start_s: float | None, end_s: float | None) -> bytes | None:
        """A JPEG of what a file of the index shows at a place in it; None where it shows none.

        Args:
            path: absolute, as a ``Hit`` says.
            start_s, end_s: the place, in seconds.
        """
        owner = None if start_s is None else self._searcher.modality_of(path)
        return None if owner is None else moment(self.encoder(owner), path, start_s, end_s)

    def __len__(self) -> int:
        """Number of rows: files, or their windows."""
        return sum(rows for _, rows in self._collection.snapshot().counts.values())

    def _use(self, collection: Collection) -> None:
        self._collection, self._searcher = collection, Searcher(collection)

    def _start_writing(self) -> None:
        self._lock.acquire()
        self._collection.refresh()  # another process may have written before
        self._collection.drop_unfinished()
