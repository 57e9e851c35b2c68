"""An index that the jobs of a batch queue fill: each encodes its shard of the files, and one commit publishes them.

A shard is a part of the files that a hash of their paths decides, so that jobs need not know of each other, and a file
that appears between two walks is in one shard all the same. A job writes records of what it has staged to a folder of
the index, from which it goes on where it was stopped. Readers see nothing of it before the commit.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import clipx
from clipx.errors import InputError
from clipx.files import make_folder, write_whole
from clipx.index.collection import Collection
from clipx.index.known import KnownFiles
from clipx.index.lock import WriterLock
from clipx.index.scan import Failure, Found, Walk
from clipx.index.steps import (
    Options,
    Part,
    modalities_of,
    records_folder,
    shared_store,
    stage,
    to_do,
    with_modalities_of,
)
from clipx.index.store import SharedStore
from clipx.index.update import Added, count_part, finish, keep_modalities, publish

_ROUND = ".round"  # what the jobs were asked for
_NOTHING = {"unchanged": 0, "skipped": {}, "failures": [], "gone": []}
_NAME = re.compile(r"\.?(\d+)-of-(\d+)\.")  # of a record, or of a lock
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, order=True)
class Shard:
    """One of so many shards, counted from 1; ``str`` gives ``"2/8"``. Raises InputError for one that there is not."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"no shard {self}", remedy=f"the shards of {self.count} are 1 to {self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/8"`` -> the second of eight. Raises InputError."""
        if (match := _SHARD.fullmatch(text.strip())) is None:
            raise InputError(f"{text!r} is no shard", remedy="the second of eight is 2/8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def file_name(self) -> str:
        """The start of the names of its files."""
        return f"{self.number}-of-{self.count}"

    def holds(self, path: str) -> bool:
        """Whether a file is in it, by the SHA-256 of its path."""
        return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8]) % self.count == self.number - 1


@dataclass
class Committed(Added):
    """What ``Index.commit`` did, and which shards are not whole: ``"2/8"``, ...

    Args:
        missing_shards: those of which there is nothing.
        unfinished_shards: those whose job still runs, which were left alone, and those whose job was stopped, whose
            staged data are lost, or which hold files that the index has another state of than when they were staged.
            What is there of these was published, but for such files.
    """

    missing_shards: list[str] = field(default_factory=list)
    unfinished_shards: list[str] = field(default_factory=list)


_Job = tuple[tuple[str, ...], Shard]  # a task, and which shard of it


@dataclass(frozen=True, eq=False)
class _Record:
    """A file in the folder of records.

    Args:
        file: where it is.
        shard: of which.
        task: what the job was asked for: what its walk was limited to, and where that began.
        part: what it staged; None in the record that says that the shard is whole.
        walked: of a whole shard: what is gone, ``unchanged``, ``failures`` and ``skipped`` of its walk, and whether an
            earlier commit has published it.
        seen: path -> size, mtime_ns and modality of those of its files, or of what is gone, that the index held.
        text: what the file held when it was read.
    """

    file: Path
    shard: Shard
    task: tuple[str, ...]
    part: Part | None = None
    walked: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, list[Any]] = field(default_factory=dict)
    text: str = ""

    @property
    def job(self) -> _Job:
        return self.task, self.shard

    def write(self, space: str) -> None:
        shard, seen = astuple(self.shard), self.seen
        record = {"clipx": clipx.__version__, "space": space, "shard": shard, "task": self.task, "seen": seen}
        own = {"walked": self.walked} if self.part is None else {"part": self.part.to_json()}
        write_whole(self.file, json.dumps({**record, **own}), durable=True)

    @classmethod
    def read(cls, file: Path, space: str) -> _Record:
        """Raises InputError for one of another clipx or space, or a corrupt one."""
        remedy = f"remove {file} and run that shard again"
        try:
            text = file.read_text(encoding="utf-8")
            record = json.loads(text)
            if record["clipx"] != clipx.__version__:
                raise InputError(f"was written by clipx {record['clipx']}", where=file, remedy=remedy)
            if record["space"] != space:
                raise InputError(f"is of space {record['space']}, the index of {space}", where=file, remedy=remedy)
            part = Part.from_json(record["part"]) if "part" in record else None
            walked = {} if part is not None else _checked(record["walked"])
            seen = {path: list(astuple(Found(path, *row))[1:]) for path, row in record["seen"].items()}
            return cls(file, Shard(*record["shard"]), tuple(record["task"]), part, walked, seen, text)
        except InputError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError("cannot be read", where=file, remedy=remedy) from error


