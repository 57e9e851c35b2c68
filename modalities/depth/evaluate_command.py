"""clipx eval depth: photos with true depth -> how far estimates are from it, next to baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes
from clipx.modalities.depth.command import PresetFlag

if TYPE_CHECKING:
    from clipx.modalities.depth.estimator import EstimateConfig, Estimator
    from clipx.modalities.depth.evaluate import Judged
    from clipx.modalities.depth.files import Pair
    from clipx.space import JointSpace

SHOWN = {"abs_rel": "AbsRel", "rmse": "RMSE", "d1": "d1", "d2": "d2", "d3": "d3", "log10": "log10", "silog": "silog"}
SHOWN |= {"spearman": "Spearman"}
FEW = 10  # photos: intervals over fewer are warned of


@dataclass(frozen=True)
class EstimateFlags:
    """What is judged."""

    preset: PresetFlag = "default"
    words: Annotated[str | None, typer.Option("--words", help="As of clipx depth.")] = None
    bins: Annotated[str | None, typer.Option("--bins", help="As of clipx depth.")] = None
    unit: Annotated[
        Literal["m", "inverse", "affine"], typer.Option("--unit", help="As of clipx depth; but m needs --alignment.")
    ] = "m"
    prompts: Annotated[str | None, typer.Option("--prompts", help="As of clipx depth.")] = None
    temperature: Annotated[float | None, typer.Option("--temperature", help="As of clipx depth.")] = None
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored photo.")] = False
    fit: Annotated[
        list[Path] | None,
        typer.Option(
            "--fit", help="A fit by clipx train depth, or one that comes with the space, by its name; a row each."
        ),
    ] = None


@dataclass(frozen=True)
class JudgeFlags:
    """How it is judged."""

    protocol: Annotated[
        Literal["nyu", "kitti", "depthclip", "full"],
        typer.Option(
            "--protocol",
            help="Crop and cap: Eigen's and 10 m (480 x 640 only), Garg's and 80 m, DepthCLIP's own (480 x 640 only), "
            "or full: the whole photo, all truth above 1 mm.",
        ),
    ] = "nyu"
    alignment: Annotated[
        Literal["none", "median", "scale+shift"],
        typer.Option("--alignment", help="What is fitted to each truth first, for every row."),
    ] = "none"
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also shuffled words, a tower of random weights, and colour and position."),
    ] = False
    train_fold: Annotated[str, typer.Option("--train-fold", help="The rows that the baselines know.")] = "train"
    test_fold: Annotated[str, typer.Option("--test-fold", help="The rows that are judged.")] = "test"


@takes("space", "device", "dtype", "seed", "rows", "out", "as_json", "config")
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder with labels.csv: path,depth_path,depth_encoding,fold."),
    ],
    *,
    estimate: EstimateFlags,
    judging: JudgeFlags,
    run: RunOptions,
) -> None:
    """Measure depth against the truth, beside three rows that never look at the photo.

    They are the training fold's: exp of the mean log depth, the mean of each
    pixel, and the same of log depth. Figures are of each photo, then their mean,
    with 95 % bootstrap intervals over the photos; --json also has the differences
    to the mean map of log depth, photo by photo. Rows of different protocols or
    alignments are not comparable, and each says which it is.

    Example: clipx eval depth nyu --space lite --fit runs/depth/fit.safetensors --controls
    """
    from clipx.cli._output import report
    from clipx.datasets import listed
    from clipx.files import write_whole
    from clipx.modalities.depth import command, metrics
    from clipx.modalities.depth.evaluate import BLIND, file_rows, set_sha256

    run.check_writable()
    plan = command.estimate_config(estimate.preset, command.words_given(estimate), estimate.unit, estimate.flip)
    metrics.require_alignment(plan.unit, judging.alignment)
    train, test = _folds(data, judging)
    joint = run.open_space(backend="torch")
    estimators, files = _estimators(joint, plan, estimate)
    found = _judge(joint, estimators, train, test, judging, run.seed)
    if run.rows is not None:
        write_whole(run.rows, listed(file_rows(test=test, train=train)))
    results = _results(found, files, judging, len(test), run.seed)
    about: dict[str, Any] = {"dataset": data.resolve().name, "data_sha256": set_sha256(test)}
    about |= {"training_images": len(train), "paired_with": BLIND, "space": joint.name, "space_id": joint.id}
    record = report("eval depth", results, **about, settings=command.config_record(plan, None), seed=run.seed)
    run.emit(record, lambda: _print(results, judging, len(test)))


def _folds(data: Path, judging: JudgeFlags) -> tuple[list[Pair], list[Pair]]:
    """The rows of both folds. Raises InputError for a photo that is in both."""
    from clipx.errors import InputError
    from clipx.modalities.depth.files import read_pairs

    train, test = (read_pairs(data, fold) for fold in (judging.train_fold, judging.test_fold))
    if both := sorted({pair.name for pair in train} & {pair.name for pair in test}):
        raise InputError(f"{both[0]} is of both folds", where=data, remedy="judge photos that nothing was fitted on")
    return train, test


def _estimators(
    joint: JointSpace, plan: EstimateConfig, flags: EstimateFlags
) -> tuple[dict[str, Estimator], dict[str, Path]]:
    """Row -> estimator: words or the preset, then the fits; and row -> file of a fit."""
    from clipx.modalities.depth.command import with_fit
    from clipx.modalities.depth.estimator import Estimator
    from clipx.modalities.depth.evaluate import row_names

    name = "depthclip" if flags.preset == "depthclip" else "words, unfitted"
    fits = {path: with_fit(plan, path, joint, flags.flip) for path in flags.fit or ()}
    files = row_names({path: fitted.fit for path, fitted in fits.items()})
    return {name: Estimator(joint, plan)} | {row: Estimator(joint, fits[path]) for row, path in files.items()}, files


def _judge(
    joint: JointSpace,
    estimators: dict[str, Estimator],
    train: Sequence[Pair],
    test: Sequence[Pair],
    judging: JudgeFlags,
    seed: int,
) -> dict[str, Judged]:
    """The errors of every row, under progress bars."""
    from clipx.modalities.depth import evaluate as library
    from clipx.modalities.depth.controls import control_estimators
    from clipx.progress import note, task_progress

    with task_progress("reading the training fold") as on_progress:
        known = library.read_baselines(train, on_progress)
    if judging.controls:
        with task_progress("fitting controls") as on_progress:
            estimators = estimators | control_estimators(joint, estimators, train, seed, on_progress)
    rows = library.ways(known, estimators, judging.controls)
    with task_progress("judging depth") as on_progress:
        found = library.judge(rows, test, judging.protocol, judging.alignment, on_progress)
    if len(test) < FEW:
        few = "1 photo say nothing" if len(test) == 1 else f"{len(test)} photos say little"
        note(f"warning: intervals over {few}")
    return found


def _results(
    found: Mapping[str, Judged], files: Mapping[str, Path], judging: JudgeFlags, photos: int, seed: int
) -> list[dict[str, Any]]:
    from clipx.modalities.depth.evaluate import summary

    return [
        {"row": row, "protocol": judging.protocol, "alignment": judging.alignment, "unit": own.pop("unit")}
        | {"n": photos, "fit": files[row].name if row in files else None}
        | own
        for row, own in summary(found, seed).items()
    ]


def _print(results: Sequence[dict[str, Any]], judging: JudgeFlags, photos: int) -> None:
    from clipx.cli._output import print_table

    def cells(result: dict[str, Any]) -> Sequence[str]:
        shown = []
        for figure in SHOWN:
            of = result["figures"][figure]
            ends = f" [{of['low']:.3f}, {of['high']:.3f}]" if figure in ("abs_rel", "rmse") else ""
            shown.append(f"{of['mean']:.3f}{ends}" if of["mean"] == of["mean"] else "")
        return (result["row"], str(result["n"]), *shown)

    title = f"{judging.protocol} protocol, alignment {judging.alignment}, metres, {photos} photos"
    print_table(("row", "n", *SHOWN.values()), [cells(result) for result in results], title)
