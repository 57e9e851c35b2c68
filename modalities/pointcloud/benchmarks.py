"""The two public benchmarks of cloud classification as they are handed out: HDF5 files.

ModelNet40, 2,048 points a shape (Qi et al., PointNet, CVPR 2017): a folder of ``ply_data_train0.h5`` ...
``ply_data_test1.h5`` and ``shape_names.txt``. ScanObjectNN (Uy et al., ICCV 2019): ``main_split`` (with background) and
``main_split_nobg``, each with ``training_...`` and ``test_objectdataset...h5`` for every variant. Both are y up.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from clipx.errors import FileError, InputError, MissingDependencyError

MODELNET40_SHAPES = {"train": 9840, "test": 2468}
# MD5 of the files of modelnet40_ply_hdf5_2048, as the loaders in use check them.
MODELNET40_MD5 = {
    "ply_data_train0.h5": "3176385ffc31a7b6b5af22191fd920d1",
    "ply_data_train1.h5": "e3f613fb500559403b34925112754dc4",
    "ply_data_train2.h5": "0c56e233a090ff87c3049d4ce08e7d8b",
    "ply_data_train3.h5": "9d2af465adfa33a3285c369f3ca66c45",
    "ply_data_train4.h5": "dff38de489b2c41bfaeded86c2208984",
    "ply_data_test0.h5": "e9732e6d83b09e79e9a7617df058adee",
    "ply_data_test1.h5": "aba4b12a67c34391cc3c015a6f08ed4b",
}
SCANOBJECTNN_CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
)  # fmt: skip
# What a file's name says behind training_ or test_ -> the variant's name in the paper, and its shapes.
SCANOBJECTNN_VARIANTS = {
    "objectdataset": ("OBJ", {"train": 2309, "test": 581}),
    "objectdataset_augmented25_norot": ("PB_T25", None),
    "objectdataset_augmented25rot": ("PB_T25_R", None),
    "objectdataset_augmentedrot": ("PB_T50_R", None),
    "objectdataset_augmentedrot_scale75": ("PB_T50_RS", {"train": 11416, "test": 2882}),
}
MOST_BYTES = 8 * 2**30


def read_benchmark(path: Path, where: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
    """ModelNet40's or ScanObjectNN's files as arrays; None where the path is neither.

    Args:
        path: one .h5 file of theirs, or the folder they lie in. Of a ScanObjectNN folder, the variant is OBJ_BG or
            OBJ_ONLY (the objects as they were scanned) unless ``where`` names another.
        where: (column, value) pairs; files of another ``split`` or ``variant`` are not opened.

    Returns:
        ``points`` (N, P, 3) float32, ``labels`` (N,), ``classes``, ``split`` and ``variant`` (N,), ``benchmark``,
        ``up``, and ``published``: whether the number of shapes, and where they are known the hashes of the files, are
        those of the release.

    Raises:
        FileError: a file is missing, damaged or of another shape. InputError: no file of that split or variant.
        MissingDependencyError: h5py is not installed.
    """
    files = sorted(path.glob("*.h5")) if path.is_dir() else [path] if path.suffix.lower() == ".h5" else []
    known = [file for file in files if _parsed_name(file) is not None]
    if not known:
        if path.suffix.lower() == ".h5":
            raise FileError(
                "is no file of ModelNet40 or ScanObjectNN, by its name",
                where=path,
                remedy="keep the names of the release, or convert it to an .npz of points and labels",
            )
        return None
    chosen = [file for file in known if _wanted(file, dict(where), any_variant=not path.is_dir())]
    if not chosen:
        found = sorted({" ".join(str(part) for part in (_parsed_name(file) or ())[1:] if part) for file in known})
        raise InputError("no file of that split or variant", where=path, remedy=f"there are {', '.join(found)}")
    benchmarks = {str((_parsed_name(file) or ("",))[0]) for file in chosen}
    if len(benchmarks) > 1:
        raise InputError("holds files of two benchmarks", where=path, remedy="name one file")
    name = benchmarks.pop()
    parts = [_read(file) for file in chosen]
    if len({points.shape[1] for points, _ in parts}) > 1:
        raise FileError("the files hold different numbers of points a shape", where=path)
    classes = _modelnet40_classes(chosen[0].parent) if name == "ModelNet40" else SCANOBJECTNN_CLASSES
    labels = np.concatenate([labels for _, labels in parts])
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise FileError(f"labels {labels.min()} to {labels.max()} of {len(classes)} classes", where=path)

    def column(place: int) -> np.ndarray:
        return np.repeat([str((_parsed_name(f) or ())[place]) for f in chosen], [len(own) for _, own in parts])

    whole = path.is_dir() or name == "ScanObjectNN"
    odd = _differences(name, chosen, column(1), column(2), whole)
    if odd:
        warnings.warn(f"{path}: not the {name} that was released: {'; '.join(odd)}", stacklevel=2)
    return {
        "points": np.concatenate([points for points, _ in parts]),
        "labels": labels,
        "classes": np.array(classes),
        "split": column(1),
        "variant": column(2),
        "benchmark": np.array(name),
        "up": np.array("y"),
        "published": np.array("differs: " + "; ".join(odd) if odd else "yes"),
    }


def _parsed_name(file: Path) -> tuple[str, str, str] | None:
    """(benchmark, split, variant) by the name of a file; the variant of ModelNet40 is empty."""
    name = file.stem
    for split, key in (("train", "ply_data_train"), ("test", "ply_data_test")):
        if name.startswith(key) and name.removeprefix(key).isdigit():
            return "ModelNet40", split, ""
    for split, key in (("train", "training_"), ("test", "test_")):
        if name.startswith(key) and name.removeprefix(key) in SCANOBJECTNN_VARIANTS:
            variant = SCANOBJECTNN_VARIANTS[name.removeprefix(key)][0]
            bare = file.resolve().parent.name.endswith("nobg")  # the background cut away
            if variant == "OBJ":
                return "ScanObjectNN", split, "OBJ_ONLY" if bare else "OBJ_BG"
            return "ScanObjectNN", split, variant + ("_NOBG" if bare else "")
    return None


def _wanted(file: Path, where: dict[str, str], any_variant: bool) -> bool:
    parsed = _parsed_name(file)
    if parsed is None or parsed[1] not in where.get("split", parsed[1]).casefold().split("|"):
        return False
    variant = parsed[2].casefold()
    if "variant" in where:
        return variant in where["variant"].casefold().split("|")
    return any_variant or not variant or variant.startswith("obj")


def _base(variant: str) -> str:
    """The variant without its word on the background."""
    return "OBJ" if variant.startswith("OBJ") else variant.removesuffix("_NOBG")


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, P, 3) float32 and (N,) int64 of one file."""
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise MissingDependencyError(
            "h5py is not installed", where=file, remedy="pip install 'clipx-modalities[h5]'"
        ) from error
    try:
        with h5py.File(file, "r") as holder:
            data, label = holder["data"], holder["label"]
            if not (isinstance(data, h5py.Dataset) and isinstance(label, h5py.Dataset)) or data.nbytes > MOST_BYTES:
                raise ValueError("data and label must be arrays of a bearable size")
            points, labels = np.asarray(data[:], dtype=np.float32), np.asarray(label[:]).reshape(-1)
    except Exception as error:  # whatever h5py and HDF5 trip over in a damaged or foreign file
        raise FileError(f"cannot be read as HDF5 with data and label ({error})", where=file) from error
    if points.ndim != 3 or points.shape[2] != 3 or len(points) != len(labels) or labels.dtype.kind not in "iu":
        raise FileError(f"data {points.shape} and label {labels.shape} {labels.dtype} do not fit", where=file)
    return points, labels.astype(np.int64)


