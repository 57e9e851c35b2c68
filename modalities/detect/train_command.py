"""clipx train detect: photos with boxes -> a head of regions that ``clipx detect --head`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.modalities.detect.data import BoxedPhoto
    from clipx.modalities.detect.head import RegionHead
    from clipx.modalities.detect.train import TrainConfig
    from clipx.space import JointSpace

SHARE = 0.25  # of the labels that are novel by default
COLUMNS = ("row", "photos", "base AP50", "novel AP50", "AP50")


@dataclass(frozen=True)
class TrainFlags:
    """How a head is trained; what is left out is as in ``TrainConfig``."""

    novel: Annotated[
        str | None,
        typer.Option("--novel", help="Labels that are kept from training: a,b,c or @file. Default: a quarter, drawn."),
    ] = None
    proposals: Annotated[str | None, typer.Option("--proposals", help="As of clipx detect.")] = None
    limit: Annotated[int | None, typer.Option("--limit", help="Proposals in a photo to learn from.", min=1)] = None
    short_side_px: Annotated[
        int | None, typer.Option("--short-side", help="Pixels of a photo's shorter side.", min=1)
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of training.", min=0)] = None
    distillation: Annotated[
        float | None, typer.Option("--distillation", help="Weight of the distance to the crops' vectors.")
    ] = None


@takes("space", "device", "seed", "where", "cache", "resume", "as_json", "config")
def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A COCO JSON file, a VOC folder, or a folder with labels.csv and boxes.json files."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The head: one .safetensors file.")] = Path(
        "runs/detect/head.safetensors"
    ),
    *,
    flags: TrainFlags,
    run: RunOptions,
) -> None:
    """Train a head of regions by ViLD's distillation; the space itself stays as it is.

    It learns from every other photo and is judged on the rest, beside the dense
    scores that nothing was trained for: AP50 of base labels and of novel ones, whose
    boxes training does not see as such. --cache keeps the crops' vectors, which take
    most of the time, and a training that was stopped, which --resume goes on with.

    Example: clipx train detect photos --space lite --novel dog,cup -o head.safetensors
    """
    from clipx.cli._output import check_model, print_table, report
    from clipx.errors import InputError
    from clipx.modalities.detect.data import read_boxed, set_sha256
    from clipx.progress import note

    check_model(out)
    photos = read_boxed(data, run.conditions())
    if len(photos) < 2:
        raise InputError("training needs two photos: one to learn from, one to be judged on", where=data)
    plan = _plan(flags, photos, run.seed)
    joint = run.open_space(backend="torch")
    head = _train(joint, photos[::2], plan, run)
    head.save(out)
    note(f"written to {out}")
    rows = _judged(joint, photos[1::2], plan, head)
    about: dict[str, Any] = {"dataset": data.resolve().name, "data_sha256": set_sha256(photos)}
    about |= {"where": list(run.where or ())}
    about |= {"file": str(out), "photos": len(photos[::2]), "space": joint.name, "space_id": joint.id}
    settings = {**asdict(plan), "novel": list(plan.novel), "base": head.settings["base"]}
    record = report("train detect", rows, **about, settings=settings, seed=run.seed)
    cells = [(r["row"], str(r["n"]), *(_percent(r[k]) for k in ("base_ap50", "novel_ap50", "ap50"))) for r in rows]
    run.emit(record, lambda: print_table(COLUMNS, cells, f"{out}, trained on {len(photos[::2])} photos"))


def _plan(flags: TrainFlags, photos: Sequence[BoxedPhoto], seed: int) -> TrainConfig:
    """The flags as a config, with the novel labels drawn where none are given. Raises InputError."""
    import numpy as np

    from clipx.api import parse_labels
    from clipx.errors import InputError
    from clipx.modalities.detect.train import TrainConfig

    if seed < 0:
        raise InputError(f"the seed must be at least 0, got {seed}", where="--seed")
    labels = sorted({label for one in photos for label in one.labels})
    if flags.novel is None:
        drawn = np.random.default_rng(seed).permutation(len(labels))[: round(SHARE * len(labels))]
        novel = [labels[i] for i in sorted(drawn)]
    else:
        novel = parse_labels(flags.novel)
        if unknown := [label for label in novel if label not in labels]:
            raise InputError(
                f"no box is labelled {unknown[0]!r}", where="--novel", remedy=f"known: {', '.join(labels)}"
            )
    given: dict[str, Any] = {name: value for name, value in vars(flags).items() if name != "novel"}
    changes = {name: value for name, value in given.items() if value is not None}
    return TrainConfig(novel=novel, seed=seed, **changes)


def _train(joint: JointSpace, photos: Sequence[BoxedPhoto], plan: TrainConfig, run: RunOptions) -> RegionHead:
    """Gather regions and train, each under a progress bar."""
    from clipx.files import make_folder
    from clipx.modalities.detect.train import gather, train_head
    from clipx.progress import task_progress

    cache = run.cache_folder()
    if cache is not None:
        make_folder(cache)
    with task_progress("encoding regions") as on_progress:
        regions = gather(joint, photos, plan, cache, on_progress)
    with task_progress("training the head") as on_progress:
        return train_head(joint, regions, plan, checkpoint=cache, resume=run.resume, on_progress=on_progress)


def _judged(
    joint: JointSpace, photos: Sequence[BoxedPhoto], plan: TrainConfig, head: RegionHead
) -> list[dict[str, Any]]:
    """The rows of the untrained dense scores and of the head."""
    from clipx.modalities.detect.train_evaluate import judge_head
    from clipx.progress import task_progress

    with task_progress("judging the head") as on_progress:
        found = judge_head(joint, photos, plan.novel, head, plan.proposals, on_progress)
    return [{"row": name, "n": len(photos), **figures} for name, figures in found.items()]


def _percent(value: float) -> str:
    return "" if value != value else f"{value:.1%}"
