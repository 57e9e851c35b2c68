"""The one-liners: files, pictures or clouds in, labels or vectors out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from clipx._arrays import is_one_array
from clipx.embedding import Embedding
from clipx.errors import FileError, InputError, MissingDependencyError
from clipx.files import read_text
from clipx.modality import Modality, bound
from clipx.parts import View
from clipx.pipeline import FileItem, Item, ObjectItem, embedding_of, encode_all
from clipx.prompts import Prompts
from clipx.registry import get_modality, modality_of, modality_taking, object_takers
from clipx.settings import restored
from clipx.zeroshot import Prediction, ZeroShotClassifier

if TYPE_CHECKING:
    from clipx.fewshot import FewShotClassifier
    from clipx.space import JointSpace

StrPath = str | PathLike[str]


@overload
def classify(path: StrPath, labels: Sequence[str] | None = None, **options: Any) -> list[Prediction]: ...
@overload
def classify(path: list[Any], labels: Sequence[str] | None = None, **options: Any) -> list[list[Prediction]]: ...
@overload
def classify(path: Any, labels: Sequence[str] | None = None, **options: Any) -> Any: ...
def classify(
    path: Any,
    labels: Sequence[str] | None = None,
    modality: str | None = None,
    space: StrPath | JointSpace | None = None,
    top: int | None = None,
    prompts: Prompts | None = None,
    none_threshold: float | None = None,
    device: str = "cpu",
    batch_size: int = 32,
    classifier: StrPath | FewShotClassifier | None = None,
    **config: Any,
) -> list[Prediction] | list[list[Prediction]]:
    """Name what is in a file, or in each of several files, by words or by a classifier that learned from samples.

    >>> clipx.classify("chair.ply", ["chair", "table", "airplane"])[0].label   # doctest: +SKIP
    'chair'
    >>> clipx.classify(PIL.Image.open("cat.jpg"), ["cat", "dog"])[0].label     # doctest: +SKIP
    'cat'

    Args:
        path: one file, or several; their modalities may differ. In the place of a file may stand an object that a
            modality takes (``clipx.modality.TakesObjects``): a PIL picture, an (H, W, 3) array of RGB, a (3, H, W)
            tensor of RGB in [0, 1], a (P, 3) array of a cloud's points, or a sound as (waveform, Hz).
        labels: the words to choose from; None with a classifier.
        modality: a modality's name; taken from each file's suffix or each object when left out.
        space: what ``clipx.load_space`` takes, loaded once and kept, or a ``JointSpace``; by default ``$CLIPX_SPACE``,
            else lite.
        top: how many predictions to keep; all by default.
        prompts: anything ``ZeroShotClassifier`` takes; each modality's own set by default.
        none_threshold: see ``ZeroShotClassifier``.
        device: where a space given by name is loaded.
        batch_size: how many samples are encoded at a time; as many are read meanwhile.
        classifier: what ``clipx train classifier`` wrote, or what ``clipx.fewshot.load_classifier`` read of it. It
            knows its classes, its modality and its space.
        **config: fields of the modality's ``Config``, such as ``up="z"``.

    Returns:
        One path: its predictions, best first. Several: one such list for each, in their order.

    Raises:
        FileError: a file that cannot be read. InputError: what no modality reads or takes, no labels, or a setting out
            of range. VocabularyError: an embedded space does not know a word.
    """
    items, one = _items(path)
    if classifier is not None:
        if labels is not None or prompts is not None or none_threshold is not None:
            raise InputError("labels, prompts and none_threshold are for words", where="classify")
        found = _by_classifier(items, classifier, modality, space, top, device, batch_size, config)
        return found[0] if one else found
    if labels is None:
        raise InputError("takes words or a classifier", where="classify", remedy="give labels or classifier")
    space, found = opened_space(space, device), [[] for _ in items]
    for encoder, rows in _encoders(items, modality, space, config):
        by_words = ZeroShotClassifier(space, labels, encoder.prompts if prompts is None else prompts, none_threshold)
        embedding = _encode(bound(encoder, by_words), [items[i] for i in rows], batch_size)
        for i, predictions in zip(rows, by_words.predict(embedding, top), strict=True):
            found[i] = predictions
    return found[0] if one else found


def _by_classifier(
    items: Sequence[Item],
    classifier: StrPath | FewShotClassifier,
    modality: str | None,
    space: StrPath | JointSpace | None,
    top: int | None,
    device: str,
    batch_size: int,
    config: Mapping[str, Any],
) -> list[list[Prediction]]:
    from clipx.fewshot import load_classifier

    fitted = load_classifier(classifier) if isinstance(classifier, str | PathLike) else classifier
    name, stored, source = learned_from(fitted, modality)
    space = opened_space(own_space(source) if space is None else space, device)
    encoder = make_modality(name, space, stored | dict(config))
    views = (View,) if fitted.views > 1 else ()
    embedding = embedding_of(encode_all(items, encoder, separate=views, batch=batch_size), encoder, bool(views))
    return fitted.attached(space).predict(embedding, top) if items else []


def own_space(source: str) -> str:
    """The space that a classifier's file names, if it lies on this machine; a file is no reason to fetch one.

    Raises:
        InputError: a space of the hub, or a folder that is not there.
    """
    from clipx.spaces.embedded import embedded_names

    if source in embedded_names() or Path(source).is_dir():
        return source
    raise InputError(f"the classifier was learned in {source}", remedy=f"name it: --space {source}, or space=...")


def learned_from(classifier: FewShotClassifier, modality: str | None = None) -> tuple[str, dict[str, Any], str]:
    """The modality that a classifier learned from, its settings as its ``Config`` takes them, and the space's name.

    Raises:
        InputError: a classifier that does not say so, or one of another modality than ``modality``.
    """
    about = classifier.settings
    if not {"modality", "config", "space"} <= set(about):
        raise InputError(
            "the classifier does not say what files it names", remedy="make it with clipx train classifier"
        )
    if modality not in (None, about["modality"]):
        raise InputError(f"the classifier was learned from {about['modality']}, not from {modality}")
    return about["modality"], restored(get_modality(about["modality"]).Config, about["config"]), about["space"]


def embed(
    paths: Any,
    modality: str | None = None,
    space: StrPath | JointSpace | None = None,
    device: str = "cpu",
    batch_size: int = 32,
    **config: Any,
) -> Embedding:
    """The files as unit vectors of a joint space, one row for each in their order.

    ``ids`` are the paths; of an object its place among what was given, such as ``[0]``. Args and errors are those of
    ``classify``. Where the files are of several modalities, the embedding's modality joins their names with ``+``.
    """
    items, _ = _items(paths)
    space = opened_space(space, device)
    vectors = np.zeros((len(items), space.dim), np.float32)
    encoders = _encoders(items, modality, space, config)
    for encoder, rows in encoders:
        vectors[rows] = _encode(encoder, [items[i] for i in rows], batch_size).vectors
    names = "+".join(sorted(encoder.name for encoder, _ in encoders)) or modality or "none"
    return Embedding(vectors, space.id, names, [item.id for item in items])


def group_by_modality(paths: Sequence[StrPath], modality: str | None = None) -> dict[str, list[int]]:
    """Modality name -> positions in ``paths`` of the files it reads; ``modality`` overrules the suffixes.

    Raises:
        InputError: a suffix that no modality owns.
    """
    groups: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        groups.setdefault(modality or modality_of(path), []).append(i)
    return groups


def make_modality(name: str, space: JointSpace, config: Mapping[str, Any] | None = None) -> Modality:
    """A modality attached to a space, configured by field name.

    Raises:
        InputError: no such modality, or its ``Config`` has no such field.
        MissingDependencyError: a package or system library it needs is not installed.
    """
    cls = get_modality(name)
    if (missing := cls.missing()) is not None:
        raise MissingDependencyError(f"modality {name!r} does not work here", remedy=missing)
    _check_fields([cls], config or {})
    return cls(space, cls.Config(**(config or {})))


def parse_labels(text: str) -> list[str]:
    """``"a,b,c"`` or ``"@labels.txt"`` -> labels.

    A file holds one label a line, in UTF-8 or in UTF-16 with its mark, and a label may hold commas; blank lines are
    skipped, and a file of a single line is read as ``"a,b,c"``. Quotes around a label are not part of it, and a line
    that begins with one, as every line of a ``.csv``, is read as CSV. Repeated and empty labels are refused by the
    classifier.

    Raises:
        FileError: the file is missing, is not text, names no label, or is a table of several columns.
        InputError: quotes that do not match.
    """
    if not text.startswith("@"):
        return _cells(text, "--labels") if text.strip() else []
    path, remedy = Path(text[1:]), "give a file with one label a line"
    try:
        lines = [line.strip().rstrip(",;").strip() for line in read_text(path).splitlines()]
    except FileError as error:
        what = "names no class" if error.what.startswith("is empty") else error.what
        raise FileError(what, where=path, remedy=error.remedy or remedy) from error
    lines = [line for line in lines if line]
    if not lines:
        raise FileError("names no class", where=path, remedy=remedy)
    as_csv = path.suffix.lower() in (".csv", ".tsv") or len(lines) == 1
    rows = [_cells(line, path) if as_csv or line[0] == '"' or "\t" in line else [_unquoted(line)] for line in lines]
    if len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1:
        raise FileError(f"is a table of {len(rows[0])} columns, not a list of labels", where=path, remedy=remedy)
    return [label for row in rows for label in row]


def _cells(line: str, where: StrPath) -> list[str]:
    """A line of CSV -> labels, parted by tabs where there are any, else by commas, else by semicolons."""
    delimiter = next((sign for sign in "\t,;" if sign in line), ",")
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(f"quotes that do not match in {line[:60]!r}", where=where) from error
    return [_unquoted(cell.strip()) for cell in cells]


def _unquoted(label: str) -> str:
    """Without a pair of quotes around it, of any alphabet."""
    pairs = ('""', "''", "\u201c\u201d", "\u201e\u201c", "\u2018\u2019", "\u00ab\u00bb")
    return label[1:-1].strip() if len(label) > 2 and label[0] + label[-1] in pairs else label


def _items(given: Any) -> tuple[list[Item], bool]:
    """What a user gave as items, and whether it was one file or object rather than several."""
    one = isinstance(given, str | PathLike) or is_one_array(given) or modality_taking(given) is not None
    if not one and not isinstance(given, Iterable):
        raise InputError(f"takes one or several files or objects, got {_kind(given)}")
    return [_item(value, place) for place, value in enumerate([given] if one else given)], one


def _item(value: Any, place: int) -> Item:
    if isinstance(value, str | PathLike):
        return FileItem(fspath(value), Path(value))
    return ObjectItem(f"[{place}]", value)


def _modality_of_item(item: Item) -> str:
    """Its modality's name. Raises InputError: none reads or takes it."""
    if isinstance(item, FileItem):
        return modality_of(item.id)
    value = cast("ObjectItem", item).value
    if (name := modality_taking(value)) is None:
        known = ["a file", *(cls.objects for cls in object_takers().values())]
        raise InputError(f"no modality takes {_kind(value)}", where=item.id, remedy=f"give {', or '.join(known)}")
    return name


