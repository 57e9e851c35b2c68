"""clipx eval: labelled data -> classification figures, by words alone or with a few shots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from clipx.cli._flags import condition
from clipx.cli._options import RunOptions, takes
from clipx.errors import InputError
from clipx.evaluation import ZERO_SHOT

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.evaluation import Shots
    from clipx.modality import Modality
    from clipx.pipeline import Item
    from clipx.space import JointSpace


@dataclass(frozen=True)
class EvalOptions:
    """Options that say what is measured, and by which classifiers."""

    labels: Annotated[
        str | None,
        typer.Option("--labels", help="The words to choose from, a,b,c or @file. Default: the data's classes."),
    ] = None
    regime: Annotated[
        str, typer.Option("--regime", help="What the space was trained on, such as 'seen classes, new domain'.")
    ] = "unstated"
    shots: Annotated[
        int | None, typer.Option("--shots", help="Labelled samples of each class to learn from.", min=1)
    ] = None
    train: Annotated[
        Path | None, typer.Option("--train", help="Where shots are drawn from. Default: DATA, by --train-where.")
    ] = None
    train_where: Annotated[
        list[str] | None, typer.Option("--train-where", help="As --where, of the shots.", show_default=False)
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="zero_shot, cache (Tip-Adapter), probe (linear), adapter (PointCLIP's, its samples not augmented), "
            "view_weights (fitted on the shots), coop (learned prompts); several with commas. Default: zero_shot; with "
            "--shots zero_shot, cache, probe and adapter.",
            show_default=False,
        ),
    ] = None
    draws: Annotated[
        int, typer.Option("--draws", help="How often shots are drawn, with seeds from --seed on.", min=1)
    ] = 5
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            help="setting=a,b,c: a row for each value of a setting of the modality, or of prompts. Several multiply.",
            show_default=False,
        ),
    ] = None
    confusion: Annotated[
        Path | None, typer.Option("--confusion", help="Draw what is taken for what into this .png file.")
    ] = None


@takes(
    *("where", "prompts", "space", "device", "dtype", "backend", "batch_size", "seed", "cache", "resume"),
    *("rows", "out", "as_json", "config"),
)
def evaluate(
    modality: Annotated[str, typer.Argument(metavar="MODALITY", help="Who reads the data: image, pointcloud, ...")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with labels.csv, a folder of class folders, an .npz, or a layout the modality knows.",
        ),
    ],
    *,
    options: EvalOptions,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Measure how often the right one of the classes' names is found, without training on them.

    acc1, acc5 and mean_per_class_recall are CLIP_benchmark's; the intervals are
    95 % bootstraps over the samples. With --shots, few-shot classifiers stand in
    rows of their own below it: means over the draws.

    Example: clipx eval image photos/ --where split=test --regime "unseen classes" --json

    Example: clipx eval pointcloud test.npz --train train.npz --shots 16 --confusion mistakes.png
    """
    from clipx.cli._confusion import confusion_png
    from clipx.cli._output import report
    from clipx.datasets import rows_csv
    from clipx.files import write_whole

    run.check_writable()
    plan = _plan(modality, data, options, settings, run)
    joint, found, tables = run.open_space(), [], []
    for row, table in _measured(plan, joint, run):
        found.append(row)
        tables.append(table)
    learned = plan.shots.data if plan.shots else None
    if run.rows is not None:
        write_whole(run.rows, rows_csv(plan.data, learned))
    if options.confusion is not None:
        write_whole(options.confusion, confusion_png([_title(row) for row in found], tables, plan.names))
    record = report("eval", found, **_about(plan, joint, options, run))
    run.emit(record, lambda: _print(record))


@dataclass(frozen=True)
class _Plan:
    """What is measured, checked before the space is loaded.

    Args:
        modality: the name of what reads the data.
        data, names, targets: the samples, the candidates, and each sample's place among them.
        shots: what is learned from, if anything.
        methods: the classifiers.
        chosen: settings of the modality.
        variants: settings, and prompts, of each sweep's row.
    """

    modality: str
    data: LabelledData
    names: list[str]
    targets: Any
    shots: Shots | None
    methods: list[str]
    chosen: dict[str, Any]
    variants: list[dict[str, Any]]


