"""Sets of photos with true boxes: COCO JSON, Pascal VOC XML, and a table of photos over COCO files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import check_present, read_table, read_text, sha256_of, table_path

BOXES = "boxes.json"  # the COCO file of a folder that a table names photos of


@dataclass(frozen=True)
class BoxedPhoto:
    """A photo and what is in it.

    Args:
        path: of the photo.
        name: as the set has it.
        boxes: (B, 4) float32 left, top, right, bottom in pixels.
        labels: B names.
        ignored: (B,) bool: crowds and difficult objects, which may be found or not.
        vocabulary: all labels of the photo's part of the set, which a detector chooses from.
    """

    path: Path
    name: str
    boxes: np.ndarray
    labels: tuple[str, ...]
    ignored: np.ndarray
    vocabulary: tuple[str, ...]


def read_boxed(data: str | PathLike, where: Sequence[tuple[str, str]] = ()) -> list[BoxedPhoto]:
    """A set of photos with boxes.

    Args:
        data: a COCO ``instances`` JSON file beside its photos or a folder ``images`` of them; a VOC folder
            (Annotations, JPEGImages); or a folder with a ``labels.csv`` whose column ``path`` names photos in folders
            that each have a COCO file ``boxes.json``.
        where: keep the rows of the table whose columns have these values; besides its own columns ``row`` is the
            number of a row from 0, and ``half`` is 0 of even rows and 1 of odd ones.

    Raises:
        FileError: a file is missing or malformed. InputError: no rows, or conditions where there is no table.
    """
    data = Path(data)
    if not data.exists():
        raise FileError("no such file or folder", where=data, remedy="check the path")
    table = data / "labels.csv"
    if where and not table.is_file():
        raise InputError("--where takes columns of a labels.csv, and there is none", where=data)
    if data.is_file():
        found = _from_coco(data)
    elif table.is_file():
        found = _from_table(data, table, where)
    elif (data / "Annotations").is_dir():
        found = _from_voc(data)
    else:
        remedy = "give a COCO file, a VOC folder, or a folder with labels.csv and boxes.json"
        raise FileError("holds no photos with boxes", where=data, remedy=remedy)
    if not found:
        raise InputError("no photos", where=data, remedy="check --where" if where else None)
    check_present([one.path for one in found], data)
    return found


def set_sha256(photos: Sequence[BoxedPhoto]) -> str:
    """Of the sorted (name, photo, boxes): the same photos give the same hash anywhere."""
    total = hashlib.sha256()
    for one in sorted(photos, key=lambda one: one.name):
        truth = sha256_of(one.boxes.tobytes() + repr(one.labels).encode() + one.ignored.tobytes())
        total.update("\0".join((one.name, sha256_of(one.path), truth, "")).encode())
    return total.hexdigest()


def _from_table(folder: Path, table: Path, where: Sequence[tuple[str, str]]) -> list[BoxedPhoto]:
    rows = [row | {"row": str(i), "half": str(i % 2)} for i, row in enumerate(read_table(table))]
    if rows and "path" not in rows[0]:
        raise FileError("has no column path", where=table)
    if rows and (missing := sorted({column.casefold() for column, _ in where} - set(rows[0]))):
        raise InputError(f"no column {missing[0]!r}", where=table, remedy=f"--where takes {', '.join(rows[0])}")
    kept = [row for row in rows if all(row[column.casefold()] == value for column, value in where)]
    sets: dict[Path, dict[Path, BoxedPhoto]] = {}
    found = []
    for row in kept:
        photo = table_path(folder, row["path"])
        home = next((parent for parent in photo.parents if (parent / BOXES).is_file()), None)
        if home is None or not home.is_relative_to(folder):
            raise FileError(f"no {BOXES} above the photo {row['path']}", where=table)
        if home not in sets:
            sets[home] = {one.path: one for one in _from_coco(home / BOXES)}
        if photo not in sets[home]:
            raise FileError(f"does not name the photo {row['path']}", where=home / BOXES)
        one = sets[home][photo]
        found.append(BoxedPhoto(one.path, row["path"], one.boxes, one.labels, one.ignored, one.vocabulary))
    return found


def _from_coco(path: Path) -> list[BoxedPhoto]:
    try:
        record = json.loads(read_text(path))
        names = {one["id"]: str(one["name"]) for one in record["categories"]}
        own: dict[Any, list[Mapping[str, Any]]] = {one["id"]: [] for one in record["images"]}
        for one in record["annotations"]:
            own[one["image_id"]].append(one)
        vocabulary = tuple(names.values())
        return [_coco_photo(path.parent, about["file_name"], own[about["id"]], names, vocabulary)
                for about in record["images"]]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"is no COCO instances file ({type(error).__name__}: {error})"
        raise FileError(what, where=path, remedy="it has images, annotations and categories") from error


def _coco_photo(
    folder: Path, name: str, objects: Sequence[Mapping[str, Any]], names: Mapping[Any, str], vocabulary: tuple[str, ...]
) -> BoxedPhoto:
    path = table_path(folder, name)
    path = path if path.exists() or not (folder / "images").is_dir() else folder / "images" / name
    boxes = np.array([one["bbox"] for one in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    ignored = np.array([bool(one.get("iscrowd")) or bool(one.get("difficult")) for one in objects], bool)
    return BoxedPhoto(path, name, boxes, tuple(names[one["category_id"]] for one in objects), ignored, vocabulary)


def _from_voc(folder: Path) -> list[BoxedPhoto]:
    files = sorted((folder / "Annotations").glob("*.xml"))
    parsed = [_voc_photo(path) for path in files]
    vocabulary = tuple(sorted({label for _, _, labels, _ in parsed for label in labels}))
    photos = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    return [
        BoxedPhoto(photos / name, name, boxes, labels, ignored, vocabulary) for name, boxes, labels, ignored in parsed
    ]


def _voc_photo(path: Path) -> tuple[str, np.ndarray, tuple[str, ...], np.ndarray]:
    """File name, boxes, labels, difficult; VOC counts pixels from 1, and its right and bottom are inside the box."""
    from xml.etree import ElementTree

    text = read_text(path)
    if "<!ENTITY" in text:  # entities may expand without end
        raise FileError("declares entities", where=path, remedy="write annotations without them")
    try:
        root = ElementTree.fromstring(text)
        objects = root.findall("object")
        name = root.findtext("filename") or f"{path.stem}.jpg"
        corners = [
            [float(one.findtext(f"bndbox/{k}", "")) for k in ("xmin", "ymin", "xmax", "ymax")] for one in objects
        ]
        labels = tuple((one.findtext("name") or "").strip() for one in objects)
    except (ElementTree.ParseError, ValueError) as error:
        raise FileError(f"is no VOC annotation ({error})", where=path) from error
    if not all(labels):
        raise FileError("an object has no name", where=path)
    boxes = np.array(corners, np.float32).reshape(-1, 4) - np.array([1, 1, 0, 0], np.float32)
    return name, boxes, labels, np.array([one.findtext("difficult") == "1" for one in objects], bool)
