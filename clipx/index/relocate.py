"""Files that were moved as a folder: their paths are rewritten, and nothing is read or encoded."""

from __future__ import annotations

import os
from typing import Any

from clipx.errors import FileError, InputError
from clipx.index.collection import Collection
from clipx.index.remote import is_missing, is_url, look_up
from clipx.index.scan import absolute, inside, is_under


def relocate(collection: Collection, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> int:
    """Let the files under one folder lie under another, where they were moved to.

    The rows change in one transaction; a call that is stopped can be made again.

    Args:
        collection: the caller holds the lock of its index.
        old: a folder, or the URL of one; it need not be there any more.
        new: where it is now.

    Returns:
        How many files that were; 0 where none of the index lies under ``old``.

    Raises:
        FileError: ``new`` is not there or is no folder, or none of the files is in it.
        InputError: both are the same, ``old`` is a file, or the index holds a file of a new path, which stays, already.
    """
    old, new = absolute(old), absolute(new)
    if old == new:
        raise InputError("is both the old and the new folder", where=old)
    if not (look_up(new).folder if is_url(new) else os.path.isdir(new)):
        raise FileError("no such folder", where=new, remedy="name the folder that holds the files now")
    files = collection.files()
    moved = files.under([old])
    if old in moved:
        remedy = f"to take it up under its new name: clipx index {new} --db {collection.folder}"
        raise InputError("is a file, and only folders are moved", where=old, remedy=remedy)
    begin, begins = inside(old), inside(new)
    targets = [begins + path.removeprefix(begin) for path in moved]
    staying = files.among(targets) - set(moved)  # where p/b moves to p, p/b/b/x takes the place of p/b/x
    if taken := [path for path in targets if path in staying]:
        raise InputError(
            f"the index holds {len(taken):,} of the new paths already, such as {taken[0]}",
            where=collection.folder,
            remedy=f"take the old ones out: clipx index --remove {old} --db {collection.folder}",
        )
    if targets and all(map(is_missing, targets)):
        raise FileError(
            f"holds none of the {len(targets):,} files, such as {targets[0]}",
            where=new,
            remedy="name the folder that holds them now",
        )
    if moved:
        collection.store.move(begin, begins)
        collection.store.optimize()
    _rewrite_records(collection, old, new)
    return len(moved)


def _rewrite_records(collection: Collection, old: str, new: str) -> None:
    """Rewrite the paths of files that could not be read, and those among the settings that are there now."""

    def moved(path: str) -> str:
        if path == old:
            return new
        return inside(new) + path.removeprefix(inside(old)) if is_under(path, [old]) else path

    before = collection.failures()
    after = {moved(path): {**about, "path": moved(path)} for path, about in before.items()}
    if after != before:
        collection.record_failures(after)

    def setting(value: Any) -> Any:
        if isinstance(value, list):
            return [setting(one) for one in value]
        if not isinstance(value, str):
            return value
        return value if is_missing(moved(value)) else moved(value)

    collection.record(collection.meta.with_settings(setting))
