"""Labelled data: a folder with labels.csv, class folders, or an .npz."""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from clipx.errors import FileError, InputError
from clipx.files import check_present, read_npz, read_table, sha256_of, table_path
from clipx.modality import Modality, ReadsArrays, ReadsSets
from clipx.pipeline import ArrayItem, Item, file_items
from clipx.prompts import spoken

SPLITS = {"train", "training", "test", "val", "valid", "validation"}
SOURCES = ("key_id", "source", "origin", "name", "names")  # key_id: QuickDraw's, of one drawing
MAX_SET_BYTES = 8 * 2**30  # a whole set is in memory at once


@dataclass(frozen=True)
class LabelledData:
    """N items, each of one of K classes.

    Args:
        name: of the folder or file.
        items: N things to encode.
        labels: N class names.
        classes: the K names to choose from.
        subsets: the values of the rows' columns ``split``, ``variant`` and ``fold``, sorted, where there are any.
        facts: what the data says of all of its samples, such as the axis that points up.
        folds: the N rows' column ``fold``, where the data has one.
        sources: what the N samples are called where they come from: the rows' column ``key_id``, ``source``, ``origin``
            or ``name``, where the data has one.
    """

    name: str
    items: Sequence[Item]
    labels: Sequence[str]
    classes: Sequence[str]
    subsets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    folds: Sequence[str] = ()
    sources: Sequence[str] = ()

    def sha256(self) -> str:
        """Hash over the sorted (name, label, content) of the rows: the same rows give the same hash anywhere."""
        rows = zip(self.items, self.labels, self.contents, strict=True)
        total = hashlib.sha256()
        for item, label, content in sorted(rows, key=lambda row: row[0].id):
            total.update("\0".join((Path(item.id).as_posix(), label, content, "")).encode())
        return total.hexdigest()

    @property
    def title(self) -> str:
        """The name and its subsets: ``"modelnet40 test"``, ``"esc10 fold 1 2"``."""
        words = (word for key, values in self.subsets.items() for word in (["fold"] * (key == "fold") + [*values]))
        return " ".join([self.name, *words])

    @cached_property
    def contents(self) -> list[str]:
        """The hash of each item's content."""
        return [sha256_of(item.content()) for item in self.items]

    @cached_property
    def samples(self) -> list[str]:
        """A hash of each sample that is the same for its copies, whatever else their files say."""
        pairs = zip(self.items, self.contents, strict=True)
        return [content if (own := item.values()) is None else sha256_of(own) for item, content in pairs]


def rows_csv(test: LabelledData, train: LabelledData | None = None) -> bytes:
    """The samples that were measured or learnt from, as a table: use, name, label, SHA-256 of the content, source."""
    return listed(
        (use, Path(item.id).as_posix(), label, content, source)
        for use, data in (("test", test), ("train", train))
        if data is not None
        for item, label, content, source in zip(
            data.items, data.labels, data.contents, data.sources or [""] * len(data.items), strict=True
        )
    )


