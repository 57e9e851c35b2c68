"""clipx eval sketch: a labelled folder of photos -> how well their drawings are recognised."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from clipx.cli._flags import (
    BatchFlag,
    ConfigFlag,
    DeviceFlag,
    DtypeFlag,
    JsonFlag,
    OutFlag,
    RowsFlag,
    SeedFlag,
    SpaceFlag,
    WhereFlag,
)

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.modalities.sketch.config import DrawConfig
    from clipx.modalities.sketch.evaluate import Seen
    from clipx.modalities.sketch.svg import Strokes
    from clipx.pipeline import Item
    from clipx.space import JointSpace

AT_ONCE = 4  # photos drawn side by side, and lost if the run is stopped
SHEET_ROWS = 100


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Photos: a folder of class folders, or one with labels.csv.")
    ],
    where: WhereFlag = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            help="The words to choose from, a,b,c or @file; photos of other classes are left out. Default: the data's "
            "classes.",
        ),
    ] = None,
    per_class: Annotated[
        int | None, typer.Option("--per-class", help="The first photos of each class only, this many.", min=1)
    ] = None,
    strokes: Annotated[str, typer.Option("--strokes", help="How many, a count or several.")] = "8,32",
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Starts tried; the best drawing counts. Default: the preset's, 3.", min=1, max=64),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: clipx sketch's.", min=1)
    ] = None,
    space: SpaceFlag = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", help="The space that judges, another than --space. Default: an embedded one."),
    ] = None,
    saliency_space: Annotated[
        str | None,
        typer.Option("--saliency-space", help="Whose tower says where strokes start. Default: --space's own."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Draw by another preset or style, too, such as clipasso, and compare."),
    ] = None,
    against_steps: Annotated[
        int | None, typer.Option("--against-steps", help="Steps of --against. Default: its own.", min=1)
    ] = None,
    gallery: Annotated[
        int, typer.Option("--gallery", help="Number of photos among which a drawing is to find its own.", min=0)
    ] = 0,
    preset: Annotated[str, typer.Option("--preset", help="Of the drawings, a preset or a style.")] = "default",
    prompts: Annotated[str, typer.Option("--prompts", help="What is said of drawings, as in clipx eval.")] = "sketch",
    photo_prompts: Annotated[str, typer.Option("--photo-prompts", help="What is said of photos.")] = "photo",
    drawings: Annotated[
        Path | None,
        typer.Option(
            "--drawings", help="Keep every SVG in this folder, with a contact sheet; a second run goes on from there."
        ),
    ] = None,
    batch_size: BatchFlag = 32,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    rows: RowsFlag = None,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure how well drawings are recognised by a tower that did not draw them.

    Every photo is drawn with every stroke count and seed; the judge has no part in
    it, so strokes start where --space looks. The judge then sees, beside the best
    seed's drawings: the photos, the initial strokes before optimisation, random
    strokes (short curves at places drawn uniformly), and edge maps of the
    drawings' ink. It names them among the labels, and finds each one's photo among
    all photos. Intervals are 95 % bootstraps over the photos; p values are
    McNemar's exact test, two-sided.

    A folder of drawings (.svg, .ndjson) is evaluated as that of any sense is.

    Example: clipx eval sketch photos/ --where split=test --per-class 4 --drawings drawn
    """
    from clipx.api import make_modality, parse_labels
    from clipx.cli._output import check_writable, emit, report, write_bytes
    from clipx.cli._work import encode, make_classifier, open_space, read_prompts, space_name
    from clipx.datasets import rows_csv
    from clipx.errors import InputError
    from clipx.modalities.sketch import evaluate as measured
    from clipx.modalities.sketch.command import stroke_counts
    from clipx.modalities.sketch.config import DrawConfig
    from clipx.modalities.sketch.initial import SEEDS
    from clipx.training import prepare_folder

    if against is None and against_steps is not None:
        raise InputError("--against-steps goes with --against")
    if _of_drawings(folder):  # they are there already
        if against or gallery or preset != "default":
            raise InputError("holds drawings", where=folder, remedy="leave out --preset, --against and --gallery")
        from clipx.cli.evaluate import evaluate as evaluate_any

        more: dict[str, Any] = {"dtype": dtype, "seed": seed, "out": out, "as_json": as_json, "batch_size": batch_size}
        more |= {"rows": rows}
        more |= {"where": where, "labels": labels, "prompts": prompts, "space": space, "device": device}
        return evaluate_any(modality="sketch", data=folder, **more)
    check_writable(out)
    check_writable(rows)
    words = None if labels is None else parse_labels(labels)
    said, said_of_photos = read_prompts(prompts), read_prompts(photo_prompts)
    starts = len(DrawConfig.preset(preset).seeds) if seeds is None else seeds
    changes = {
        "strokes": stroke_counts(strokes),
        "seeds": tuple(seed + SEEDS[1] * i for i in range(starts)),
        "halving": False,
        "rank": False,  # the order of black strokes shows nowhere
    }
    plan = DrawConfig.preset(preset, **changes | ({} if steps is None else {"steps": steps}))
    rival = None
    if against is not None:
        rival = DrawConfig.preset(against, **changes | ({} if against_steps is None else {"steps": against_steps}))
    data = _chosen(folder, where or [], words, per_class)
    name = space_name(space)
    judge_name = judge or _default_judge(name)
    if drawings is not None:
        check_writable(prepare_folder(drawings, resume=True) / "sheet.png")
    joint, judging = (open_space(which, device, dtype, seed) for which in (name, judge_name))
    if judging.id == joint.id:
        raise InputError(f"{judging.name} also draws", where="--judge", remedy="name a space that does not")
    starting = joint if saliency_space is None else open_space(saliency_space, device, dtype, seed)
    if starting.id == judging.id:
        raise InputError(f"{judging.name} also judges", where="--saliency-space", remedy="name another")
    of_drawings = make_classifier(judging, data.classes, said or "sketch")
    of_photos = make_classifier(judging, data.classes, said_of_photos or "photo")
    place = {label: k for k, label in enumerate(data.classes)}
    targets = [place[label] for label in data.labels]
    every, shown = _all_classes(folder, where or [], data, gallery, judging)
    every_place = {label: k for k, label in enumerate(every)}
    all_targets = [every_place[label] for label in data.labels]
    all_of_drawings = make_classifier(judging, every, said or "sketch")
    all_of_photos = make_classifier(judging, every, said_of_photos or "photo")
    photo_eye = make_modality("image", judging)
    photos = encode(photo_eye, [*data.items, *shown], batch_size)  # a corrupt one is found before hours of drawing

    with nullcontext(drawings) if drawings else tempfile.TemporaryDirectory() as kept:
        drawn = _draw_all(data, joint, starting, plan, Path(kept))
        others = [] if rival is None else _draw_all(data, joint, starting, rival, Path(kept) / f"against-{against}")
    drawing_eye = photo_eye
    if "drawing" in judging.domains:  # whatever it takes a picture for, it knows what these are
        drawing_eye = make_modality("image", judging.domain("drawing"))

    def seen(picture: Callable[..., Tensor], *about: Any, of: Sequence[_Drawn] = drawn) -> Embedding:
        return encode(drawing_eye, [_item(picture, one, *about) for one in of], batch_size)

    def judged(vectors: Embedding, classifier: Any = of_drawings, among: Any = all_of_drawings) -> Seen:
        among_all = among.logits(vectors), all_targets
        return measured.judge(classifier.logits(vectors), targets, vectors.similarity(photos), among_all)

    own = judged(photos[: len(drawn)], of_photos, all_of_photos)
    pictures: dict[tuple[str, int | None], Seen] = {("photo", None): own}
    per_seed: dict[int, dict[int, Seen]] = {}
    for count in plan.strokes:
        made = {start: seen(_drawing, count, start) for start in plan.seeds}
        per_seed[count] = {start: judged(vectors) for start, vectors in made.items()}
        pictures["drawing", count] = judged(_pick(made, [one.best[count] for one in drawn]))
        for kind in CONTROLS:
            pictures[kind, count] = judged(seen(_control, kind, count))
        if against is not None:
            pictures[against, count] = judged(seen(_drawing, count, of=others))

    figures = [
        {"picture": kind, "strokes": count} | measured.figures(found, len(data.classes), seed, len(every))
        for (kind, count), found in pictures.items()
    ]
    ratios = {c: measured.ratio(pictures["drawing", c], pictures["photo", None], seed) for c in plan.strokes}
    spreads = {count: measured.spread(found) for count, found in per_seed.items()}
    controls = (*CONTROLS, against) if against else CONTROLS
    tests = _tests(pictures, plan.strokes, controls)
    record = report(
        "eval sketch",
        [_result(i, data, drawn[i], pictures, drawings, controls) for i in range(len(drawn))],
        dataset=data.name,
        data_sha256=data.sha256(),
        n=len(drawn),
        labels=list(data.classes),
        where=where or [],
        per_class=per_class,
        space=joint.name,
        space_id=joint.id,
        judge=judging.name,
        judge_id=judging.id,
        saliency_space=starting.name,
        prompts={"drawings": prompts, "photos": photo_prompts},
        dropped_prompts=[*of_drawings.dropped_prompts, *of_photos.dropped_prompts],
        settings=asdict(plan),
        dtype=dtype,
        seed=seed,
        chance={
            "acc1": 1 / len(data.classes),
            "acc1_all": 1 / len(every),
            "photo_recall@1": 1 / len(photos),
            "photo_median_rank": (len(photos) + 1) / 2,
        },
        all_labels=len(every),
        gallery=len(photos),
        against=None if rival is None else {"preset": against, "settings": asdict(rival)},
        figures=figures,
        share_of_photos_acc1=ratios,
        seeds=spreads,
        tests=tests,
    )
    if rows is not None:
        write_bytes(rows, rows_csv(data))
    if drawings is not None:
        _write_sheets(drawings, data, drawn, pictures, plan.strokes)
    title = f"{data.name}: {len(drawn)} photos, {len(data.classes)} labels, {joint.name} drew, {judging.name} judges"
    emit(record, as_json, lambda: _print(title, figures, ratios, spreads, tests), out)


