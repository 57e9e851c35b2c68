"""What ``Index.add`` and ``Index.reembed`` do: find what has changed, encode it and write it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import rename_durably
from clipx.index.collection import Collection, record_of
from clipx.index.known import KnownFiles
from clipx.index.meta import NAME, NEXT, Meta, SpaceRecord
from clipx.index.remote import is_url, look_up
from clipx.index.scan import Failure, Found, Walk, absolute
from clipx.index.steps import (
    Engine,
    Options,
    Part,
    encoded,
    modalities_of,
    remove_unpublished,
    shared_store,
    to_do,
    track_readers,
    with_modalities_of,
)
from clipx.index.writer import Writer, delete

if TYPE_CHECKING:
    from clipx.space import JointSpace


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
        skipped: suffix -> how many files in the folders have it though no modality reads it.
        missing: files of the index that are no longer there, in folders that were not asked for; they stay in it.
        seconds: that it took.
    """

    added: int = 0
    updated: int = 0
    reused: int = 0
    unchanged: int = 0
    removed: int = 0
    failures: list[Failure] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0


def add(
    collection: Collection,
    walk: Walk,
    modality: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    options: Options,
    engine: Engine | None = None,
) -> Added:
    """Bring a collection up to date with what a walk found; see ``Index.add``.

    Args:
        collection: the caller holds the lock of its index.
        walk: of the folders and files.
        modality: what the walk was limited to.
        settings: modality -> fields of its ``Config``.
        options: how.
        engine: what encodes; this process where it is left out.
    """
    if not Meta.exists(collection.folder, NEXT):
        collection.drop_others()  # a move to another space was stopped after its last step but one
    collection.create()
    known = collection.files()
    if modality is None:
        keep_modalities(walk, known)
    collection.record(collection.meta.with_modalities(modalities_of(walk.files, options), settings))
    report = _update(collection, walk, known, modality, options, engine)
    report.missing = _missing(known.elsewhere(walk.roots))
    return report


def remove(collection: Collection, paths: Iterable[str | os.PathLike[str]]) -> int:
    """Take files, and all that lies in folders, out of a collection; returns how many files that were."""
    tops = [absolute(path) for path in paths]
    gone = collection.files().under(tops)
    delete(collection.store, gone)
    return len(gone)


def move(
    old: Collection,
    joint: JointSpace,
    source: str | os.PathLike[str] | JointSpace,
    settings: Mapping[str, Mapping[str, Any]],
    options: Options,
) -> tuple[Collection, Added]:
    """Encode all files of a collection again, in a second collection, and put that in its place; see ``Index.reembed``.

    Args:
        old: the caller holds the lock of its index. It is of no use afterwards.
        joint: the space to move to.
        source: what ``clipx.load_space`` takes to load it again, or the space, for its name.
        settings: modality -> fields of its ``Config`` that change.
        options: how.

    Returns:
        The collection that is there now, and what was done.
    """
    folder, walk = old.folder, _walk_again(old.files())
    if walk.unlisted:
        raise FileError(
            f"{len(walk.unlisted)} of its files are missing, such as {walk.unlisted[0]}",
            where=folder,
            remedy="bring them back, or take them out with --remove, and run again",
        )
    present = sorted({file.modality for file in walk.files})
    new, unavailable = _begin_move(old, joint, record_of(joint, source), settings, present)
    if options.tracks:
        _warn_of_tracks(old, new, walk.files)
    leaving = [file for file in walk.files if file.modality in unavailable]
    walk.files = [file for file in walk.files if file.modality not in unavailable]
    if not (Meta.exists(folder, NEXT) and Meta.read(folder, NEXT) == new.meta):  # an attempt at another one
        (folder / NEXT).unlink(missing_ok=True)
        old.drop_others()
        new.meta.write(folder, NEXT)
    new.create()
    known = new.files()
    report = _update(new, walk, known, None, options)
    # taken out of the index since an earlier call was stopped
    left = {file.path for file in walk.files}
    delete(new.store, sorted(file.path for file in known.found() if file.path not in left))
    rename_durably(folder / NEXT, folder / NAME)  # the switch
    report.removed = len(leaving)
    report.failures += [Failure(file.path, f"left out: {unavailable[file.modality]}") for file in leaving]
    return new, report