def listed(rows: Iterable[Sequence[str]]) -> bytes:
    """(use, name, label, sha256, source) rows as CSV, sorted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["use", "name", "label", "sha256", "source"])
    writer.writerows(sorted(map(tuple, rows)))
    return text.getvalue().encode()


def read_data(data: Path, modality: type[Modality], where: Sequence[tuple[str, str]] = ()) -> LabelledData:
    """Read a labelled set, keeping the rows whose columns have the wanted values.

    Args:
        data: a folder with labels.csv, or that file: columns ``path`` (from its folder), ``label`` and any others, of
            which those that ``Modality.load`` takes, such as ``up``, are passed to it; or,
            beside an .npz, ``npz_index`` in place of ``path``, and the .npz must agree about the labels. A folder of
            class folders: their names are the labels; what folders inside them are called (train, test) is the column
            ``split``. An .npz: the modality's ``array_key`` (N, ...), ``labels`` (N,) as class names or as integers
            into ``classes`` (or ``names``), other arrays of N values as columns, scalars as facts about the samples,
            such as ``up``. Or any layout of the modality's own, see ``ReadsSets``.
        modality: who reads it.
        where: (column, value) pairs that a row must all have; ``"1|2"`` is either; true and false match 1 and 0.

    Returns:
        The rows kept. The classes are those of the whole set, whichever rows are kept.

    Raises:
        FileError: a file is missing (all of them in one line) or malformed. InputError: an unknown column, no rows.
    """
    if not data.exists():
        raise FileError("no such file", where=data)
    if data.suffix.lower() == ".npz":
        reader = _array_reader(modality, data)
        return _from_arrays(_read_npz(data), data, reader, where)
    arrays = modality.read_set(data, where) if issubclass(modality, ReadsSets) else None
    if arrays is not None:
        if "path" in arrays:
            return _from_paths(arrays, data, where)
        return _from_arrays(arrays, data, _array_reader(modality, data), where)
    table = data / "labels.csv" if data.is_dir() else data
    if table.suffix.lower() == ".csv" and table.exists():
        return _from_csv(table, modality, where)
    if data.is_dir():
        return _from_class_folders(data, modality, where)
    raise InputError(
        "is no labelled data", where=data, remedy="give a folder with labels.csv, class folders or an .npz"
    )


def read_captions(
    data: Path, modality: type[Modality], column: str = "caption", where: Sequence[tuple[str, str]] = ()
) -> LabelledData:
    """Read files with sentences about them: the sentences stand where labels do.

    Args:
        data: a folder with labels.csv, or that file: the columns ``path`` and ``column``. Rows whose sentence is blank
            are left out; a file may have several rows.
        modality: who reads it.
        column: of the sentences.
        where: see ``read_data``.

    Raises:
        FileError: a file is missing or malformed. InputError: an unknown column, no rows.
    """
    table = data / "labels.csv" if data.is_dir() else data
    rows = read_table(table)
    if rows and not {"path", column} <= set(rows[0]):
        what = f"needs the columns path and {column}; its first line names {', '.join(rows[0])}"
        raise FileError(what, where=table)
    said = [row | {"label": row[column].strip()} for row in rows if row[column].strip()]
    return _from_rows(said, table, modality, where)


def _from_csv(table: Path, modality: type[Modality], where: Sequence[tuple[str, str]]) -> LabelledData:
    rows = read_table(table)
    columns = list(rows[0]) if rows else []
    if rows and ("label" not in columns or not {"path", "npz_index"} & set(columns)):
        what = f"needs the columns path (or npz_index) and label; its first line names {', '.join(columns)}"
        raise FileError(what, where=table)
    if "path" not in columns and rows:
        npz = _only_npz(table)
        reader = _array_reader(modality, npz)
        return _from_arrays(_read_npz(npz), npz, reader, where, rows)
    return _from_rows(rows, table, modality, where)


def _from_rows(
    rows: Sequence[dict[str, str]], table: Path, modality: type[Modality], where: Sequence[tuple[str, str]]
) -> LabelledData:
    """A set whose samples are the files of a table's rows."""
    kept = [row for row in rows if _matches(row, where, table)]
    if blank := [i for i, row in enumerate(rows, start=2) if not row["path"].strip()]:
        raise FileError(f"{len(blank)} rows name no file, the first is row {blank[0]}", where=table)
    paths = [table_path(table.parent, row["path"]) for row in kept]
    check_present(paths, where=table)
    classes = sorted({row["label"] for row in rows} - {""})  # of the whole table: a split without a class is no easier
    labels = [row["label"] for row in kept]
    asked = _facts_taken(modality.load)
    items = file_items(paths, table.parent, [{key: row[key] for key in asked if row.get(key)} for row in kept])
    return _checked(table.parent.resolve().name, items, labels, classes, table, kept)


def _from_paths(arrays: Mapping[str, np.ndarray], data: Path, where: Sequence[tuple[str, str]]) -> LabelledData:
    """A set in a layout of a modality's own whose samples are files."""
    labels, classes = _class_names(arrays, data)
    about = {key: array.item() for key, array in arrays.items() if array.ndim == 0}
    columns = {key: array.astype(str).tolist() for key, array in arrays.items() if array.ndim == 1} | {"label": labels}
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    kept = [row for row in rows if _matches(row, where, data)]
    paths = [data / row["path"] for row in kept]
    check_present(paths, where=data)
    items = file_items(paths, data)
    return _checked(data.resolve().name, items, [row["label"] for row in kept], classes, data, kept, about)


