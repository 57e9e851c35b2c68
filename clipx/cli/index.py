"""clipx index: folders -> an index on disk that any query searches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import FileError, InputError

if TYPE_CHECKING:
    from clipx.index import Added, Index
    from clipx.index.ray_engine import RayEngine
    from clipx.index.scan import Failure
    from clipx.index.steps import Progress

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
TracksFlag = Annotated[bool, typer.Option(help="Index the sound of films as well.")]
RetryFlag = Annotated[
    bool,
    typer.Option(
        "--retry", help="Try again what could not be read before, also the sound of films, though it has not changed."
    ),
]
ShardFlag = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="For a batch queue: encode only the I-th of N parts of the files, which nobody sees before --commit.",
    ),
]
CommitFlag = Annotated[
    bool, typer.Option("--commit", help="Publish what --shard has prepared, and say what is missing.")
]
EngineFlag = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="What encodes: this machine, or a Ray cluster, which shares a disk."),
]
WorkersFlag = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Actors of --engine ray. Default: the cluster's CPUs, or its GPUs.", show_default=False
    ),
]
AddressFlag = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="The Ray cluster: auto for the one of this machine. Default: start one here.",
        show_default=False,
    ),
]
ShardFilesFlag = Annotated[
    int | None,
    typer.Option(
        "--shard-files", min=1, help="Files that --engine ray publishes at once. Default: 100,000.", show_default=False
    ),
]
SHOWN_FAILURES = 20
MAKING_S = 5.0
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
    tracks: TracksFlag = True,
    shard: ShardFlag = None,
    commit: CommitFlag = False,
    engine: EngineFlag = "local",
    workers: WorkersFlag = None,
    address: AddressFlag = None,
    shard_files: ShardFilesFlag = None,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Index folders of photos, drawings, clouds, sounds, ... for clipx search.

    The index is made where it is missing, with --space or that of --merge. Run it
    again to bring it up to date: what has not changed is skipped, and what is
    gone is removed. A run that was stopped goes on where it was. A file stays
    what --modality said. What cannot be read is listed; the exit status is 2
    where you named it.

    Example: clipx index photos s3://bucket/clouds --db my.index

    A batch queue runs the second line for 1/8 to 8/8, and then the third one:
    clipx index photos --db my.index --shard 2/8
    clipx index --db my.index --commit

    On a Ray cluster: clipx index photos --db my.index --engine ray --address auto
    """
    from clipx.cli._output import report
    from clipx.index import Index

    run.check_writable()
    _require_work(paths or [], db, bool(remove or moved or merge or reembed or ann or commit))
    chosen = _settings(run.modality, settings)
    if commit and (paths or reembed):
        what, remedy = "publishes what --shard has prepared, and indexes nothing", "index folders in another call"
        raise InputError(what, where="--commit", remedy=remedy)
    _require_cluster(engine, {"--workers": workers, "--address": address, "--shard-files": shard_files})
    if shard is not None:
        if remove or moved or merge or reembed or ann or commit or engine != "local":
            raise InputError("encodes a part of the files, and does nothing else", where=f"--shard {shard}")
        return _stage(paths or [], db, shard, run, chosen, thumbnails, retry, tracks)
    if engine == "ray" and reembed:
        raise InputError("is done by one machine", where="--reembed", remedy="leave --engine ray out")
    cluster = _engine(run, workers, address, shard_files) if engine == "ray" else None
    here = run if cluster is None else replace(run, device="cpu", dtype="float32")  # the head may have no GPU
    must_exist = reembed or not paths
    if merge and not reembed and not Index.exists(db):
        must_exist = False
        here = replace(here, space=here.space or Index.open(merge[0]).space_record.source)
    with _open_or_create(db, here, must_exist) as index:
        did = _remove(index, remove or [])
        count = _move(index, moved)
        did = _merge(index, merge or [], did)
        if reembed:
            source = run.space or index.space_record.source
            joint = run.open_space(source)
            with _progress() as progress:
                did = _joined(did, index.reembed(joint, source, chosen, run.batch_size, progress, thumbnails, tracks))
        if commit:
            did = _joined(did, index.commit())
        if paths:
            own = {} if reembed else chosen
            with _progress() as progress:
                how = (run.modality, own, run.batch_size, progress, thumbnails, retry, tracks, cluster)
                did = _joined(did, index.add(paths, *how))
        recall = index.build_ann(cluster) if ann else None
        stats = index.stats()
    record = report("index", [asdict(did)], db=db, **stats, moved=count, ann_recall_at_10=recall)
    run.emit(record, lambda: _table(did, stats))
    _note_results(did, stats["files"], recall, paths or [])


