"""clipx train space: a recipe -> an embedded space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipx.cli._options import RunOptions, takes


@takes("device", "as_json", "config")
def space(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A folder with recipe.toml, or that file.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data sets that the recipe names.")] = Path("data"),
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for checkpoints and the result. Default: runs/RECIPE.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Another number of steps than the recipe's.", min=1)
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", help="Concepts whose pictures are left out: a,b,c or @file.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed than the recipe's.")] = None,
    image_tower: Annotated[
        Path | None,
        typer.Option("--image-tower", help="A tower of clipx train ssl: it stands still, the words learn (LiT)."),
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Train an embedded space by a recipe; the finished folder is what --space takes.

    Example: clipx train space examples/recipes/lite --data DIR -o runs/lite --resume

    Example: clipx train space RECIPE --data DIR --image-tower tower.safetensors
    """
    from clipx.cli._output import print_table, report
    from clipx.errors import FileError

    if not (recipe / "recipe.toml" if recipe.is_dir() else recipe).is_file():
        raise FileError("no such recipe", where=recipe, remedy="name a folder that holds recipe.toml")
    if not data.is_dir():
        raise FileError("no such folder", where=data, remedy="name the data sets' folder with --data")
    from clipx import _processes as processes
    from clipx._device import check_device
    from clipx.api import parse_labels
    from clipx.spaces.recipe import train_space

    check_device(run.device)
    folder = train_space(
        recipe,
        data=data,
        out=out or Path("runs") / (recipe if recipe.is_dir() else recipe.parent).resolve().name,
        resume=resume,
        steps=steps,
        exclude=tuple(parse_labels(exclude)) if exclude else (),
        seed=seed,
        device=run.device,
        image_tower=image_tower,
    )
    if processes.rank() > 0:  # the first process says it
        return
    record = report("train space", [{"space": folder}])
    run.emit(record, lambda: print_table(("space",), [(str(folder),)]))
