"""Sets of photos with masks: tables, VOC folders and COCO annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import check_present, read_table, read_text, table_path

IGNORED = 255  # the value of a pixel that is not judged, as in VOC
BACKGROUND = "background"
MASK_MODES = ("P", "L", "1")
VOC_CLASSES = (
    BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo and what each of its pixels is.

    Args:
        photo: its file.
        mask: a picture whose values are classes, or None where there are polygons.
        name: of the photo as the set has it.
        size: (height, width) in pixels, where the set says.
        polygons: (class, outlines in pixels; None where the annotation is not of single objects), large ones first.
    """

    photo: Path
    mask: Path | None
    name: str
    size: tuple[int, int] | None = None
    polygons: Sequence[tuple[int, Sequence[Sequence[float]] | None, Sequence[float]]] = ()

    def read(self, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """The photo, (3, H, W) float32 RGB in [0, 1], and its ``truth``.

        Args:
            classes: K; a value of the mask is below it, or ``IGNORED``.

        Raises:
            FileError: a file cannot be read, the mask is of another size, or has a value that is no class.
        """
        from clipx.pictures import read_rgb

        photo, truth, where = read_rgb(self.photo), self.truth(), self.mask or self.photo
        if truth.shape != photo.shape[1:]:
            raise FileError(f"a mask of {truth.shape} pixels, its photo has {photo.shape[1:]}", where=where)
        if wrong := sorted(set(np.unique(truth).tolist()) - {*range(classes), IGNORED}):
            raise FileError(f"has the value {wrong[0]}, there are {classes} classes", where=where)
        return photo, truth

    def truth(self) -> np.ndarray:
        """(H, W) uint8 classes; ``IGNORED`` where a pixel is not judged.

        Raises:
            FileError: the mask is missing or corrupt, or no picture of classes.
        """
        if self.mask is None:
            return self._drawn()
        from clipx.pictures import open_picture

        picture = open_picture(self.mask)
        if picture.mode not in MASK_MODES:
            raise FileError(
                f"is a picture of mode {picture.mode}, not of classes",
                where=self.mask,
                remedy="save masks as palette or 8-bit grey PNG",
            )
        return np.array(picture, np.uint8)

    def _drawn(self) -> np.ndarray:
        from PIL import Image, ImageDraw

        height, width = self.size or (0, 0)
        canvas = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(canvas)
        for label, outlines, (left, top, wide, high) in self.polygons:
            if outlines is None:  # a crowd: some of its box is of the class
                pen.rectangle((left, top, left + wide, top + high), fill=IGNORED)
            for outline in outlines or ():
                if len(outline) >= 6:
                    pen.polygon([float(v) for v in outline], fill=label)
        return np.array(canvas)


@dataclass(frozen=True)
class MaskedPhotos:
    """N photos with masks of K classes.

    Args:
        name: of the set.
        photos: the N photos.
        classes: the K names; the value of a mask's pixel is a place in them.
    """

    name: str
    photos: Sequence[MaskedPhoto]
    classes: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def background(self) -> int | None:
        """The class that is all the rest, if there is one."""
        return self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None


def read_masks(data: str | PathLike, where: Sequence[tuple[str, str]] = (), split: str = "val") -> MaskedPhotos:
    """A set of photos with masks.

    Args:
        data: a folder with ``labels.csv`` (columns path, mask) and ``classes.txt``, there or beside the folder of the
            masks; a VOC folder (JPEGImages, SegmentationClass, ImageSets/Segmentation); or a COCO ``instances`` JSON
            file beside its photos or a folder ``images`` of them.
        where: keep the rows of a table whose columns have these values; the column ``half``, 0 in even rows and 1 in
            odd ones, counted from 0, need not be in it, and is all that other sets have.
        split: the list of a VOC folder; one without lists is taken whole.

    Raises:
        FileError: a file is missing or malformed. InputError: no rows, or rows of several lists of classes.
    """
    data = Path(data)
    if not data.exists():
        raise FileError("no such file or folder", where=data, remedy="check the path")
    if (data / "labels.csv").is_file():
        return _from_table(data, where)
    if data.is_file():
        found = _from_coco(data)
    elif (data / "SegmentationClass").is_dir():
        found = _from_voc(data, split)
    else:
        raise FileError(
            "holds no photos with masks",
            where=data,
            remedy="give a folder with labels.csv (path, mask), a VOC folder, or a COCO instances file",
        )
    if others := [column for column, _ in where if column != "half"]:
        raise InputError(f"has no column {others[0]}", where=data, remedy="only a labels.csv has columns")
    kept = [one for i, one in enumerate(found.photos) if all(value == str(i % 2) for _, value in where)]
    if not kept:
        raise InputError("no rows", where=data, remedy="check --where")
    return replace(found, photos=kept)


def _from_table(folder: Path, where: Sequence[tuple[str, str]]) -> MaskedPhotos:
    table = folder / "labels.csv"
    rows = [{"half": str(i % 2)} | row for i, row in enumerate(read_table(table))]
    if rows and (missing := {"path", "mask", *(column for column, _ in where)} - set(rows[0])):
        raise FileError(f"has no column {sorted(missing)[0]}", where=table)
    kept = [row for row in rows if all(row[column] == value for column, value in where)]
    if not kept:
        raise InputError("no rows", where=table, remedy="check --where" if rows else None)
    photos = [
        MaskedPhoto(table_path(folder, row["path"]), table_path(folder, row["mask"]), row["path"]) for row in kept
    ]
    check_present([path for one in photos for path in (one.photo, one.mask) if path is not None], table)
    lists = {_classes_beside(one.mask, folder) for one in photos if one.mask is not None}
    if len(lists) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in sorted(lists))
        raise InputError(f"rows of several lists of classes: {names}", where=table, remedy="keep one with --where")
    return MaskedPhotos(folder.resolve().name, photos, _read_classes(lists.pop()))


