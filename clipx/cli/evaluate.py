"""clipx eval: labelled data -> classification figures, by words alone or with a few shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from clipx.cli._flags import conditions
from clipx.cli._options import RunOptions, takes
from clipx.errors import InputError
from clipx.evaluation import ZERO_SHOT
from clipx.progress import note

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.evaluation import Methods, Shots
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
        str | None,
        typer.Option("--shots", help="Labelled samples of each class to learn from; several with commas: 1,2,4,8,16."),
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
            "--methods",
            help="zero_shot, gda, cache, probe, ... (docs: few-shot); several with commas; closed: all that train "
            "nothing by gradient; all: all that the space and the modality allow. Default: zero_shot; with --shots "
            "zero_shot, cache, gda and probe.",
            show_default=False,
        ),
    ] = None
    captions: Annotated[
        str | None,
        typer.Option(
            "--captions",
            help="Rank files by the sentences of this column, and sentences by files, in place of naming them.",
            show_default=False,
        ),
    ] = None
    short: Annotated[
        bool, typer.Option("--short", help="Learn from all the samples of a class that has fewer than --shots.")
    ] = False
    base_new: Annotated[
        bool,
        typer.Option("--base-new", help="Learn from the first half of the classes, name both halves: CoOp's protocol."),
    ] = False
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Beside each row, a control: the same shots with their labels exchanged.")
    ] = False
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
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page: accuracy over shots, drawn and as a table.")
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

    Example: clipx eval video clips --captions caption

    Example: clipx eval pointcloud test.npz --train train.npz --shots 1,2,4,8,16 --methods all --html shots.html
    """
    from clipx.cli._eval_output import print_record, title_of
    from clipx.cli._output import report
    from clipx.datasets import rows_csv
    from clipx.files import write_whole

    run.check_writable()
    if options.captions is not None:
        from clipx.cli._eval_captions import rank_captions

        given = [f"--{one.name.replace('_', '-')}" for one in fields(options) if _differs(options, one)]
        rank_captions(modality, data, options.captions, [flag for flag in given if flag not in _RANKED], settings, run)
        return
    plan = _plan(modality, data, options, settings, run)
    joint = run.open_space()
    found, tables, left_out = _measure(plan, joint, run)
    learned = plan.shots.data if plan.shots else None
    if run.rows is not None:
        write_whole(run.rows, rows_csv(plan.data, learned))
    if options.confusion is not None:
        from clipx.cli._confusion import confusion_png

        write_whole(options.confusion, confusion_png([title_of(row) for row in found], tables, plan.names))
    record = report("eval", found, left_out=left_out, **_about(plan, joint, options, run))
    if options.html is not None:
        from clipx.cli._shots_page import shots_page

        write_whole(options.html, shots_page(record))
    run.emit(record, lambda: print_record(record))


_RANKED = ("--captions", "--regime")


def _differs(options: EvalOptions, one: Field[Any]) -> bool:
    return getattr(options, one.name) != one.default


@dataclass(frozen=True)
class _Plan:
    """What is measured, checked before the space is loaded.

    Args:
        modality: the name of what reads the data.
        data, names, targets: the samples, the candidates, and each sample's place among them.
        shots: what is learned from, if anything.
        methods: the classifiers.
        base_new: whether the classes are halved.
        chosen: settings of the modality.
        variants: settings, and prompts, of each sweep's row.
    """

    modality: str
    data: LabelledData
    names: list[str]
    targets: Any
    shots: Shots | None
    methods: Methods
    base_new: bool
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
    for path, suffix in ((confusion, ".png"), (options.html, ".html")):
        if path is not None and path.suffix.lower() != suffix:
            raise InputError(f"suffix {path.suffix!r} is not {suffix}", where=path)
        check_writable(path)
    if confusion is not None and options.base_new:
        raise InputError("base and new classes are not taken for one another", where="--confusion")
    cls, chosen = get_modality(modality), settings_of([modality], settings)[modality]
    words = parse_labels(options.labels) if options.labels is not None else None
    variants, counts = _sweep(options.sweep or [], cls), _counts(options.shots)
    methods = _methods(options.method, counts)
    read_prompts(run.prompts)
    for variant in variants:  # refuses wrong values before anything is computed
        cls.Config(**chosen | _without_prompts(variant))
        read_prompts(variant.get("prompts"))
    if confusion is not None and len(variants) * len(methods.names) * max(1, len(counts)) > MOST_PANELS:
        raise InputError(f"more than {MOST_PANELS} tables for one picture", where="--confusion", remedy="sweep less")
    tested = read_data(data, cls, run.conditions())
    names, targets = targets_of(tested.labels, tested.classes if words is None else words)
    few = _shots(tested, names, cls, data, options, counts)
    return _Plan(modality, tested, names, targets, few, methods, options.base_new, chosen, variants)