def _modelnet40_classes(folder: Path) -> tuple[str, ...]:
    path = folder / "shape_names.txt"
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise FileError("cannot be read", where=path, remedy="it comes with ModelNet40's files") from error
    if len(names) != 40 or len(set(names)) != 40:
        raise FileError(f"names {len(names)} classes, expected 40", where=path)
    return names


def _differences(name: str, files: Sequence[Path], splits: Any, variants: Any, whole: bool) -> list[str]:
    """How these files differ from the release; one file of ModelNet40 does not say how many shapes there are."""
    odd = []
    if name == "ModelNet40":
        for file in files:
            with file.open("rb") as content:
                if hashlib.file_digest(content, "md5").hexdigest() != MODELNET40_MD5.get(file.name):
                    odd.append(f"{file.name} has another MD5")
    counts = {variant: shapes for variant, shapes in SCANOBJECTNN_VARIANTS.values() if shapes}
    for split, variant in sorted(set(zip(splits.tolist(), variants.tolist(), strict=True))) if whole else ():
        known = MODELNET40_SHAPES if name == "ModelNet40" else counts.get(_base(variant))
        found = int(((splits == split) & (variants == variant)).sum())
        if known is not None and known[split] != found:
            odd.append(f"{found} shapes in {split}, {known[split]} were released")
    return odd
