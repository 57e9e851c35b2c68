"""One index on disk for files of every modality, searched by a sentence, by any file, or by both together.

>>> with clipx.Index.create("my.index") as index:                              # doctest: +SKIP
...     index.add(["photos", "clouds"])
...     index.search("a dog on grass")[0].path
'/home/me/photos/rex.jpg'

An index is a folder: ``meta.json`` says of which space the vectors are and how each modality is set, and a Lance table
holds them. One process may write while any number read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError
from clipx.index.calibration import QUERIES, Chance, scores, spaced
from clipx.index.meta import NAME, NEXT, Meta, SpaceRecord
from clipx.index.scan import Failure, Found, Walk, batches, find_files
from clipx.index.table import Entry, Snapshot, Table

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.embedding import Embedding
    from clipx.modality import Modality
    from clipx.space import JointSpace

COMMIT = 256  # files in one transaction
ANN_ROWS = 1_000_000  # beyond which an approximate index is built unasked
ANN_RECALL, ANN_QUERIES = 0.97, 100
FEW = 64  # files of a kind, from which chance can be told
READERS = max(2, min(8, os.cpu_count() or 2))  # threads that read files while the space encodes

TEXT = "text"  # the kind of a term that is no file
Recipe = tuple[tuple[str, float], ...]
"""The kinds of a query's terms and their weights."""

Progress = Callable[[int, int], None]
"""Told after every batch how many files are done, and of how many."""


@dataclass(frozen=True)
class Hit:
    """One file that a search found.

    Args:
        path: absolute.
        modality: who read it.
        score: the calibrated score that hits are ranked by, in [-0.2, 1], see ``clipx.index.calibration``.
        confidence: the probability that no unrelated item would have scored as high, in [0, 1].
        cosine: raw cosine with the query, in [-1, 1].
        words: the words nearest to the item, nearest first.
        start_s, end_s: the place in a file that lasts, in seconds; None elsewhere.
        rank: 1 for the best.
    """

    path: str
    modality: str
    score: float
    confidence: float
    cosine: float
    words: tuple[str, ...]
    start_s: float | None
    end_s: float | None
    rank: int


@dataclass
class Added:
    """What ``Index.add`` did, in files.

    Args:
        added: new ones that were encoded.
        updated: those whose content had changed.
        reused: known content under another name or with another time of change: nothing was encoded.
        unchanged: skipped by size and time of change.
        removed: gone from the folders, or no longer readable, and so from the index.
        failures: what could not be taken in, and why.
        seconds: that it took.
    """

    added: int = 0
    updated: int = 0
    reused: int = 0
    unchanged: int = 0
    removed: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0


