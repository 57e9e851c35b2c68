"""clipx eval detect: photos with true boxes -> average precision of what is found, next to controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.modalities.detect.command import DetectFlags

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
    """
    from clipx.cli._output import report
    from clipx.errors import InputError
    from clipx.modalities.detect import evaluate as library
    from clipx.modalities.detect.command import detect_config, settings_of
    from clipx.modalities.detect.data import read_boxed, set_sha256
    from clipx.progress import note, task_progress

    run.check_writable()
    library.coco_tools()  # now, not after the work
    plan = detect_config((), detect, run)
    photos = read_boxed(data, run.conditions())
    if all(one.ignored.all() for one in photos):
        raise InputError("no photo has a box that counts", where=data, remedy="give photos with boxes")
    joint = run.open_space(backend="torch")
    with task_progress("judging detections") as on_progress:
        rows = library.judge(joint, photos, plan, run.seed, present, on_progress)
    if len(photos) < FEW:
        note(f"warning: {len(photos)} photos say little")
    found = library.summary(photos, rows, run.seed)
    results = [
        {"row": name, "n": len(photos), "settings": settings_of(rows[name].config), "present": present, **figures}
        for name, figures in found.items()
    ]
    about = {"dataset": data.resolve().name, "data_sha256": set_sha256(photos), "where": list(run.where or ())}
    record = report("eval detect", results, **about, space=joint.name, space_id=joint.id, seed=run.seed)
    run.emit(record, lambda: _print(results, len(photos)))


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
