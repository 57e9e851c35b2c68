"""``clipx embed --grid``: photos -> what the image tower holds before it pools, on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from clipx.cli._options import RunOptions
from clipx.errors import ClipxError, InputError

if TYPE_CHECKING:
    import numpy as np

    from clipx.cli._work import Files
    from clipx.space import JointSpace


def embed_grids(given: Files, out: Path, run: RunOptions) -> None:
    """Write ``grids`` (N, h, w, C) float32, ids, space, space_id and about as an .npz file.

    Raises:
        InputError: another suffix of the file. UnsupportedError: the tower has no such features.
    """
    import numpy as np

    import clipx
    from clipx.cli._output import print_table, report
    from clipx.files import write_whole

    if out.suffix.lower() != ".npz":
        raise InputError("grids go into a .npz file", where=out)
    joint = run.open_space(backend="torch")
    empty = joint.grid_image(np.zeros((0, 3, *joint.image_size), np.float32)).numpy()  # refused before the work
    ids, rows = _encoded(joint, given, run.batch_size)
    grids = np.concatenate([empty, *rows])
    about = json.dumps({"clipx": clipx.__version__, "dtype": run.dtype, "features": "before pooling"})

    def write(path: Path) -> None:
        with open(path, "wb") as file:  # a path that ends in .NPZ would get a second suffix
            np.savez(file, grids=grids, ids=np.array(ids), space=joint.name, space_id=joint.id, about=about)

    if ids:
        write_whole(out, write)
    record = report(
        "embed",
        [{"path": path, "modality": "image"} for path in ids],
        space=joint.name, space_id=joint.id, out=out if ids else None, n=len(ids), shape=list(grids.shape),
    )  # fmt: skip
    table = lambda: print_table(("file", "grids", "shape"), [(str(out), str(len(ids)), str(grids.shape[1:]))])  # noqa: E731
    run.conclude(record, given.failures, table, given.skipped)


def _encoded(joint: JointSpace, given: Files, batch_size: int) -> tuple[list[str], list[np.ndarray]]:
    """The paths that could be read, and their grids by batch; the others go to the failures."""
    import numpy as np

    from clipx.pictures import SUFFIXES
    from clipx.progress import progress

    ids: list[str] = []
    rows, batch = [], []
    with progress("encoding (grid)", len(given.files)) as advance:
        for number, path in enumerate(given.files, 1):
            try:
                if path.suffix.lower() not in SUFFIXES:
                    raise InputError("only photos have a grid", where=path)
                batch.append(_read(path, joint))
                ids.append(str(path))
            except ClipxError as error:
                given.failures[str(path)] = error
            if batch and (len(batch) == batch_size or number == len(given.files)):
                rows.append(joint.grid_image(np.concatenate(batch)).cpu().numpy())
                batch = []
            advance(1)
    return ids, rows


def _read(path: Path, joint: JointSpace) -> np.ndarray:
    """A photo as the tower takes it, (1, 3, h, w) in [0, 1]."""
    import numpy as np

    from clipx.pictures import on_white, open_picture

    fitted = joint.preprocess.fit(on_white(open_picture(path, joint.preprocess.fitted), path))
    pixels = np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1)[None], np.float32) / np.float32(255)
    return joint.preprocess.resize(pixels).clip(0, 1)