def _plan(modality: str, data: Path, options: EvalOptions, settings: Mapping[str, Any], run: RunOptions) -> _Plan:
    """Read the flags and the data. Raises InputError, FileError for whatever does not fit."""
    from clipx.api import parse_labels
    from clipx.cli._confusion import MOST_PANELS
    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable
    from clipx.cli._work import read_prompts
    from clipx.datasets import read_data
    from clipx.evaluation import targets_of
    from clipx.registry import get_modality

    confusion = options.confusion
    if confusion is not None and confusion.suffix.lower() != ".png":
        raise InputError(f"suffix {confusion.suffix!r} is not .png", where=confusion)
    check_writable(confusion)
    cls, chosen = get_modality(modality), settings_of([modality], settings)[modality]
    words = parse_labels(options.labels) if options.labels is not None else None
    variants, methods = _sweep(options.sweep or [], cls), _methods(options.method, options.shots)
    read_prompts(run.prompts)
    for variant in variants:  # refuses wrong values before anything is computed
        cls.Config(**chosen | _without_prompts(variant))
        read_prompts(variant.get("prompts"))
    if confusion is not None and len(variants) * len(methods) > MOST_PANELS:
        raise InputError(f"more than {MOST_PANELS} tables for one picture", where="--confusion", remedy="sweep less")
    tested = read_data(data, cls, run.conditions())
    names, targets = targets_of(tested.labels, tested.classes if words is None else words)
    few = _shots(tested, names, cls, data, options)
    return _Plan(modality, tested, names, targets, few, methods, chosen, variants)


def _shots(
    tested: LabelledData,
    names: list[str],
    cls: type[Modality],
    data: Path,
    options: EvalOptions,
) -> Shots | None:
    """The samples that few-shot classifiers learn from; None without ``--shots``."""
    from clipx.datasets import read_data
    from clipx.evaluation import Shots, require_disjoint, require_shots, targets_of

    shots, train, train_where = options.shots, options.train, options.train_where
    if shots is None:
        if train is not None or train_where:
            raise InputError("nothing is learnt from it", where="--train", remedy="say how many --shots")
        return None
    if train is None and not train_where:
        raise InputError("the shots are drawn from nowhere", where="--shots", remedy="name --train or --train-where")
    shown = read_data(train or data, cls, [condition(text) for text in train_where or ()])
    require_disjoint(tested, shown)
    _, known = targets_of(shown.labels, names)
    require_shots(known, names, shots)
    return Shots(shown, known, shots, options.draws)