def _require_cluster(engine: str, given: dict[str, int | str | None]) -> None:
    """Raise InputError for a flag of Ray without it."""
    flags = [flag for flag, value in given.items() if value is not None]
    if flags and engine != "ray":
        raise InputError("is of a cluster", where=flags[0], remedy="add --engine ray")


def _engine(run: RunOptions, workers: int | None, address: str | None, shard_files: int | None) -> RayEngine:
    from clipx.index.ray_engine import RayEngine

    how = {} if shard_files is None else {"shard_files": shard_files}
    return RayEngine(workers, address, device=run.device, dtype=run.dtype, backend=run.backend, **how)


def _stage(
    paths: Sequence[str],
    db: Path,
    shard: str,
    run: RunOptions,
    settings: dict[str, dict[str, Any]],
    thumbnails: bool,
    retry: bool,
    tracks: bool,
) -> None:
    """Encode a shard, and print what was done."""
    from clipx.cli._output import report
    from clipx.index.shards import Shard
    from clipx.progress import note

    own = Shard.parse(shard)
    with _open_or_create(db, run, must_exist=False) as index, _progress() as progress:
        numbers = (own.number, own.count)
        did = index.stage(paths, numbers, run.modality, settings, run.batch_size, progress, thumbnails, retry, tracks)
    run.emit(report("index", [asdict(did)], db=db, shard=str(own)), lambda: _table(did, {}))
    note(f"shard {own} is staged; once all are: clipx index --db {db} --commit")
    _note_results(did, None, None, paths)


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
            gone = error.what.startswith("no such") and Index.exists(db)
            raise FileError(error.what, where=path, remedy=remedy if gone else error.remedy) from error


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

    columns = {**{name: getattr(did, name) for name in COUNTS}, "not read": len(did.failures)}
    if stats:
        columns["in the index"] = stats["files"]
    print_table(list(columns), [list(map(str, columns.values()))])


def _note_results(did: Added, files: int | None, recall: float | None, paths: Sequence[str]) -> None:
    """Print on stderr what the table does not say; ``files`` is None where only a shard was encoded.

    Raises typer.Exit with status 2 where a file that was named was not read, or a shard is not there.
    """
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
    if paths and files == 0:
        why = "none of it could be read" if did.failures else "no modality that was asked for reads what is there"
        note(f"nothing was indexed: {why}")
    named = set(map(absolute, paths))
    if any(failure.path in named for failure in did.failures) or _note_shards(did):
        raise typer.Exit(2)


def _note_shards(did: Added) -> bool:
    """Print which shards a commit did not find whole; returns whether there are any."""
    from clipx.index.shards import Committed
    from clipx.progress import note

    if not isinstance(did, Committed):
        return False
    for what, shards in (("missing", did.missing_shards), ("unfinished", did.unfinished_shards)):
        if shards:
            more = f" and {len(shards) - 50} more" if len(shards) > 50 else ""
            note(f"{what}: shard {', '.join(shards[:50])}{more}; run it again, and then --commit")
    return bool(did.missing_shards or did.unfinished_shards)


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
        if not _is_made_elsewhere(db):
            raise
        return Index.open(db, joint)


def _is_made_elsewhere(db: Path) -> bool:
    """Whether another process has made the index meanwhile, or does so now: for that it is given a few seconds."""
    from clipx.index import Index
    from clipx.index.meta import only_begun

    until = time.monotonic() + MAKING_S
    while not Index.exists(db) and db.is_dir() and only_begun(db) and time.monotonic() < until:
        time.sleep(0.05)
    return Index.exists(db)


@contextmanager
def _progress(what: str = "indexing") -> Iterator[Progress]:
    """A bar with the rate and the time left, as a function that ``Index.add`` calls."""
    from clipx._signals import sigterm_interrupts
    from clipx.progress import note, progress

    begun, before = time.perf_counter(), 0
    with progress(what, 0) as advance:

        def show(done: int, total: int) -> None:
            nonlocal before
            rate = done / max(time.perf_counter() - begun, 1e-9)
            advance(done - before, f"{rate:.3g} files/s", total)
            before = done

        try:
            with sigterm_interrupts():
                yield show
        except KeyboardInterrupt:
            note("what is done is kept; run it again to go on")
            raise
