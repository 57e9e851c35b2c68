"""clipx reproduce pointclip, pointclip-v2: the published figures beside what is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import conditions
from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.embedding import Embedding
    from clipx.modalities.pointcloud.encoder import PointCloud

TAKEN = (
    *("where", "prompts", "space", "device", "dtype", "batch_size", "seed", "cache", "resume"),
    *("out", "as_json", "config"),
)
DataFlag = Annotated[
    Path,
    typer.Option(
        "--data",
        help="ModelNet40's or ScanObjectNN's .h5 files or their folder; ModelNet10 as an .npz or class folders.",
    ),
]


@takes(*TAKEN)
def pointclip(
    data: DataFlag,
    train: Annotated[
        Path | None,
        typer.Option("--train", help="Also learn from 16 shots of each class, drawn from this set by --seed."),
    ] = None,
    train_where: Annotated[
        list[str] | None, typer.Option("--train-where", help="As --where, of the shots.", show_default=False)
    ] = None,
    *,
    run: RunOptions,
) -> None:
    """Measure PointCLIP as its paper did, and print the published figures beside it.

    Rows that must not be mixed: view weights all equal; view weights searched on
    the very labels they are measured on, as the released code does; and with
    --train, the inter-view adapter (the last epoch counts, not the best on the
    test labels; points are not augmented).

    Example: clipx reproduce pointclip --data modelnet40_ply_hdf5_2048 --where split=test --space RN50-quickgelu/openai
    """
    _reproduce("pointclip", data, run, train, train_where)


@takes(*TAKEN)
def pointclip_v2(data: DataFlag, *, run: RunOptions) -> None:
    """Measure PointCLIP V2 zero-shot as its paper did, and print the published figures beside it.

    The paper's sentences of GPT-3 are its authors'; give them with --prompts
    @file.json, an object of class -> sentences. Two rows that must not be mixed:
    view weights all equal, and the published ones, which were found on test labels.

    Example: clipx reproduce pointclip-v2 --data main_split_nobg --where split=test --space ViT-B-16-quickgelu/openai
    """
    _reproduce("pointclip-v2", data, run)


def _reproduce(
    system: str, data: Path, run: RunOptions, train: Path | None = None, train_where: Sequence[str] | None = None
) -> None:
    from clipx.cli._output import report
    from clipx.cli._work import encode, make_classifier, read_prompts, versions
    from clipx.datasets import read_data
    from clipx.evaluation import require_disjoint, targets_of
    from clipx.modalities.pointcloud.reproduce import SYSTEMS, FirstPoints, Reproduction, benchmark_of, compared
    from clipx.progress import note

    run.check_writable()
    about, prompts = SYSTEMS[system], read_prompts(run.prompts)
    tested = read_data(data, FirstPoints, run.conditions())
    benchmark = benchmark_of(tested, system, data)
    names, targets = targets_of(tested.labels, tested.classes)
    shown = None
    if train is not None or train_where:
        shown = read_data(train or data, FirstPoints, conditions(train_where, "--train-where"))
        require_disjoint(tested, shown)
        _, known = targets_of(shown.labels, names)

    def views_of(encoder: PointCloud, some: LabelledData) -> Embedding:
        return encode(encoder, some.items, run.batch_size, run.cache_folder(), separate=True)

    joint = run.open_space(backend="torch")
    given = tested, benchmark, names, targets, run.seed, prompts
    measured = Reproduction(system, joint, *given, views_of, make_classifier)
    results = measured.by_words()
    if shown is not None:
        results.append(measured.by_adapter(shown, known))
    same = compared(tested.facts, benchmark, len(targets))
    if same.startswith("differs"):
        note(f"warning: not the data of the published figures; {same}")
    published = about.figures.get(benchmark, ())
    record = report(
        "reproduce",
        results,
        system=system,
        paper=about.paper,
        published=[{"acc1": one.acc1 / 100, "source": one.source, "shots": one.shots} for one in published],
        benchmark=benchmark,
        subsets=dict(tested.subsets),
        facts=dict(tested.facts),
        data_as_published=same,
        n=len(targets),
        prompts=run.prompts or about.prompts,
        config=asdict(measured.config),
        space=joint.name,
        space_id=joint.id,
        dtype=run.dtype,
        seed=run.seed,
        data_sha256=tested.sha256(),
        versions=versions(),
    )
    run.emit(record, lambda: _print(record))


def _print(record: Mapping[str, Any]) -> None:
    from clipx.cli._output import print_table

    lines = [
        ("published" + (f", {one['shots']} shots" if one["shots"] else ""), f"{one['acc1']:.2%}", "", one["source"], "")
        for one in record["published"]
    ]
    for row in record["results"]:
        weights = ",".join(f"{weight:g}" for weight in row["view_weights"])
        interval = "{:.1%} to {:.1%}".format(*row["ci95"]["acc1"])
        tuned = f"tuned on {row['tuned_on']}" if row["tuned_on"] else "untuned"
        lines.append((row["name"], f"{row['metrics']['acc1']:.2%}", interval, f"{record['space']}, {tuned}", weights))
    split = " ".join(record["subsets"].get("split", ["unnamed"]))
    title = f"{record['benchmark']}, split {split}, {record['n']} shapes (as published: {record['data_as_published']})"
    print_table(
        ("figure", "top-1", "95 % interval", "by", "view weights"),
        lines,
        title=f"{title}, prompts {record['prompts']}, data {record['data_sha256'][:12]}",
    )
