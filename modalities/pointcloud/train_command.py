"""clipx train pointcloud: clouds without labels -> a tower that encodes points without pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import ClipxError, InputError

if TYPE_CHECKING:
    from clipx.datasets import LabelledData
    from clipx.modalities.pointcloud.cloud import Cloud
    from clipx.modalities.pointcloud.encoder import PointCloud
    from clipx.pipeline import Item

_TIMED, _REPEATS = 256, 5  # clouds, and how often they are encoded for the figure of speed


@dataclass(frozen=True)
class TowerFlags:
    """What the tower is, how it learns, and what it is measured on."""

    projection: Annotated[
        str,
        typer.Option("--projection", help="Whose pictures teach it: pointclip_v1, shaded, ... (docs: point clouds)."),
    ] = "pointclip_v1"
    up: Annotated[
        str | None, typer.Option("--up", help="Axis that points up: x, y, z, auto. Default: what the file says.")
    ] = None
    points: Annotated[
        int | None, typer.Option("--points", help="Points of a cloud that the tower looks at. Default: 256.")
    ] = None
    turns: Annotated[
        int | None,
        typer.Option("--turns", help="Turns about the up axis that the teacher looks at. Default: 4.", min=1),
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps. Default: 3000.", min=1)] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Clouds a step. Default: 32.", min=2)] = None
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate. Default: 0.002.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder beside the tower.")] = False
    test: Annotated[
        Path | None, typer.Option("--test", help="Labelled clouds that tower and pictures are measured on.")
    ] = None
    test_where: Annotated[
        list[str] | None, typer.Option("--test-where", help="As --where, of --test.", show_default=False)
    ] = None


@takes("where", "space", "device", "seed", "as_json", "config")
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Clouds and meshes: a folder, or .npz with points.")],
    *,
    flags: TowerFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The tower: one .safetensors file.")] = Path(
        "runs/pointcloud/tower.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Teach a point tower what a projection's pictures say; labels are not needed.

    The tower encodes points without drawing them, which takes a fraction of the
    time: --point-tower of the pointcloud modality takes it, in classify, embed,
    eval and index. With --test both are measured, in accuracy and time. A file
    that cannot be read is left out and named at the end, and the exit status is
    then 2.

    Example: clipx train pointcloud shapes -o tower.safetensors --test more --test-where split=test

    Example: clipx classify chair.ply --labels chair,table --point-tower tower.safetensors
    """
    from clipx import _processes as processes
    from clipx.cli._output import check_model, print_table, report
    from clipx.evaluation import note_shared
    from clipx.modalities.pointcloud.encoder import CloudConfig, PointCloud
    from clipx.modalities.pointcloud.train import TowerTrainConfig, fit_tower
    from clipx.progress import note

    check_model(out)
    own = {name: getattr(flags, name) for name in ("points", "turns", "steps", "batch_size", "lr")}
    config = TowerTrainConfig(seed=run.seed, **{name: value for name, value in own.items() if value is not None})
    drawn = CloudConfig(projection=flags.projection, up=flags.up, points=max(CloudConfig.points, 2 * config.points))
    space = run.open_space()
    teacher = PointCloud(space, drawn)
    failures = dict[str, ClipxError]()
    items, tested = _items(data, run, failures), _tested(flags)
    if not items and not failures:
        raise InputError("holds no clouds or meshes", where=data)
    shared = None if tested is None else note_shared(tested, items)
    results = [] if tested is None else [_measured("pictures", teacher, tested)]  # a bad file is found before the work
    clouds = _clouds(items, teacher, failures)
    tower = fit_tower(teacher, clouds, config, out.with_suffix(""), resume=flags.resume)
    if processes.rank() > 0:  # the first process writes and prints
        return
    tower.save(out)
    note(f"written to {out}")
    if tested is not None:
        results.append(_measured("tower", PointCloud(space, CloudConfig(up=flags.up, point_tower=str(out))), tested))
    about = {"file": str(out), "space": space.name, "space_id": space.id, "clouds": len(clouds), "seed": run.seed}
    about |= {"projection": flags.projection, "settings": dict(tower.settings), "shared": shared}
    names = ("way", "n", "acc1", "ci95", "clouds_per_s")
    run.conclude(
        report("train pointcloud", results, **about),
        failures,
        lambda: print_table(names, [[_cell(row, name) for name in names] for row in results], str(out)),
        made=True,
    )


def _items(data: Path, run: RunOptions, failures: dict[str, ClipxError]) -> Sequence[Item]:
    """What is learned from: the samples of a labelled set, whose labels are not looked at, or all files of a folder.

    What of a folder cannot be listed or taken goes to ``failures``.
    """
    from clipx.datasets import read_data
    from clipx.index.scan import find_files
    from clipx.modalities.pointcloud.encoder import PointCloud
    from clipx.pipeline import file_items

    try:
        return read_data(data, PointCloud, run.conditions()).items
    except InputError:
        if run.where or not data.is_dir():
            raise
        walk = find_files([data], PointCloud.name)
        failures |= walk.errors()
        return file_items([Path(file.path) for file in walk.files])


def _clouds(items: Sequence[Item], teacher: PointCloud, failures: dict[str, ClipxError]) -> list[Cloud]:
    """The samples; what cannot be read goes to ``failures``, and is raised where fewer than two are left."""
    from clipx.progress import progress

    clouds = []
    with progress("reading", len(items)) as advance:
        for item in items:
            try:
                clouds.append(item.load(teacher))
            except ClipxError as error:
                failures[item.id] = error
            advance(1)
    if failures and len(clouds) < 2:
        raise next(iter(failures.values()))
    return clouds


def _tested(flags: TowerFlags) -> LabelledData | None:
    from clipx.cli._flags import conditions
    from clipx.datasets import read_data
    from clipx.modalities.pointcloud.encoder import PointCloud

    if flags.test is None:
        return None
    return read_data(flags.test, PointCloud, conditions(flags.test_where, "--test-where"))


def _measured(way: str, encoder: PointCloud, data: LabelledData) -> dict[str, Any]:
    """Accuracy by words, and clouds a second: the median of some repeats, reading not included."""
    import numpy as np

    from clipx.evaluation import by_words

    samples = [item.load(encoder) for item in data.items]
    vectors, seconds = encoder.encode(samples), []
    some = samples[:_TIMED]
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        encoder.encode(some)
        seconds.append(time.perf_counter() - begun)
    right = by_words(vectors, encoder.space, data.labels, data.classes, encoder.prompts)
    return {"way": way, **right, "clouds_per_s": len(some) / float(np.median(seconds))}


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if name == "ci95":
        return f"{value[0]:.1%} to {value[1]:.1%}"
    return f"{value:.1%}" if name == "acc1" else str(value) if name in ("way", "n") else f"{value:,.1f}"