def _kind(value: Any) -> str:
    """A type's name, with its shape where it has one."""
    shape = getattr(value, "shape", None)
    return f"{type(value).__module__}.{type(value).__qualname__}" + (f" of {tuple(shape)}" if shape is not None else "")


def opened_space(space: StrPath | JointSpace | None, device: str = "cpu", backend: str = "auto") -> JointSpace:
    """What ``clipx.load_space`` takes as a space, loaded once and kept; a space as it is; of None the default one."""
    from clipx.spaces.loading import default_name

    space = default_name() if space is None else space
    return _load_once(fspath(space), device, backend) if isinstance(space, str | PathLike) else space


@lru_cache(maxsize=2)
def _load_once(name: str, device: str, backend: str) -> JointSpace:
    from clipx.spaces.loading import load_space

    return load_space(name, device=device, backend=backend)


def _encoders(
    items: Sequence[Item], modality: str | None, space: JointSpace, config: Mapping[str, Any]
) -> list[tuple[Modality, list[int]]]:
    """The modality of each group of items with the items' positions; each takes the config fields that it has."""
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault(modality or _modality_of_item(item), []).append(i)
    classes = {name: get_modality(name) for name in groups}
    _check_fields(list(classes.values()), config)
    return [
        (make_modality(name, space, {k: v for k, v in config.items() if k in _field_names(classes[name])}), rows)
        for name, rows in groups.items()
    ]


def _encode(encoder: Modality, items: Sequence[Item], batch_size: int) -> Embedding:
    return embedding_of(encode_all(items, encoder, batch=batch_size), encoder)


def _field_names(cls: type[Modality]) -> list[str]:
    return [f.name for f in fields(cls.Config)]


def _check_fields(classes: Sequence[type[Modality]], config: Mapping[str, Any]) -> None:
    known = {name for cls in classes for name in _field_names(cls)}
    for name in config:
        if classes and name not in known:
            raise InputError(
                f"{' and '.join(cls.name for cls in classes)} has no setting {name!r}",
                remedy=f"known: {', '.join(sorted(known)) or 'none'}",
            )
