"""clipx eval detect: photos with true boxes -> average precision of what is found, next to controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.modalities.detect.command import CLEAR, TOP, DetectFlags

FEW = 10  # photos: intervals over fewer are warned of
COLUMNS = ("row", "AP50", "AP", "AR@10", "AR@100", "boxes", "s/photo")


@takes("space", "device", "dtype", "seed", "where", "prompts", "out", "as_json", "config")
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A COCO JSON file, a VOC folder, or a folder with labels.csv and boxes.json files."
        ),
    ],
    present: Annotated[
        bool, typer.Option("--present", help="Choose from the labels in each photo, not from all of the set.")
    ] = False,
    absent: Annotated[
        int | None,
        typer.Option(
            "--absent",
            min=1,
            help="Instead: ask each photo for its labels and for so many that are not in it, by the settings of "
            "clipx detect, and count those with a box.",
        ),
    ] = None,
    *,
    detect: DetectFlags,
    run: RunOptions,
) -> None:
    """Measure detections against true boxes, beside a sliding grid and shuffled words.

    AP50 and AP as COCO has them, over the labels of the set, with a 95 % interval
    over the photos; AR@10 and AR@100 of the proposals, whatever their label. The
    grid has as many boxes at most and the same scores, but for objectness, of
    which it knows nothing. --where also takes row=NUMBER and half=0 or half=1,
    even and odd rows of labels.csv.

    Example: clipx eval detect photos --where half=1

    How often a label that is not in the photo gets a box:
    clipx eval detect photos --absent 3
    """
    from clipx.cli._output import report
    from clipx.errors import InputError
    from clipx.modalities.detect import evaluate as library
    from clipx.modalities.detect.command import detect_config, plan_of, settings_of
    from clipx.modalities.detect.data import read_boxed, set_sha256
    from clipx.progress import note, task_progress

    run.check_writable()
    if absent is not None and present:
        raise InputError("takes no --present", where="--absent", remedy="leave one of them out")
    if absent is None:
        library.coco_tools()  # now, not after the work
    shown = {"top": TOP} | (CLEAR if detect.threshold is None else {})  # as clipx detect shows boxes
    plan = detect_config((), detect, run, shown if absent is not None else None)
    photos = read_boxed(data, run.conditions())
    if all(one.ignored.all() for one in photos):
        raise InputError("no photo has a box that counts", where=data, remedy="give photos with boxes")
    joint = run.open_space(backend="torch")
    if len(photos) < FEW:
        note(f"warning: {len(photos)} photos say little")
    about: dict[str, Any] = {"dataset": data.resolve().name, "data_sha256": set_sha256(photos)}
    about |= {"where": list(run.where or ()), "space": joint.name, "space_id": joint.id, "seed": run.seed}
    if absent is not None:
        plan = plan_of(plan, detect, joint)
        with task_progress("looking for what is there and what is not") as on_progress:
            figures = library.image_rates(joint, photos, plan, absent, run.seed, on_progress)
        one = {"row": "detect", "settings": settings_of(plan), "absent_per_photo": absent, **figures}
        run.emit(report("eval detect", [one], **about), lambda: _print_rates(one))
        return
    with task_progress("judging detections") as on_progress:
        rows = library.judge(joint, photos, plan, run.seed, present, on_progress)
    found = library.summary(photos, rows, run.seed)
    results = [
        {"row": name, "n": len(photos), "settings": settings_of(rows[name].config), "present": present, **figures}
        for name, figures in found.items()
    ]
    run.emit(report("eval detect", results, **about), lambda: _print(results, len(photos)))


def _print_rates(one: Mapping[str, Any]) -> None:
    from clipx.cli._output import print_table

    def share(*names: str, of: Mapping[str, Any]) -> str:
        return " / ".join(f"{of[name]:.0%}" for name in names) + f" of {of['n']}" if of["n"] else "none"

    cells = [share("found", of=one[name]) for name in ("present", "large", "absent")]
    right = share("right50", "right30", of=one["boxes"])
    names = ("in the photo", "large in it", "not in it", "boxes right, IoU .5 / .3")
    print_table(names, [(*cells, right)], f"{one['n']} photos: labels with a box")


def _print(results: Sequence[Mapping[str, Any]], photos: int) -> None:
    from clipx.cli._output import print_table

    rows = []
    for one in results:
        low, high = one["ap50_interval"]
        boxes = one["proposals"]
        figures = f"{one['ap50']:.3f} [{low:.3f}, {high:.3f}]", f"{one['ap']:.3f}"
        recalls = f"{boxes['ar10']:.3f}", f"{boxes['ar100']:.3f}", f"{boxes['mean']:.0f}"
        rows.append((one["row"], *figures, *recalls, f"{one['seconds_per_photo']:.2f}"))
    print_table(COLUMNS, rows, f"{photos} photos")
