"""clipx train audio: labelled sounds -> an audio tower in a frozen space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, JsonFlag, SpaceFlag, WhereFlag


def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder with labels.csv: path,label[,fold].")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints, curves and the tower.")] = Path(
        "runs/audio"
    ),
    tower: Annotated[
        Literal["logmel", "fbsp", "sfx"],
        typer.Option("--tower", help="The small tower, AudioCLIP's, or the pretrained one, fitted in closed form."),
    ] = "logmel",
    fold: Annotated[
        str | None, typer.Option("--fold", help="The fold to hold out, or all: each in turn. Default: none.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="A folder with one folder of pictures a label, to learn from too.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="What is said of a label: a set's name or a template with {}.")
    ] = None,
    exclude: Annotated[
        str | None, typer.Option("--exclude", help="Labels whose sounds are left out of training: a,b,c or @file.")
    ] = None,
    skip: Annotated[str | None, typer.Option("--skip", help="Files to leave out: a.ogg,b.ogg or @file.")] = None,
    where: WhereFlag = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="How often the set is gone through.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Sounds a step.", min=1)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    crop_s: Annotated[float | None, typer.Option("--crop-s", help="Seconds of sound in training.")] = None,
    mixed_precision: Annotated[
        Literal["no", "bf16"], typer.Option("--mixed-precision", help="bf16 halves the time where a processor has it.")
    ] = "no",
    synthetic: Annotated[
        float | None, typer.Option("--synthetic", help="Share of a batch that is synthesised: 26 kinds of sounds more.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of weights, batches and augmentations.")] = None,
    freeze_front_end: Annotated[
        bool, typer.Option("--freeze-front-end", help="Keep the filter bank of fbsp as it starts.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Train an audio tower into a frozen space; the folder OUT/tower is what --tower takes afterwards.

    Without --fold it learns from all sounds, and the figure is of these very
    sounds: it says whether anything was learnt, and nothing of other sounds.

    Example: clipx train audio sounds --space lite --fold 4 -o runs/audio
    """
    from clipx import _processes as processes
    from clipx.api import parse_labels
    from clipx.cli._flags import condition
    from clipx.cli._output import emit, print_table, report
    from clipx.cli._work import open_space, read_prompts
    from clipx.modalities.audio.train import PROMPTS, AudioTrainConfig, cross_validate, train_audio
    from clipx.progress import note

    given = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "crop_s": crop_s, "synthetic": synthetic, "seed": seed,
        "mixed_precision": mixed_precision,
    }  # fmt: skip
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    plan = AudioTrainConfig(tower=tower, learn_front_end=not freeze_front_end, **settings)
    options: dict[str, Any] = {
        "images": images,
        "prompts": read_prompts(prompts) or PROMPTS,
        "exclude": parse_labels(exclude) if exclude else (),
        "skip": parse_labels(skip) if skip else (),
        "where": [condition(text) for text in where or ()],
        "resume": resume,
    }
    opened = open_space(space, device, "float32", 0)
    if fold == "all":
        found = cross_validate(data, opened, out, plan, **options)
        results = [{"fold": name} | figures for name, figures in found["folds"].items()]
    else:
        results = [{"fold": fold} | train_audio(data, opened, out, plan, fold=fold, **options)]

    if processes.number() > 0:  # the first process says it
        return

    def table() -> None:
        figure, title = ("training_acc1", "top-1 on its own training sounds") if fold is None else ("acc1", "top-1")
        rows = [
            (r["fold"] or "(no fold held out)", "" if r.get(figure) is None else f"{100 * r[figure]:.1f} %", r["tower"])
            for r in results
        ]
        if len(results) > 1:
            rows.append(("mean", f"{100 * found['acc1']:.1f} %", ""))
        print_table(("held-out fold", title, "tower"), rows)

    if fold is None and results[0]["training_acc1"] < 0.5:
        share = f"top-1 is {100 * results[0]['training_acc1']:.1f} % on the very sounds that it learnt from"
        note(f"warning: learnt little: {share}; take more --epochs or more sounds")
    emit(report("train audio", results, space=opened.id), as_json, table)
