"""clipx train audio: labelled sounds -> an audio tower in a frozen space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes


@dataclass(frozen=True)
class TrainOptions:
    """What is learned from which sounds, and how."""

    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints, curves and the tower.")] = Path(
        "runs/audio"
    )
    tower: Annotated[
        Literal["logmel", "fbsp", "sfx"],
        typer.Option("--tower", help="The small tower, AudioCLIP's, or the pretrained one, fitted in closed form."),
    ] = "logmel"
    fold: Annotated[
        str | None, typer.Option("--fold", help="The fold to hold out, or all: each in turn. Default: none.")
    ] = None
    images: Annotated[
        Path | None, typer.Option("--images", help="A folder with one folder of pictures a label, to learn from too.")
    ] = None
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="What is said of a label: a set's name or a template with {}.")
    ] = None
    exclude: Annotated[
        str | None, typer.Option("--exclude", help="Labels whose sounds are left out of training: a,b,c or @file.")
    ] = None
    skip: Annotated[str | None, typer.Option("--skip", help="Files to leave out: a.ogg,b.ogg or @file.")] = None
    epochs: Annotated[int | None, typer.Option("--epochs", help="How often the set is gone through.", min=1)] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Sounds a step.", min=1)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None
    crop_s: Annotated[float | None, typer.Option("--crop-s", help="Seconds of sound in training.")] = None
    mixed_precision: Annotated[
        Literal["no", "bf16"], typer.Option("--mixed-precision", help="bf16 halves the time where a processor has it.")
    ] = "no"
    synthetic: Annotated[
        float | None, typer.Option("--synthetic", help="Share of a batch that is synthesised: 26 kinds of sounds more.")
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of weights, batches and augmentations.")] = None
    freeze_front_end: Annotated[
        bool, typer.Option("--freeze-front-end", help="Keep the filter bank of fbsp as it starts.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False


SETTINGS = ("epochs", "batch_size", "lr", "crop_s", "mixed_precision", "synthetic", "seed")


@takes("where", "space", "device", "as_json", "config")
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder with labels.csv: path,label[,fold].")],
    *,
    options: TrainOptions,
    run: RunOptions,
) -> None:
    """Train an audio tower into a frozen space; the folder OUT/tower is what --tower takes afterwards.

    Without --fold it learns from all sounds, and the figure is of these very
    sounds: it says whether anything was learnt, and nothing of other sounds.

    Example: clipx train audio sounds --space lite --fold 4 -o runs/audio
    """
    from clipx import _processes as processes
    from clipx.api import parse_labels
    from clipx.cli._output import report
    from clipx.cli._work import read_prompts
    from clipx.modalities.audio.config import AudioTrainConfig
    from clipx.modalities.audio.train import PROMPTS, cross_validate, train_audio
    from clipx.progress import note

    settings: dict[str, Any] = {name: getattr(options, name) for name in SETTINGS}
    settings = {name: value for name, value in settings.items() if value is not None}
    plan = AudioTrainConfig(tower=options.tower, learn_front_end=not options.freeze_front_end, **settings)
    more: dict[str, Any] = {
        "images": options.images,
        "prompts": read_prompts(options.prompts) or PROMPTS,
        "exclude": parse_labels(options.exclude) if options.exclude else (),
        "skip": parse_labels(options.skip) if options.skip else (),
        "where": run.conditions(),
        "resume": options.resume,
    }
    opened, fold = run.open_space(backend="torch"), options.fold
    if fold == "all":
        found = cross_validate(data, opened, options.out, plan, **more)
        results = [{"fold": name} | figures for name, figures in found["folds"].items()]
    else:
        results = [{"fold": fold} | train_audio(data, opened, options.out, plan, fold=fold, **more)]

    if processes.rank() > 0:  # the first process prints
        return
    if fold is None and results[0]["training_acc1"] < 0.5:
        share = f"top-1 is {100 * results[0]['training_acc1']:.1f} % on the very sounds that it learnt from"
        note(f"warning: learnt little: {share}; take more --epochs or more sounds")
    mean = found["acc1"] if len(results) > 1 else None
    run.emit(report("train audio", results, space=opened.id), lambda: _print(results, fold, mean))


def _print(results: Sequence[Mapping[str, Any]], fold: str | None, mean: float | None) -> None:
    from clipx.cli._output import print_table

    figure, title = ("training_acc1", "top-1 on its own training sounds") if fold is None else ("acc1", "top-1")
    rows = [
        (r["fold"] or "(no fold held out)", "" if r.get(figure) is None else f"{100 * r[figure]:.1f} %", r["tower"])
        for r in results
    ]
    if mean is not None:
        rows.append(("mean", f"{100 * mean:.1f} %", ""))
    print_table(("held-out fold", title, "tower"), rows)
