"""clipx eval sketch: a labelled folder of photos -> how well their drawings are recognised."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np

    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.modalities.sketch.evaluate import Comparison, Judge
    from clipx.modalities.sketch.photos import DrawnPhoto
    from clipx.modalities.sketch.task import DrawTaskConfig
    from clipx.modality import Modality
    from clipx.pipeline import FileItem, Item
    from clipx.space import JointSpace


@dataclass(frozen=True)
class DataFlags:
    """Which photos are drawn."""

    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="The words to choose from, a,b,c or @file; photos of other classes are left out. Default: the data's "
            "classes.",
        ),
    ] = None
    per_class: Annotated[
        int | None, typer.Option("--per-class", help="The first photos of each class only, this many.", min=1)
    ] = None


@dataclass(frozen=True)
class PlanFlags:
    """How they are drawn, what their drawings are compared with, and where they are kept."""

    strokes: Annotated[str, typer.Option("--strokes", help="How many, a count or several.")] = "8,32"
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Starts tried; the best drawing counts. Default: the preset's, 3.", min=1, max=64),
    ] = None
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: clipx sketch's.", min=1)
    ] = None
    preset: Annotated[str, typer.Option("--preset", help="Of the drawings, a preset or a style.")] = "default"
    against: Annotated[
        str | None,
        typer.Option("--against", help="Draw by another preset or style, too, such as clipasso, and compare."),
    ] = None
    against_steps: Annotated[
        int | None, typer.Option("--against-steps", help="Steps of --against. Default: its own.", min=1)
    ] = None
    drawings: Annotated[
        Path | None,
        typer.Option(
            "--drawings", help="Keep every SVG in this folder, with a contact sheet; a second run goes on from there."
        ),
    ] = None


@dataclass(frozen=True)
class JudgeFlags:
    """Who judges, and how."""

    judge: Annotated[
        str | None,
        typer.Option("--judge", help="The space that judges, another than --space. Default: an embedded one."),
    ] = None
    saliency_space: Annotated[
        str | None,
        typer.Option("--saliency-space", help="Whose tower says where strokes start. Default: --space's own."),
    ] = None
    gallery: Annotated[
        int,
        typer.Option(
            "--gallery",
            help="Number of photos among which a drawing is to find its own: those of --where, then others of FOLDER.",
            min=0,
        ),
    ] = 0
    prompts: Annotated[str, typer.Option("--prompts", help="What is said of drawings, as in clipx eval.")] = "sketch"
    photo_prompts: Annotated[str, typer.Option("--photo-prompts", help="What is said of photos.")] = "photo"


@takes("where", "space", "batch_size", "device", "dtype", "seed", "rows", "out", "as_json", "config")
def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Photos: a folder of class folders, or one with labels.csv.")
    ],
    *,
    data: DataFlags,
    plan: PlanFlags,
    judging: JudgeFlags,
    run: RunOptions,
) -> None:
    """Measure how well drawings are recognised by a tower that did not draw them.

    Every photo is drawn with every stroke count and seed; the judge has no part in
    it, so strokes start where --space looks. The judge then sees, beside the best
    seed's drawings: the photos, the initial strokes before optimisation, random
    strokes (short curves at places drawn uniformly), and edge maps of the
    drawings' ink. It names them among the labels, and finds each one's photo among
    all photos. Intervals are 95 % bootstraps over the photos; p values are
    McNemar's exact test, two-sided.

    A folder of drawings (.svg, .ndjson) is evaluated as that of any modality is.

    Example: clipx eval sketch photos/ --where split=test --per-class 4 --drawings drawn
    """
    from clipx.datasets import rows_csv
    from clipx.files import write_whole
    from clipx.modalities.sketch.evaluate import compare, write_sheets

    plans, drawings = _plans(plan, run.seed), plan.drawings
    if _of_drawings(folder):  # they are there already
        return _evaluate_drawings(folder, data, plan, judging, run)
    run.check_writable()
    setup = _setup(folder, data, judging, drawings, run)
    with nullcontext(drawings) if drawings else tempfile.TemporaryDirectory() as kept:
        drawn, *others = [_draw(setup, name, plan, Path(kept)) for name, plan in plans.items()]
    rivals = dict(zip(list(plans)[1:], others, strict=True))
    encode = partial(_encode, setup.eye, run.batch_size)
    found = compare(drawn, rivals, encode, setup.of_photos, setup.of_drawings)
    record = _record(setup, plans, found, drawn, drawings)
    if run.rows is not None:
        write_whole(run.rows, rows_csv(setup.rows))
    if drawings is not None:
        write_sheets(drawings, drawn, setup.rows.labels, setup.rows.classes, found)
    run.emit(record, lambda: _print(record))


# --------------------------------------------------------------------------------------------------------- the input


def _plans(flags: PlanFlags, seed: int) -> dict[str, DrawTaskConfig]:
    """The settings of the drawings, and by its name those of --against, if any."""
    from clipx.errors import InputError
    from clipx.modalities.sketch.command import stroke_counts
    from clipx.modalities.sketch.initial import SEEDS
    from clipx.modalities.sketch.task import DrawTaskConfig

    if flags.against is None and flags.against_steps is not None:
        raise InputError("--against-steps goes with --against")
    starts = len(DrawTaskConfig.preset(flags.preset).seeds) if flags.seeds is None else flags.seeds
    changes: dict[str, Any] = {
        "strokes": stroke_counts(flags.strokes),
        "seeds": tuple(seed + SEEDS[1] * i for i in range(starts)),
        "halving": False,
        "rank": False,  # the order of black strokes shows nowhere
    }
    steps = {} if flags.steps is None else {"steps": flags.steps}
    plans = {"drawing": DrawTaskConfig.preset(flags.preset, **changes | steps)}
    if flags.against is not None:
        steps = {} if flags.against_steps is None else {"steps": flags.against_steps}
        plans[flags.against] = DrawTaskConfig.preset(flags.against, **changes | steps)
    return plans


def _evaluate_drawings(folder: Path, data: DataFlags, plan: PlanFlags, judging: JudgeFlags, run: RunOptions) -> None:
    """Of a folder of drawings: what ``clipx eval`` does with any modality."""
    from clipx.cli.evaluate import evaluate as evaluate_any
    from clipx.errors import InputError

    if plan.against or judging.gallery or plan.preset != "default":
        raise InputError("holds drawings", where=folder, remedy="leave out --preset, --against and --gallery")
    names = ("where", "space", "device", "dtype", "seed", "batch_size", "rows", "out", "as_json")
    more = {name: getattr(run, name) for name in names} | {"labels": data.labels, "prompts": judging.prompts}
    evaluate_any(modality="sketch", data=folder, **more)


def _of_drawings(folder: Path) -> bool:
    from clipx.modalities.sketch.encoder import Sketch
    from clipx.pictures import SUFFIXES

    suffixes = {path.suffix.lower() for path in folder.rglob("*")} if folder.is_dir() else set()
    return bool(suffixes & set(Sketch.suffixes)) and not suffixes & set(SUFFIXES)


def _chosen(
    folder: Path, where: Sequence[tuple[str, str]], words: list[str] | None, per_class: int | None
) -> LabelledData:
    """The photos to draw; their labels are spelled as the classes are."""
    from clipx.datasets import read_data
    from clipx.errors import InputError
    from clipx.pipeline import FileItem
    from clipx.progress import note
    from clipx.prompts import spoken
    from clipx.registry import get_modality

    rows = read_data(folder, get_modality("image"), where)
    if not all(isinstance(item, FileItem) for item in rows.items):
        raise InputError("holds arrays", where=folder, remedy="give a folder of photos")
    classes = list(rows.classes) if words is None else words
    names = {spoken(name).casefold(): name for name in classes}
    taken: dict[str, int] = {}
    kept, labels = [], []
    for i, label in enumerate(rows.labels):
        name = names.get(spoken(label).casefold())
        if name is not None and (per_class is None or taken.get(name, 0) < per_class):
            taken[name] = taken.get(name, 0) + 1
            kept.append(i)
            labels.append(name)
    if not kept:
        raise InputError("holds no photo of any of the labels", where=folder, remedy="see --labels and --where")
    if words is not None and (absent := [name for name in words if name not in taken]):
        note(f"no photo of {', '.join(absent)}: only to be mistaken for")
    items, sources = [rows.items[i] for i in kept], [rows.sources[i] for i in kept if rows.sources]
    return replace(rows, items=items, labels=labels, classes=classes, folds=(), sources=sources)


def _all_classes(
    folder: Path, where: Sequence[tuple[str, str]], chosen: LabelledData, gallery: int, judge: JointSpace
) -> tuple[list[str], list[Item], list[Item]]:
    """Every class of the data that the judge knows, and what fills a gallery up beside the photos that are drawn.

    First the other photos of ``where``, then, where these are too few, photos outside it; evenly from either.
    """
    from clipx.datasets import read_data
    from clipx.progress import note
    from clipx.prompts import spoken
    from clipx.registry import get_modality

    rows = read_data(folder, get_modality("image"), where)
    known = [name for name in rows.classes if not judge.unknown(spoken(name))]
    if len(known) < len(rows.classes):
        note(f"{len(rows.classes) - len(known)} classes that {judge.name} does not know are not among all labels")
    names = {spoken(name).casefold(): name for name in [*known, *chosen.classes]}
    drawn, here = {item.id for item in chosen.items}, {item.id for item in rows.items}
    inside = _evenly([item for item in rows.items if item.id not in drawn], gallery - len(drawn))
    outside: list[Item] = []
    if where and (more := gallery - len(drawn) - len(inside)) > 0:
        others = read_data(folder, get_modality("image")).items
        outside = _evenly([item for item in others if item.id not in here], more)
    return list(dict.fromkeys(names.values())), inside, outside


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of them, evenly spaced."""
    count = max(0, min(len(items), count))
    return [items[i * len(items) // count] for i in range(count)]


@dataclass(frozen=True)
class _Setup:
    """The photos, the spaces that draw and judge, and the flags that say how."""

    data: DataFlags
    judging: JudgeFlags
    run: RunOptions
    rows: LabelledData
    outside: int  # photos of the gallery that --where does not choose
    joint: JointSpace
    starting: JointSpace
    eye: Modality
    of_photos: Judge
    of_drawings: Judge


def _setup(
    folder: Path,
    data: DataFlags,
    judging: JudgeFlags,
    drawings: Path | None,
    run: RunOptions,
) -> _Setup:
    from clipx.api import make_modality, parse_labels
    from clipx.cli._output import check_writable
    from clipx.cli._work import encode, make_classifier, read_prompts, space_name
    from clipx.errors import InputError
    from clipx.files import make_folder
    from clipx.modalities.sketch.evaluate import Judge
    from clipx.modalities.sketch.judging import default_judge, require_other_space

    words = None if data.labels is None else parse_labels(data.labels)
    of_drawings, of_photos = read_prompts(judging.prompts), read_prompts(judging.photo_prompts)
    rows = _chosen(folder, run.conditions(), words, data.per_class)
    name = space_name(run.space)
    judge_name = judging.judge or default_judge(name)
    if drawings is not None:
        check_writable(make_folder(drawings) / "sheet.png")
    joint = run.open_space(name, "torch")
    judge = require_other_space(run.open_space(judge_name, "torch"), joint)
    own = judging.saliency_space
    starting = joint if own is None else run.open_space(own, "torch")
    if starting.id == judge.id:
        raise InputError(f"{judge.name} also judges", where="--saliency-space", remedy="name another")
    of_labels = [make_classifier(judge, rows.classes, of_drawings or "sketch"),
                 make_classifier(judge, rows.classes, of_photos or "photo")]  # fmt: skip
    every, inside, outside = _all_classes(folder, run.conditions(), rows, judging.gallery, judge)
    of_every = [make_classifier(judge, every, of_drawings or "sketch"),
                make_classifier(judge, every, of_photos or "photo")]  # fmt: skip
    eye = make_modality("image", judge)
    # A corrupt photo is found before hours of drawing.
    gallery = encode(eye, [*rows.items, *inside, *outside], run.batch_size)
    targets = [list(rows.classes).index(label) for label in rows.labels]
    all_targets = [every.index(label) for label in rows.labels]
    judges = [Judge(*pair, targets, all_targets, gallery) for pair in zip(of_labels, of_every, strict=True)]
    if "drawing" in judge.domains:  # whatever it takes a picture for, it knows what these are
        eye = make_modality("image", judge.domain("drawing"))
    return _Setup(data, judging, run, rows, len(outside), joint, starting, eye, judges[1], judges[0])


def _draw(setup: _Setup, name: str, plan: DrawTaskConfig, kept: Path) -> list[DrawnPhoto]:
    """The drawings of one plan; those that the folder holds already are not drawn again."""
    from clipx.modalities.sketch.photos import PhotoDrawings
    from clipx.modalities.sketch.task import DrawTask
    from clipx.progress import note, task_progress

    photos = [cast("FileItem", item).path for item in setup.rows.items]  # see _chosen
    folder = kept if name == "drawing" else kept / f"against-{name}"
    work = PhotoDrawings(photos, setup.rows.labels, DrawTask(setup.joint, plan, setup.starting), folder)
    try:
        with task_progress(f"drawing {len(work.missing)} of {len(photos)} photos") as on_progress:
            return work.draw(on_progress)
    except KeyboardInterrupt:
        done = len(photos) - len(work.missing)
        note(f"{done} of {len(photos)} photos are drawn; with --drawings a second run goes on from there")
        raise


def _encode(
    eye: Modality, batch_size: int, drawn: Sequence[DrawnPhoto], picture: Callable[[DrawnPhoto], np.ndarray]
) -> Embedding:
    """The pictures as the judge sees them; each is made when its batch is encoded."""
    from clipx.cli._work import encode
    from clipx.pipeline import MadeItem

    return encode(eye, [MadeItem(str(one.photo), partial(picture, one)) for one in drawn], batch_size)


# ------------------------------------------------------------------------------------------------------------ output


def _record(
    setup: _Setup,
    plans: Mapping[str, DrawTaskConfig],
    found: Comparison,
    drawn: Sequence[DrawnPhoto],
    drawings: Path | None,
) -> dict[str, Any]:
    """What --json prints."""
    from clipx.cli._output import report
    from clipx.modalities.sketch.evaluate import figures, spread

    rows, judging, judge, seed = setup.rows, setup.judging, setup.eye.space, setup.run.seed
    of_labels, of_every = setup.of_drawings.labels, setup.of_drawings.every
    labels, every, photos = len(of_labels.labels), len(of_every.labels), len(setup.of_photos.gallery)
    (_, plan), *rivals = plans.items()
    return report(
        "eval sketch",
        [_result(setup, found, i, one, drawings) for i, one in enumerate(drawn)],
        dataset=rows.name,
        data_sha256=rows.sha256(),
        n=len(drawn),
        labels=list(rows.classes),
        where=setup.run.where or [],
        per_class=setup.data.per_class,
        space=setup.joint.name,
        space_id=setup.joint.id,
        judge=judge.name,
        judge_id=judge.id,
        saliency_space=setup.starting.name,
        prompts={"drawings": judging.prompts, "photos": judging.photo_prompts},
        dropped_prompts=[*of_labels.dropped_prompts, *setup.of_photos.labels.dropped_prompts],
        settings=asdict(plan.drawing),
        dtype=setup.run.dtype,
        seed=seed,
        chance={
            "acc1": 1 / labels,
            "acc1_all": 1 / every,
            "photo_recall@1": 1 / photos,
            "photo_median_rank": (photos + 1) / 2,
        },
        all_labels=every,
        gallery=photos,
        gallery_outside_where=setup.outside,
        against=next(({"preset": name, "settings": asdict(other.drawing)} for name, other in rivals), None),
        figures=[
            {"picture": kind, "strokes": count} | figures(own, labels, seed, every)
            for (kind, count), own in found.pictures.items()
        ],
        share_of_photos_acc1=found.ratios(seed),
        seeds={count: spread(own) for count, own in found.per_seed.items()},
        tests=found.tests(),
    )


def _result(setup: _Setup, found: Comparison, i: int, drawn: DrawnPhoto, drawings: Path | None) -> dict[str, Any]:
    """What is recorded of one photo."""
    rows = setup.rows
    judged = partial(found.of_photo, i, classes=rows.classes)
    counts = [
        {"strokes": count, "seed": best, "loss": drawn.losses[count][best], "losses": drawn.losses[count]}
        | ({} if drawings is None else {"svg": str(drawn.folder / f"{count}-seed{best}.svg")})
        | {kind: judged(kind, count) for kind in ("drawing", *found.kinds)}
        for count, best in drawn.best.items()
    ]
    return {"path": rows.items[i].id, "label": rows.labels[i], "photo": judged("photo", None), "drawings": counts}


def _print(record: dict[str, Any]) -> None:
    from clipx.cli._output import print_table

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    def share(row: dict[str, Any], name: str) -> str:
        return "{:.1%} ({:.1%} to {:.1%})".format(row[name], *row["ci95"][name])

    def rank(row: dict[str, Any]) -> str:
        return "{:g} ({:g} to {:g})".format(row["photo_median_rank"], *row["ci95"]["photo_median_rank"])

    title = f"{record['dataset']}: {record['n']} photos, {len(record['labels'])} labels, "
    title += f"{record['space']} drew, {record['judge']} judges"
    shares = ("acc1", "acc1_all", "photo_recall@1")
    heads = ("picture", "strokes", "top-1 (95 % interval)", "among all labels", "own photo first", "median rank of it")
    lines = [
        [row["picture"], str(row["strokes"] or ""), *(share(row, name) for name in shares), rank(row)]
        for row in record["figures"]
    ]
    print_table(heads, lines, title=title)
    typer.echo()
    columns = ("strokes", "of the photos' top-1", "95 % interval", "top-1 of each seed", "standard deviation")
    lines = []
    for count, found in record["share_of_photos_acc1"].items():
        own = record["seeds"][count]
        interval = " to ".join(percent(value) for value in found["ci95"])
        of_seeds = " ".join(percent(value) for value in own["acc1"].values())
        deviation = "" if own["std"] is None else percent(own["std"])
        lines.append([count, percent(found["value"]), interval, of_seeds, deviation])
    print_table(columns, lines, title="Drawings beside their photos, and from seed to seed")
    typer.echo()
    print_table(
        ("first", "second", "only first right", "only second right", "p"),
        [
            (t["first"], t["second"], str(t["first_only"]), str(t["second_only"]), f"{t['p']:.2g}")
            for t in record["tests"]
        ],
        title="Paired, by McNemar's exact test",
    )
