"""Depth files: pictures whose pixels are distances, and sets of photos with them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clipx import pictures
from clipx.errors import FileError, InputError
from clipx.files import read_table, table_path
from clipx.pictures import open_picture

NYU8_M = 9.99547  # metres of a full byte
MAX_MM = 65534  # 65535 says invalid


@dataclass(frozen=True)
class _Encoding:
    bits: int
    metres: Callable[[np.ndarray], np.ndarray]  # of int64 values
    invalid: tuple[int, ...] = (0,)


ENCODINGS = {
    "nyu8": _Encoding(8, lambda v: (v + 0.5) / 255 * NYU8_M, ()),
    "mm16": _Encoding(16, lambda v: v / 1000, (0, 65535)),
    "kitti256": _Encoding(16, lambda v: v / 256),
    "tum5000": _Encoding(16, lambda v: v / 5000),
    "sun_rot3": _Encoding(16, lambda v: (((v >> 3) | (v << 13)) & 0xFFFF) / 1000),
}


@dataclass(frozen=True)
class Pair:
    """A photo and its depth, as files.

    Args:
        rgb: the photo.
        depth: the picture of its depth.
        encoding: what that picture's values mean, one of ``ENCODINGS``.
        label: what the scene is, or "".
        fold: the part of the set, such as ``"train"``.
        name: the photo's path as the table has it.
    """

    rgb: Path
    depth: Path
    encoding: str
    label: str = ""
    fold: str = ""
    name: str = ""


def read_pairs(data_dir: str | PathLike, fold: str | None = None, folds_needed: bool = True) -> list[Pair]:
    """The rows of a folder's labels.csv: columns path, depth_path, depth_encoding, and perhaps label and fold.

    Args:
        data_dir: the folder, from which the paths go.
        fold: keep the rows of this one; all when None.
        folds_needed: False: where no row names a fold, all are kept.

    Raises:
        FileError: the table is missing or malformed, or a file is missing. InputError: no rows, an unknown encoding.
    """
    table = Path(data_dir) / "labels.csv"
    if not table.exists():
        raise FileError("no such file", where=table, remedy="give a folder with a labels.csv")
    rows = read_table(table)
    if rows and (missing := {"path", "depth_path", "depth_encoding"} - set(rows[0])):
        raise FileError(f"has no column {sorted(missing)[0]}", where=table)
    folds = sorted({row.get("fold", "") for row in rows} - {""})
    if not folds and not folds_needed:
        fold = None
    kept = [row for row in rows if fold is None or row.get("fold") == fold]
    if not kept and fold is not None and rows:
        there = f"; there are {', '.join(folds)}" if folds else ": the table names no folds"
        remedy = None if folds else "add a column fold with train and test"
        raise InputError(f"no row of fold {fold!r}{there}", where=table, remedy=remedy)
    if not kept:
        raise InputError("no rows", where=table)
    root, pairs = table.parent, []
    for row in kept:
        pair = Pair(
            table_path(root, row["path"]),
            table_path(root, row["depth_path"]),
            row["depth_encoding"],
            row.get("label", ""),
            row.get("fold", ""),
            row["path"],
        )
        _encoding(pair.encoding, table)
        for path in (pair.rgb, pair.depth):
            if not path.is_file():
                raise FileError(f"no such file: {path}", where=table)
        pairs.append(pair)
    return pairs


def drawn(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """So many of the pairs in their order, or all there are; the smaller draws of a seed are part of the larger."""
    places = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [pairs[i] for i in sorted(places)]


def read_rgb(path: str | PathLike) -> Tensor:
    """A photo of any mode as (3, H, W) float32 RGB in [0, 1], upright, transparency laid on white.

    Raises:
        FileError: see ``clipx.pictures.open_picture``.
    """
    return torch.from_numpy(pictures.read_rgb(path))


def read_depth(path: str | PathLike, encoding: str = "mm16") -> Tensor:
    """A depth picture as (H, W) float32 metres; 0 where it is unknown.

    Args:
        path: a grey PNG of 16 bits (of 8 for nyu8).
        encoding: what its values mean: ``nyu8``, ``mm16``, ``kitti256``, ``tum5000``, ``sun_rot3``.

    Raises:
        FileError: missing, damaged, or not of the encoding's depth. InputError: an unknown encoding.
    """
    known = _encoding(encoding, path)
    picture = open_picture(path)
    bits = {"L": 8, "I;16": 16, "I;16B": 16, "I": 16}.get(picture.mode, 0)
    if bits != known.bits:
        raise FileError(
            f"is a picture of mode {picture.mode}, not {known.bits}-bit grey", where=path, remedy="save depth as PNG"
        )
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise FileError("holds values beyond 16 bits", where=path)
    metres = np.where(np.isin(values, known.invalid), 0.0, known.metres(values))
    return torch.from_numpy(metres.astype(np.float32))


def depth_png(depth_m: Tensor) -> bytes:
    """(H, W) metres -> a 16-bit PNG in millimetres, ``mm16``; 0 where depth is NaN or not above 0.

    What is beyond 65.534 m cannot be said; it becomes 0, with a warning.
    """
    from PIL import Image as pil
    from PIL.PngImagePlugin import PngInfo

    mm = (depth_m.detach().cpu().double().nan_to_num(0).clamp(min=0) * 1000).round().numpy()
    if (mm > MAX_MM).any():
        warnings.warn(f"{(mm > MAX_MM).mean():.1%} of the pixels are beyond 65.534 m: 0 in the PNG", stacklevel=2)
    file, about = io.BytesIO(), PngInfo()
    about.add_text("Description", "depth in millimetres, 0: unknown")
    pil.fromarray(np.where(mm > MAX_MM, 0, mm).astype(np.uint16)).save(file, "PNG", pnginfo=about)
    return file.getvalue()


def _encoding(name: str, where: str | PathLike) -> _Encoding:
    if name not in ENCODINGS:
        raise InputError(f"no depth encoding named {name!r}", where=where, remedy=f"known: {', '.join(ENCODINGS)}")
    return ENCODINGS[name]
