"""clipx train segment: photos with masks -> a head that ``clipx.modalities.segment.load_head`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.modalities.segment.data import MaskedPhotos
    from clipx.modalities.segment.head import Head
    from clipx.modalities.segment.train import Data, Plan
    from clipx.space import JointSpace


@dataclass(frozen=True)
class TrainFlags:
    """What is learned, and what is held out."""

    head: Annotated[
        Literal["lseg", "groups"],
        typer.Option("--head", help="Learned from masks (LSeg), or groups learned from whole photos (GroupViT)."),
    ] = "lseg"
    novel: Annotated[
        str | None, typer.Option("--novel", help="Labels to hold out of training: a,b,c or @file.", show_default=False)
    ] = None
    fold: Annotated[
        int | None, typer.Option("--fold", help="Hold out a quarter of the labels, in the set's order: 0 to 3.")
    ] = None
    test_share: Annotated[
        float, typer.Option("--test-share", help="Share of the photos to measure on, which training does not see.")
    ] = 1 / 3
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps.", min=1)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None
    keep: Annotated[
        float | None, typer.Option("--keep", help="How much the LSeg head keeps to the untrained vectors elsewhere.")
    ] = None
    rank: Annotated[int | None, typer.Option("--rank", help="Of the LSeg head.", min=1)] = None
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            help="How far the LSeg head goes from the untrained vectors, 0 to 1. Default: 0.2.",
        ),
    ] = None
    short_side_px: Annotated[
        int | None, typer.Option("--short-side", help="Pixels of a photo's shorter side.", min=1)
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints beside the head.")] = False


@takes("where", "prompts", "space", "device", "seed", "as_json", "config")
def train(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder with labels.csv: path,mask; a VOC folder; a COCO file.")
    ],
    split: Annotated[str, typer.Option("--split", help="The list of a VOC folder that is learned from.")] = "train",
    *,
    flags: TrainFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The head: one .safetensors file.")] = Path(
        "runs/segment/head.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Train a head for segmentation on frozen features; the space itself stays as it is.

    It is measured on photos of the set that it did not learn from, on labels
    that it learned (base) and on others (novel), beside the untrained path.
    Checkpoints lie in a folder beside the head, named as it is.

    Example: clipx train segment voc --space lite --fold 1 -o head.safetensors
    """
    from clipx.cli._output import check_model, report
    from clipx.modalities.segment.data import read_masks
    from clipx.progress import note

    check_model(out)
    photos = read_masks(data, run.conditions(), split)
    plan = _plan(flags, photos, run)
    config = _config(flags, run.seed)
    opened = run.open_space(backend="torch")
    read = _read(opened, photos, plan)
    head, results = _train(opened, read, config, out.with_suffix(""), flags.resume)
    head.save(out)
    note(f"written to {out}")
    about: dict[str, Any] = {"dataset": photos.name, "space": opened.name, "space_id": opened.id, "file": str(out)}
    about |= {"head": head.kind, "strength": head.strength, "settings": head.settings | _settings(plan)}
    about |= {"photos": len(read.train), "test_photos": len(read.test)}
    about |= {"base": list(head.base), "novel": [read.classes[i] for i in read.novel], "seed": run.seed}
    run.emit(report("train segment", results, **about), lambda: _print(results, head, out))


def _plan(flags: TrainFlags, photos: MaskedPhotos, run: RunOptions) -> Plan:
    """The flags as a plan. Raises InputError for flags that do not fit one another."""
    from clipx.api import parse_labels
    from clipx.cli._work import read_prompts
    from clipx.errors import InputError
    from clipx.modalities.segment.train import Plan, labels_of_fold

    if flags.novel is not None and flags.fold is not None:
        raise InputError("give --novel or --fold, not both", where="--fold")
    if not 0 < flags.test_share < 1:
        raise InputError(f"must be between 0 and 1, got {flags.test_share}", where="--test-share")
    if run.seed < 0:
        raise InputError(f"the seed must be at least 0, got {run.seed}", where="--seed")
    novel = tuple(parse_labels(flags.novel)) if flags.novel else ()
    if flags.fold is not None:
        novel = labels_of_fold(photos.classes, flags.fold)
    prompts = read_prompts(run.prompts) or "photo"
    return Plan(novel, flags.test_share, flags.short_side_px, prompts, run.seed)


def _config(flags: TrainFlags, seed: int) -> Any:
    """How the head is trained. Raises InputError for a flag that this kind of head does not have."""
    from clipx.errors import InputError
    from clipx.modalities.segment.group_fit import GroupConfig
    from clipx.modalities.segment.head_fit import HeadConfig

    own = {"rank": flags.rank, "keep": flags.keep, "strength": flags.strength}
    given: dict[str, Any] = {"steps": flags.steps, "lr": flags.lr} | (own if flags.head == "lseg" else {})
    given = {name: value for name, value in given.items() if value is not None}
    if flags.head == "groups":
        idle = {f"--{name}": value for name, value in own.items()} | {"--novel": flags.novel, "--fold": flags.fold}
        if found := [flag for flag, value in idle.items() if value is not None]:
            raise InputError("groups learn from no label", where=found[0], remedy="leave it out, or take --head lseg")
        return GroupConfig(**given, seed=seed)
    return HeadConfig(**given, seed=seed)


def _settings(plan: Plan) -> dict[str, Any]:
    return {"test_share": plan.test_share, "short_side": plan.short_side, "prompts": plan.prompts}


def _read(space: JointSpace, photos: MaskedPhotos, plan: Plan) -> Data:
    from clipx.modalities.segment.train import read
    from clipx.progress import progress

    with progress("reading photos", len(photos.photos)) as advance:
        return read(space, photos, plan, lambda: advance(1))


def _train(space: JointSpace, data: Data, config: Any, out: Path, resume: bool) -> tuple[Head, list[dict[str, Any]]]:
    from clipx.modalities.segment.group_fit import GroupConfig
    from clipx.modalities.segment.train import train_groups, train_lseg

    if isinstance(config, GroupConfig):
        return train_groups(space, data, config, out, resume)
    return train_lseg(space, data, config, out, resume)


def _print(results: list[dict[str, Any]], head: Head, out: Path) -> None:
    from clipx.cli._output import print_table

    columns = [name for name in ("base", "novel", "harmonic", "miou") if name in results[0]]
    rows = [(one["features"], *(f"{100 * one[name]:.1f}" for name in columns)) for one in results]
    title = f"{out} (strength {head.strength:g})" if head.kind == "lseg" else str(out)
    print_table(("features", *(f"{name} mIoU %".replace("miou mIoU", "mIoU") for name in columns)), rows, title)
