"""clipx eval segment: photos with masks -> how well words find what is where, next to controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import conditions
from clipx.cli._options import RunOptions, takes
from clipx.modalities.segment.command import SegmentFlags, segment_config

if TYPE_CHECKING:
    from clipx.modalities.segment.config import SegmentConfig
    from clipx.modalities.segment.data import MaskedPhotos
    from clipx.modalities.segment.evaluate import Judged
    from clipx.space import JointSpace

SWEPT = (
    "head",
    "path",
    "threshold",
    "side",
    "flip",
    "window",
    "temperature",
    "denoise",
    "smooth_keys",
    "refine",
    "background",
)


@takes("where", "prompts", "space", "device", "dtype", "seed", "out", "as_json", "config")
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with labels.csv (path, mask) and classes.txt, a VOC folder, or a COCO instances file.",
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="Words for the classes without the background, in their order: a,b|c,... or @file.",
            show_default=False,
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            help=f"setting=a,b: a row for each value of {', '.join(SWEPT)}. Several multiply.",
            show_default=False,
        ),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also one label a photo, no label at all, and a k-means oracle.")
    ] = False,
    split: Annotated[str, typer.Option("--split", help="The list of a VOC folder that is judged.")] = "val",
    *,
    how: SegmentFlags,
    run: RunOptions,
) -> None:
    """Measure masks by words against the truth: mean IoU, pixel accuracy, boundary F.

    mIoU is the mean over classes that are in the truth or predicted, as in
    mmsegmentation; "in truth" leaves out the others. Intervals are 95 % bootstraps
    over the photos. Every row is compared with 1,000 random assignments of the
    words to the classes. Rows of different words, thresholds, windows or
    refinements are not comparable with each other or with papers.

    Example: clipx eval segment VOCdevkit/VOC2012 --controls --sweep refine=none,pamr
    """
    from clipx.cli._output import report
    from clipx.errors import InputError
    from clipx.modalities.segment.config import NONE

    run.check_writable()
    photos, words, plan = _plan(data, labels, how, run, split)
    variants = _variants(sweep or ())
    if photos.background is None and any(one.get("background", (NONE,)) != (NONE,) for one in variants):
        raise InputError("the set has no background", where="--sweep", remedy="leave the setting out")
    joint = run.open_space(backend="torch")
    plans = {_name(variant): replace(plan, **variant) for variant in variants}
    found, settings = _judge(joint, plans, photos, words, controls)
    rows = _rows(found, settings, photos, run.seed)
    about: dict[str, Any] = {"dataset": photos.name, "where": run.where or [], "n": len(photos.photos)}
    about |= {"classes": list(photos.classes), "words": words, "space": joint.name, "space_id": joint.id}
    record = report("eval segment", rows, **about, seed=run.seed)
    run.emit(record, lambda: _print(rows, photos))


def _plan(
    data: Path, labels: str | None, how: SegmentFlags, run: RunOptions, split: str
) -> tuple[MaskedPhotos, list[str], SegmentConfig]:
    """The photos, the words of their classes, and the settings of the first row. Raises InputError."""
    from clipx.api import parse_labels
    from clipx.errors import InputError
    from clipx.modalities.segment.data import read_masks
    from clipx.modalities.segment.evaluate import words_of

    photos = read_masks(data, run.conditions(), split)
    words = words_of(photos.classes, photos.background)
    if labels is not None:
        given = parse_labels(labels)
        if len(given) != len(words):
            raise InputError(f"{len(given)} words for {len(words)} classes", where="--labels")
        words = given
    if photos.background is None:
        how = replace(how, background="none")
    return photos, words, segment_config(tuple(words), how, run.prompts)


def _variants(texts: Sequence[str]) -> list[dict[str, Any]]:
    """``setting=a,b`` texts -> the settings of each row: every combination, the last one varying fastest."""
    from clipx.errors import InputError
    from clipx.modalities.segment.config import SegmentConfig

    axes: dict[str, list[Any]] = {}
    for name, values in conditions(texts, "--sweep"):
        name = name.replace("-", "_")
        if name not in SWEPT:
            raise InputError(f"no setting {name!r}", where="--sweep", remedy=f"known: {', '.join(SWEPT)}")
        kind = {
            "path": str,
            "head": _file,
            "refine": str,
            "background": lambda v: tuple(v.split("+")),
            "flip": _truth,
        }.get(name, float)
        kind = int if name in ("side", "window") else kind
        try:
            axes[name] = [kind(value.strip()) for value in values.split(",")]  # type: ignore[operator]
        except ValueError as error:
            raise InputError(f"{name} does not take {values!r}", where="--sweep") from error
    found = [dict(zip(axes, chosen, strict=True)) for chosen in product(*axes.values())]
    for variant in found:
        SegmentConfig(**variant)  # raises now, not after the work
    return found


def _file(text: str) -> str | None:
    return None if text == "none" else text


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _name(variant: Mapping[str, Any]) -> str:
    shown = (f"{key} {'+'.join(value) if isinstance(value, tuple) else value}" for key, value in variant.items())
    return ", ".join(["words", *shown])


def _judge(
    joint: JointSpace, plans: Mapping[str, SegmentConfig], photos: MaskedPhotos, words: Sequence[str], controls: bool
) -> tuple[dict[str, Judged], dict[str, dict[str, Any]]]:
    """The tables of every row, and the settings of those by words without their labels, which the record has."""
    from clipx.modalities.segment import evaluate as library
    from clipx.modalities.segment.segmenter import Segmenter
    from clipx.progress import task_progress

    segmenters = {name: Segmenter(joint, plan) for name, plan in plans.items()}
    ways = {name: library.by_words(one, photos.background) for name, one in segmenters.items()}
    if controls:
        first = next(iter(segmenters.values()))
        ways[library.ONE_LABEL] = library.one_label(joint, words, photos.background, first.config.prompts)
        if photos.background is not None:
            ways[library.ALL_BACKGROUND] = library.all_background(photos.background)
        ways[library.ORACLE] = library.kmeans_oracle(first)
    with task_progress("judging masks") as on_progress:
        found = library.judge(ways, photos, on_progress)
    records = {name: one.record() for name, one in segmenters.items()}
    return found, {name: {k: v for k, v in one.items() if k != "labels"} for name, one in records.items()}


def _rows(
    found: Mapping[str, Judged],
    settings: Mapping[str, dict[str, Any]],
    photos: MaskedPhotos,
    seed: int,
) -> list[dict[str, Any]]:
    from clipx.modalities.segment.evaluate import chance, summary

    rows = []
    for name, judged in found.items():
        row: dict[str, Any] = {"row": name, "n": len(judged.photos), **summary(judged, photos.classes, seed)}
        if name in settings:
            row |= {"shuffled": chance(judged, photos.background, seed), "settings": settings[name]}
        rows.append(row)
    return rows


def _print(rows: Sequence[Mapping[str, Any]], photos: MaskedPhotos) -> None:
    from clipx.cli._output import print_table

    def cells(row: Mapping[str, Any]) -> list[str]:
        figures, (low, high) = row["figures"], row["ci95"]["miou"]
        shuffled = row.get("shuffled")
        by_chance = f"{shuffled['miou']:.1%} (p {shuffled['p']:.3f})" if shuffled else ""
        names = ("miou_in_truth", "pixel_accuracy", "boundary_f")
        others = [f"{figures[name]:.1%}" for name in names]
        return [row["row"], f"{figures['miou']:.1%}", f"{low:.1%} to {high:.1%}", *others, by_chance]

    title = f"{photos.name}: {len(photos.photos)} photos, {len(photos.classes)} classes"
    columns = ("row", "mIoU", "95 % interval", "in truth", "pixels", "boundary F", "shuffled words")
    print_table(columns, [cells(row) for row in rows], title)
    if len(rows) == 1:
        print_table(("class", "IoU"), [(name, f"{iou:.1%}") for name, iou in rows[0]["per_class"].items()])