def _checked(walked: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a job's walk found, as a record has it. Raises KeyError, TypeError, AttributeError for anything else."""
    for failure in walked["failures"]:
        Failure(**failure)
    if not (isinstance(walked["unchanged"], int) and all(isinstance(path, str) for path in walked["gone"])):
        raise TypeError
    walked["skipped"].items()
    return walked


def stage_shard(
    collection: Collection,
    walk: Walk,
    shard: Shard,
    modality: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    options: Options,
) -> Added:
    """Encode the files of a shard and stage them; see ``Index.stage``.

    Args:
        collection: of an index whose store is there.
        walk: of all files.
        shard: which of them.
        modality: what the walk was limited to.
        settings: modality -> fields of its ``Config``.
        options: how.
    """
    store, folder, space = shared_store(collection), records_folder(collection), collection.meta.space.id
    task = (modality or "", *sorted(walk.roots))
    _forget_published(folder, shard.count, space)
    others = {one.count for one, _ in _files_in(folder)} - {shard.count}
    if others:
        raise InputError(
            f"shards of {min(others)} wait for a commit, not of {shard.count}",
            where=collection.folder,
            remedy=f"publish them first: clipx index --db {collection.folder} --commit",
        )
    make_folder(folder)
    lock = _lock_of(folder, shard)
    lock.acquire()
    try:
        _join_round(folder, walk, modality, settings, options, space)
        whole = folder / f"{shard.file_name}.{hashlib.sha256(json.dumps(task).encode()).hexdigest()[:16]}.json"
        _begin(whole, task, space)
        known, failed = collection.files(), collection.failures()
        if modality is None:
            keep_modalities(walk, known)
        walk.files = [file for file in walk.files if shard.holds(file.path)]
        before = _earlier(folder, shard, walk, known, store, space)
        named = collection.meta.with_modalities(modalities_of(walk.files, options), settings)
        meta = with_modalities_of(named, before)
        own = Collection(collection.folder, meta, collection.make_store, collection.space)
        # a commit takes a file that is as before for one that was published, so tracks are not tried again here
        todo, left = to_do(collection, walk.files, known, replace(options, tracks=False))
        report = Added(failures=[*walk.failures, *left], skipped=dict(walk.skipped))
        report.unchanged = len(walk.files) - len(todo) - len(left)
        failures = list(map(asdict, report.failures))
        walked = {"unchanged": report.unchanged, "skipped": report.skipped, "failures": failures}
        held = {file.path for part in before for file in _settled(part, options.retry)}
        todo = [file for file in todo if file.path not in held]
        there = _held(known, [file.path for file in todo])
        for part in stage(own, todo, known.contents, options):
            seen = {file.path: there[file.path] for file in part.files if file.path in there}
            file = folder / f"{shard.file_name}.{secrets.token_hex(8)}.json"
            _Record(file, shard, task, part, seen=seen).write(space)
            count_part(part, there.keys(), report)
        at = [*known.under(walk.roots, modality), *failed]
        gone = walk.gone(path for path in dict.fromkeys(at) if shard.holds(path))
        _Record(whole, shard, task, walked={**walked, "gone": gone}, seen=_held(known, gone)).write(space)
        report.failures += [failure for part in before for failure in part.failures if failure.path in held]
        return report
    finally:
        lock.release()


def commit_shards(collection: Collection) -> Committed:
    """Publish what the jobs have staged; see ``Index.commit``.

    Args:
        collection: the caller holds the lock of its index.
    """
    folder, store, space = records_folder(collection), shared_store(collection), collection.meta.space.id
    records, running = _read_all(folder, space)
    if records or not running:
        _require_alike(collection, records)
    known, failed = collection.files(), collection.failures()
    staged = [(record, record.part) for record in records if record.part is not None]
    whole = [record for record in records if record.part is None]
    tried = [file.path for _, part in staged for file in part.files]
    now = _held(known, list({*tried, *(path for record in whole for path in record.seen)}))
    parts: list[Part] = []
    lost: set[_Job] = set()
    outdated: set[_Job] = set()
    for (record, _), part in zip(staged, _last_tries([part for _, part in staged]), strict=True):
        changed = _outdated(part, record.seen, now)
        if changed:
            outdated.add(record.job)
        left = _unpublished(_without_rows(part, changed), now)
        if left.staged and not store.is_staged(left.staged):
            lost.add(record.job)
            continue
        parts.append(_restaged(left, part, store))
    whole = [record for record in whole if record.job not in lost | outdated]
    report = Committed()
    stale = publish(collection, parts, known, report)
    for record in whole:
        _add_walked(report, record.walked)
    gone = {path for record in whole for path in record.walked["gone"]}
    removed = {path for record in whole for path, seen in record.seen.items() if now.get(path) == seen}
    removed -= {file.path for part in parts for file in part.written}
    files = [file for part in parts for file in part.files]
    finish(collection, files, stale + sorted(removed - set(stale)), gone & failed.keys(), failed, report)
    _sum_up({record.job for record in records}, {record.job for record in whole}, running, report)
    _forget(records, whole, lost, space)
    return report


def require_none_staged(collection: Collection) -> None:
    """Raise InputError where shards wait for a commit, which would bring back the paths that the index has now."""
    folder, space = records_folder(collection), collection.meta.space.id
    waiting = {shard for shard, file in _files_in(folder) if not _Record.read(file, space).walked.get("published")}
    if waiting:
        raise InputError(
            f"{len(waiting)} of its shards wait for a commit, such as {min(waiting)}",
            where=collection.folder,
            remedy=f"publish them first: clipx index --db {collection.folder} --commit",
        )


def _files_in(folder: Path, pattern: str = "*-of-*.json") -> list[tuple[Shard, Path]]:
    """The records there, or other files named like them, each with its shard."""
    named = ((_NAME.match(file.name), file) for file in sorted(folder.glob(pattern)))
    return [(Shard(int(name[1]), int(name[2])), file) for name, file in named if name is not None]


def _lock_of(folder: Path, shard: Shard) -> WriterLock:
    """What the job of a shard holds while it runs."""
    return WriterLock(folder, f".{shard.file_name}.lock")


@contextmanager
def _unless_running(folder: Path, shard: Shard) -> Iterator[bool]:
    """Keeps jobs of a shard from starting, and says whether none runs."""
    lock = _lock_of(folder, shard)
    free = lock.try_acquire()
    try:
        yield free
    finally:
        lock.release()


def _read_all(folder: Path, space: str) -> tuple[list[_Record], set[Shard]]:
    """The records of all shards but those whose job still runs, and these shards."""
    records: list[_Record] = []
    running = set()
    for shard in sorted({shard for shard, _ in [*_files_in(folder), *_files_in(folder, ".*-of-*.lock")]}):
        with _unless_running(folder, shard) as free:
            if free:
                records += [_Record.read(file, space) for _, file in _files_in(folder, f"{shard.file_name}.*.json")]
            else:
                running.add(shard)
    return records, running


def _forget(records: Sequence[_Record], whole: Sequence[_Record], lost: set[_Job], space: str) -> None:
    """Remove the records of what was published, but for what a job has written since, or does now.

    Args:
        records: that were read.
        whole: those of whole shards that were published: remembered until all shards are.
        lost: whose staged data were not seen: kept, as another machine may see them.
        space: of the index.
    """
    complete = Counter(record.task for record in whole)
    by_shard: dict[Shard, list[_Record]] = {}
    for record in records:
        if record.job not in lost:
            by_shard.setdefault(record.shard, []).append(record)
    for shard, own in by_shard.items():
        with _unless_running(own[0].file.parent, shard) as free:
            for record in own if free else ():
                if not (record.file.exists() and record.file.read_text(encoding="utf-8") == record.text):
                    continue
                if record in whole and complete[record.task] < shard.count:
                    replace(record, walked={**_NOTHING, "published": True}, seen={}).write(space)
                else:
                    record.file.unlink(missing_ok=True)


def _forget_published(folder: Path, count: int, space: str) -> None:
    """Forget which shards of other numbers than this were published: another round begins, unless others wait."""
    others = [_Record.read(file, space) for shard, file in _files_in(folder) if shard.count != count]
    if all(record.walked.get("published") for record in others):
        for record in others:
            record.file.unlink(missing_ok=True)


def _join_round(
    folder: Path,
    walk: Walk,
    modality: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    options: Options,
    space: str,
) -> None:
    """Note what the first job of a round was asked for; others must be asked for the same, before they encode.

    Raises:
        InputError: they are not, and shards of the others wait for a commit.
    """
    given = {"folders": sorted(walk.roots), "modality": modality, "settings": settings}
    asked = json.loads(
        json.dumps({**given, "thumbnails": options.thumbnails, "tracks": options.tracks}, sort_keys=True, default=str)
    )
    file = folder / _ROUND
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if before == asked:
        return
    records = [_Record.read(path, space) for _, path in _files_in(folder)]
    if before is not None and any(not record.walked.get("published") for record in records):
        name = next(name for name in asked if before.get(name) != asked[name])
        raise InputError(
            f"shards of other {name} wait for a commit: {before.get(name)}, not {asked[name]}",
            where=folder.parent,
            remedy=f"publish them first: clipx index --db {folder.parent} --commit",
        )
    write_whole(file, json.dumps(asked))


def _begin(whole: Path, task: tuple[str, ...], space: str) -> None:
    """Forget that the shard was whole; where that was committed, a new round begins, and so for all shards."""
    if not whole.exists():
        return
    if _Record.read(whole, space).walked.get("published"):
        number = whole.name.partition("-of-")[2]
        for file in whole.parent.glob(f"*-of-{number}"):
            other = _Record.read(file, space)
            if other.task == task and other.walked.get("published"):
                file.unlink(missing_ok=True)
    whole.unlink(missing_ok=True)


def _earlier(folder: Path, shard: Shard, walk: Walk, known: KnownFiles, store: SharedStore, space: str) -> list[Part]:
    """What earlier jobs have staged of a shard, and is still so: files that have changed or are gone are left out."""
    found = {file.path: file for file in walk.files}
    parts = []
    for _, file in _files_in(folder, f"{shard.file_name}.*.json"):
        record = _Record.read(file, space)
        if (part := record.part) is None:
            continue
        if part.staged and not store.is_staged(part.staged):
            file.unlink()
            continue
        paths = [one.path for one in part.files]
        out = {one.path for one in part.files if found.get(one.path, one) != one} | set(walk.gone(paths))
        out |= _outdated(part, record.seen, _held(known, paths))
        if out:
            part = _restaged(_without_rows(part, out), part, store)
            replace(record, part=part).write(space)
        parts.append(part)
    return parts


def _held(known: KnownFiles, paths: Sequence[str]) -> dict[str, list[Any]]:
    """Path -> size, mtime_ns and modality of those of the paths that the index holds."""
    rows = known.positions(paths)
    return {file.path: _state(file) for file in known.found(rows[rows >= 0].tolist())}


def _state(file: Found) -> list[Any]:
    return [file.size, file.mtime_ns, file.modality]


def _outdated(part: Part, seen: Mapping[str, list[Any]], now: Mapping[str, list[Any]]) -> set[str]:
    """The files of a part of which the index holds another state than when they were staged, and than was staged.

    Args:
        part: which.
        seen: path -> what the index held then.
        now: path -> what it holds.
    """
    written = {file.path: _state(file) for file in part.written}
    changed = {file.path for file in part.files if now.get(file.path) != seen.get(file.path)}
    return {path for path in changed if now.get(path) != written.get(path)}


def _without_rows(part: Part, paths: set[str]) -> Part:
    """A part less some files, but for what it has staged."""
    return replace(
        part,
        files=[file for file in part.files if file.path not in paths],
        failures=[failure for failure in part.failures if failure.path not in paths],
        reused=[path for path in part.reused if path not in paths],
    )


def _restaged(left: Part, part: Part, store: SharedStore) -> Part:
    """``left``, which has some of the files of ``part``, with no more rows than of these."""
    out = {file.path for file in part.written} - {file.path for file in left.written}
    if not (left.staged and out):
        return left
    return replace(left, staged=store.without(part.staged, sorted(out)) if left.written else "")


def _settled(part: Part, retry: bool) -> list[Any]:
    """The files of a part that need not be tried again: a fault in their bytes stays, unless it is to be retried."""
    again = {failure.path for failure in part.failures if retry or not failure.read}
    return [file for file in part.files if file.path not in again]


def _unpublished(part: Part, now: Mapping[str, list[Any]]) -> Part:
    """A part, without its rows where the index holds all its files: a commit was stopped after it showed them."""
    written = part.written
    if any(now.get(file.path) != _state(file) for file in written):
        return part
    return replace(_without_rows(part, {file.path for file in written}), staged="")


def _last_tries(parts: Sequence[Part]) -> list[Part]:
    """The parts without failures of files that were tried again, with success or with another failure."""
    done = {file.path for part in parts for file in part.written}
    kept = []
    for part in parts:
        again = {failure.path for failure in part.failures} & done
        files = [file for file in part.files if file.path not in again]
        kept.append(replace(part, files=files, failures=[one for one in part.failures if one.path not in again]))
        done |= {failure.path for failure in part.failures}
    return kept


def _require_alike(collection: Collection, records: Sequence[_Record]) -> None:
    """Raise InputError where there is nothing to commit, or records are of different numbers of shards or settings."""
    if not records:
        raise InputError(
            "no shard waits for a commit",
            where=collection.folder,
            remedy=f"stage one: clipx index FOLDER --db {collection.folder} --shard 1/8",
        )
    counts = sorted({record.shard.count for record in records})
    if len(counts) > 1:
        raise InputError(
            f"holds shards of {counts[0]} and of {counts[1]}",
            where=collection.folder,
            remedy=f"remove those of one of them: {records_folder(collection)}/*-of-{counts[0]}.*",
        )
    meta = collection.meta
    for record in records:
        for name, own in record.part.modalities.items() if record.part is not None else ():
            try:
                meta = meta.with_encoded(name, own)
            except InputError as error:
                what, files = f"shard {record.shard}: {error.what}", f"{record.shard.file_name}.*"
                remedy = f"remove {record.file.parent}/{files}, and run the shard again as the others were"
                raise InputError(what, where=collection.folder, remedy=remedy) from error


def _add_walked(report: Committed, walked: Mapping[str, Any]) -> None:
    """Add what a job's walk found to the report; all jobs met the same failures, and files that nothing reads."""
    report.unchanged += walked["unchanged"]
    found = [Failure(**failure) for failure in walked["failures"]]
    report.failures = list({one.path: one for one in [*report.failures, *found]}.values())
    report.skipped = {**report.skipped, **walked["skipped"]}


def _sum_up(begun: set[_Job], whole: set[_Job], running: set[Shard], report: Committed) -> None:
    """Say which shards are missing, and which are not whole or still run."""
    missing, unfinished = set(), set(running)
    for task, count in {(task, shard.count) for task, shard in begun}:
        for shard in (Shard(number, count) for number in range(1, count + 1)):
            if (task, shard) not in begun:
                missing.add(shard)
            elif (task, shard) not in whole:
                unfinished.add(shard)
    report.missing_shards = list(map(str, sorted(missing - running)))
    report.unfinished_shards = list(map(str, sorted(unfinished)))
