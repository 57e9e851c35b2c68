"""Proposals of a file: COCO JSON, or a CSV table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import read_table, read_text
from clipx.modalities.detect.boxes import Proposals, area

CORNERS = ("left", "top", "right", "bottom")


def read_proposals(path: str | PathLike) -> dict[str, Proposals]:
    """Name of a photo -> boxes in it, best first.

    Args:
        path: COCO JSON (images, and annotations with ``bbox`` and perhaps ``score``; as ``clipx detect`` writes), or a
            CSV file with the columns path, left, top, right, bottom in pixels, and perhaps score in [0, 1].

    Raises:
        FileError: missing or malformed, or a box without area or a score out of range.
    """
    path = Path(path)
    rows = _from_coco(path) if path.suffix.lower() == ".json" else _from_csv(path)
    found: dict[str, list[tuple[float, ...]]] = {}
    for name, *numbers in rows:
        found.setdefault(name, []).append(tuple(numbers))
    proposals = {}
    for name, listed in found.items():
        table = np.array(listed, np.float32)
        if not np.isfinite(table).all() or (area(table[:, :4]) <= 0).any():
            raise FileError("a box has no area", where=path, remedy=f"check the boxes of {name}")
        if not ((table[:, 4] >= 0) & (table[:, 4] <= 1)).all():
            raise FileError("a score is not in [0, 1]", where=path, remedy=f"check the boxes of {name}")
        order = np.argsort(-table[:, 4], kind="stable")
        proposals[name] = Proposals(table[order, :4], table[order, 4])
    return proposals


def proposals_of(found: Mapping[str, Proposals], photo: str | PathLike, file: str | PathLike) -> Proposals:
    """The proposals of one photo, by its path as it was given or by its file name.

    Raises:
        InputError: the file has no boxes of this photo.
    """
    for name in (str(photo), Path(photo).as_posix(), Path(photo).name):
        if name in found:
            return found[name]
    by_name = {Path(name).name: one for name, one in found.items()}
    if Path(photo).name not in by_name:
        raise InputError(f"has no boxes of {Path(photo).name}", where=file)
    return by_name[Path(photo).name]


def _from_coco(path: Path) -> list[tuple[Any, ...]]:
    try:
        record = json.loads(read_text(path))
        names = {one["id"]: str(one["file_name"]) for one in record["images"]}
        rows = []
        for one in record["annotations"]:
            left, top, width, height = (float(v) for v in one["bbox"])
            score = float(one.get("score", 1))
            rows.append((names[one["image_id"]], left, top, left + width, top + height, score))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError("is no COCO file of boxes", where=path, remedy="it has images and annotations") from error
    return rows


def _from_csv(path: Path) -> list[tuple[Any, ...]]:
    rows = read_table(path)
    if rows and (missing := [name for name in ("path", *CORNERS) if name not in rows[0]]):
        raise FileError(f"has no column {missing[0]}", where=path, remedy=f"give path,{','.join(CORNERS)}")
    try:
        return [(row["path"], *(float(row[name]) for name in CORNERS), float(row.get("score") or 1)) for row in rows]
    except ValueError as error:
        raise FileError(f"holds something other than numbers ({error})", where=path) from error
