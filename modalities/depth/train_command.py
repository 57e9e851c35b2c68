"""clipx train depth: a few photos with their depth -> a fit that ``clipx depth --fit`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, JsonFlag, SeedFlag, SpaceFlag


def train(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder with labels.csv: path,depth_path,depth_encoding[,fold]."),
    ],
    kind: Annotated[
        Literal["prompts", "linear"],
        typer.Option("--kind", help="Learned prompts around depth words, or a linear head on frozen features."),
    ] = "prompts",
    bins: Annotated[
        Literal["quantile", "log", "scene"],
        typer.Option("--bins", help="What the words stand for; scene: by scene, which is found zero-shot."),
    ] = "quantile",
    mean_map: Annotated[
        bool, typer.Option("--mean-map", help="Say how far a place differs from the photos' mean map.")
    ] = False,
    images: Annotated[
        int | None, typer.Option("--images", help="Fit on so many photos, drawn by --seed. Default: all.", min=1)
    ] = None,
    words: Annotated[
        str | None, typer.Option("--words", help="Depth words from near to far: a,b,c or @file.", show_default=False)
    ] = None,
    scenes: Annotated[
        str | None, typer.Option("--scenes", help="What a photo may show, for --bins scene.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of learning prompts.", min=0)] = None,
    short_side_px: Annotated[
        int | None, typer.Option("--short-side", help="Pixels of a photo's shorter side.", min=1)
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option("--fold", help="The rows to fit on. Default: train; all, if the table has no column fold."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The fit: one .safetensors file.")] = Path(
        "runs/depth/fit.safetensors"
    ),
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Fit depth on a few photos whose depth is known; the space itself stays as it is.

    The smaller draws of one seed are part of the larger ones. A fit belongs to
    its space; clipx depth --fit and clipx eval depth --fit take it.

    Example: clipx train depth nyu --space lite --kind linear --images 20 -o fit.safetensors
    """
    from clipx.api import parse_labels
    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import open_space
    from clipx.errors import FileError, InputError
    from clipx.modalities.depth.files import drawn, read_depth, read_pairs, read_rgb
    from clipx.modalities.depth.fit import SUFFIX, FitConfig, fit_depth
    from clipx.progress import progress

    idle = {"--words": words, "--scenes": scenes, "--steps": steps, "--bins": None if bins == "quantile" else bins}
    if kind == "linear" and (own := [flag for flag, value in idle.items() if value is not None]):
        raise InputError("a linear head has no words, bins or steps", where=own[0], remedy="take --kind prompts")
    if scenes and bins != "scene":
        raise InputError("scenes go with --bins scene", where="--scenes")
    given: dict[str, Any] = {"steps": steps, "short_side_px": short_side_px}
    given |= {"words": tuple(parse_labels(words)) if words else None}
    given |= {"scenes": tuple(parse_labels(scenes)) if scenes else None}
    settings = {name: value for name, value in given.items() if value is not None}
    plan = FitConfig(kind=kind, bins=bins, mean_map=mean_map, seed=seed, **settings)
    if out.suffix != SUFFIX:
        raise FileError(f"suffix {out.suffix!r} is not {SUFFIX}", where=out)
    if out.parent.exists():  # else it is made
        check_writable(out)
    pairs = read_pairs(data, fold or "train", folds_needed=fold is not None)
    if images is not None:
        if images > len(pairs):
            raise InputError(f"{images} photos asked for, {len(pairs)} are there", where="--images")
        if seed < 0:
            raise InputError(f"the seed must be at least 0, got {seed}", where="--seed")
        pairs = drawn(pairs, images, seed)
    opened = open_space(space, device, "float32", seed)
    work = len(pairs) + (plan.steps if kind == "prompts" else 0)
    with progress("fitting depth", work) as advance:

        def read() -> Any:
            for pair in pairs:
                yield read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)
                advance(1)

        fit = fit_depth(opened, read(), plan, lambda step, loss: advance(1, f"loss {loss:.3f}"))
    fit.save(out)
    result = {"file": str(out), "kind": kind, "unit": fit.unit, "photos": len(pairs), "words": list(fit.words)}
    result |= {"bins": [round(b, 4) for b in fit.bins], "mean_map": mean_map}

    def table() -> None:
        listed = ", ".join(f"{b:.2f}" for b in fit.bins)
        print_table(("fit", "kind", "photos", f"bins ({fit.unit})"), [(str(out), kind, str(len(pairs)), listed)])

    record = report(
        "train depth",
        [result],
        dataset=data.resolve().name,
        space=opened.name,
        space_id=opened.id,
        settings=fit.settings,
        seed=seed,
    )
    emit(record, as_json, table)
