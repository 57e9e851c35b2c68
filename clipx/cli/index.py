"""clipx index: folders -> an index on disk that any query searches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    from clipx.index import Added, Index
    from clipx.index.scan import Failure
    from clipx.index.update import Progress

DbFlag = Annotated[Path, typer.Option("--db", help="The index, a folder.")]
PathsFlag = Annotated[
    list[str] | None,
    typer.Argument(metavar="FOLDER", help="Folders, searched at any depth, files, and URLs of both that fsspec reads."),
]
RemoveFlag = Annotated[list[str] | None, typer.Option("--remove", help="Take this file or folder out of the index.")]
MovedFlag = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--moved",
        metavar="OLD NEW",
        help="Files of the folder OLD lie in NEW now: rewrite their paths. --moved photos /mnt/photos",
    ),
]
MergeFlag = Annotated[
    list[Path] | None,
    typer.Option("--merge", help="Take in what this other index of the same space holds. --merge laptop.index"),
]
ReembedFlag = Annotated[
    bool, typer.Option("--reembed", help="Move the whole index to --space, or to other settings of a modality.")
]
AnnFlag = Annotated[bool, typer.Option("--ann", help="Build an approximate index, for many hundred thousand files.")]
ThumbnailsFlag = Annotated[bool, typer.Option(help="Keep a small picture of each file.")]
RetryFlag = Annotated[
    bool, typer.Option("--retry", help="Try again what could not be read before, though it has not changed.")
]
SHOWN_FAILURES = 20
COUNTS = ("added", "updated", "reused", "unchanged", "removed")


@takes("modality", "space", "device", "dtype", "backend", "batch_size", "seed", "out", "as_json", "config")
def index(
    paths: PathsFlag = None,
    db: DbFlag = Path("my.index"),
    remove: RemoveFlag = None,
    moved: MovedFlag = None,
    merge: MergeFlag = None,
    reembed: ReembedFlag = False,
    ann: AnnFlag = False,
    thumbnails: ThumbnailsFlag = True,
    retry: RetryFlag = False,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Index folders of photos, drawings, clouds, sounds, ... for clipx search.

    The index is made where it is missing, with --space. Run it again to bring it
    up to date: what has not changed is skipped, and what is gone is removed. A
    run that was stopped goes on where it was. A file stays what --modality said.
    What cannot be read is listed; the exit status is 2 where you named it.

    Example: clipx index photos s3://bucket/clouds --db my.index
    """
    from clipx.cli._output import report

    run.check_writable()
    _require_work(paths or [], db, bool(remove or moved or merge or reembed or ann))
    chosen = _settings(run.modality, settings)
    with _open_or_create(db, run, must_exist=reembed or not paths) as index:
        did = _remove(index, remove or [])
        count = _move(index, moved)
        did = _merge(index, merge or [], did)
        if reembed:
            source = run.space or index.space_record.source
            joint = run.open_space(source)
            with _progress() as progress:
                did = _joined(did, index.reembed(joint, source, chosen, run.batch_size, progress, thumbnails))
        if paths:
            own = {} if reembed else chosen
            with _progress() as progress:
                did = _joined(did, index.add(paths, run.modality, own, run.batch_size, progress, thumbnails, retry))
        recall = index.build_ann() if ann else None
        stats = index.stats()
    record = report("index", [asdict(did)], db=db, **stats, moved=count, ann_recall_at_10=recall)
    run.emit(record, lambda: _table(did, stats))
    _note_results(did, stats["files"], recall, paths or [])


def _require_work(paths: Sequence[str], db: Path, other_work: bool) -> None:
    """Raise InputError where nothing is asked for, and FileError for a path that is missing."""
    from clipx.index import Index
    from clipx.index.remote import is_url, look_up
    from clipx.index.scan import absolute

    if not (paths or other_work):
        raise InputError("nothing to index", remedy="name a folder: clipx index photos --db my.index")
    for path in paths:  # before an index is made for nothing
        try:
            if is_url(named := absolute(path)):
                look_up(named)
            elif not os.path.exists(named):
                raise FileError("no such file or folder", where=path)
        except FileError as error:
            remedy = f"to take what it held out of the index: clipx index --remove {path} --db {db}"
            raise FileError(error.what, where=path, remedy=remedy if Index.exists(db) else None) from error


