"""clipx index: folders -> an index on disk that any query searches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import (
    BatchFlag,
    ConfigFlag,
    DeviceFlag,
    DtypeFlag,
    JsonFlag,
    ModalityFlag,
    OutFlag,
    SeedFlag,
    SpaceFlag,
)
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    from clipx.index import Index
    from clipx.index.scan import Failure

DbFlag = Annotated[Path, typer.Option("--db", help="The index, a folder.")]
SHOWN_FAILURES = 20


def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="Folders, searched at any depth, and files.")
    ] = None,
    db: DbFlag = Path("my.index"),
    remove: Annotated[
        list[Path] | None, typer.Option("--remove", help="Take this file or folder out of the index.")
    ] = None,
    reembed: Annotated[
        bool, typer.Option("--reembed", help="Move the whole index to --space, or to other settings of a modality.")
    ] = False,
    ann: Annotated[
        bool, typer.Option("--ann", help="Build an approximate index, for many hundred thousand files.")
    ] = False,
    modality: ModalityFlag = None,
    thumbnails: Annotated[bool, typer.Option(help="Keep a small picture of each file.")] = True,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try again what could not be read before, though it has not changed.")
    ] = False,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    **settings: Any,
) -> None:
    """Index folders of photos, drawings, clouds, sounds, ... for clipx search.

    The index is made where it is missing, with --space. Run it again to bring it
    up to date: what has not changed is skipped, and what is gone is removed. A
    run that was stopped goes on where it was. A file stays what --modality said.
    What cannot be read is listed; the exit status is 2 where you named it.

    Example: clipx index photos clouds --db my.index
    """
    from dataclasses import asdict

    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import counted, open_space
    from clipx.cli.search import printable
    from clipx.index import Added, Index
    from clipx.progress import note

    check_writable(out)
    if not (paths or remove or reembed or ann):
        raise InputError("nothing to index", remedy="name a folder: clipx index photos --db my.index")
    for path in paths or []:
        if not path.expanduser().exists():  # before an index is made for nothing
            remedy = f"to take what it held out of the index: clipx index --remove {path} --db {db}"
            raise FileError("no such file or folder", where=path, remedy=remedy if Index.exists(db) else None)
    names = [modality] if modality else _modalities()
    chosen = {name: values for name, values in settings_of(names, settings).items() if values}
    recall = None
    with _open_or_create(db, space, device, dtype, seed, must_exist=reembed or not paths) as index:
        did = Added()
        if remove:
            for path in remove:
                if not (count := index.remove(path)):
                    note(f"nothing of that name in the index: {path}")
                did.removed += count
        if reembed:
            source = space or index.space_record.source
            joint = open_space(source, device, dtype, seed)
            with _told() as progress:
                moved = index.reembed(joint, source, chosen, batch_size, progress, thumbnails)
            moved.removed += did.removed
            did = moved
        if paths:
            before = did
            with _told() as progress:
                own = {} if reembed else chosen
                did = index.add(paths, modality, own, batch_size, progress, thumbnails, retry)
            did.removed += before.removed
            did.failures = list({failure.path: failure for failure in before.failures + did.failures}.values())
        if ann:
            recall = index.build_ann()
        stats = index.stats()
    record = report("index", [asdict(did)], db=db, **stats, ann_recall_at_10=recall)

    def table() -> None:
        rows = [(str(getattr(did, name)) for name in ("added", "updated", "reused", "unchanged", "removed"))]
        columns = ("added", "updated", "reused", "unchanged", "removed", "not read", "in the index")
        print_table(columns, [(*row, str(len(did.failures)), str(stats["files"])) for row in rows])

    emit(record, as_json, table, out)
    if recall is not None:
        note(f"approximate index: recall@10 {recall:.3f}")
    if did.skipped:
        note(printable(counted(did.skipped)))
    _tell(did.failures)
    if count := len(did.missing):
        files = f"{count:,} file{'s' if count > 1 else ''} of the index"
        where = printable(did.missing[0])
        note(f"missing: {files} outside of what was named, such as {where}; take them out with --remove FILE or FOLDER")
    if paths and not stats["files"]:
        why = "none of it could be read" if did.failures else "no modality reads what is there"
        note(f"nothing was indexed: {why}")
    named = {os.path.abspath(path.expanduser()) for path in paths or []}
    if any(failure.path in named for failure in did.failures):
        raise typer.Exit(2)


def _tell(failures: Sequence[Failure]) -> None:
    """What was not read, on stderr: one by one where it is new, and what many have in common in one line."""
    from clipx.cli.search import printable
    from clipx.progress import note

    alike: dict[str, list[Failure]] = {}
    for failure in failures:
        if not failure.known:
            alike.setdefault(failure.reason, []).append(failure)
    told = sorted(alike.items(), key=lambda pair: -len(pair[1]))
    for reason, own in told[:SHOWN_FAILURES]:
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        note(f"not read: {printable(own[0].path)}{more}: {reason}")
    if rest := sum(len(own) for _, own in told[SHOWN_FAILURES:]):
        note(f"not read: {rest} more; --json lists them")
    if passed := sum(failure.known for failure in failures):
        note(f"not read: {passed} as before, unchanged since and not tried again; --retry does, --json lists them")


def _open_or_create(db: Path, space: str | None, device: str, dtype: str, seed: int, must_exist: bool) -> Index:
    from clipx.cli._work import open_space, space_name
    from clipx.index import Index

    if must_exist:
        return Index.open(db)
    if Index.exists(db):
        source = space or Index.open(db).space_record.source
        return Index.open(db, open_space(source, device, dtype, seed))
    source = space_name(space)
    joint = open_space(source, device, dtype, seed)
    try:
        return Index.create(db, joint, source)
    except FileError:
        if not Index.exists(db):
            raise
        return Index.open(db, joint)  # another process made it meanwhile


@contextmanager
def _told() -> Iterator[Callable[[int, int], None]]:
    """A bar with the rate and the time left, as ``Index.add`` tells it."""
    from clipx.progress import note, progress

    begun, before = time.perf_counter(), 0
    with progress("indexing", 0) as advance:

        def told(done: int, total: int) -> None:
            nonlocal before
            rate = done / max(time.perf_counter() - begun, 1e-9)
            advance(done - before, f"{rate:.3g} files/s", total)
            before = done

        try:
            yield told
        except KeyboardInterrupt:
            note("what is done is kept; run it again to go on")
            raise


def _modalities() -> list[str]:
    from clipx.registry import MODALITIES, registered

    return list(registered(MODALITIES))