def _from_class_folders(data: Path, modality: type[Modality], where: Sequence[tuple[str, str]]) -> LabelledData:
    paths = [p for p in sorted(data.glob("*/**/*")) if p.suffix.lower() in modality.suffixes and p.is_file()]
    if not paths:
        raise InputError(
            f"holds neither labels.csv nor class folders with {' '.join(modality.suffixes)} files", where=data
        )
    parts = [path.relative_to(data).parts for path in paths]
    if {own[0].casefold() for own in parts} <= SPLITS:
        raise InputError(
            f"its folders are splits ({', '.join(sorted({own[0] for own in parts}))}), not classes",
            where=data,
            remedy=f"name one of them, such as {data / parts[0][0]}",
        )
    rows = [{"label": own[0]} | ({"split": own[1]} if len(own) > 2 else {}) for own in parts]
    if any("split" in row for row in rows):
        rows = [{"split": ""} | row for row in rows]
    kept = [i for i, row in enumerate(rows) if _matches(row, where, data)]
    labels = [rows[i]["label"].replace("_", " ") for i in kept]
    classes = sorted({row["label"].replace("_", " ") for row in rows})
    items = file_items([paths[i] for i in kept], data)
    return _checked(data.resolve().name, items, labels, classes, data, [rows[i] for i in kept])


def _from_arrays(
    arrays: dict[str, Any],
    path: Path,
    reader: type[ReadsArrays],
    where: Sequence[tuple[str, str]],
    rows: Sequence[dict[str, str]] | None = None,
) -> LabelledData:
    """A set whose samples are rows of an array.

    Args:
        arrays: name -> array, as of an .npz.
        path: where they come from, for messages.
        reader: the modality.
        where: see ``read_data``.
        rows: of a labels.csv beside an .npz: columns of the samples that ``npz_index`` names.
    """
    key = reader.array_key
    if missing := {key, "labels"} - set(arrays):
        raise InputError(
            f"holds no {' and no '.join(sorted(missing))}", where=path, remedy=f"it holds {', '.join(arrays)}"
        )
    samples, arrays = arrays[key], {name: array for name, array in arrays.items() if name != key}
    labels, classes = _class_names(arrays, path)
    if samples.ndim < 2 or len(samples) != len(labels):
        raise InputError(f"{key} has shape {samples.shape} for {len(labels)} labels", where=path)
    about = {key: array.item() for key, array in arrays.items() if array.ndim == 0}
    columns = {key: array for key, array in arrays.items() if array.ndim == 1 and len(array) == len(labels)}
    records = [
        {"label": label} | {k: str(column[i]) for k, column in columns.items()} for i, label in enumerate(labels)
    ]
    order = list(range(len(labels)))
    if rows is not None:
        order = _indices(rows, len(labels), path)
        for i, row in zip(order, rows, strict=True):
            if spoken(row["label"]).casefold() != spoken(labels[i]).casefold():
                raise InputError(
                    f"labels.csv says {row['label']!r} for npz_index {i}, the .npz {labels[i]!r}",
                    where=path,
                    remedy="correct one of the two",
                )
        records = [records[i] | row for i, row in zip(order, rows, strict=True)]
    kept = [(i, record) for i, record in zip(order, records, strict=True) if _matches(record, where, path)]
    # A sample gets the facts that its modality asks for; the others are facts about the data as a whole.
    asked = {name: fact for name, fact in about.items() if name in _facts_taken(reader.from_array)}
    items = [ArrayItem(f"{i:08d}", samples[i], asked, f"{path} row {i}") for i, _ in kept]
    columns_of = [{key: str(value) for key, value in about.items()} | record for _, record in kept]
    return _checked(path.stem, items, [labels[i] for i, _ in kept], classes, path, columns_of, about)


