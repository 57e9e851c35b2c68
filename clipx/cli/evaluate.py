"""clipx eval: labelled data -> classification figures, by words alone or with a few shots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from clipx.cli._flags import (
    BatchFlag,
    CacheFlag,
    ConfigFlag,
    DeviceFlag,
    DtypeFlag,
    JsonFlag,
    OutFlag,
    PromptsFlag,
    ResumeFlag,
    RowsFlag,
    SeedFlag,
    SpaceFlag,
    WhereFlag,
)
from clipx.errors import InputError

if TYPE_CHECKING:
    import torch

    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.modality import Modality
    from clipx.space import JointSpace
    from clipx.zeroshot import ZeroShotClassifier

ZERO_SHOT = "zero_shot"


def evaluate(
    modality: Annotated[str, typer.Argument(metavar="MODALITY", help="Who reads the data: image, pointcloud, ...")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with labels.csv, a folder of class folders, an .npz, or a layout the modality knows.",
        ),
    ],
    where: WhereFlag = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="The words to choose from, a,b,c or @file. Default: the data's classes."),
    ] = None,
    prompts: PromptsFlag = None,
    regime: Annotated[
        str, typer.Option("--regime", help="What the space had seen of such data, such as 'seen classes, new domain'.")
    ] = "unstated",
    shots: Annotated[
        int | None, typer.Option("--shots", help="Labelled samples of each class to learn from.", min=1)
    ] = None,
    train: Annotated[
        Path | None, typer.Option("--train", help="Where shots are drawn from. Default: DATA, by --train-where.")
    ] = None,
    train_where: Annotated[
        list[str] | None, typer.Option("--train-where", help="As --where, of the shots.", show_default=False)
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="zero_shot, cache (Tip-Adapter), probe (linear), adapter (PointCLIP's, its samples not augmented), "
            "view_weights (fitted on the shots), coop (learned prompts); several with commas. Default: zero_shot; with "
            "--shots zero_shot, cache, probe and adapter.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", help="How often shots are drawn, with seeds from --seed on.", min=1)
    ] = 5,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            help="setting=a,b,c: a row for each value of a setting of the modality, or of prompts. Several multiply.",
            show_default=False,
        ),
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option("--confusion", help="Draw what is taken for what into this .png file.")
    ] = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    cache: CacheFlag = None,
    resume: ResumeFlag = False,
    rows: RowsFlag = None,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    **settings: Any,
) -> None:
    """Measure how often the right one of the classes' names is found, without training on them.

    acc1, acc5 and mean_per_class_recall are CLIP_benchmark's; the intervals are
    95 % bootstraps over the samples. With --shots, few-shot classifiers stand in
    rows of their own below it: means over the draws.

    Example: clipx eval image photos/ --where split=test --regime "unseen classes" --json

    Example: clipx eval pointcloud test.npz --train train.npz --shots 16 --confusion mistakes.png
    """
    from clipx.api import parse_labels
    from clipx.cli._confusion import MOST_PANELS, confusion_png
    from clipx.cli._flags import settings_of
    from clipx.cli._output import check_writable, emit, report, write_bytes
    from clipx.cli._work import cache_folder, open_space, read_prompts, versions
    from clipx.datasets import read_data, rows_csv
    from clipx.registry import get_modality

    check_writable(out)
    check_writable(rows)
    if confusion is not None and confusion.suffix.lower() != ".png":
        raise InputError(f"suffix {confusion.suffix!r} is not .png", where=confusion)
    check_writable(confusion)
    cls, chosen = get_modality(modality), settings_of([modality], settings)[modality]
    words = parse_labels(labels) if labels is not None else None
    read_prompts(prompts)  # refuses it now
    variants = _sweep(sweep or [], cls)
    methods = _methods(method, shots)
    for variant in variants:  # refuses them now
        cls.Config(**chosen | {name: value for name, value in variant.items() if name != "prompts"})
        read_prompts(variant.get("prompts"))
    if confusion is not None and len(variants) * len(methods) > MOST_PANELS:
        raise InputError(f"more than {MOST_PANELS} tables for one picture", where="--confusion", remedy="sweep less")
    tested = read_data(data, cls, [condition(text) for text in where or ()])
    names, targets = targets_of(tested.labels, tested.classes if words is None else words)
    shown, known = None, None
    if shots is None and (train is not None or train_where):
        raise InputError("nothing is learnt from it", where="--train", remedy="say how many --shots")
    if shots is not None:
        if train is None and not train_where:
            raise InputError(
                "the shots are drawn from nowhere", where="--shots", remedy="name --train or --train-where"
            )
        shown = read_data(train or data, cls, [condition(text) for text in train_where or ()])
        check_apart(tested, shown)
        _, known = targets_of(shown.labels, names)
        _check_enough(known, names, shots, methods)
    few = None if shots is None or shown is None else _Shots(shown, known, shots, draws)
    joint = open_space(space, device, dtype, seed)
    kept = cache_folder(cache, resume)
    measured = _Measured(modality, joint, tested, names, targets, few, batch_size, kept, seed)
    found, tables = [], []
    for variant in variants:
        how = chosen | {key: value for key, value in variant.items() if key != "prompts"}
        for row, table in measured.rows(how, variant.get("prompts", prompts), methods):
            found.append({**row, "sweep": variant})
            tables.append(table)

    if rows is not None:
        write_bytes(rows, rows_csv(tested, shown))
    titles = [_title(row) for row in found]
    if confusion is not None:
        write_bytes(confusion, confusion_png(titles, tables, names))
    record = report(
        "eval",
        found,
        dataset=tested.name,
        modality=modality,
        space=joint.name,
        space_id=joint.id,
        space_version=joint.version,
        task="classification",
        language="en",
        n=len(targets),
        labels=len(names),
        regime=regime,
        where=where or [],
        parts=dict(tested.parts),
        facts=dict(tested.facts),
        dtype=dtype,
        seed=seed,
        data_sha256=tested.sha256(),
        versions=versions(),
        train=None
        if shown is None
        else {
            "dataset": shown.name,
            "where": train_where or [],
            "parts": dict(shown.parts),
            "n": len(shown.items),
            "data_sha256": shown.sha256(),
        },
    )
    emit(record, as_json, lambda: _print(record), out)


@dataclass(frozen=True)
class _Shots:
    """Where few-shot classifiers learn: M samples and their classes, drawn from so many times."""

    data: LabelledData
    targets: Any
    count: int
    draws: int


@dataclass
class _Measured:
    """Labelled data in a space, measured as often as it is asked to; vectors are made once for each config."""

    modality: str
    space: JointSpace
    data: LabelledData
    names: Sequence[str]
    targets: Any
    shots: _Shots | None
    batch_size: int
    cache: Path | None
    seed: int
    made: dict[str, Embedding] = field(default_factory=dict)

    def rows(
        self, settings: Mapping[str, Any], prompts: str | None, methods: Sequence[str]
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """A row of results, and its (K, K) table of what is taken for what, for each method."""
        from clipx.api import make_modality
        from clipx.cli._work import make_classifier, read_prompts
        from clipx.modality import bound

        encoder, said = make_modality(self.modality, self.space, settings), read_prompts(prompts)
        classifier = make_classifier(self.space, self.names, encoder.prompts if said is None else said)
        about = {
            "prompts": prompts or encoder.prompts,
            "dropped_prompts": list(classifier.dropped_prompts),
            "config": asdict(encoder.config),
            "tuned_on": encoder.tuned_on,
        }
        for method in methods:
            row: dict[str, Any] = {"method": method, **about}
            if method == ZERO_SHOT:
                embedding = self._vectors(bound(encoder, classifier), self.data)
                logits = [classifier.logits(embedding).cpu()]
            else:
                logits, row["draws"] = self._learnt(method, encoder, classifier)
                row["shots"] = self.shots.count if self.shots else 0
                row["tuned_on"] = row["draws"][0]["settings"]["split"]
            figures, table = figures_of(logits, self.targets, self.names, self.seed, self.data.folds)
            yield row | figures, table

    def _learnt(
        self, method: str, encoder: Modality, classifier: ZeroShotClassifier
    ) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        """Logits (N, K), and how the classifier came about, for each draw of the shots."""
        from clipx.fewshot import fit_shots
        from clipx.progress import progress

        shots = cast(_Shots, self.shots)
        test, train = (self._vectors(encoder, data, separate=True) for data in (self.data, shots.data))
        views = len(test) // len(self.data.items)
        targets, logits, draws = shots.targets.tolist(), [], []
        with progress(f"learning from {shots.count} shots ({method})", shots.draws) as advance:
            for seed in range(self.seed, self.seed + shots.draws):
                about = shots.count, seed, views, shots.data.title
                fitted = fit_shots(method, train, targets, classifier, *about, space=encoder.space)
                logits.append(fitted.logits(test).cpu())
                right = float((_best(logits[-1])[:, 0] == self.targets).mean())
                draws.append({"seed": seed, "acc1": right, "settings": fitted.settings})
                advance(1)
        return logits, draws

    def _vectors(self, encoder: Modality, data: LabelledData, separate: bool = False) -> Embedding:
        from clipx.cli._work import encode

        key = repr((encoder.config, encoder.context, data is self.data, separate))
        if key not in self.made:
            self.made[key] = encode(encoder, data.items, self.batch_size, self.cache, separate)
        return self.made[key]


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

    split = "".join(f", {key} {' '.join(values)}" for key, values in record["parts"].items())
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
    said = ", ".join(str(value) for value in row["sweep"].values())
    return ": ".join(part for part in (said, row["method"]) if part) + f" {row['metrics']['acc1']:.1%}"


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


def figures_of(
    logits: Sequence[torch.Tensor], targets: Any, names: Sequence[str], seed: int, folds: Sequence[str] = ()
) -> tuple[dict[str, Any], Any]:
    """Means over the draws' (N, K) logits: figures, intervals, classes, top-1 of each fold where the N samples have
    one; and the (K, K) counts of all draws."""
    import numpy as np

    from clipx import metrics

    each = [metrics.classification(own, targets) for own in logits]
    figures = {name: float(np.mean([own[name] for own in each])) for name in each[0]}
    best = [_best(own) for own in logits]
    hits = np.mean([own == targets[:, None] for own in best], axis=0)  # (N, 5)
    intervals = {
        name: list(metrics.bootstrap_ci95(hits[:, :k].sum(axis=1), seed))
        for name, k in (("acc1", 1), ("acc5", 5))
        if figures[name] == figures[name]  # acc5 is NaN under five classes
    }
    table = np.sum([metrics.confusion(own[:, 0], targets, len(names)) for own in best], axis=0)
    recall = metrics.per_class_accuracy(table)
    classes = []
    for k, name in enumerate(names):
        if not (total := int(table[k].sum())):
            continue
        wrong = np.where(np.arange(len(names)) == k, 0, table[k])
        taken = int(wrong.argmax()) if wrong.any() else None
        classes.append(
            {
                "label": name,
                "n": total // len(logits),
                "recall": float(recall[k]),
                "taken_for": None if taken is None else names[taken],
                "taken": 0.0 if taken is None else float(wrong[taken] / total),
            }
        )
    apart = {one: float(hits[np.asarray(folds) == one, 0].mean()) for one in sorted(set(folds) - {""}, key=_natural)}
    found = {"metrics": figures, "ci95": intervals, "classes": classes}
    return found | ({"folds": apart} if len(apart) > 1 else {}), table


def _natural(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 10**9), name


def _check_enough(known: Any, names: Sequence[str], shots: int, methods: Sequence[str]) -> None:
    """Raise InputError now where a class has too few samples to learn from."""
    import numpy as np

    from clipx.fewshot import shots_needed

    needed = max((shots_needed(method, shots) for method in methods if method != ZERO_SHOT), default=0)
    counts = np.bincount(known, minlength=len(names))
    if short := [f"{name} {count}" for name, count in zip(names, counts, strict=True) if count < needed]:
        more = f" (the probe chooses its C on {needed - shots} more)" if needed > shots else ""
        raise InputError(
            f"too few samples for {shots} shots a class{more}: {', '.join(short)}",
            where="--train",
            remedy="take fewer shots, or leave these classes out with --labels",
        )


def check_apart(test: LabelledData, train: LabelledData) -> None:
    """Raise InputError where a sample is in both."""
    if shared := len(set(test.samples) & set(train.samples)):
        raise InputError(
            f"{shared} samples to learn from are among those to test on", where="--train", remedy="see --train-where"
        )


def condition(text: str, flag: str = "--where") -> tuple[str, str]:
    """``column=value`` of a flag as a pair. Raises InputError."""
    column, equals, value = text.partition("=")
    if not equals or not column.strip():
        raise InputError(f"expected column=value, got {text!r}", where=flag)
    return column.strip(), value.strip()


def targets_of(labels: Any, names: Any) -> tuple[list[str], Any]:
    """The candidates, and each sample's place among them; ``_`` and case make no difference.

    Raises:
        InputError: samples whose class is no candidate, all such classes in one line.
    """
    import numpy as np

    from clipx.prompts import spoken

    place = {spoken(name).casefold(): k for k, name in enumerate(names)}
    found = [place.get(spoken(label).casefold(), -1) for label in labels]
    stray = sorted({label for label, k in zip(labels, found, strict=True) if k < 0})
    if stray:
        raise InputError(
            f"the data has classes that are not among the labels: {', '.join(stray)}",
            where="--labels",
            remedy="add them, or leave their rows out with --where",
        )
    return list(names), np.array(found)


def _best(logits: torch.Tensor) -> Any:
    """(N, 5) the best labels, best first. At equal scores the earlier label is the better."""
    return logits.argsort(dim=1, descending=True, stable=True)[:, :5].numpy()
