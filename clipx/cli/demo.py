"""clipx demo: the samples of the clone, named by words, as pictures and one page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from clipx.cli._options import RunOptions, takes


@takes("space", "device", "dtype", "seed", "as_json", "config")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures and index.html.")] = Path(
        "clipx-demo"
    ),
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples", help="Folder with demo.toml. Default: examples/data of the clone.", show_default=False
        ),
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Name sample photos, drawings, clouds, meshes and sounds, search and draw them, and write it all as one page.

    Example: clipx demo -o clipx-demo
    """
    from clipx.cli._demo import Demo, caveat, clone_samples, read_plan, summary
    from clipx.cli._output import print_table, report
    from clipx.cli._page import page
    from clipx.cli._work import space_name
    from clipx.errors import FileError
    from clipx.files import write_whole
    from clipx.progress import note
    from clipx.training import prepare_folder

    started = time.perf_counter()
    plan = read_plan(samples or clone_samples())
    if out.exists() and not out.is_dir():
        raise FileError("is not a folder", where=out, remedy="choose another with -o")
    prepare_folder(out, resume=True)
    name = space_name(run.space)
    joint = run.open_space(name)
    shown = Demo(plan, out, joint, name, run.device)
    panels, results = shown.panels()
    sections = shown.sections()
    for path, data in shown.files.items():
        write_whole(path, data)
    title = f"{joint.name} ({joint.id})"
    write_whole(out / "index.html", page(panels, sections, title, summary(results, len(plan.labels)), caveat(joint)))
    seconds = round(time.perf_counter() - started, 1)
    record = report("demo", results, space=joint.name, space_id=joint.id, page=out / "index.html", seconds=seconds)

    def table() -> None:
        rows = [
            (r["path"].name, r["modality"], p["label"], f"{p['cosine']:.3f}", f"{p['probability']:.1%}")
            for r in results
            for p in r["predictions"][:1]
        ]
        print_table(("file", "modality", "word", "cosine", "probability"), rows)
        note(f"page: {out / 'index.html'} ({seconds} s)")

    run.emit(record, table)
