"""Labelled sounds that an audio tower learns from: a folder with ``labels.csv``, and its sounds in memory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from clipx.errors import ClipxError, FileError, InputError
from clipx.modalities.audio.files import Sound, mix, read_sound
from clipx.modalities.audio.resampling import resample

LONGEST_S = 30.0  # of a training sound so much is used


@dataclass(frozen=True)
class LabelledSounds:
    """A data set.

    Args:
        paths: N files.
        labels: N names.
        folds: N names of folds; "" where the set has none.
    """

    paths: list[Path]
    labels: list[str]
    folds: list[str]

    def __len__(self) -> int:
        return len(self.paths)

    def chosen(self, keep: Sequence[bool]) -> LabelledSounds:
        """The sounds whose ``keep`` is true."""
        rows = [i for i, kept in enumerate(keep) if kept]
        return LabelledSounds(
            [self.paths[i] for i in rows], [self.labels[i] for i in rows], [self.folds[i] for i in rows]
        )


def read_labels(
    data: str | PathLike, skip: Sequence[str] = (), where: Sequence[tuple[str, str]] = ()
) -> LabelledSounds:
    """Read ``labels.csv`` of a folder: columns ``path`` (from that folder), ``label`` and, if there are any, ``fold``.

    Rows with a column ``fold`` that is empty belong to no fold and are left out, if others belong to one.

    Args:
        data: the folder.
        skip: file names to leave out.
        where: (column, value) pairs that a row must have.

    Raises:
        FileError: no such file, a column missing, or sounds that are not there, all of them named.
        InputError: a name to skip that the set does not hold, or fewer than two labels.
    """
    table = Path(data) / "labels.csv"
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"cannot be read ({reason})", where=table, remedy="list path,label[,fold] there") from error
    if not rows or not {"path", "label"} <= rows[0].keys() or not all(row["path"] and row["label"] for row in rows):
        raise FileError("must have the columns path and label, filled in every row", where=table)
    if unknown := sorted(set(skip) - {Path(row["path"]).name for row in rows}):
        raise InputError(f"no such sounds to skip: {', '.join(unknown)}", where=table)
    if absent := sorted({column for column, _ in where} - rows[0].keys()):
        raise InputError(f"has no column {absent[0]!r}", where=table, remedy=f"its columns: {', '.join(rows[0])}")
    rows = [row for row in rows if Path(row["path"]).name not in skip and all(row[c] == v for c, v in where)]
    if any(row.get("fold") for row in rows):
        rows = [row for row in rows if row["fold"]]
    paths = [Path(data) / row["path"] for row in rows]
    if missing := [str(path.relative_to(data)) for path in paths if not path.is_file()]:
        raise FileError(f"names {len(missing)} sounds that are not there: {', '.join(missing)}", where=table)
    found = LabelledSounds(paths, [row["label"] for row in rows], [row.get("fold") or "" for row in rows])
    if len(set(found.labels)) < 2:
        raise InputError("sounds of at least two labels are needed", where=table)
    return found


def read_start(path: Path, rate_hz: int) -> Sound:
    """The first ``LONGEST_S`` seconds of a file, mono, at the tower's rate.

    Raises:
        ClipxError: as ``read_sound``, with what leaves the file out as the remedy.
    """
    try:
        sound = read_sound(path)
        parts, wanted = [], round(LONGEST_S * sound.sample_rate_hz)
        for block in sound.blocks():
            parts.append(mix(block))
            if sum(part.shape[1] for part in parts) >= wanted:
                break
        samples = np.concatenate(parts, axis=1)[:, :wanted]
        return Sound(np.ascontiguousarray(resample(samples, sound.sample_rate_hz, rate_hz)), rate_hz, str(path))
    except ClipxError as error:
        remedy = f"leave it out: --skip {path.name}"
        raise type(error)(error.what, where=error.where or path, remedy=remedy) from error