def _settings(modality: str | None, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Modality -> the settings that were given, where there are any."""
    from clipx.cli._flags import settings_of
    from clipx.registry import MODALITIES, registered

    names = [modality] if modality else registered(MODALITIES)
    return {name: values for name, values in settings_of(names, settings).items() if values}


def _remove(index: Index, paths: Sequence[str]) -> Added:
    from clipx.index import Added
    from clipx.progress import note

    did = Added()
    for path in paths:
        if not (count := index.remove(path)):
            note(f"nothing of that name in the index: {path}")
        did.removed += count
    return did


def _move(index: Index, moved: tuple[str, str] | None) -> int:
    """How many files lie elsewhere now."""
    from clipx.progress import note

    if moved is None:
        return 0
    count = index.move(*moved)
    if count:
        note(f"moved: {count:,} file{'s' if count > 1 else ''} from {moved[0]} to {moved[1]}")
    else:
        note(f"nothing of that name in the index: {moved[0]}")
    return count


def _merge(index: Index, others: Sequence[Path], did: Added) -> Added:
    for other in others:
        with _progress("merging") as progress:
            did = _joined(did, index.merge(other, progress))
    return did


def _joined(before: Added, did: Added) -> Added:
    """The report of a step, with what was done and what failed before it."""
    for name in COUNTS:
        setattr(did, name, getattr(did, name) + getattr(before, name))
    did.failures = list({failure.path: failure for failure in before.failures + did.failures}.values())
    return did


def _table(did: Added, stats: dict[str, Any]) -> None:
    from clipx.cli._output import print_table

    row = (*(str(getattr(did, name)) for name in COUNTS), str(len(did.failures)), str(stats["files"]))
    print_table((*COUNTS, "not read", "in the index"), [row])


def _note_results(did: Added, files: int, recall: float | None, paths: Sequence[str]) -> None:
    """Print on stderr what the table does not say. Raises typer.Exit with status 2 where a named file was not read."""
    from clipx.cli._output import printable
    from clipx.cli._work import counted
    from clipx.index.scan import absolute
    from clipx.progress import note

    if recall is not None:
        note(f"approximate index: recall@10 {recall:.3f}")
    if did.skipped:
        note(printable(counted(did.skipped)))
    _note_failures(did.failures)
    if count := len(did.missing):
        text = f"{count:,} file{'s' if count > 1 else ''} of the index"
        where = printable(did.missing[0])
        note(f"missing: {text} outside of what was named, such as {where}; take them out with --remove FILE or FOLDER")
    if paths and not files:
        why = "none of it could be read" if did.failures else "no modality reads what is there"
        note(f"nothing was indexed: {why}")
    named = set(map(absolute, paths))
    if any(failure.path in named for failure in did.failures):
        raise typer.Exit(2)


def _note_failures(failures: Sequence[Failure]) -> None:
    """Print the files that were not read: new ones one by one, and those that share a reason in one line."""
    from clipx.cli._output import printable
    from clipx.progress import note

    by_reason: dict[str, list[Failure]] = {}
    for failure in failures:
        if not failure.known:
            by_reason.setdefault(failure.reason, []).append(failure)
    ranked = sorted(by_reason.items(), key=lambda pair: -len(pair[1]))
    for reason, own in ranked[:SHOWN_FAILURES]:
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        note(f"not read: {printable(own[0].path)}{more}: {reason}")
    if rest := sum(len(own) for _, own in ranked[SHOWN_FAILURES:]):
        note(f"not read: {rest} more; --json lists them")
    if known := sum(failure.known for failure in failures):
        note(f"not read: {known} as before, unchanged since and not tried again; --retry does, --json lists them")


def _open_or_create(db: Path, run: RunOptions, must_exist: bool) -> Index:
    from clipx.cli._work import space_name
    from clipx.index import Index

    if must_exist:
        return Index.open(db)
    if Index.exists(db):
        source = run.space or Index.open(db).space_record.source
        return Index.open(db, run.open_space(source))
    source = space_name(run.space)
    joint = run.open_space(source)
    try:
        return Index.create(db, joint, source)
    except FileError:
        if not Index.exists(db):
            raise
        return Index.open(db, joint)  # another process made it meanwhile


@contextmanager
def _progress(what: str = "indexing") -> Iterator[Progress]:
    """A bar with the rate and the time left, as a function that ``Index.add`` calls."""
    from clipx.progress import note, progress

    begun, before = time.perf_counter(), 0
    with progress(what, 0) as advance:

        def show(done: int, total: int) -> None:
            nonlocal before
            rate = done / max(time.perf_counter() - begun, 1e-9)
            advance(done - before, f"{rate:.3g} files/s", total)
            before = done

        try:
            yield show
        except KeyboardInterrupt:
            note("what is done is kept; run it again to go on")
            raise
