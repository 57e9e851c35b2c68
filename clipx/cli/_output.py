"""What the commands say: one JSON object or a table on stdout, all else on stderr; files are written whole."""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipx.errors import FileError

SCHEMA = 1


def report(command: str, results: Sequence[Any], **more: Any) -> dict[str, Any]:
    """The object every command prints with ``--json``; NaN and infinity become null."""
    return _plain({"schema": SCHEMA, "command": command, **more, "results": list(results)})


def emit(record: dict[str, Any], as_json: bool, table: Callable[[], None], out: Path | None = None) -> None:
    """Print the record (``as_json``) or the table, and write the record to ``out`` if that is given."""
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    if out is not None:
        from clipx.files import write_whole  # which imports numpy

        write_whole(out, text + "\n")
    if as_json:
        print(text)
    else:
        table()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table for people on a terminal; elsewhere tab-separated lines, without the title, for other programs."""
    if not sys.stdout.isatty():
        print(*("\t".join(row) for row in [columns, *rows]), sep="\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, table = Console(), Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(_is_number(row[i]) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if title is not None:
        console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(table)


def print_grouped(
    group: str, columns: Sequence[str], tables: Sequence[tuple[str, str, Sequence[Sequence[str]]]]
) -> None:
    """(name, remark, rows) as a table each; not on a terminal, one table whose first column, ``group``, is the name."""
    if sys.stdout.isatty():
        for name, remark, rows in tables:
            print_table(columns, rows, title=f"{name} ({remark})")
    else:
        print_table((group, *columns), [(name, *row) for name, _, rows in tables for row in rows])


def printable(text: str) -> str:
    """The text on one line, with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def check_writable(path: Path | None) -> None:
    """Raise FileError now, before the work, where a file could not be written after it."""
    if path is None:
        return
    if path.is_dir():
        raise FileError("is a folder", where=path, remedy="name a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise FileError("its folder does not exist or cannot be written", where=path, remedy="make the folder first")


def check_model(path: Path) -> None:
    """As ``check_writable``, of a file of ``clipx.files.write_model``, which makes its folder."""
    from clipx.files import require_model_suffix  # which imports numpy

    require_model_suffix(path)
    if path.parent.exists():
        check_writable(path)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each file: its stem, else its whole name, and where that is not its own, a number.

    Names that differ in case alone are counts, as they are on many disks.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    names = [path.stem if stems[path.stem.casefold()] == 1 else path.name for path in paths]
    counts = Counter(map(str.casefold, names))
    taken = {name for name, count in counts.items() if count == 1}
    found = []
    for name in names:
        chosen, number = name, 1
        while counts[name.casefold()] > 1 and chosen.casefold() in taken:
            number += 1
            chosen = f"{name}-{number}"
        taken.add(chosen.casefold())
        found.append(chosen)
    return found


OTHER_FORMATS = (".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".exr", ".json", ".npy", ".npz")


def picture_stems(out: Path, files: Sequence[Path], ending: str, suffixes: Sequence[str]) -> list[Path]:
    """The beginnings of the names of the files that are written of each photo.

    Args:
        out: a .png file for one photo, or a folder.
        files: the photos.
        ending: in a folder, what follows the photo's own name.
        suffixes: what follows the beginnings.

    Raises:
        InputError: several photos and one file, a file that is no .png, or a photo that would be overwritten.
        FileError: the file cannot be written.
    """
    from clipx.errors import InputError

    one_file = out.suffix.lower() == ".png"
    if one_file and len(files) > 1:
        raise InputError(f"{len(files)} results do not fit into one file", where=out, remedy="name a folder")
    if not one_file and out.suffix.lower() in OTHER_FORMATS:
        raise InputError(f"suffix {out.suffix!r} is not .png", where=out, remedy="name a .png file or a folder")
    stems = [out.with_suffix("")] if one_file else [out / f"{name}{ending}" for name in distinct_names(files)]
    photos = {path.resolve() for path in files}
    for written in (stem.with_name(stem.name + suffix) for stem in stems for suffix in suffixes):
        if written.resolve() in photos:
            raise InputError("is the photo itself", where=written, remedy="name another file or folder")
    if one_file:
        check_writable(out)
    return stems


def _plain(value: Any) -> Any:
    """JSON's own types; NaN and infinity, which JSON does not have, become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).removesuffix("%").strip().isdigit()
