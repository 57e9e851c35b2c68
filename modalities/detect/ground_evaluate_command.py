"""clipx eval ground: photos with true boxes -> how often a class's word leads to one of its boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.modalities.detect.ground_command import RegionFlags

FEW = 10  # photos: intervals over fewer are warned of
SHOWN = {"pointing": "pointing game", "accuracy": "accuracy at IoU .5"}


@takes("space", "device", "dtype", "seed", "where", "out", "as_json", "config")
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A COCO JSON file, a VOC folder, or a folder with labels.csv and boxes.json files."
        ),
    ],
    *,
    regions: RegionFlags,
    run: RunOptions,
) -> None:
    """Measure grounding by the pointing game and by phrase accuracy at IoU .5.

    Each class that is in a photo is looked for by its word: a hit is a point, or
    the best box, in or on any box of that class. Figures are shares of the pairs of
    a photo and a class, with 95 % bootstrap intervals, and the same of classes with
    a box of at least 2 % of the photo. Controls: the photo's centre, and the words
    of other classes. --where also takes half=0 or half=1, even and odd rows.

    Example: clipx eval ground photos --where half=1
    """
    from clipx.cli._output import report
    from clipx.modalities.detect.command import opened_head
    from clipx.modalities.detect.data import read_boxed, set_sha256
    from clipx.modalities.detect.grounder import GroundConfig
    from clipx.modalities.detect.grounding_evaluate import grounding_summary, judge_grounding
    from clipx.progress import note, task_progress

    run.check_writable()
    plan = GroundConfig(**regions.settings())
    photos = read_boxed(data, run.conditions())
    joint = run.open_space(backend="torch")
    head = opened_head(regions.head, joint)
    with task_progress("judging grounding") as on_progress:
        found = judge_grounding(joint, photos, plan, run.seed, head, on_progress)
    if len(photos) < FEW:
        note(f"warning: {len(photos)} photos say little")
    if found.unknown:
        note(f"left out, since the space does not know them: {', '.join(found.unknown)}")
    results = [{"row": name, "n": len(photos), **own} for name, own in grounding_summary(found, run.seed).items()]
    about: dict[str, Any] = {
        "dataset": data.resolve().name,
        "data_sha256": set_sha256(photos),
        "where": list(run.where or ()),
    }
    about |= {"unknown": list(found.unknown), "space": joint.name, "space_id": joint.id, "seed": run.seed}
    settings = {**asdict(plan), "head": None if regions.head is None else str(regions.head)}
    run.emit(report("eval ground", results, **about, settings=settings), lambda: _print(results))


def _print(results: Sequence[Mapping[str, Any]]) -> None:
    from clipx.cli._output import print_table

    def cells(one: Mapping[str, Any]) -> list[str]:
        shown = [one["row"], str(one["pairs"])]
        for figure in SHOWN:
            large = one[f"{figure}_large"]
            shown.append(f"{one[figure]:.1%} [{one[f'{figure}_low']:.1%}, {one[f'{figure}_high']:.1%}]")
            shown.append("" if large is None else f"{large:.1%}")
        return shown

    columns = ("row", "pairs", *(text for name in SHOWN.values() for text in (name, "of large things")))
    title = f"{results[0]['n']} photos; large: at least 2 % of the photo, {results[0]['pairs_large']} pairs"
    print_table(columns, [cells(one) for one in results], title)
