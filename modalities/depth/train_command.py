"""clipx train depth: a few photos with their depth -> a fit that ``clipx depth --fit`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.modalities.depth.files import Pair
    from clipx.modalities.depth.fit import Fit, FitConfig
    from clipx.space import JointSpace


@dataclass(frozen=True)
class FitFlags:
    """How depth is fitted."""

    kind: Annotated[
        Literal["prompts", "linear"],
        typer.Option("--kind", help="Learned prompts around depth words, or a linear head on frozen features."),
    ] = "prompts"
    bins: Annotated[
        Literal["quantile", "log", "scene"],
        typer.Option("--bins", help="What the words stand for; scene: by scene, which is found zero-shot."),
    ] = "quantile"
    mean_map: Annotated[
        bool, typer.Option("--mean-map", help="Say how far a place differs from the photos' mean map.")
    ] = False
    images: Annotated[
        int | None, typer.Option("--images", help="Fit on so many photos, drawn by --seed. Default: all.", min=1)
    ] = None
    words: Annotated[
        str | None, typer.Option("--words", help="Depth words from near to far: a,b,c or @file.", show_default=False)
    ] = None
    scenes: Annotated[
        str | None, typer.Option("--scenes", help="What a photo may show, for --bins scene.", show_default=False)
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of learning prompts.", min=0)] = None
    short_side_px: Annotated[
        int | None, typer.Option("--short-side", help="Pixels of a photo's shorter side.", min=1)
    ] = None
    fold: Annotated[
        str | None,
        typer.Option("--fold", help="The rows to fit on. Default: train; all, if the table has no column fold."),
    ] = None


@takes("space", "device", "seed", "as_json", "config")
def train(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder with labels.csv: path,depth_path,depth_encoding[,fold]."),
    ],
    *,
    flags: FitFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The fit: one .safetensors file.")] = Path(
        "runs/depth/fit.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Fit depth on a few photos whose depth is known; the space itself stays as it is.

    The smaller draws of one seed are part of the larger ones. A fit belongs to
    its space; clipx depth --fit and clipx eval depth --fit take it.

    Example: clipx train depth nyu --space lite --kind linear --images 20 -o fit.safetensors
    """
    from clipx.cli._output import check_model, print_table, report

    plan = _plan(flags, run.seed)
    check_model(out)
    pairs = _pairs(data, flags, run.seed)
    opened = run.open_space(backend="torch")
    fit = _fit(opened, pairs, plan)
    fit.save(out)
    result = {"file": str(out), "kind": fit.kind, "unit": fit.unit, "photos": len(pairs), "words": list(fit.words)}
    result |= {"bins": [round(b, 4) for b in fit.bins], "mean_map": flags.mean_map}
    about = {"dataset": data.resolve().name, "space": opened.name, "space_id": opened.id}
    record = report("train depth", [result], **about, settings=fit.settings, seed=run.seed)
    row = (str(out), fit.kind, str(len(pairs)), ", ".join(f"{b:.2f}" for b in fit.bins))
    run.emit(record, lambda: print_table(("fit", "kind", "photos", f"bins ({fit.unit})"), [row]))


def _plan(flags: FitFlags, seed: int) -> FitConfig:
    """The flags as a config. Raises InputError for flags that do not fit one another."""
    from clipx.api import parse_labels
    from clipx.errors import InputError
    from clipx.modalities.depth.fit import FitConfig

    idle = {"--words": flags.words, "--scenes": flags.scenes, "--steps": flags.steps}
    idle["--bins"] = None if flags.bins == "quantile" else flags.bins
    if flags.kind == "linear" and (own := [flag for flag, value in idle.items() if value is not None]):
        raise InputError("a linear head has no words, bins or steps", where=own[0], remedy="take --kind prompts")
    if flags.scenes and flags.bins != "scene":
        raise InputError("scenes go with --bins scene", where="--scenes")
    given: dict[str, Any] = {"steps": flags.steps, "short_side_px": flags.short_side_px}
    given |= {"words": tuple(parse_labels(flags.words)) if flags.words else None}
    given |= {"scenes": tuple(parse_labels(flags.scenes)) if flags.scenes else None}
    settings = {name: value for name, value in given.items() if value is not None}
    return FitConfig(kind=flags.kind, bins=flags.bins, mean_map=flags.mean_map, seed=seed, **settings)


def _pairs(data: Path, flags: FitFlags, seed: int) -> list[Pair]:
    """The rows to fit on. Raises InputError where there are fewer than --images."""
    from clipx.errors import InputError
    from clipx.modalities.depth.files import drawn, read_pairs

    pairs = read_pairs(data, flags.fold or "train", folds_needed=flags.fold is not None)
    if flags.images is None:
        return pairs
    if flags.images > len(pairs):
        raise InputError(f"{flags.images} photos asked for, {len(pairs)} are there", where="--images")
    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}", where="--seed")
    return drawn(pairs, flags.images, seed)


def _fit(space: JointSpace, pairs: Sequence[Pair], plan: FitConfig) -> Fit:
    """Fit under a progress bar: first the photos are read, then prompts are learned."""
    from clipx.modalities.depth.files import read_depth, read_rgb
    from clipx.modalities.depth.fit import fit_depth
    from clipx.progress import progress

    with progress("fitting depth", len(pairs) + (plan.steps if plan.kind == "prompts" else 0)) as advance:

        def read() -> Any:
            for pair in pairs:
                yield read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)
                advance(1)

        return fit_depth(space, read(), plan, lambda step, loss: advance(1, f"loss {loss:.3f}"))
