"""Pictures decoded once: an array of bytes that batches are drawn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipx.errors import ClipxError, FileError, InputError
from clipx.files import make_folder, write_whole
from clipx.progress import progress

MARGIN = 1.25  # how much larger than the views pictures are kept, so that crops hold detail


def find_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, by suffix, sorted.

    Raises:
        FileError: no such folder. InputError: it holds no pictures.
    """
    from clipx.pictures import SUFFIXES

    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "no such folder"
        raise FileError(what, where=folder, remedy="name a folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError("holds no pictures", where=folder)
    return found


def decoded(paths: Sequence[Path], size: int, cache: Path, failures: dict[str, ClipxError] | None = None) -> np.ndarray:
    """Pictures squashed to a square of ``MARGIN`` times ``size`` pixels: (N, 3, R, R) uint8, mapped from a file.

    Args:
        paths: of the pictures.
        size: side of the views that are drawn of them.
        cache: folder of the array; it is used again while the paths, sizes and times of the files are the same.
        failures: where a picture that cannot be read goes by its path; without, it ends the run.

    Raises:
        FileError: see ``clipx.pictures.open_picture``.
    """
    from PIL import Image

    from clipx.pictures import on_white, open_picture

    side = round(size * MARGIN)
    about = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    name = make_folder(cache) / f"pictures-{hashlib.sha256(repr((side, about)).encode()).hexdigest()[:12]}"
    pixels, unread = name.with_suffix(".bin"), name.with_suffix(".json")

    def decode(part: Path) -> None:
        reasons: dict[str, str] = {}
        with part.open("wb") as file, progress("decoding pictures", len(paths)) as advance:
            for path in paths:
                advance(1)
                try:
                    picture = on_white(open_picture(path), path).resize((side, side), Image.Resampling.BICUBIC)
                except ClipxError as error:
                    if failures is None:
                        raise
                    reasons[str(path)] = error.what
                    continue
                file.write(np.asarray(picture).transpose(2, 0, 1).tobytes())
        write_whole(unread, json.dumps(reasons))

    if not (pixels.exists() and unread.exists()):
        write_whole(pixels, decode)
    for path, reason in json.loads(unread.read_text()).items():
        if failures is None:
            raise FileError(reason, where=path)
        failures[path] = FileError(reason, where=path)
    count = pixels.stat().st_size // (3 * side * side)
    return (
        np.memmap(pixels, np.uint8, "r", shape=(count, 3, side, side)) if count else np.empty((0, 3, side, side), "u1")
    )