def _shots(
    tested: LabelledData,
    names: list[str],
    cls: type[Modality],
    data: Path,
    options: EvalOptions,
    counts: Sequence[int],
) -> Shots | None:
    """The samples that few-shot classifiers learn from; None without ``--shots``."""
    from clipx.datasets import read_data
    from clipx.evaluation import Shots, require_disjoint, require_shots, targets_of

    train, train_where = options.train, options.train_where
    if not counts:
        if train is not None or train_where:
            raise InputError("nothing is learnt from it", where="--train", remedy="say how many --shots")
        return None
    if train is None and not train_where:
        raise InputError("the shots are drawn from nowhere", where="--shots", remedy="name --train or --train-where")
    shown = read_data(train or data, cls, conditions(train_where, "--train-where"))
    require_disjoint(tested, shown)
    _, known = targets_of(shown.labels, names)
    require_shots(known, names, 1 if options.short else max(counts))
    return Shots(shown, known, counts, options.draws, options.short, options.shuffled)


def _measure(plan: _Plan, space: JointSpace, run: RunOptions) -> tuple[list[dict[str, Any]], list[Any], dict[str, str]]:
    """Every row of results, its table of what is taken for what (none of halves), and the methods left out."""
    from clipx.cli._work import encode, make_classifier, read_prompts
    from clipx.evaluation import Evaluation

    def vectors(encoder: Modality, items: Sequence[Item], separate: bool) -> Embedding:
        return encode(encoder, items, run.batch_size, run.cache_folder(), separate)

    about = plan.modality, space, plan.data, plan.names, plan.targets, plan.shots, run.seed
    evaluation = Evaluation(*about, vectors, make_classifier)
    found: list[dict[str, Any]] = []
    tables = []
    for variant in plan.variants:
        name = variant.get("prompts", run.prompts)
        asked = plan.chosen | _without_prompts(variant), name, read_prompts(name), plan.methods
        if plan.base_new:
            found += [{**row, "sweep": variant} for row in evaluation.base_new_rows(*asked)]
            continue
        for row, table in evaluation.rows(*asked):
            found.append({**row, "sweep": variant})
            tables.append(table)
    for method, why in evaluation.left_out.items():
        note(f"{method} is left out: {why}")
    return found, tables, evaluation.left_out


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
        "task": "base to new classes" if plan.base_new else "classification",
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


def _counts(text: str | None) -> list[int]:
    """``--shots``: rising numbers of at least 1."""
    if text is None:
        return []
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1:
        raise InputError(f"expected numbers from 1 on, such as 1,2,4, got {text!r}", where="--shots")
    return counts


def _methods(text: str | None, counts: Sequence[int]) -> Methods:
    from clipx.evaluation import Methods

    if text is None:
        return Methods([ZERO_SHOT, "cache", "gda", "probe"] if counts else [ZERO_SHOT])
    from clipx.fewshot import METHODS  # which imports torch

    groups = {"all": list(METHODS), "closed": [name for name, one in METHODS.items() if one.classifier.closed_form]}
    asked = [name.strip().replace("-", "_") for name in text.split(",")]
    chosen = [name for one in asked for name in ([ZERO_SHOT, *groups[one]] if one in groups else [one])]
    names = list(dict.fromkeys(chosen))
    for name in names:
        if name != ZERO_SHOT and name not in METHODS:
            known = ", ".join([ZERO_SHOT, *METHODS, *groups])
            raise InputError(f"unknown method {name!r}", where="--method", remedy=known)
        if name != ZERO_SHOT and not counts:
            raise InputError(f"{name} learns from shots", where="--method", remedy="say how many with --shots")
    return Methods(names, optional=not set(asked).isdisjoint(groups))


def _sweep(texts: Sequence[str], cls: type[Modality]) -> list[dict[str, Any]]:
    """``setting=a,b`` texts -> the settings of each row: every combination, the last one varying fastest."""
    hints = get_type_hints(cls.Config)
    axes: dict[str, list[Any]] = {}
    for name, values in conditions(texts, "--sweep"):
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