def _measured(plan: _Plan, space: JointSpace, run: RunOptions) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every row of results with its table of what is taken for what."""
    from clipx.cli._work import encode, make_classifier, read_prompts
    from clipx.evaluation import Evaluation

    def vectors(encoder: Modality, items: Sequence[Item], separate: bool) -> Embedding:
        return encode(encoder, items, run.batch_size, run.cache_folder(), separate)

    about = plan.modality, space, plan.data, plan.names, plan.targets, plan.shots, run.seed
    evaluation = Evaluation(*about, vectors, make_classifier)
    for variant in plan.variants:
        name = variant.get("prompts", run.prompts)
        settings = plan.chosen | _without_prompts(variant)
        for row, table in evaluation.rows(settings, name, read_prompts(name), plan.methods):
            yield {**row, "sweep": variant}, table


def _about(plan: _Plan, space: JointSpace, options: EvalOptions, run: RunOptions) -> dict[str, Any]:
    """The facts that the record states besides its results."""
    from clipx.cli._work import versions

    tested, train = plan.data, None
    if plan.shots is not None:
        shown = plan.shots.data
        train = {
            "dataset": shown.name,
            "where": options.train_where or [],
            "subsets": dict(shown.subsets),
            "n": len(shown.items),
            "data_sha256": shown.sha256(),
        }
    return {
        "dataset": tested.name,
        "modality": plan.modality,
        "space": space.name,
        "space_id": space.id,
        "space_version": space.version,
        "task": "classification",
        "language": "en",
        "n": len(plan.targets),
        "labels": len(plan.names),
        "regime": options.regime,
        "where": run.where or [],
        "subsets": dict(tested.subsets),
        "facts": dict(tested.facts),
        "dtype": run.dtype,
        "seed": run.seed,
        "data_sha256": tested.sha256(),
        "versions": versions(),
        "train": train,
    }


def _without_prompts(variant: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variant.items() if name != "prompts"}


def _print(record: Mapping[str, Any]) -> None:
    from clipx.cli._output import print_table

    rows = record["results"]
    swept = list(dict.fromkeys(key for row in rows for key in row["sweep"]))

    def cells(row: Mapping[str, Any]) -> list[str]:
        figures, draws = row["metrics"], [draw["acc1"] for draw in row.get("draws", ())]
        top5 = "" if figures["acc5"] is None else f"{figures['acc5']:.1%}"
        tuned = row["tuned_on"] or "words alone"
        spread = f"{min(draws):.1%} to {max(draws):.1%} of {len(draws)}" if draws else ""
        name = row["method"] + (f", {row['shots']} shots" if "shots" in row else "")
        interval = "{:.1%} to {:.1%}".format(*row["ci95"]["acc1"])
        figure = f"{figures['acc1']:.1%}", interval, top5, f"{figures['mean_per_class_recall']:.1%}", spread, tuned
        return [*(str(row["sweep"].get(key, "")) for key in swept), name, *figure]

    split = "".join(f", {key} {' '.join(values)}" for key, values in record["subsets"].items())
    title = f"{record['dataset']}{split}: {record['n']} samples, {record['labels']} labels, "
    print_table(
        (*swept, "method", "top-1", "95 % interval", "top-5", "mean recall", "draws", "learnt from"),
        [cells(row) for row in rows],
        title=f"{title}{record['modality']} in {record['space']} ({record['regime']})",
    )
    if len(rows) == 1:
        if folds := rows[0].get("folds"):
            print()
            print_table(("fold", "top-1"), [(name, f"{right:.1%}") for name, right in folds.items()])
        lines = [
            (
                one["label"],
                str(one["n"]),
                f"{one['recall']:.1%}",
                f"{one['taken_for']} {one['taken']:.1%}" if one["taken_for"] else "",
            )
            for one in rows[0]["classes"]
        ]
        print()
        print_table(("class", "n", "recall", "most often taken for"), lines)


def _title(row: Mapping[str, Any]) -> str:
    varied = ", ".join(str(value) for value in row["sweep"].values())
    return ": ".join(part for part in (varied, row["method"]) if part) + f" {row['metrics']['acc1']:.1%}"


def _methods(text: str | None, shots: int | None) -> list[str]:
    from clipx.fewshot import METHODS

    if text is None:
        return [ZERO_SHOT] if shots is None else [ZERO_SHOT, "cache", "probe", "adapter"]
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name != ZERO_SHOT and name not in METHODS:
            raise InputError(f"unknown method {name!r}", where="--method", remedy=f"{ZERO_SHOT}, {', '.join(METHODS)}")
        if name != ZERO_SHOT and shots is None:
            raise InputError(f"{name} learns from shots", where="--method", remedy="say how many with --shots")
    return names


def _sweep(texts: Sequence[str], cls: type[Modality]) -> list[dict[str, Any]]:
    """``setting=a,b`` texts -> the settings of each row: every combination, the last one varying fastest."""
    hints = get_type_hints(cls.Config)
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, values = condition(text, "--sweep")
        name = name.replace("-", "_")
        if name != "prompts" and name not in hints:
            known = ", ".join(["prompts", *hints])
            raise InputError(f"{cls.name} has no setting {name!r}", where="--sweep", remedy=f"known: {known}")
        kind = str if name == "prompts" else hints[name]
        if "tuple" in str(kind):
            raise InputError(f"{name} holds commas itself", where="--sweep", remedy=f"give --{name} in one run each")
        numeric = next((k for k in (int, float) if kind is k), str)
        try:
            axes[name] = [numeric(value.strip()) for value in values.split(",")]
        except ValueError as error:
            raise InputError(f"{name} takes {numeric.__name__} values, got {values!r}", where="--sweep") from error
    return [dict(zip(axes, chosen, strict=True)) for chosen in product(*axes.values())]