def _class_names(arrays: Mapping[str, np.ndarray], path: Path) -> tuple[list[str], list[str]]:
    """(N labels, K classes). ``names`` may also be the samples' own names; ``classes`` is then there as well."""
    labels = arrays["labels"]
    if labels.ndim != 1:
        raise InputError(f"labels must be (N,), got shape {labels.shape}", where=path)
    if labels.dtype.kind in "US":
        words = [str(label) for label in labels.astype(str)]
        return words, sorted(set(words))
    names = arrays.get("classes", arrays.get("names"))
    if labels.dtype.kind not in "iu" or names is None or names.ndim != 1 or names.dtype.kind not in "US":
        raise InputError("labels must be class names, or integers beside an array classes (or names)", where=path)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(names):
        raise InputError(f"labels must be in [0, {len(names)}), got {labels.min()} to {labels.max()}", where=path)
    classes = [str(name) for name in names.astype(str)]
    return [classes[int(label)] for label in labels], classes


def _array_reader(modality: type[Modality], path: Path) -> type[ReadsArrays]:
    """The modality as one that reads arrays. Raises InputError where it reads none."""
    if not hasattr(modality, "array_key"):
        raise InputError(f"{modality.name} has no samples in .npz data sets", where=path)
    return cast(type[ReadsArrays], modality)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path, max_bytes=MAX_SET_BYTES)
    except Exception as error:  # whatever zipfile, zlib or numpy trip over in a damaged file
        raise FileError(f"cannot be read as an .npz of plain arrays ({error})", where=path) from error


def _only_npz(table: Path) -> Path:
    found = sorted(table.parent.glob("*.npz"))
    if len(found) != 1:
        raise FileError(f"has npz_index, but {len(found)} .npz files lie beside it", where=table, remedy="keep one")
    return found[0]


def _indices(rows: Sequence[Mapping[str, str]], count: int, path: Path) -> list[int]:
    texts = [row["npz_index"] for row in rows]
    wrong = [text for text in texts if not (text.isdecimal() and int(text) < count)]
    if wrong or len({int(text) for text in texts}) != len(texts):
        what = f"npz_index {wrong[0]!r} is not in [0, {count})" if wrong else "an npz_index is given twice"
        raise InputError(what, where=path.with_name("labels.csv"))
    return [int(text) for text in texts]


def _matches(row: Mapping[str, str], where: Sequence[tuple[str, str]], data: Path) -> bool:
    cells = {name.casefold(): cell for name, cell in row.items()}
    for column, _ in where:
        if column.casefold() not in cells:
            raise InputError(f"no column {column!r}", where=data, remedy=f"--where takes {', '.join(row)}")
    allowed = [(name.casefold(), {_folded(text), *map(_folded, text.split("|"))}) for name, text in where]
    return all(_folded(cells[name]) in values for name, values in allowed)


def _folded(value: str) -> str:
    low = value.strip().casefold()
    return {"true": "1", "false": "0"}.get(low, low)


def _checked(
    name: str,
    items: Sequence[Item],
    labels: Sequence[str],
    classes: Sequence[str],
    data: Path,
    rows: Sequence[Mapping[str, str]],
    facts: Mapping[str, Any] | None = None,
) -> LabelledData:
    if not items:
        raise InputError("no rows are left", where=data, remedy="see --where")
    blank = [item.id for item, label in zip(items, labels, strict=True) if not label.strip()]
    if blank:
        raise InputError(f"{len(blank)} rows have no label, the first is {blank[0]}", where=data)
    subsets = {key: sorted({row[key] for row in rows if row.get(key)}) for key in ("split", "variant", "fold")}
    subsets = {key: found for key, found in subsets.items() if found}
    folds = [row.get("fold", "") for row in rows] if "fold" in subsets else []
    column = next((key for key in SOURCES if any(key in row for row in rows)), None)
    sources = [row.get(column, "") for row in rows] if column else []
    return LabelledData(name, items, labels, classes, subsets, facts or {}, folds, sources)


def _facts_taken(method: Callable[..., Any]) -> set[str]:
    """The names of the facts about a sample that ``Modality.load`` or ``ReadsArrays.from_array`` takes."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(inspect.signature(method).parameters.values())[2:]  # without self, and the path or array
    return {parameter.name for parameter in parameters if parameter.kind in named}