def _begin_move(
    old: Collection,
    joint: JointSpace,
    record: SpaceRecord,
    settings: Mapping[str, Mapping[str, Any]],
    present: Sequence[str],
) -> tuple[Collection, dict[str, str]]:
    """The collection to fill, with its modalities set and checked, and why those that are unavailable are so.

    Args:
        old, joint, settings: see ``move``.
        record: which space that is.
        present: modalities that the index has files of.
    """
    number = int(old.meta.table.rpartition("-")[2]) + 1
    target = Meta(record, f"items-{number}", store=old.meta.store)
    configs = {name: {**old.meta.config_of(name), **settings.get(name, {})} for name in old.meta.modalities}
    new = Collection(old.folder, target.with_modalities(configs, configs), old.make_store, joint)
    unchanged = [name for name in present if configs[name] == old.meta.config_of(name)]  # else it is meant to work
    unavailable = {name: why for name in unchanged if (why := new.encoder(name).unavailable()) is not None}
    if unavailable and len(unavailable) == len(present):
        raise InputError(f"nothing would be left: {'; '.join(unavailable.values())}", where=old.folder)
    configs = {name: config for name, config in configs.items() if name not in unavailable}
    new.meta = target.with_modalities(configs, configs)  # its encoders stay: a tower is loaded once
    for name in present:  # what works there, and yet does not, would be lost
        if name not in unavailable:
            new.meta = new.meta.with_context(name, new.checked_encoder(name).context)
    return new, unavailable


def _warn_of_tracks(old: Collection, new: Collection, files: Sequence[Found]) -> None:
    """Say which tracks of files the new space has nothing for, such as the sound of films."""
    counts = old.snapshot().counts
    for name in sorted(track_readers(files) & counts.keys()):
        if (why := new.encoder(name).unavailable()) is not None:
            warnings.warn(f"the tracks of {counts[name][0]:,} files are left out: {why}", stacklevel=4)


def _update(
    collection: Collection,
    walk: Walk,
    known: KnownFiles,
    modality: str | None,
    options: Options,
    engine: Engine | None = None,
) -> Added:
    """Encode what is new or has changed, and remove what is gone."""
    report = Added(failures=list(walk.failures), skipped=dict(walk.skipped))
    failed_before = collection.failures()
    todo, failed = to_do(collection, walk.files, known, options)
    report.unchanged = len(walk.files) - len(todo) - len(failed)
    report.failures += failed
    if engine is None:
        stale = _write_all(collection, todo, known, report, options)
    else:
        stale = []
        with closing(engine.parts(collection, todo, known.contents, options)) as shards:
            for parts in shards:
                stale += publish(collection, parts, known, report)
                collection.store.optimize()
    stale += walk.gone(known.under(walk.roots, modality))
    finish(collection, todo, stale, set(walk.gone(failed_before)), failed_before, report)
    return report


def publish(collection: Collection, parts: Sequence[Part], known: KnownFiles, report: Added) -> list[str]:
    """Show what was staged in one transaction, and count it in the report.

    Args:
        collection: the caller holds the lock of its index.
        parts: of different files.
        known: what the index holds.
        report: of the update.

    Returns:
        The paths whose content is no longer readable.

    Raises:
        InputError: a modality encoded them otherwise than what is in the index.
    """
    collection.record(with_modalities_of(collection.meta, parts))
    failures = {failure.path: failure for part in parts for failure in part.failures}
    written = [file.path for part in parts for file in part.written]
    there = known.among([*written, *failures])
    if staged := [part.staged for part in parts if part.staged]:
        shared_store(collection).publish(staged, [path for path in written if path in there])
    for part in parts:
        count_part(part, there, report)
    return [path for path, failure in failures.items() if failure.read and path in there]


def count_part(part: Part, there: AbstractSet[str], report: Added) -> None:
    """Count a part in a report; ``there`` are the paths that the index held before."""
    updated = sum(file.path in there and file.path not in part.reused for file in part.written)
    report.reused += len(part.reused)
    report.updated += updated
    report.added += len(part.written) - updated - len(part.reused)
    report.failures += part.failures


