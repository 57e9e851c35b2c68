"""clipx embed: files -> unit vectors on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np


@takes("modality", "space", "device", "dtype", "backend", "batch_size", "seed", "cache", "resume", "as_json", "config")
def embed(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Photos, clouds, sounds, ..., folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: a .npz or .parquet file.")],
    grid: Annotated[
        bool, typer.Option("--grid", help="Photos only: what the image tower holds before it pools, into a .npz file.")
    ] = False,
    *,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Write each file's unit vector in the joint space, with its path and modality.

    An .npz holds vectors (N, D) float32, ids, modalities, space, space_id and
    about (JSON: version and settings). A .parquet file holds the columns id,
    modality and vector, and the rest as metadata. A file that cannot be read has no
    row, is named at the end, and the exit status is then 2. With --grid there are
    grids (N, h, w, C) float32 instead of vectors, which are none of the joint space.

    Example: clipx embed photos/*.jpg clouds/*.ply -o vectors.npz
    """
    from dataclasses import asdict

    import numpy as np

    import clipx
    from clipx.cli._output import check_writable, print_table, report
    from clipx.cli._work import encode, encoders, files_in
    from clipx.errors import InputError
    from clipx.files import write_whole
    from clipx.pipeline import file_items

    writers = {".npz": _npz, ".parquet": _parquet}
    if out.suffix.lower() not in writers:
        raise InputError(f"suffix {out.suffix!r} is not one of {' '.join(writers)}", where=out)
    check_writable(out)
    given = files_in(paths, run.modality)
    if grid:
        from clipx.cli._grids import embed_grids

        embed_grids(given, out, run)
        return
    items = file_items(given.files)
    if not items:
        run.conclude(report("embed", []), given.failures, lambda: None, given.skipped)
    attach = encoders(given.files, run.modality, settings)
    joint = run.open_space()
    made: dict[str, tuple[np.ndarray, str]] = {}
    configs = {}
    for encoder, rows in attach(joint):
        group = [items[i] for i in rows]
        found = encode(encoder, group, run.batch_size, run.cache_folder(), failures=given.failures)
        made.update({path: (row, encoder.name) for path, row in zip(found.ids, found.vectors, strict=True)})
        configs[encoder.name] = asdict(encoder.config)
    ids = [item.id for item in items if item.id in made]
    kinds = [made[path][1] for path in ids]
    about = {
        "space": joint.name,
        "space_id": joint.id,
        "about": json.dumps({"clipx": clipx.__version__, "config": configs, "dtype": run.dtype}, default=str),
    }
    if made:
        vectors = np.stack([made[path][0] for path in ids])
        write_whole(out, lambda path: writers[out.suffix.lower()](path, vectors, ids, kinds, about))
    results = [{"path": path, "modality": kind} for path, kind in zip(ids, kinds, strict=True)]  # in the rows' order
    about_run = {"out": out if made else None, "n": len(ids), "dim": joint.dim}
    record = report("embed", results, space=joint.name, space_id=joint.id, **about_run)
    table = lambda: print_table(("file", "vectors", "dim"), [(str(out), str(len(ids)), str(joint.dim))])  # noqa: E731
    run.conclude(record, given.failures, table, given.skipped)


def _npz(path: Path, vectors: np.ndarray, ids: list[str], kinds: list[str], about: dict[str, str]) -> None:
    import numpy as np

    names = {"ids": np.array(ids), "modalities": np.array(kinds)}
    with open(path, "wb") as file:  # a path that ends in .NPZ would get a second suffix
        np.savez(file, vectors=vectors, **names, **about)  # type: ignore


def _parquet(path: Path, vectors: np.ndarray, ids: list[str], kinds: list[str], about: dict[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    flat = pa.array(vectors.ravel(), pa.float32())
    columns = {"id": ids, "modality": kinds, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    pa.parquet.write_table(pa.table(columns).replace_schema_metadata(about), path)