# -------------------------------------------------------------------------------------------------------- the photos


def _of_drawings(folder: Path) -> bool:
    from clipx.modalities.sketch.encoder import Sketch
    from clipx.pictures import SUFFIXES

    suffixes = {path.suffix.lower() for path in folder.rglob("*")} if folder.is_dir() else set()
    return bool(suffixes & set(Sketch.suffixes)) and not suffixes & set(SUFFIXES)


def _chosen(folder: Path, where: Sequence[str], words: list[str] | None, per_class: int | None) -> LabelledData:
    """The photos to draw; their labels are spelled as the classes are."""
    from clipx.cli._flags import condition
    from clipx.datasets import read_data
    from clipx.errors import InputError
    from clipx.progress import note
    from clipx.prompts import spoken
    from clipx.registry import get_modality

    rows = read_data(folder, get_modality("image"), [condition(text) for text in where])
    if any(callable(item.content) for item in rows.items):
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
    folder: Path, where: Sequence[str], chosen: LabelledData, gallery: int, judge: JointSpace
) -> tuple[list[str], list[Item]]:
    """Every class of the data that the judge knows, and photos that fill a gallery up, evenly from those not drawn."""
    from clipx.cli._flags import condition
    from clipx.datasets import read_data
    from clipx.progress import note
    from clipx.prompts import spoken
    from clipx.registry import get_modality

    rows = read_data(folder, get_modality("image"), [condition(text) for text in where])
    known = [name for name in rows.classes if not judge.unknown(spoken(name))]
    if len(known) < len(rows.classes):
        note(f"{len(rows.classes) - len(known)} classes that {judge.name} does not know are not among all labels")
    names = {spoken(name).casefold(): name for name in [*known, *chosen.classes]}
    drawn = {item.id for item in chosen.items}
    left = [item for item in rows.items if item.id not in drawn]
    more = max(0, min(len(left), gallery - len(chosen.items)))
    return list(dict.fromkeys(names.values())), [left[i * len(left) // more] for i in range(more)]


def _default_judge(name: str) -> str:
    from clipx.errors import InputError
    from clipx.space import embedded_for

    for judge in embedded_for("drawings_of_photos"):
        if judge != name:
            return judge
    raise InputError(
        f"no other embedded space is there to judge what {name} draws",
        where="--judge",
        remedy="name one, such as ViT-B-32-quickgelu/openai",
    )


# ------------------------------------------------------------------------------------------------------ the drawings


@dataclass(frozen=True)
class _Drawn:
    """A photo's drawings, as their SVG files hold them.

    Args:
        photo: the file.
        folder: of the SVG files.
        shape: (height, width) in canvas pixels of the photo, not stretched.
        strokes: (count, seed) -> drawing.
        initial: count -> the best seed's strokes before optimisation.
        losses: count -> seed -> plain loss.
    """

    photo: Path
    folder: Path
    shape: tuple[int, int]
    strokes: dict[tuple[int, int], Strokes]
    initial: dict[int, Strokes]
    losses: dict[int, dict[int, float]]

    @property
    def best(self) -> dict[int, int]:
        """count -> the seed of the lowest plain loss; of equal ones the first."""
        return {count: min(losses, key=lambda seed: losses[seed]) for count, losses in self.losses.items()}


def _draw_all(
    rows: LabelledData, joint: JointSpace, starting: JointSpace, plan: DrawConfig, kept: Path
) -> list[_Drawn]:
    """Draw what ``kept`` does not hold yet. All is read back from there, so a resumed run judges the same strokes."""
    from clipx.modalities.sketch.draw import draw
    from clipx.modalities.sketch.target import load_target
    from clipx.progress import note, progress

    by = {"space": joint.id, "saliency_space": starting.id, "dtype": str(joint.dtype)}
    settings = json.loads(json.dumps({"config": asdict(plan), **by}))
    photos = [cast(Path, item.content) for item in rows.items]  # _chosen has seen to it
    shapes = [load_target(photo).box[2:] for photo in photos]  # what cannot be drawn fails before hours of drawing
    folders = [kept / _folder_name(label, photo) for label, photo in zip(rows.labels, photos, strict=True)]
    todo = [i for i, at in enumerate(folders) if not _finished(at, settings)]
    parts = [todo[start : start + AT_ONCE] for start in range(0, len(todo), AT_ONCE)]
    try:
        with progress(f"drawing {len(todo)} of {len(photos)} photos", len(parts) * plan.steps) as advance:
            for part in parts:
                done = 0

                def tell(step: int, steps: int, loss: float) -> None:
                    nonlocal done
                    advance(step - done)
                    done = step

                targets = [load_target(photos[i], keep_aspect=plan.keep_aspect) for i in part]
                found = draw(targets, joint, plan, saliency_space=starting, progress=tell)
                if found[0].stopped:
                    raise KeyboardInterrupt
                for row, i in enumerate(part):
                    _keep(folders[i], settings, [drawing for drawing in found if drawing.target == row])
                advance(plan.steps - done)
    except KeyboardInterrupt:
        finished = sum(_finished(at, settings) for at in folders)
        note(f"{finished} of {len(photos)} photos are drawn; with --drawings a second run goes on from there")
        raise
    return [_read(*each, plan) for each in zip(photos, folders, shapes, strict=True)]


def _folder_name(label: str, photo: Path) -> Path:
    """A photo's folder: by its name and content, so that it does not depend on which others are drawn."""
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    return Path(re.sub(r"[^\w -]", "_", label)) / f"{photo.stem}-{digest[:12]}"


def _finished(at: Path, settings: dict[str, Any]) -> bool:
    from clipx.errors import FileError, InputError

    record = at / "drawing.json"
    if not record.exists():
        return False
    try:
        found = json.loads(record.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError("is torn", where=record, remedy="delete it: the photo is drawn again") from error
    if found != settings:
        raise InputError(
            "was drawn with other settings", where=at, remedy="give the same ones, or name another folder --drawings"
        )
    return True


def _keep(at: Path, settings: dict[str, Any], drawings: Sequence[Any]) -> None:
    """Write a photo's drawings; ``drawing.json`` comes last and says that all are there."""
    from clipx.cli._output import write_bytes
    from clipx.modalities.sketch.svg import to_svg
    from clipx.training import prepare_folder

    prepare_folder(at, resume=True)
    losses = {}
    for drawing in drawings:
        count = len(drawing.strokes)
        losses[count] = drawing.losses
        files = {f"{count}-seed{seed}": strokes for seed, strokes in drawing.seeds.items()}
        for name, strokes in {**files, f"{count}-initial": drawing.film[0]}.items():
            about = strokes.about | {"title": f"{at.name}, {name}"}
            write_bytes(at / f"{name}.svg", to_svg(replace(strokes, about=about)).encode())
    write_bytes(at / "drawing.json", json.dumps({"settings": settings, "losses": losses}, indent=2).encode())


def _read(photo: Path, at: Path, shape: tuple[int, int], plan: DrawConfig) -> _Drawn:
    from clipx.errors import FileError
    from clipx.modalities.sketch.svg import read_svg

    try:
        losses = json.loads((at / "drawing.json").read_text(encoding="utf-8"))["losses"]
        known = {count: {seed: float(losses[str(count)][str(seed)]) for seed in plan.seeds} for count in plan.strokes}
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = at / "drawing.json"
        raise FileError("is torn", where=where, remedy="delete it: the photo is drawn again") from error
    strokes = {(count, seed): read_svg(at / f"{count}-seed{seed}.svg") for count in plan.strokes for seed in plan.seeds}
    initial = {count: read_svg(at / f"{count}-initial.svg") for count in plan.strokes}
    return _Drawn(photo, at, shape, strokes, initial, known)


# ---------------------------------------------------------------------------------------------------- what is judged

CONTROLS = ("initial strokes", "random strokes", "edge map")


def _shown(drawn: _Drawn, strokes: Strokes) -> Tensor:
    """The picture of strokes, as large as the photo on its canvas: those of a stretched photo are stretched back."""
    from torch.nn.functional import interpolate

    from clipx.modalities.sketch.film import pixels

    seen = pixels(strokes)
    if tuple(seen.shape[1:]) == drawn.shape:
        return seen
    return interpolate(seen[None], drawn.shape, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _drawing(drawn: _Drawn, count: int, seed: int | None = None) -> Tensor:
    """The picture of a drawing, the best seed's by default."""
    return _shown(drawn, drawn.strokes[count, drawn.best[count] if seed is None else seed])


def _control(drawn: _Drawn, kind: str, count: int) -> Tensor:
    """The picture that stands beside the best seed's drawing."""
    from clipx.modalities.sketch.evaluate import edge_map, ink, photo_picture, random_strokes
    from clipx.modalities.sketch.target import load_target

    seed = drawn.best[count]
    if kind == "initial strokes":
        return _shown(drawn, drawn.initial[count])
    if kind == "random strokes":
        return _shown(drawn, random_strokes(drawn.strokes[count, seed], seed))
    return edge_map(photo_picture(load_target(drawn.photo)), ink(_drawing(drawn, count)))


def _item(picture: Callable[..., Tensor], drawn: _Drawn, *about: Any) -> Item:
    """A picture that is made when its batch is encoded."""
    from functools import partial

    from clipx.pipeline import MadeItem

    return MadeItem(str(drawn.photo), partial(picture, drawn, *about))


def _pick(made: dict[int, Embedding], seeds: Sequence[int]) -> Embedding:
    """Of each picture the row of its own seed."""
    import torch

    first = next(iter(made.values()))
    return replace(first, vectors=torch.stack([made[seed].vectors[i] for i, seed in enumerate(seeds)]))


def _tests(
    pictures: dict[tuple[str, int | None], Seen], counts: Sequence[int], controls: Sequence[str]
) -> list[dict[str, Any]]:
    """Drawings against each control of the same count, and each count against the next smaller one."""
    from clipx.metrics import mcnemar

    pairs = [(("drawing", count), (kind, count)) for count in counts for kind in controls]
    pairs += [(("drawing", more), ("drawing", less)) for less, more in pairwise(sorted(counts))]
    return [
        {"first": _called(a), "second": _called(b)} | mcnemar(pictures[a].right, pictures[b].right) for a, b in pairs
    ]


def _called(key: tuple[str, int | None]) -> str:
    return key[0] if key[1] is None else f"{key[0]}, {key[1]}"


# ------------------------------------------------------------------------------------------------------ what is told


def _result(
    i: int,
    rows: LabelledData,
    drawn: _Drawn,
    pictures: dict[tuple[str, int | None], Seen],
    drawings: Path | None,
    controls: Sequence[str],
) -> dict[str, Any]:
    def ranks(seen: Seen) -> dict[str, Any]:
        return {
            "best": rows.classes[seen.best[i]],
            "label_rank": int(seen.label_ranks[i]),
            "all_rank": int(seen.all_ranks[i]),
            "photo_rank": int(seen.photo_ranks[i]),
        }

    counts = [
        {"strokes": count, "seed": best, "loss": drawn.losses[count][best], "losses": drawn.losses[count]}
        | ({} if drawings is None else {"svg": str(drawn.folder / f"{count}-seed{best}.svg")})
        | {kind: ranks(pictures[kind, count]) for kind in ("drawing", *controls)}
        for count, best in drawn.best.items()
    ]
    photo = ranks(pictures["photo", None])
    return {"path": rows.items[i].id, "label": rows.labels[i], "photo": photo, "drawings": counts}


def _write_sheets(
    folder: Path,
    rows: LabelledData,
    drawn: Sequence[_Drawn],
    pictures: dict[tuple[str, int | None], Seen],
    counts: Sequence[int],
) -> None:
    """sheet.png, and sheet-2.png, ... where there are more photos than one holds."""
    from clipx.cli._output import write_bytes
    from clipx.modalities.sketch.evaluate import contact_sheet, photo_picture
    from clipx.modalities.sketch.target import load_target

    most = max(counts)
    columns = {("photo", None): "photo", ("initial strokes", most): f"initial, {most}"}
    columns |= {("drawing", count): f"{count} strokes" for count in sorted(counts)}
    columns |= {("edge map", most): "edges, equal ink"}

    def picture(key: tuple[str, int | None], one: _Drawn) -> Tensor:
        kind, count = key
        if count is None:
            return photo_picture(load_target(one.photo))
        return _drawing(one, count) if kind == "drawing" else _control(one, kind, count)

    for number, start in enumerate(range(0, len(drawn), SHEET_ROWS), 1):
        table = [
            (
                rows.labels[i],
                [
                    (picture(key, drawn[i]), rows.classes[pictures[key].best[i]], bool(pictures[key].right[i]))
                    for key in columns
                ],
            )
            for i in range(start, min(start + SHEET_ROWS, len(drawn)))
        ]
        data = io.BytesIO()
        contact_sheet(list(columns.values()), table).save(data, "PNG")
        name = "sheet.png" if number == 1 else f"sheet-{number}.png"
        write_bytes(folder / name, data.getvalue())


def _print(
    title: str,
    figures: Sequence[dict[str, Any]],
    ratios: dict[int, dict[str, Any]],
    spreads: dict[int, dict[str, Any]],
    tests: Sequence[dict[str, Any]],
) -> None:
    from clipx.cli._output import print_table

    def percent(value: float) -> str:
        return "-" if math.isnan(value) else f"{value:.1%}"

    def share(row: dict[str, Any], name: str) -> str:
        if name not in row["ci95"]:  # top-5 under five labels
            return "-"
        return "{:.1%} ({:.1%} to {:.1%})".format(row[name], *row["ci95"][name])

    def rank(row: dict[str, Any]) -> str:
        return "{:g} ({:g} to {:g})".format(row["photo_median_rank"], *row["ci95"]["photo_median_rank"])

    lines = [
        [row["picture"], str(row["strokes"] or ""), *(share(row, n) for n in ("acc1", "acc1_all", "photo_recall@1"))]
        for row in figures
    ]
    heads = ("picture", "strokes", "top-1 (95 % interval)", "among all labels", "own photo first", "median rank of it")
    print_table(heads, [(*line, rank(row)) for line, row in zip(lines, figures, strict=True)], title=title)
    typer.echo()
    print_table(
        ("strokes", "of the photos' top-1", "95 % interval", "top-1 of each seed", "standard deviation"),
        [
            (
                str(count),
                percent(found["value"]),
                " to ".join(percent(value) for value in found["ci95"]),
                " ".join(f"{value:.1%}" for value in spreads[count]["acc1"].values()),
                "" if spreads[count]["std"] is None else f"{spreads[count]['std']:.1%}",
            )
            for count, found in ratios.items()
        ],
        title="Drawings beside their photos, and from seed to seed",
    )
    typer.echo()
    print_table(
        ("first", "second", "only first right", "only second right", "p"),
        [(t["first"], t["second"], str(t["first_only"]), str(t["second_only"]), f"{t['p']:.2g}") for t in tests],
        title="Paired, by McNemar's exact test",
    )
