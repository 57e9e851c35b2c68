"""clipx export: a joint space in the form that starts fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipx.cli._options import RunOptions, takes


@takes("as_json", "config")
def export(
    space: Annotated[
        str,
        typer.Argument(
            metavar="SPACE",
            help="The joint space: an open_clip name such as ViT-B-32-quickgelu/openai, hf-hub:..., a folder, lite or "
            "another embedded one.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="A new folder; or an embedded space's own folder, to which its graphs are added."
        ),
    ],
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="Weights and large products in 8 bits: a smaller space, with an id and vectors of its own."
        ),
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            help="A folder of pictures to compare with torch by, and of --int8 to take ranges from.",
            show_default=False,
        ),
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Write a joint space for onnxruntime, and say how far its vectors lie from torch's.

    The folder is what --space takes: it names, embeds, indexes and searches without importing torch, in the same space
    (but for --int8), so that an index made with torch is searched without it. What needs torch loads it from the same
    folder. Vectors that differ by more than 1e-4 end the command with an error; those of --int8 do differ: see how far.

    Example: clipx export ViT-B-32-quickgelu/openai -o vit-b-32
    """
    from clipx.backends.export import export as write
    from clipx.cli._output import print_table, report

    found = write(space, out, int8=int8, pictures=pictures)
    compared = {name: entry for name, entry in found.items() if isinstance(entry, dict)}
    rest = {name: value for name, value in found.items() if name not in compared}
    record = report("export", [{"of": name, **entry} for name, entry in compared.items()], space=space, out=out, **rest)

    def table() -> None:
        rows = [(name, *(f"{value:.1e}" for value in entry.values())) for name, entry in compared.items()]
        print_table(("of", "worst cosine distance", "mean", "largest difference"), rows)
        print(f"{out}: {found['bytes'] / 1e6:.1f} MB, {found['precision']}, {found['id']}")

    run.emit(record, table)