def finish(
    collection: Collection,
    tried: Sequence[Found],
    removed: Sequence[str],
    gone: set[str],
    failed_before: Mapping[str, Mapping[str, Any]],
    report: Added,
) -> None:
    """What ends an update: remove what is gone, put the store in order, and record what could not be read.

    What others have staged and nobody will publish is removed as well.

    Args:
        collection: the caller holds the lock of its index.
        tried: files that were encoded, or were to be.
        removed: paths of the index that are gone, or whose content is no longer readable.
        gone: those of ``failed_before`` that are gone.
        failed_before: path -> what was recorded of a file that could not be read.
        report: of the update.
    """
    delete(collection.store, removed)
    report.removed = len(removed)
    if tried or removed:
        collection.store.optimize()
        _record_failures(collection, gone, tried, failed_before, report.failures)
    remove_unpublished(collection)


def _write_all(
    collection: Collection,
    todo: Sequence[Found],
    known: KnownFiles,
    report: Added,
    options: Options,
) -> list[str]:
    """Encode and write files, count them in the report, and return the paths whose content is no longer readable."""
    replaced = known.among([file.path for file in todo])
    writer = Writer(collection, known, replaced)
    try:
        done = 0
        for batch in encoded(collection, todo, writer.holds, options, collection.record):
            for entry in batch:
                if isinstance(entry, Failure):
                    report.failures.append(entry)
                    if entry.read and entry.path in replaced:
                        writer.stale.append(entry.path)
                else:
                    writer.put(entry)
            done += len(batch)
            options.progress(done, len(todo))
        writer.finish()
    finally:
        writer.close()
    report.added, report.updated, report.reused = writer.added, writer.updated, writer.reused
    return writer.stale


def _record_failures(
    collection: Collection,
    gone: set[str],
    todo: Sequence[Found],
    before: Mapping[str, Mapping[str, Any]],
    failures: Sequence[Failure],
) -> None:
    """Record the files that could not be read, besides earlier ones that were not tried and are not gone."""
    tried = {file.path: file for file in todo}
    after = {path: own for path, own in before.items() if path not in tried and path not in gone}
    for failure in failures:
        if failure.read and failure.path in tried:
            after[failure.path] = {**asdict(tried[failure.path]), "reason": failure.reason}
    if after != before:
        collection.record_failures(after)


def keep_modalities(walk: Walk, known: KnownFiles) -> None:
    """Let files be of the modalities that they were indexed as, where they were."""
    rows = known.positions([file.path for file in walk.files])
    for i in np.flatnonzero(rows >= 0):
        if walk.files[i].modality != (before := known.modalities[rows[i]]):
            walk.files[i] = replace(walk.files[i], modality=before)


def _missing(paths: Sequence[str]) -> list[str]:
    """Those of the paths that are no longer there: each folder is listed once, which a million files bear.

    URLs are left out: to look there may take long, or cost money.
    """
    listings: dict[str, set[str] | None] = {}
    gone = []
    for path in paths:
        if is_url(path):
            continue
        folder, _, name = path.rpartition(os.sep)
        if folder not in listings:
            listings[folder] = _names(folder or os.sep)
        names = listings[folder]
        if names is not None and name not in names:
            gone.append(path)
    return gone


def _names(folder: str) -> set[str] | None:
    """What a folder holds: nothing if it is not there; None where that is unknown."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError:
        return None


def _walk_again(known: KnownFiles) -> Walk:
    """The files of an index as a walk finds them now; ``unlisted`` are those that are not there."""
    walk = Walk([])
    for file in known.found():
        try:
            if is_url(file.path):
                remote = look_up(file.path)
                size, mtime_ns = remote.size or 0, remote.mtime_ns
            else:
                about = os.stat(file.path)
                size, mtime_ns = about.st_size, about.st_mtime_ns
            walk.files.append(Found(file.path, size, mtime_ns, file.modality))
        except OSError:
            walk.unlisted.append(file.path)
    return walk
