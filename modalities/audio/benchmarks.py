"""The two public benchmarks of environmental sounds as they are handed out: a CSV file beside WAV files.

ESC-50 (Piczak, ACM Multimedia 2015): ``meta/esc50.csv`` and ``audio/``, 2,000 clips of 5 s in 50 classes and 5 folds.
UrbanSound8K (Salamon et al., ACM Multimedia 2014): ``metadata/UrbanSound8K.csv`` and ``audio/fold1..10``, 8,732 clips
of up to 4 s in 10 classes. Both sets' folds are part of what is measured: clips of one recording lie in one fold, and
shuffling them again makes figures that cannot be compared with published ones.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError


@dataclass(frozen=True)
class Layout:
    """How a benchmark lies on disk.

    Args:
        name: as papers call it.
        table: its CSV file, from the set's folder.
        file, label: the columns of the file's name and of the class.
        audio: folder of the sounds, with {fold}.
        clips, folds: how many there are.
        seconds: length of a clip.
    """

    name: str
    table: str
    file: str
    label: str
    audio: str
    clips: int
    folds: int
    seconds: float


LAYOUTS = (
    Layout("ESC-50", "meta/esc50.csv", "filename", "category", "audio", 2000, 5, 5.0),
    Layout("UrbanSound8K", "metadata/UrbanSound8K.csv", "slice_file_name", "class", "audio/fold{fold}", 8732, 10, 4.0),
)


def layout_of(path: Path) -> Layout | None:
    """Which benchmark a folder holds, if any."""
    return next((layout for layout in LAYOUTS if (path / layout.table).is_file()), None)


def read_benchmark(path: Path) -> dict[str, Any] | None:
    """A benchmark's rows; None where the folder holds neither.

    Returns:
        ``path`` (N,) from the folder, ``labels`` (N,), ``fold`` (N,), further columns of its table, ``benchmark``, and
        ``published``: whether the number of clips and folds are those of the release.

    Raises:
        FileError: its table cannot be read, or a column is missing.
    """
    if (layout := layout_of(path)) is None:
        return None
    table = path / layout.table
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise FileError(f"cannot be read as CSV ({error})", where=table) from error
    wanted = (layout.file, layout.label, "fold")
    if not rows or any(not row.get(column) for row in rows for column in wanted):
        raise FileError(f"needs the columns {', '.join(wanted)}, filled in every row", where=table)
    folds = {row["fold"] for row in rows}
    same = len(rows) == layout.clips and len(folds) == layout.folds
    counts = f"{len(rows)} clips in {len(folds)} folds, the release has {layout.clips} in {layout.folds}"
    arrays = {
        "path": [f"{layout.audio.format(fold=row['fold'])}/{row[layout.file]}" for row in rows],
        "labels": [row[layout.label] for row in rows],
        "fold": [row["fold"] for row in rows],
    }
    if "esc10" in rows[0]:
        arrays["esc10"] = [row["esc10"] for row in rows]
    about = {"benchmark": layout.name, "published": "by the number of clips" if same else f"differs: {counts}"}
    return {name: np.array(column) for name, column in (arrays | about).items()}
