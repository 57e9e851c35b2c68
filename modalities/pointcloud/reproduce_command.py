"""clipx reproduce pointclip, pointclip-v2: the published figures beside what is measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

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
    SeedFlag,
    SpaceFlag,
    WhereFlag,
)


class Published(NamedTuple):
    """A figure: top-1 in percent, who reports it, and with how many shots."""

    acc1: float
    source: str
    shots: int = 0


class System(NamedTuple):
    """What a paper did."""

    paper: str
    projection: str
    prompts: str
    figures: Mapping[str, tuple[Published, ...]]  # by data set, and ScanObjectNN's by variant


SHOTS = 16
V1, V2 = "PointCLIP, CVPR 2022", "PointCLIP V2, ICCV 2023"
AGAIN = f"measured again in {V2}"
SYSTEMS = {
    "pointclip": System(
        V1,
        "pointclip_v1",
        "pointclip",
        {
            "ModelNet10": (Published(30.2, V1),),
            "ModelNet40": (Published(20.18, V1), Published(23.78, AGAIN), Published(87.20, V1, SHOTS)),
            "ScanObjectNN OBJ_ONLY": (Published(15.38, V1), Published(21.34, AGAIN)),
        },
    ),
    "pointclip-v2": System(
        f"{V2}, with ViT-B/16 and sentences of GPT-3",
        "pointclip_v2",
        "pointclip",
        {
            "ModelNet10": (Published(73.13, V2),),
            "ModelNet40": (Published(64.22, V2),),
            "ScanObjectNN OBJ_ONLY": (Published(50.09, V2),),
            "ScanObjectNN OBJ_BG": (Published(41.22, V2),),
            "ScanObjectNN PB_T50_RS": (Published(35.36, V2),),
        },
    ),
}
MODELNET10 = "bathtub bed chair desk dresser monitor night_stand sofa table toilet".replace("_", " ")
MODELNET10_TEST = 908
# open_clip's names -> as the published weights are called.
TOWERS = {"RN50": "rn50", "RN101": "rn101", "ViT-B-16": "vitb16", "ViT-B-32": "vitb32"}
POINTS = 1024  # the first ones of each cloud, as released
DataFlag = Annotated[
    Path,
    typer.Option(
        "--data",
        help="ModelNet40's or ScanObjectNN's .h5 files or their folder; ModelNet10 as an .npz or class folders.",
    ),
]


def pointclip(
    data: DataFlag,
    where: WhereFlag = None,
    train: Annotated[
        Path | None,
        typer.Option("--train", help=f"Also learn from {SHOTS} shots of each class, drawn from this set by --seed."),
    ] = None,
    train_where: Annotated[
        list[str] | None, typer.Option("--train-where", help="As --where, of the shots.", show_default=False)
    ] = None,
    prompts: PromptsFlag = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    cache: CacheFlag = None,
    resume: ResumeFlag = False,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure PointCLIP as its paper did, and print the published figures beside it.

    Rows that must not be mixed: view weights all equal; view weights searched on
    the very labels they are measured on, as the released code does; and with
    --train, the inter-view adapter (the last epoch counts, not the best on the
    test labels; points are not augmented).

    Example: clipx reproduce pointclip --data modelnet40_ply_hdf5_2048 --where split=test --space RN50-quickgelu/openai
    """
    _reproduce("pointclip", **locals())


