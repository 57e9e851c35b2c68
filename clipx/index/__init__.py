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
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._batches import batches
from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError
from clipx.index.calibration import alike, spaced
from clipx.index.meta import BEGUN, NAME, NEXT, Meta, SpaceRecord
from clipx.index.null_model import NullModel, confidence
from clipx.index.ranking import (
    COSINE_OPEN,
    RANKINGS,
    ByDescription,
    Cosine,
    Queries,
    Ranking,
    make_queries,
    mean_vectors,
)
from clipx.index.scan import Failure, Found, Walk, find_files
from clipx.index.table import Entry, Snapshot, Table

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.embedding import Embedding
    from clipx.index.query import Term
    from clipx.modality import Modality
    from clipx.space import JointSpace

COMMIT = 256  # files in one transaction
ANN_ROWS = 1_000_000  # beyond which an approximate index is built unasked
ANN_LEAST, ANN_RECALL, ANN_QUERIES = 1000, 0.97, 100
EXACT_ROWS = 50_000  # of one modality, up to which it is searched exactly whatever was built
QUERIES = 256  # unrelated queries that the null distribution is read off, at most
FEW = 64  # files of a modality, from which they are unrelated queries of their own kind

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
        score: what hits are ranked by, at most 1, see ``clipx.index.ranking``.
        confidence: the probability that no unrelated item would have scored as high, in [0, 1]: exp(-e_value).
        e_value: how many unrelated items would have scored as high by chance, see ``clipx.index.null_model``.
        cosine: raw cosine with the query, in [-1, 1].
        words: the words nearest to the item, nearest first.
        start_s, end_s: the place in a file that lasts, in seconds; None elsewhere.
        rank: 1 for the best.
        missing: whether the file is no longer where it was when it was indexed.
    """

    path: str
    modality: str
    score: float
    confidence: float
    e_value: float
    cosine: float
    words: tuple[str, ...]
    start_s: float | None
    end_s: float | None
    rank: int
    missing: bool = False


@dataclass
class Added:
    """What ``Index.add`` did, in files.

    Args:
        added: new ones that were encoded.
        updated: those whose content had changed.
        reused: known content under another name or with another time of change: nothing was encoded.
        unchanged: skipped by size and time of change.
        removed: gone from the folders, or no longer readable, and so from the index.
        failures: what could not be taken in, and why; those that are ``known`` have not changed and were not tried.
        passed_over: suffix -> how many files in the folders have it though no modality reads it.
        missing: files of the index that are no longer there, in folders that were not asked for; they stay in it.
        seconds: that it took.
    """

    added: int = 0
    updated: int = 0
    reused: int = 0
    unchanged: int = 0
    removed: int = 0
    failures: list[Failure] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
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
        self._null_models: dict[tuple[Recipe, str, str], NullModel] = {}  # the last one
        self._rankings: dict[tuple[str, str], Ranking] = {}  # of the last state
        self._lock: int | None = None

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
    ) -> Index:
        """A new, empty index.

        Args:
            folder: made here; it must not exist or be empty.
            space: whose vectors it holds; what ``clipx.load_space`` takes, or a space; by default
                ``$CLIPX_SPACE``, else lite.
            source: what ``clipx.load_space`` takes to load it again; its name when left out.

        Raises:
            FileError: the folder is an index already, is in use for something else, or cannot be made.
            SpaceError: see ``clipx.load_space``.
        """
        folder = Path(folder).expanduser()
        if Meta.exists(folder):
            raise FileError("is an index already", where=folder, remedy="open it, or choose another folder")
        if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= BEGUN):
            raise FileError("is in use for something else", where=folder, remedy="choose another folder")
        from clipx.space import default_name

        space = default_name() if space is None else space
        joint = _load(space)
        again = _source(space if source is None else source)
        meta = Meta(SpaceRecord(joint.id, joint.name, joint.version, joint.dim, again))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot be made ({error.strerror})", where=folder) from error
        index = cls(folder, meta, joint)
        try:
            index._lock_for_writing()
            if Meta.exists(folder):  # another process was quicker
                raise FileError("is an index already", where=folder, remedy="open it, or choose another folder")
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
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        modality: str | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        progress: Progress = lambda done, total: None,
        thumbnails: bool = True,
        retry: bool = False,
    ) -> Added:
        """Bring the index up to date with folders and files.

        A file is skipped where size and time of change are as they were; where its content is known, its vectors are
        taken over; else it is read and encoded. What is gone from the folders given is removed. Every 256 files are
        one transaction: what is killed goes on at the next call, with nothing lost or doubled.

        Args:
            paths: folders, searched at any depth, and files; or one of them.
            modality: take only what this one reads, and read it by this one, now and in later calls. None: a file is
                read as before, and a new one by who owns its suffix.
            settings: modality -> fields of its ``Config``; must be the same in every call.
            batch_size: samples encoded at a time.
            progress: told after every batch.
            thumbnails: keep a small picture of each file.
            retry: try again what could not be read before, though it has not changed.

        Raises:
            FileError: a path does not exist, or the index cannot be written, such as on a full disk.
            InputError: a modality is set otherwise than what is in the index.
        """
        begun = time.perf_counter()
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        walk = find_files(_several(paths), modality)
        self._write_lock()
        if not Meta.exists(self.folder, NEXT):
            self._table.drop_others()  # a move to another space was stopped after its last step but one
        known = self._table.create(lambda: self.space).known()
        if modality is None:
            walk.files = [_as_before(file, known) for file in walk.files]
        self._record(self._meta.with_modalities({file.modality for file in walk.files}, settings or {}))
        report = self._update(walk, known, modality, batch_size, progress, thumbnails, retry)
        report.missing = [path for path in walk.elsewhere(known) if not os.path.exists(path)]
        if len(self) > ANN_ROWS and self._meta.cells is None:
            self.build_ann()
        report.seconds = time.perf_counter() - begun
        return report

    def remove(self, paths: str | PathLike[str] | Iterable[str | PathLike[str]]) -> int:
        """Take files, and all that lies in folders, out of the index; returns how many files that were."""
        self._write_lock()
        known = self._table.known()
        tops = [os.path.abspath(Path(path).expanduser()) for path in _several(paths)]
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

        Returns:
            What was done; files of a modality that ``lacks`` something in that space are failures, and leave the index.

        Raises:
            FileError: a file of the index is missing.
            ClipxError: a modality of the index cannot be encoded there though it lacks nothing, or lacks something
                though ``settings`` change it, or all that the index holds would leave it.
        """
        begun = time.perf_counter()
        joint = _load(space)
        self._write_lock()
        walk = _standing(self._table.known())
        if walk.unlisted:
            raise FileError(
                f"{len(walk.unlisted)} of its files are missing, such as {walk.unlisted[0]}",
                where=self.folder,
                remedy="bring them back, or take them out with --remove, and run again",
            )
        again = _source(space if source is None else source)
        number = int(self._meta.table.rpartition("-")[2]) + 1
        target = Meta(SpaceRecord(joint.id, joint.name, joint.version, joint.dim, again), f"items-{number}")
        configs = {
            name: {**self._meta.config_of(name), **(settings or {}).get(name, {})} for name in self._meta.modalities
        }
        there = sorted({file.modality for file in walk.files})
        twin = Index(self.folder, target.with_modalities(configs, configs), joint)
        as_it_was = [name for name in there if configs[name] == self._meta.config_of(name)]  # else it is meant to work
        lacking = {name: why for name in as_it_was if (why := twin._encoder(name).unavailable()) is not None}
        if lacking and len(lacking) == len(there):
            raise InputError(f"nothing would be left: {'; '.join(lacking.values())}", where=self.folder)
        configs = {name: config for name, config in configs.items() if name not in lacking}
        twin._meta = target.with_modalities(configs, configs)  # its encoders stay: a tower is loaded once
        for name in there:  # what works there, and yet does not, would be lost
            if name not in lacking:
                twin._meta = twin._meta.with_context(name, twin._sound_encoder(name).context)
        leaving = [file for file in walk.files if file.modality in lacking]
        walk.files = [file for file in walk.files if file.modality not in lacking]
        target = twin._meta
        if not (Meta.exists(self.folder, NEXT) and Meta.read(self.folder, NEXT) == target):  # an attempt at another one
            (self.folder / NEXT).unlink(missing_ok=True)
            self._table.drop_others()
            target.write(self.folder, NEXT)
        known = twin._table.create(lambda: joint).known()
        report = twin._update(walk, known, None, batch_size, progress, thumbnails, retry=False)
        for part in batches(sorted(known.keys() - {file.path for file in walk.files}), COMMIT):
            twin._table.delete(part)  # taken out of the index since an earlier call was stopped
        os.replace(self.folder / NEXT, self.folder / NAME)  # the switch
        report.removed = len(leaving)
        report.failures += [Failure(file.path, f"left out: {lacking[file.modality]}") for file in leaving]
        approximate = self._meta.cells is not None
        self._meta, self._space, self._encoders, self._table = target, joint, twin._encoders, twin._table
        self._snapshot, self._null_models, self._rankings = None, {}, {}
        self._table.drop_others()
        if len(self) >= (ANN_LEAST if approximate else ANN_ROWS):
            self.build_ann()
        report.seconds = time.perf_counter() - begun
        return report

    def build_ann(self) -> float:
        """Make an approximate index of the vectors, and search by it from now on.

        A modality of more than 50,000 rows is then searched by what is nearest by cosine, which the approximate index
        proposes, and by what is described most alike, 10 k of either and 100 at least; these are scored as ever. The
        number of cells that a search looks at is doubled until the ten nearest by cosine are found; half of the
        queries that this is measured by are items, half are words.

        Returns:
            recall@10 by cosine, measured; 0.97 or more.

        Raises:
            InputError: fewer than 1,000 rows, which are searched exactly in no time.
        """
        self._write_lock()
        if len(self) < ANN_LEAST:
            raise InputError(f"an approximate index needs {ANN_LEAST:,} rows, there are {len(self)}", where=self.folder)
        self._table.build_ann()
        snapshot = self._current()
        halves = snapshot.items.vectors, self._table.vocabulary.vectors
        queries = np.concatenate([half[spaced(len(half), ANN_QUERIES // 2)] for half in halves])
        true = [set(_largest(snapshot.items.vectors @ query, 10).tolist()) for query in queries]
        cells = 8
        while True:
            found = [
                len(t & set(snapshot.places(self._table.nearest(q, 10, cells)).tolist()))
                for q, t in zip(queries, true, strict=True)
            ]
            recall = sum(found) / sum(map(len, true))
            if recall >= ANN_RECALL or cells >= len(self):
                break
            cells *= 2
        self._record(replace(self._meta, cells=cells))
        return recall

    def _update(
        self,
        walk: Walk,
        known: Mapping[str, tuple[Found, str]],
        modality: str | None,
        batch_size: int,
        progress: Progress,
        thumbnails: bool,
        retry: bool,
    ) -> Added:
        table = self._table
        report = Added(failures=list(walk.failures), passed_over=dict(walk.passed_over))
        todo = [file for file in walk.files if file.path not in known or known[file.path][0] != file]
        report.unchanged = len(walk.files) - len(todo)
        before = table.failures()
        if not retry:
            passed = {file.path for file in todo if _same(file, before.get(file.path))}
            report.failures += [Failure(path, before[path]["reason"], read=True, known=True) for path in sorted(passed)]
            todo = [file for file in todo if file.path not in passed]
        from clipx.index.entries import KnownContent, entries

        writer = _Writer(table, known)
        try:
            done = 0
            for name in dict.fromkeys(file.modality for file in todo):
                own = [file for file in todo if file.modality == name]
                try:
                    encoder = self._sound_encoder(name)
                    self._record(self._meta.with_context(name, encoder.context))
                except ClipxError as error:  # its package or its tower is missing; the others go on
                    report.failures += [Failure(file.path, str(error)) for file in own]
                    done += len(own)
                    progress(done, len(todo))
                    continue
                content = KnownContent(partial(writer.holds, name), partial(table.entries, modality=name))
                for batch in entries(own, encoder, content, batch_size, thumbnails):
                    for entry in batch:
                        if isinstance(entry, Failure):
                            report.failures.append(entry)
                            if entry.read and entry.path in known:
                                writer.stale.append(entry.path)
                        else:
                            writer.put(entry)
                    done += len(batch)
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
            tried = {file.path: file for file in todo}
            gone = set(walk.gone(before))
            after = {path: own for path, own in before.items() if path not in tried and path not in gone}
            for failure in report.failures:
                if failure.read and failure.path in tried:
                    after[failure.path] = {**asdict(tried[failure.path]), "reason": failure.reason}
            if after != before:
                table.remember(after)
        table.snapshot()
        return report

    # Reading ----------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | PathLike[str] | Embedding,
        k: int = 10,
        modality: str | None = None,
        sql: str | None = None,
        min_confidence: float = 0.0,
        exact: bool = False,
        ranking: str = "auto",
    ) -> list[Hit]:
        """The files nearest to a query, best first; one hit for each file, at its best place.

        Args:
            query: a sentence, a file, arithmetic of both (see ``clipx.index.query``), or an embedding of one row.
            k: how many; all there are where the index holds fewer.
            modality: only files of this one.
            sql: an SQL expression that must hold for a file, over the columns path, modality, size, mtime_ns, sha256,
                start_s and end_s.
            min_confidence: leave out hits below it; none may remain, which says that nothing here matches.
            exact: look at every row, even where an approximate index is built.
            ranking: ``"cosine"`` (plain CLIP retrieval), ``"described"`` (descriptions in words, with the cosine beside
                them), or ``"auto"``: by description where the space has words of its own or several modalities are
                searched, else by cosine.

        Raises:
            InputError: the query or ``sql`` is malformed, ``k`` is below 1, or the ranking is unknown.
            FileError: a file of the query is missing or damaged.
            VocabularyError: a word that an embedded space never saw.
            SpaceMismatchError: the query is of another space.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        if not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence must lie in [0, 1], got {min_confidence}")
        if ranking not in RANKINGS:
            raise InputError(f"ranking must be one of {', '.join(RANKINGS)}, got {ranking!r}")
        snapshot = self._current()
        terms = self._terms(query, snapshot)
        rows = self._selected(snapshot, modality, sql)
        searched = np.bincount(snapshot.modalities if rows is None else snapshot.modalities[rows])
        there = int((searched > 0).sum())
        ranked = self._ranking(ranking, snapshot, there)
        question = self._question(terms, snapshot, ranked)
        if (cells := self._meta.cells) is not None and not exact:
            rows = self._candidates(snapshot, question, k, cells, rows, sql, ranked)
        codes = snapshot.modalities if rows is None else snapshot.modalities[rows]
        if not len(codes):
            return []
        found = ranked.scores(question, rows)[0]
        null = self._null_model(_recipe(terms), snapshot, ranked)
        if min_confidence > 0:  # before the k best are taken: each modality has a null distribution of its own
            sure = [
                own[confidence(null.e_values(found[own], code, searched[code], there)) >= min_confidence]
                for code, own in _by_code(codes)
            ]
            kept = np.sort(np.concatenate(sure))
            rows = kept if rows is None else rows[kept]
            found, codes = found[kept], codes[kept]
        if not len(found):
            return []
        words, places = self._table.vocabulary.words, snapshot.items.places
        hits: list[Hit] = []
        for i in _best(found, snapshot.columns["path"], rows, k):
            row = i if rows is None else int(rows[i])
            e_value = null.e_values(found[i : i + 1], int(codes[i]), int(searched[codes[i]]), there)
            hits.append(
                Hit(
                    **{name: snapshot.columns[name][row].as_py() for name in ("path", "modality", "start_s", "end_s")},
                    score=float(found[i]),
                    confidence=float(confidence(e_value)[0]),
                    e_value=float(e_value[0]),
                    cosine=float(snapshot.items.vectors[row] @ question.vectors[0]),
                    words=tuple(words[place] for place in places[row, :3]),
                    rank=len(hits) + 1,
                    missing=not os.path.exists(snapshot.columns["path"][row].as_py()),
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
            "bytes": sum(map(_size, self.folder.rglob("*"))),
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

    def _terms(self, query: str | PathLike[str] | Embedding, snapshot: Snapshot) -> list[tuple[str, np.ndarray, float]]:
        """The kind, the (D,) unit vector and the weight of each term of a query."""
        from clipx.embedding import Embedding
        from clipx.index.query import Term, parse

        if isinstance(query, Embedding):
            if query.space_id != self._meta.space.id:
                raise self._mismatch(query.space_id)
            if len(query) != 1:
                raise InputError(f"a query is one vector, got {len(query)}")
            return [(query.modality, query.vectors[0].detach().cpu().numpy(), 1.0)]
        parsed = parse(query) if isinstance(query, str) else [Term(Path(query))]
        terms = [(*self._term(term, snapshot), term.weight) for term in parsed]
        heaviest = max(abs(weight) for _, _, weight in terms)
        return [(kind, vector.numpy(), weight / heaviest) for kind, vector, weight in terms]

    def _question(self, terms: list[tuple[str, np.ndarray, float]], snapshot: Snapshot, ranked: Ranking) -> Queries:
        vectors = np.stack([vector for _, vector, _ in terms])[:, None]  # (terms, 1, D)
        question = self._queries(vectors, _recipe(terms), snapshot, ranked)
        if not question.vectors.any():
            raise InputError("the terms cancel each other out", where="query")
        return question

    def _queries(self, terms: np.ndarray, recipe: Recipe, snapshot: Snapshot, ranked: Ranking) -> Queries:
        """(T, Q, D) unit rows of the kinds of a recipe -> Q queries."""
        means = None
        if isinstance(ranked, ByDescription) and ranked.means is not None:
            known = dict(zip(snapshot.modality_names, ranked.means, strict=True))
            known[TEXT] = self._table.vocabulary.vectors.mean(0)
            nothing = np.zeros(terms.shape[2], np.float32)
            means = np.stack([known.get(kind, nothing) for kind, _ in recipe])
        return make_queries(self._table.vocabulary, terms, [weight for _, weight in recipe], means)

    def _ranking(self, name: str, snapshot: Snapshot, modalities: int) -> Ranking:
        """What ranks a search of so many modalities."""
        own = self._table.vocabulary.own
        if name == "auto":
            name = "described" if own or modalities > 1 else "cosine"
        key = (name, snapshot.state)
        if key not in self._rankings:
            items, codes = snapshot.items, snapshot.modalities
            ranked: Ranking = Cosine(items)
            if name == "described" and own:
                ranked = ByDescription(items, codes)
            elif name == "described":
                means = mean_vectors(items, codes, len(snapshot.modality_names))
                ranked = ByDescription(items, codes, COSINE_OPEN, means)
            self._rankings = {kept: value for kept, value in self._rankings.items() if kept[1] == snapshot.state}
            self._rankings[key] = ranked
        return self._rankings[key]

    def _term(self, term: Term, snapshot: Snapshot) -> tuple[str, Tensor]:
        """What kind of thing it is, and its (D,) unit vector."""
        from clipx.registry import modality_of

        if isinstance(term.content, Path):
            name = term.modality or snapshot.modality_of(os.path.abspath(term.content)) or modality_of(term.content)
            encoder = self._encoder(name)
            return encoder.name, encoder.encode([encoder.load(term.content)]).vectors[0].cpu()
        self.space.require_words([term.content])
        return TEXT, self.space.encode_text([term.content])[0].cpu()

    def _null_model(self, recipe: Recipe, snapshot: Snapshot, ranked: Ranking) -> NullModel:
        """How unrelated queries of that recipe score on this state of the index."""
        key = (recipe, snapshot.state, ranked.name)
        if key not in self._null_models:
            vocabulary, items = self._table.vocabulary, snapshot.items
            first = snapshot.columns["window"].to_numpy() == 0  # of a file that lasts one window asks for all
            drawn, own_files = [], np.empty(0)
            for turn, (kind, _) in enumerate(recipe):
                own = np.flatnonzero(snapshot.of_modality(kind) & first)
                words = len(own) < FEW  # they stand in for what is rare or not there
                some = spaced(len(vocabulary.words), QUERIES) if words else own[spaced(len(own), QUERIES)]
                steps = np.arange(len(some) if len(recipe) == 1 else QUERIES) * (2 * turn + 1)
                some = some[steps % len(some)]  # in another order for each term: they are of different things
                drawn.append((vocabulary.vectors if words else items.vectors)[some])
                if not turn:
                    own_files = np.full(len(some), -1) if words else snapshot.files[some]
            queries = self._queries(np.stack(drawn), recipe, snapshot, ranked)
            null = NullModel(ranked, vocabulary, queries, items, snapshot.modalities, snapshot.files, own_files)
            self._null_models = {key: null}
        return self._null_models[key]

    def _current(self) -> Snapshot:
        self._refresh()
        self._snapshot = self._table.snapshot(self._snapshot)
        return self._snapshot

    def _refresh(self) -> None:
        """Take up what another process has written since."""
        meta = Meta.read(self.folder)
        if meta.table != self._meta.table:  # moved to another space since
            raise FileError(
                f"was moved from space {self._meta.space.name} to {meta.space.name}",
                where=self.folder,
                remedy="open it anew",
            )
        if meta.modalities != self._meta.modalities:
            self._encoders = {}
        self._meta = meta

    def _record(self, meta: Meta) -> None:
        if meta != self._meta:
            meta.write(self.folder)
            self._meta = meta

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
        self,
        snapshot: Snapshot,
        question: Queries,
        k: int,
        cells: int,
        rows: np.ndarray | None,
        where: str | None,
        ranked: Ranking,
    ) -> np.ndarray:
        """Positions of the rows to score, of each modality apart: all where they are few, else those proposed."""
        codes = snapshot.modalities if rows is None else snapshot.modalities[rows]
        count, proposed = max(100, 10 * k), []
        for code, own in _by_code(codes):
            own = own if rows is None else rows[own]
            if len(own) > max(EXACT_ROWS, count):
                quoted = snapshot.modality_names[code].replace("'", "''")
                filters = [f"modality = '{quoted}'"] if len(snapshot.modality_names) > 1 else []
                filters += [f"({where})"] if where is not None else []
                ids = self._table.nearest(question.vectors[0], count, cells, " AND ".join(filters) or None)
                near = snapshot.places(ids)
                if isinstance(ranked, ByDescription):
                    near = np.union1d(own[_largest(alike(question.words, snapshot.items, own)[0], count)], near)
                own = near
            proposed.append(own)
        return np.sort(np.concatenate(proposed)) if proposed else np.empty(0, np.int64)

    # What it stands on ------------------------------------------------------------------------------------------------

    def _encoder(self, name: str) -> Modality:
        """As the index was made with."""
        from clipx.api import make_modality

        if name not in self._encoders:
            encoder = make_modality(name, self.space, self._meta.config_of(name))
            if "context" in self._meta.modalities.get(name, {}):
                self._meta.with_context(name, encoder.context)  # refuses another
            self._encoders[name] = encoder
        return self._encoders[name]

    def _sound_encoder(self, name: str) -> Modality:
        """``_encoder``, once it has encoded its own example."""
        from clipx.index.entries import check

        encoder = self._encoder(name)
        try:
            check(encoder)
        except ClipxError:
            del self._encoders[name]  # it may be set otherwise yet
            raise
        return encoder

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
        """Be the one writer, until ``close``, of the index as it is by now."""
        self._lock_for_writing()
        self._refresh()

    def _lock_for_writing(self) -> None:
        if self._lock is not None:
            return
        try:
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise FileError(f"cannot be written ({error.strerror})", where=self.folder) from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise FileError("another process writes to it", where=self.folder, remedy="wait for it to end") from error
        self._lock = handle


def _lock(handle: int) -> None:
    """Lock an open file until it is closed, or its process ends. Raises OSError where another process has."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


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

    def holds(self, modality: str, sha256: str) -> bool:
        return (sha256, modality) in self.hashes

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


def _recipe(terms: Sequence[tuple[str, np.ndarray, float]]) -> Recipe:
    return tuple((kind, weight) for kind, _, weight in terms)


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


def _by_code(codes: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each code that is there, and the places where."""
    return [(int(code), np.flatnonzero(codes == code)) for code in np.unique(codes)]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the ``count`` largest, in no order."""
    return np.argpartition(-values, count - 1)[:count] if len(values) > count else np.arange(len(values))


def _as_before(file: Found, known: Mapping[str, tuple[Found, str]]) -> Found:
    """The file as of the modality that it was indexed as, if it was."""
    return replace(file, modality=known[file.path][0].modality) if file.path in known else file


def _same(file: Found, before: Mapping[str, Any] | None) -> bool:
    return before is not None and all(before.get(name) == value for name, value in asdict(file).items())


def _several(paths: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[str | PathLike[str]]:
    return [paths] if isinstance(paths, str | PathLike) else list(paths)


def _size(path: Path) -> int:
    """In bytes; 0 for what a writer has just removed."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


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
