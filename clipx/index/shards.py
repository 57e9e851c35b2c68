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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

import clipx
from clipx.errors import InputError
from clipx.files import make_folder, write_whole
from clipx.index.collection import Collection
from clipx.index.known import KnownFiles
from clipx.index.lock import WriterLock
from clipx.index.scan import Failure, Walk
from clipx.index.steps import Options, Part, shared_store, stage, to_do
from clipx.index.update import Added, finish, keep_modalities, publish

_NOTHING = {"unchanged": 0, "skipped": {}, "failures": [], "gone": []}
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
        unfinished_shards: those whose job was stopped, or still runs, or whose staged data are lost. What is there of
            them was published.
    """

    missing_shards: list[str] = field(default_factory=list)
    unfinished_shards: list[str] = field(default_factory=list)


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
    """

    file: Path
    shard: Shard
    task: tuple[str, ...]
    part: Part | None = None
    walked: Mapping[str, Any] = field(default_factory=dict)

    def write(self, space: str) -> None:
        record = {"clipx": clipx.__version__, "space": space, "shard": astuple(self.shard), "task": self.task}
        own = {"walked": self.walked} if self.part is None else {"part": self.part.to_json()}
        write_whole(self.file, json.dumps({**record, **own}), durable=True)

    @classmethod
    def read(cls, file: Path, space: str) -> _Record:
        """Raises InputError for one of another clipx or space, or a corrupt one."""
        remedy = f"remove {file} and run that shard again"
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["clipx"] != clipx.__version__:
                raise InputError(f"was written by clipx {record['clipx']}", where=file, remedy=remedy)
            if record["space"] != space:
                raise InputError(f"is of space {record['space']}, the index of {space}", where=file, remedy=remedy)
            part = Part.from_json(record["part"]) if "part" in record else None
            return cls(file, Shard(*record["shard"]), tuple(record["task"]), part, record.get("walked", {}))
        except InputError:
            raise
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError("cannot be read", where=file, remedy=remedy) from error


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
    shared_store(collection)
    folder, space, task = _folder(collection), collection.meta.space.id, (modality or "", *sorted(walk.roots))
    others = {one.count for one in _shards_in(folder)} - {shard.count}
    if others:
        raise InputError(
            f"shards of {min(others)} wait for a commit, not of {shard.count}",
            where=collection.folder,
            remedy=f"publish them first: clipx index --db {collection.folder} --commit",
        )
    make_folder(folder)
    lock = WriterLock(folder, f".{shard.file_name}.lock")
    lock.acquire()
    try:
        whole = folder / f"{shard.file_name}.{hashlib.sha256(json.dumps(task).encode()).hexdigest()[:16]}.json"
        _begin(whole, task, space)
        known, failed = collection.files(), collection.failures()
        if modality is None:
            keep_modalities(walk, known)
        walk.files = [file for file in walk.files if shard.holds(file.path)]
        before = _earlier(folder, shard, walk, space)
        names = {file.modality for file in walk.files}
        own = Collection(
            collection.folder, collection.meta.with_modalities(names, settings), collection.make_store, collection.space
        )
        for part in before:
            for name, how in part.modalities.items():
                own.meta = own.meta.with_encoded(name, how)
        todo, left = to_do(walk.files, known, failed, options.retry)
        report = Added(failures=[*walk.failures, *left], skipped=dict(walk.skipped))
        report.unchanged = len(walk.files) - len(todo) - len(left)
        failures = list(map(asdict, report.failures))
        walked = {"unchanged": report.unchanged, "skipped": report.skipped, "failures": failures}
        held = {file.path for part in before for file in _settled(part, options.retry)}
        todo = [file for file in todo if file.path not in held]
        there = known.among([file.path for file in todo])
        for part in stage(own, todo, known.contents, options):
            _Record(folder / f"{shard.file_name}.{secrets.token_hex(8)}.json", shard, task, part).write(space)
            _count(part, there, report)
        at = [*known.under(walk.roots, modality), *failed, *(file.path for part in before for file in part.files)]
        gone = walk.gone(path for path in dict.fromkeys(at) if shard.holds(path))
        _Record(whole, shard, task, walked={**walked, "gone": gone}).write(space)
        report.failures += [failure for part in before for failure in part.failures if failure.path in held]
        return report
    finally:
        lock.release()