def pointclip_v2(
    data: DataFlag,
    where: WhereFlag = None,
    prompts: PromptsFlag = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    batch_size: BatchFlag = 32,
    seed: SeedFlag = 0,
    cache: CacheFlag = None,
    resume: ResumeFlag = False,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure PointCLIP V2 zero-shot as its paper did, and print the published figures beside it.

    The paper's sentences of GPT-3 are its authors'; give them with --prompts
    @file.json, an object of class -> sentences. Two rows that must not be mixed:
    view weights all equal, and the published ones, which were found on test labels.

    Example: clipx reproduce pointclip-v2 --data main_split_nobg --where split=test --space ViT-B-16-quickgelu/openai
    """
    _reproduce("pointclip-v2", **locals())


def _reproduce(
    system: str,
    data: Path,
    where: list[str] | None,
    prompts: str | None,
    space: str | None,
    device: str,
    dtype: str,
    batch_size: int,
    seed: int,
    cache: Path | None,
    resume: bool,
    out: Path | None,
    as_json: bool,
    config: Path | None,
    train: Path | None = None,
    train_where: list[str] | None = None,
) -> None:
    import numpy as np
    import torch

    from clipx.cli._flags import condition
    from clipx.cli._output import check_writable, emit, print_table, report
    from clipx.cli._work import cache_folder, encode, make_classifier, open_space, read_prompts, versions
    from clipx.datasets import read_data
    from clipx.errors import InputError
    from clipx.evaluation import figures_of, require_disjoint, targets_of
    from clipx.fewshot import ViewSearch, fit_shots
    from clipx.modalities.pointcloud.cloud import Cloud
    from clipx.modalities.pointcloud.encoder import CloudConfig, PointCloud
    from clipx.modalities.pointcloud.projection import PROJECTIONS
    from clipx.progress import note

    class First(PointCloud):
        """The released loaders take the first points, of clouds that are stored shuffled, and leave them in place."""

        def from_array(self, array: Any, up: str | None = None, **more: Any) -> Any:
            cloud = super().from_array(array, up, **more)  # refuses what is no cloud
            return Cloud(torch.from_numpy(array[:POINTS].astype(np.float32)), cloud.up, as_stored=True)

    check_writable(out)
    about, said = SYSTEMS[system], read_prompts(prompts)
    rows = read_data(data, First, [condition(text) for text in where or ()])
    for part, values in rows.parts.items():
        if len(values) > 1:
            raise InputError(f"holds {' and '.join(values)}", where=data, remedy=f"add --where {part}={values[-1]}")
    benchmark = _benchmark(rows.facts, rows.classes, rows.parts.get("variant", ()))
    if benchmark is None:
        raise InputError(
            f"{about.paper} has no figure for these classes",
            where=data,
            remedy="it has for ModelNet10, ModelNet40, ScanObjectNN",
        )
    names, targets = targets_of(rows.labels, rows.classes)
    shown = None
    if train is not None or train_where:
        shown = read_data(train or data, First, [condition(text) for text in train_where or ()])
        require_disjoint(rows, shown)
        _, known = targets_of(shown.labels, names)
    joint = open_space(space, device, dtype, seed)
    classifier = make_classifier(joint, names, about.prompts if said is None else said)
    encoder = First(joint, CloudConfig(projection=about.projection, points=POINTS))
    views = encode(encoder, rows.items, batch_size, cache_folder(cache, resume), separate=True)
    count = PROJECTIONS[about.projection].views

    ways: list[tuple[str, str | None, ViewSearch]] = []
    equal = ViewSearch((1.0,) * count, classifier.weights, classifier.logit_scale)
    ways.append(("equal view weights", None, equal))
    if system == "pointclip":
        note("searching view weights on these labels, as the released code does")
        searched = ViewSearch.fit(views, targets.tolist(), classifier.weights, classifier.logit_scale, count)
        ways.append(("view weights searched on these very labels", "the labels measured on", searched))
    elif (given := _published_weights(joint.name, benchmark)) is not None:
        weights = PROJECTIONS[about.projection].weights[given]
        fixed = ViewSearch(weights.values, classifier.weights, classifier.logit_scale)
        ways.append((f"published view weights {given}", weights.fitted_on, fixed))
    results = []
    for name, tuned, way in ways:
        figures, _ = figures_of([way.logits(views).cpu()], targets, names, seed)
        results.append({"name": name, "tuned_on": tuned, "view_weights": list(way.view_weights), **figures})
    if shown is not None:
        learner = First(joint, CloudConfig(projection="pointclip_v1_few_shot", points=POINTS))
        text = make_classifier(joint, names, "pointclip_few_shot" if said is None else said)
        kept = cache_folder(cache, resume)
        test, shots = (encode(learner, some.items, batch_size, kept, separate=True) for some in (rows, shown))
        count = PROJECTIONS["pointclip_v1_few_shot"].views
        adapter = fit_shots("adapter", shots, known.tolist(), text, SHOTS, seed, count, shown.title)
        figures, _ = figures_of([adapter.logits(test).cpu()], targets, names, seed)
        name, on = f"inter-view adapter, {SHOTS} shots", f"{SHOTS} shots of {shown.title}"
        results.append({"name": name, "tuned_on": on, "view_weights": [], **figures, "settings": adapter.settings})
    published = about.figures.get(benchmark, ())
    same = _published(rows.facts, benchmark, len(targets))
    if same.startswith("differs"):
        note(f"warning: not the data of the published figures; {same}")
    record = report(
        "reproduce",
        results,
        system=system,
        paper=about.paper,
        published=[{"acc1": one.acc1 / 100, "source": one.source, "shots": one.shots} for one in published],
        benchmark=benchmark,
        parts=dict(rows.parts),
        facts=dict(rows.facts),
        data_as_published=same,
        n=len(targets),
        prompts=prompts or about.prompts,
        config=asdict(encoder.config),
        space=joint.name,
        space_id=joint.id,
        dtype=dtype,
        seed=seed,
        data_sha256=rows.sha256(),
        versions=versions(),
    )

    def table() -> None:
        lines = [
            (f"published{f', {one.shots} shots' if one.shots else ''}", f"{one.acc1:.2f}%", "", one.source, "")
            for one in published
        ]
        for row in results:
            weights = ",".join(f"{weight:g}" for weight in row["view_weights"])
            interval = "{:.1%} to {:.1%}".format(*row["ci95"]["acc1"])
            tuned = f"tuned on {row['tuned_on']}" if row["tuned_on"] else "untuned"
            lines.append((row["name"], f"{row['metrics']['acc1']:.2%}", interval, f"{joint.name}, {tuned}", weights))
        split = " ".join(rows.parts.get("split", ["unnamed"]))
        title = f"{benchmark}, split {split}, {len(targets)} shapes (as published: {same}), prompts "
        print_table(
            ("figure", "top-1", "95 % interval", "by", "view weights"),
            lines,
            title=f"{title}{record['prompts']}, data {record['data_sha256'][:12]}",
        )

    emit(record, as_json, table, out)


def _published(facts: Mapping[str, Any], benchmark: str, n: int) -> str:
    """Whether this is the data that the papers measured on, as far as its shape and counts show."""
    if "published" in facts:
        return str(facts["published"])
    if benchmark == "ModelNet10" and n != MODELNET10_TEST:
        return f"differs: {n} shapes, the official test split has {MODELNET10_TEST}"
    return "by the number of shapes"


def _benchmark(facts: Mapping[str, Any], classes: Any, variants: Any) -> str | None:
    """The data set's name in the tables above."""
    if "benchmark" in facts:
        return " ".join([facts["benchmark"], *variants])
    spoken = " ".join(sorted(name.replace("_", " ") for name in classes))
    return "ModelNet10" if spoken == MODELNET10 else None


def _published_weights(space: str, benchmark: str) -> str | None:
    tower = TOWERS.get(space.partition("/")[0].removesuffix("-quickgelu"))
    data = benchmark.split()[0].lower()
    return f"{tower}_{data}" if tower and data in ("modelnet40", "scanobjectnn") else None