def _classes_beside(mask: Path, folder: Path) -> Path:
    """The nearest classes.txt above a mask, not above the set's own folder."""
    for parent in mask.parents:
        if (parent / "classes.txt").is_file():
            return parent / "classes.txt"
        if parent == folder:
            break
    raise FileError("no such file", where=folder / "classes.txt", remedy="list the classes in it, a line each")


def _read_classes(path: Path) -> tuple[str, ...]:
    """The classes of a file whose lines are ``0 background``, or names alone; ``255 ignore`` is left out."""
    names: dict[int, str] = {}
    for line in read_text(path).splitlines():
        if not line.strip():
            continue
        number, _, name = line.strip().partition(" ")
        value, name = (int(number), name.strip()) if number.isdigit() and name else (len(names), line.strip())
        if value != IGNORED:
            names[value] = name
    if sorted(names) != list(range(len(names))) or not names:
        raise FileError("its numbers do not count from 0 to the last class", where=path)
    return tuple(names[i] for i in range(len(names)))


def _from_voc(folder: Path, split: str) -> MaskedPhotos:
    listed = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
    masks = folder / "SegmentationClass"
    if listed.parent.is_dir() and not listed.is_file():
        lists = ", ".join(sorted(path.stem for path in listed.parent.glob("*.txt")))
        raise FileError("no such list", where=listed, remedy=f"--split {lists}" if lists else None)
    stems = read_text(listed).split() if listed.is_file() else sorted(path.stem for path in masks.glob("*.png"))
    photos = [MaskedPhoto(folder / "JPEGImages" / f"{s}.jpg", masks / f"{s}.png", f"JPEGImages/{s}.jpg") for s in stems]
    if not photos:
        raise InputError("no rows", where=listed)
    check_present([path for one in photos for path in (one.photo, one.mask) if path is not None], folder)
    classes = _read_classes(folder / "classes.txt") if (folder / "classes.txt").is_file() else VOC_CLASSES
    return MaskedPhotos(folder.resolve().name, photos, classes)


def _from_coco(path: Path) -> MaskedPhotos:
    try:
        found = json.loads(read_text(path))
        names = {one["id"]: one["name"] for one in found["categories"]}
        photos = {one["id"]: one for one in found["images"]}
        objects: dict[int, list[Any]] = {key: [] for key in photos}
        for one in found["annotations"]:
            objects[one["image_id"]].append(one)
        value = {key: i for i, key in enumerate(sorted(names), 1)}
        root = path.parent / "images" if (path.parent / "images").is_dir() else path.parent
        rows = [
            MaskedPhoto(
                table_path(root, about["file_name"]),
                None,
                about["file_name"],
                (int(about["height"]), int(about["width"])),
                [_outlines(one, value) for one in sorted(objects[key], key=_area, reverse=True)],
            )
            for key, about in photos.items()
            if objects[key]
        ]
        if len(names) >= IGNORED:
            raise InputError(f"{len(names)} categories, a mask has {IGNORED - 1}", where=path)
    except InputError:  # is a ValueError, too
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            "is no COCO instances file", where=path, remedy="it has images, annotations, categories"
        ) from error
    if not rows:
        raise InputError("no photo has an annotation", where=path)
    check_present([one.photo for one in rows], path)
    return MaskedPhotos(path.stem, rows, (BACKGROUND, *(names[key] for key in sorted(names))))


def _area(annotation: Mapping[str, Any]) -> float:
    return float("inf") if annotation.get("iscrowd") else float(annotation.get("area", 0))


def _outlines(one: Mapping[str, Any], value: Mapping[int, int]) -> tuple[int, Any, Any]:
    shape = one["segmentation"]
    if not isinstance(shape, list) and not one.get("iscrowd"):
        raise InputError(
            f"the annotation {one.get('id', '')} is no polygon",
            remedy="save objects as polygons, or masks as palette PNGs",
        )
    return value[one["category_id"]], shape if isinstance(shape, list) else None, one["bbox"]