def commit_shards(collection: Collection) -> Committed:
    """Publish what the jobs have staged; see ``Index.commit``.

    Args:
        collection: the caller holds the lock of its index.
    """
    folder, store, space = _folder(collection), shared_store(collection), collection.meta.space.id
    records = [_Record.read(file, space) for file in sorted(folder.glob("*-of-*.json"))]
    _require_alike(collection, records)
    known, failed = collection.files(), collection.failures()
    staged = [record for record in records if record.part is not None]
    parts = _unpublished([record.part for record in staged if record.part is not None], known)
    lost = [part.staged != "" and not store.is_staged(part.staged) for part in parts]
    broken = {(record.task, record.shard) for record, gone in zip(staged, lost, strict=True) if gone}
    parts = _last_tries([part for part, gone in zip(parts, lost, strict=True) if not gone])
    report = Committed()
    stale = publish(collection, parts, known, report)
    whole = [one for one in records if one.part is None and (one.task, one.shard) not in broken]
    for record in whole:
        _add_walked(report, record.walked)
    gone = {path for record in whole for path in record.walked["gone"]}
    held = known.among(sorted(gone)) | gone.intersection(file.path for part in parts for file in part.written)
    tried = [file for part in parts for file in part.files]
    finish(collection, tried, stale + sorted(held - set(stale)), gone & failed.keys(), failed, report)
    _sum_up(records, {(one.task, one.shard) for one in whole}, report)
    for record in records:
        complete = {one.shard for one in whole if one.task == record.task}
        if record in whole and len(complete) < record.shard.count:  # remembered until the others are there
            replace(record, walked={**_NOTHING, "published": True}).write(space)
        else:
            record.file.unlink(missing_ok=True)
    store.unstage([])
    return report


def _folder(collection: Collection) -> Path:
    """The folder of the records."""
    return collection.folder / f"{collection.meta.table}-shards"


def _shards_in(folder: Path) -> set[Shard]:
    """The shards that there are records of, by the names of the files."""
    names = (re.match(r"(\d+)-of-(\d+)\.", file.name) for file in folder.glob("*-of-*.json"))
    return {Shard(int(name[1]), int(name[2])) for name in names if name is not None}


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


def _earlier(folder: Path, shard: Shard, walk: Walk, space: str) -> list[Part]:
    """What earlier jobs have staged of a shard. A part that holds files which have changed since is withdrawn."""
    now = {file.path: file for file in walk.files}
    parts = []
    for file in sorted(folder.glob(f"{shard.file_name}.*.json")):
        if (part := _Record.read(file, space).part) is None:
            continue
        if any(now.get(one.path, one) != one for one in part.files):
            file.unlink()
        else:
            parts.append(part)
    return parts


def _settled(part: Part, retry: bool) -> list[Any]:
    """The files of a part that need not be tried again: a fault in their bytes stays, unless it is to be retried."""
    again = {failure.path for failure in part.failures if retry or not failure.read}
    return [file for file in part.files if file.path not in again]


def _unpublished(parts: Sequence[Part], known: KnownFiles) -> list[Part]:
    """The parts, without the rows of those whose files the index holds: a commit was stopped after it showed them."""
    same = iter(known.as_before([file for part in parts for file in part.written]).tolist())
    found = []
    for part in parts:
        if written := part.written:
            before = [next(same) for _ in written]
            if all(before):
                paths = {file.path for file in written}
                part = replace(part, files=[one for one in part.files if one.path not in paths], staged="", reused=())
        found.append(part)
    return found


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
            remedy=f"remove those of one of them: {_folder(collection)}/*-of-{counts[0]}.*",
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


def _count(part: Part, there: set[str], report: Added) -> None:
    """Count a part in the report of its job; ``there`` are the paths that the index holds."""
    updated = sum(file.path in there and file.path not in part.reused for file in part.written)
    report.reused += len(part.reused)
    report.updated += updated
    report.added += len(part.written) - updated - len(part.reused)
    report.failures += part.failures


def _add_walked(report: Committed, walked: Mapping[str, Any]) -> None:
    """Add what a job's walk found to the report; all jobs met the same failures, and files that nothing reads."""
    report.unchanged += walked["unchanged"]
    found = [Failure(**failure) for failure in walked["failures"]]
    report.failures = list({one.path: one for one in [*report.failures, *found]}.values())
    report.skipped = {**report.skipped, **walked["skipped"]}


def _sum_up(
    records: Iterable[_Record], whole: set[tuple[tuple[str, ...], Shard]], report: Committed
) -> None:
    """Say which shards are missing and which are not whole."""
    missing, unfinished = set(), set()
    begun = {(record.task, record.shard) for record in records}
    for task in {task for task, _ in begun}:
        count = next(shard.count for own, shard in begun if own == task)
        for shard in (Shard(number, count) for number in range(1, count + 1)):
            if (task, shard) not in begun:
                missing.add(shard)
            elif (task, shard) not in whole:
                unfinished.add(shard)
    report.missing_shards = list(map(str, sorted(missing)))
    report.unfinished_shards = list(map(str, sorted(unfinished)))