class Index:
    """Files of every modality as unit vectors of one joint space, on disk.

    Made by ``create`` or ``open``. A context manager; ``close`` lets the next writer in.
    """

    def __init__(self, folder: Path, meta: Meta, space: JointSpace | None = None):
        self.folder, self._meta, self._space = folder, meta, space
        self._table = self._table_of(meta)
        self._snapshot: Snapshot | None = None
        self._encoders: dict[str, Modality] = {}
        self._chances: dict[tuple[Recipe, str], Chance] = {}
        self._lock: int | None = None

    @classmethod
    def exists(cls, folder: str | PathLike[str]) -> bool:
        """Whether the folder is an index, damaged or not."""
        return Meta.exists(Path(folder).expanduser())

    @classmethod
    def create(
        cls,
        folder: str | PathLike[str],
        space: str | PathLike[str] | JointSpace = "nano",
        source: str | PathLike[str] | None = None,
    ) -> Index:
        """A new, empty index.

        Args:
            folder: made here; it must not exist or be empty.
            space: whose vectors it holds; what ``clipx.load_space`` takes, or a space.
            source: what ``clipx.load_space`` takes to load it again; its name when left out.

        Raises:
            FileError: the folder is an index already, is in use for something else, or cannot be made.
            SpaceError: see ``clipx.load_space``.
        """
        folder = Path(folder).expanduser()
        if Meta.exists(folder):
            raise FileError("is an index already", where=folder, remedy="open it, or choose another folder")
        if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= {".lock"}):
            raise FileError("is in use for something else", where=folder, remedy="choose another folder")
        joint = _load(space)
        again = _source(space if source is None else source)
        meta = Meta(SpaceRecord(joint.id, joint.name, joint.version, joint.dim, again))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot be made ({error.strerror})", where=folder) from error
        index = cls(folder, meta, joint)
        try:
            index._write_lock()
            meta.write(folder)
            index._table.create(lambda: joint)
        except BaseException:
            index.close()
            raise
        return index

    @classmethod
    def open(cls, folder: str | PathLike[str], space: str | PathLike[str] | JointSpace | None = None) -> Index:
        """An index that exists.

        Args:
            folder: where it is.
            space: loads the space from here, or takes this one; what the index was made with when left out.

        Raises:
            FileError: no index is there, or it is damaged or newer than this clipx.
            SpaceMismatchError: ``space`` is not the index's.
        """
        folder = Path(folder).expanduser()
        index = cls(folder, Meta.read(folder))
        if space is not None:
            index._space = index._checked(_load(space))
        return index

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write. The index may still be read."""
        if self._lock is not None:
            os.close(self._lock)  # which gives the lock back
            self._lock = None

    @property
    def space(self) -> JointSpace:
        """The joint space, loaded at first use.

        Raises:
            SpaceError: it cannot be loaded. SpaceMismatchError: what has its name now is another one.
        """
        if self._space is None:
            self._space = self._checked(_load(self._meta.space.source))
        return self._space

    @property
    def space_record(self) -> SpaceRecord:
        """Which space the vectors are of; known without loading it."""
        return self._meta.space

    # Writing ----------------------------------------------------------------------------------------------------------

    def add(
        self,
        paths: Iterable[str | PathLike[str]],
        modality: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
    ) -> Added:
        """Bring the index up to date with folders and files.

        A file is skipped where size and time of change are as they were; where its content is known, its vectors are
        taken over; else it is read and encoded. What is gone from the folders given is removed. Every 256 files are
        one transaction: what is killed goes on at the next call, with nothing lost or doubled.

        Args:
            paths: folders, searched at any depth, and files.
            modality: take only what this one reads, and read it by this one.
            settings: modality -> fields of its ``Config``; must be the same in every call.
            batch_size: samples encoded at a time.
            progress: told after every batch.
            thumbnails: keep a small picture of each file.

        Raises:
            FileError: a path does not exist, or the index cannot be written, such as on a full disk.
            InputError: a modality is set otherwise than what is in the index.
        """
        begun = time.perf_counter()
        self._write_lock()
        if not Meta.exists(self.folder, NEXT):
            for other in self._table.others():  # a move to another space was stopped after its last step but one
                other.drop()
        walk = find_files(paths, modality, skip=self.folder)
        meta = self._meta.with_modalities({file.modality for file in walk.files}, settings or {})
        if meta != self._meta:
            meta.write(self.folder)
            self._meta = meta
        report = self._update(walk, modality, batch_size, progress, thumbnails)
        if self._meta.cells is None and len(self) > ANN_ROWS:
            self.build_ann()
        report.seconds = time.perf_counter() - begun
        return report

    def remove(self, paths: Iterable[str | PathLike[str]]) -> int:
        """Take files, and all that lies in folders, out of the index; returns how many files that were."""
        self._write_lock()
        known = self._table.known()
        tops = [os.path.abspath(Path(path).expanduser()) for path in paths]
        gone = [p for p in known if any(p == top or p.startswith(top.rstrip(os.sep) + os.sep) for top in tops)]
        for part in batches(gone, COMMIT):
            self._table.delete(part)
        return len(gone)

    def reembed(
        self,
        space: str | PathLike[str] | JointSpace,
        source: str | PathLike[str] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
    ) -> Added:
        """Move the index to another space, or to other settings: every file is encoded anew.

        The vectors go into a second table; until that is whole the index is searched as it was, and a run that is
        stopped goes on at the next call.

        Args:
            space, source: as ``create`` takes them.
            settings: modality -> fields of its ``Config`` that change.
            batch_size, progress, thumbnails: as ``add`` takes them.

        Raises:
            FileError: a file of the index is missing; what is done is kept for the next call.
        """
        begun = time.perf_counter()
        self._write_lock()
        joint = _load(space)
        again = _source(space if source is None else source)
        number = int(self._meta.table.rpartition("-")[2]) + 1
        target = Meta(SpaceRecord(joint.id, joint.name, joint.version, joint.dim, again), f"items-{number}")
        configs = {
            name: {**self._meta.config_of(name), **(settings or {}).get(name, {})} for name in self._meta.modalities
        }
        target = target.with_modalities(configs, configs)
        if not (Meta.exists(self.folder, NEXT) and Meta.read(self.folder, NEXT) == target):  # an attempt at another one
            (self.folder / NEXT).unlink(missing_ok=True)
            for other in self._table.others():
                other.drop()
            target.write(self.folder, NEXT)
        twin = Index(self.folder, target, joint)
        walk = _standing(self._table.known())
        report = twin._update(walk, None, batch_size, progress, thumbnails)
        if walk.unlisted:
            raise FileError(
                f"{len(walk.unlisted)} of its files are missing, such as {walk.unlisted[0]}",
                where=self.folder,
                remedy="bring them back, or take them out with --remove, and run again: what is done is kept",
            )
        os.replace(self.folder / NEXT, self.folder / NAME)  # the switch
        self._meta, self._space, self._snapshot, self._encoders = target, joint, None, twin._encoders
        self._table = twin._table
        for other in self._table.others():
            other.drop()
        report.seconds = time.perf_counter() - begun
        return report

    def build_ann(self) -> float:
        """Make an approximate index of the vectors, and search by it from now on.

        It proposes 10 k files of each modality by cosine, which are then scored as ever. The number of cells that a
        search looks at is doubled until the ten nearest by cosine are found; half of the queries that this is measured
        by are items, half are words.

        Returns:
            recall@10, measured; 0.97 or more.

        Raises:
            InputError: fewer than 1,000 rows, which are searched exactly in no time.
        """
        self._write_lock()
        if len(self) < 1000:
            raise InputError(f"an approximate index needs 1,000 rows, there are {len(self)}", where=self.folder)
        self._table.build_ann()
        snapshot = self._current()
        halves = snapshot.items.vectors, self._table.vocabulary.vectors
        queries = np.concatenate([half[spaced(len(half), ANN_QUERIES // 2)] for half in halves])
        true = [set(self._table.nearest(query, 10, None).tolist()) for query in queries]
        cells = 8
        while True:
            found = [
                len(t & set(self._table.nearest(q, 10, cells).tolist())) for q, t in zip(queries, true, strict=True)
            ]
            recall = sum(found) / sum(map(len, true))
            if recall >= ANN_RECALL or cells >= len(self):
                break
            cells *= 2
        self._meta = replace(self._meta, cells=cells)
        self._meta.write(self.folder)
        return recall

    def _update(self, walk: Walk, modality: str | None, batch_size: int, progress: Progress, thumbnails: bool) -> Added:
        table = self._table
        known = table.create(lambda: self.space).known()
        report = Added(failures=list(walk.failures))
        todo = [file for file in walk.files if file.path not in known or known[file.path][0] != file]
        report.unchanged = len(walk.files) - len(todo)
        writer = _Writer(table, known)
        try:
            with ThreadPoolExecutor(READERS, "clipx-read") as readers:
                done = 0
                for name in dict.fromkeys(file.modality for file in todo):
                    own = [file for file in todo if file.modality == name]
                    try:
                        encoder = self._encoder(name)
                    except ClipxError as error:  # its package or its tower is missing; the others go on
                        report.failures += [Failure(file.path, str(error)) for file in own]
                        continue
                    for entries in _entries(own, encoder, table, writer, readers, batch_size, thumbnails):
                        for entry in entries:
                            if isinstance(entry, Failure):
                                report.failures.append(entry)
                                if entry.read and entry.path in known:
                                    writer.stale.append(entry.path)
                            else:
                                writer.put(entry)
                        done += len(entries)
                        progress(done, len(todo))
            writer.finish()
        finally:
            writer.close()
        stale = writer.stale + walk.gone(p for p, (file, _) in known.items() if modality in (None, file.modality))
        for part in batches(stale, COMMIT):
            table.delete(part)
        report.removed = len(stale)
        report.added, report.updated, report.reused = writer.added, writer.updated, writer.reused
        if todo or stale:
            table.tidy()
        table.snapshot()
        return report

    # Reading ----------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | PathLike[str] | Embedding,
        k: int = 10,
        modality: str | None = None,
        where: str | None = None,
        min_confidence: float = 0.0,
        exact: bool = False,
    ) -> list[Hit]:
        """The files nearest to a query, best first; one hit for each file, at its best place.

        Args:
            query: a sentence, a file, arithmetic of both (see ``clipx.index.query``), or an embedding of one row.
            k: how many; all there are where the index holds fewer.
            modality: only files of this one.
            where: an SQL expression over the columns path, modality, size, mtime_ns, sha256, start_s and end_s.
            min_confidence: leave out hits below it; none may remain, which says that nothing here matches.
            exact: look at every row, even where an approximate index is built.

        Raises:
            InputError: the query or ``where`` is malformed, or ``k`` is below 1.
            FileError: a file of the query is missing or damaged.
            VocabularyError: a word that an embedded space never saw.
            SpaceMismatchError: the query is of another space.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {min_confidence}")
        question = self._question(query)
        snapshot = self._current()
        vocabulary = self._table.vocabulary
        rows = self._selected(snapshot, modality, where)
        searched = len(snapshot) if rows is None else len(rows)
        if self._meta.cells is not None and not exact:
            rows = self._candidates(snapshot, question.vector, k, modality, where)
        items = snapshot.items if rows is None else snapshot.items[rows]
        if not len(items):
            return []
        cosines = items.vectors @ question.vector
        found = scores(cosines, question.words, items)
        codes = snapshot.modalities
        chance = self._chance(question.recipe, snapshot)
        hits: list[Hit] = []
        for i in _best(found, snapshot.columns["path"], rows, k):
            row = i if rows is None else int(rows[i])
            confidence = chance.confidence(float(found[i]), int(codes[row]), searched)
            if confidence < min_confidence:
                continue
            hits.append(
                Hit(
                    **{name: snapshot.columns[name][row].as_py() for name in ("path", "modality", "start_s", "end_s")},
                    score=float(found[i]),
                    confidence=confidence,
                    cosine=float(cosines[i]),
                    words=tuple(vocabulary.words[place] for place in items.places[i, :3]),
                    rank=len(hits) + 1,
                )
            )
        return hits

    def stats(self) -> dict[str, Any]:
        """Numbers of files and rows, files by modality, bytes on disk, and the space."""
        snapshot = self._current()
        first = snapshot.columns["window"].to_numpy() == 0
        counts = {m: int((first & snapshot.of_modality(m)).sum()) for m in snapshot.modality_names}
        return {
            "files": int(first.sum()),
            "rows": len(snapshot),
            "modalities": counts,
            "bytes": sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()),
            "approximate": self._meta.cells is not None,
            "space": self._meta.space.name,
            "space_id": self._meta.space.id,
        }

    def thumbnails(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Path -> a JPEG of what the space looked at, for those files that have one."""
        return self._table.thumbnails(paths)

    def __len__(self) -> int:
        """Number of rows: files, or their windows."""
        return len(self._current())

    def _question(self, query: str | PathLike[str] | Embedding) -> _Question:
        from clipx.embedding import Embedding
        from clipx.index.query import Term, parse

        if isinstance(query, Embedding):
            if query.space_id != self._meta.space.id:
                raise self._mismatch(query.space_id)
            if len(query) != 1:
                raise InputError(f"a query is one vector, got {len(query)}")
            terms = [(query.modality, query.vectors[0].detach().cpu(), 1.0)]
        else:
            parsed = parse(query) if isinstance(query, str) else [Term(Path(query))]
            terms = [(*self._term(term.content), term.weight) for term in parsed]
        vectors = np.stack([vector.numpy() for _, vector, _ in terms])[:, None]  # (terms, 1, D)
        recipe = tuple((kind, weight) for kind, _, weight in terms)
        vector, words = self._table.vocabulary.mixed(vectors, [weight for _, weight in recipe])
        if not vector.any():
            raise InputError("the terms cancel each other out", where="query")
        return _Question(vector[0], words[0], recipe)

    def _term(self, content: str | Path) -> tuple[str, Tensor]:
        """What kind of thing it is, and its (D,) unit vector."""
        from clipx.registry import modality_of

        if isinstance(content, Path):
            encoder = self._encoder(modality_of(content))
            return encoder.name, encoder.encode([encoder.load(content)]).vectors[0].cpu()
        self.space.require_words([content])
        return TEXT, self.space.encode_text([content])[0].cpu()

    def _chance(self, recipe: Recipe, snapshot: Snapshot) -> Chance:
        """How unrelated queries of that recipe score on this state of the index."""
        key = (recipe, snapshot.state)
        if key not in self._chances:
            vocabulary = self._table.vocabulary
            drawn = []
            for turn, (kind, _) in enumerate(recipe):
                own = snapshot.items.vectors[snapshot.of_modality(kind)]
                own = own if len(own) >= FEW else vocabulary.vectors  # words stand in for what is rare or not there
                some = own[spaced(len(own), QUERIES)]
                steps = np.arange(len(some) if len(recipe) == 1 else QUERIES) * (2 * turn + 1)
                drawn.append(some[steps % len(some)])  # in another order for each term: they are of different things
            vectors, words = vocabulary.mixed(np.stack(drawn), [weight for _, weight in recipe])
            self._chances = {key: Chance(vocabulary, vectors, words, snapshot.items, snapshot.modalities)}
        return self._chances[key]

    def _current(self) -> Snapshot:
        meta = Meta.read(self.folder)
        if meta.table != self._meta.table:  # moved to another space since
            raise FileError(
                f"was moved from space {self._meta.space.name} to {meta.space.name}",
                where=self.folder,
                remedy="open it anew",
            )
        self._snapshot = self._table.snapshot(self._snapshot)
        return self._snapshot

    def _selected(self, items: Snapshot, modality: str | None, where: str | None) -> Any:
        """Positions of the rows to search, or None for all."""
        chosen = None
        if modality is not None:
            chosen = items.of_modality(modality)
            if not chosen.any() and len(items):
                there = ", ".join(items.modality_names)
                raise InputError(f"no file of modality {modality!r} in the index", remedy=f"it holds: {there}")
        if where is not None:
            among = np.isin(items.row_ids, self._table.row_ids(where))
            chosen = among if chosen is None else chosen & among
        return None if chosen is None else np.flatnonzero(chosen)

    def _candidates(
        self, snapshot: Snapshot, vector: np.ndarray, k: int, modality: str | None, where: str | None
    ) -> np.ndarray:
        """Positions of the rows that the approximate index proposes, of each modality apart."""
        proposed = []
        for name in [modality] if modality is not None else snapshot.modality_names:
            quoted = name.replace("'", "''")
            filters = f"modality = '{quoted}'" + (f" AND ({where})" if where is not None else "")
            proposed.append(self._table.nearest(vector, max(100, 10 * k), self._meta.cells, filters))
        order = np.argsort(snapshot.row_ids)
        places = np.searchsorted(snapshot.row_ids, np.concatenate(proposed), sorter=order)
        return np.sort(order[places])

    # What it stands on ------------------------------------------------------------------------------------------------

    def _encoder(self, name: str) -> Modality:
        from clipx.api import make_modality

        if name not in self._encoders:
            self._encoders[name] = make_modality(name, self.space, self._meta.config_of(name))
        return self._encoders[name]

    def _table_of(self, meta: Meta) -> Table:
        return Table(self.folder, meta.table, meta.space.dim)

    def _checked(self, space: JointSpace) -> JointSpace:
        if space.id != self._meta.space.id:
            raise self._mismatch(f"{space.name} ({space.id})")
        return space

    def _mismatch(self, other: str) -> SpaceMismatchError:
        own = self._meta.space
        return SpaceMismatchError(
            f"holds vectors of space {own.name} ({own.id}), not of {other}",
            where=self.folder,
            remedy="leave --space out, or move the index: clipx index --reembed --space ...",
        )

    def _write_lock(self) -> None:
        """Be the one writer, until ``close``."""
        import fcntl

        if self._lock is not None:
            return
        try:
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=self.folder) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise FileError("another process writes to it", where=self.folder, remedy="wait for it to end") from error
        self._lock = handle


class _Writer:
    """Gathers entries and writes them in transactions, in a thread of its own, while the next are encoded."""

    def __init__(self, table: Table, known: Mapping[str, tuple[Found, str]]):
        self.table, self.before = table, known
        self.hashes = {(sha256, file.modality) for file, sha256 in known.values()}  # of content that is in the table
        self.stale: list[str] = []
        self.added = self.updated = self.reused = 0
        self._waiting: list[Entry] = []
        self._thread = ThreadPoolExecutor(1, "clipx-write")
        self._writing: Future[None] | None = None

    def put(self, entry: Entry) -> None:
        if (entry.sha256, entry.file.modality) in self.hashes:
            self.reused += 1
        elif entry.file.path in self.before:
            self.updated += 1
        else:
            self.added += 1
        self._waiting.append(entry)
        if len(self._waiting) >= COMMIT:
            self._send()

    def finish(self) -> None:
        """Write what is left; raises what a write raised."""
        self._send()
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _send(self) -> None:
        if self._writing is not None:
            self._writing.result()
        entries, self._waiting = self._waiting, []
        self._writing = self._thread.submit(self._write, entries)

    def _write(self, entries: list[Entry]) -> None:
        self.table.write(entries, replace=any(entry.file.path in self.before for entry in entries))
        self.hashes |= {(entry.sha256, entry.file.modality) for entry in entries}


def _entries(
    files: Sequence[Found],
    encoder: Modality,
    table: Table,
    writer: _Writer,
    readers: ThreadPoolExecutor,
    batch_size: int,
    thumbnails: bool,
) -> Iterable[list[Entry | Failure]]:
    """Files of one modality -> their entries, batch by batch: read ahead in threads, encoded here."""
    from clipx.index import steps

    def read(file: Found) -> steps.Read | Failure:
        return steps.read(file, encoder, lambda sha256: (sha256, encoder.name) in writer.hashes, thumbnails)

    for batch in batches(steps.ahead(read, files, readers, 3 * batch_size), batch_size):
        done: list[Entry | Failure] = [item for item in batch if isinstance(item, Failure)]
        items = [item for item in batch if not isinstance(item, Failure)]
        fresh = [item for item in items if item.sample is not None]
        taken = [item for item in items if item.sample is None]
        if taken:
            stored = table.entries([item.sha256 for item in taken], encoder.name)
            for item in taken:
                if item.sha256 in stored:
                    done.append(replace(stored[item.sha256], file=item.file))
                else:  # the file that held it was written over in this very run
                    again = steps.read(item.file, encoder, lambda sha256: False, thumbnails)
                    done += [again] if isinstance(again, Failure) else steps.encode([again], encoder)
        if fresh:
            done += steps.encode(fresh, encoder)
        yield done


@dataclass(frozen=True, eq=False)
class _Question:
    vector: np.ndarray  # (D,) unit
    words: np.ndarray  # (B,) unit: how much it is of each word
    recipe: Recipe


def _best(found: np.ndarray, paths: Any, rows: np.ndarray | None, k: int) -> list[int]:
    """Positions of the ``k`` best, one for each path; of equal ones the earlier."""
    wanted = min(len(found), k)
    while True:  # a file of many windows may take many places
        top = np.argpartition(-found, wanted - 1)[:wanted]
        top = top[np.lexsort((top, -found[top]))]
        best = {paths[int(i if rows is None else rows[i])].as_py(): int(i) for i in reversed(top)}
        if len(best) >= k or wanted == len(found):
            return sorted(best.values(), key=lambda i: (-found[i], i))[:k]
        wanted = min(len(found), 4 * wanted)


def _standing(known: Mapping[str, tuple[Found, str]]) -> Walk:
    """The files of an index as a walk finds them now; ``unlisted`` are those that are not there."""
    walk = Walk([])
    for path, (file, _) in known.items():
        try:
            about = os.stat(path)
            walk.files.append(Found(path, about.st_size, about.st_mtime_ns, file.modality))
        except OSError:
            walk.unlisted.append(path)
    return walk


def _load(space: str | PathLike[str] | JointSpace) -> JointSpace:
    if not isinstance(space, str | PathLike):
        return space
    from clipx.space import load_space

    return load_space(space)


def _source(space: str | PathLike[str] | JointSpace) -> str:
    """What ``load_space`` takes to load it again, from any folder."""
    if not isinstance(space, str | PathLike):
        return space.name
    here = Path(space).expanduser()
    return str(here.resolve()) if here.is_dir() else os.fspath(space)
