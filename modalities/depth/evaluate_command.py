"""clipx eval depth: photos with true depth -> how far estimates are from it, beside what knows nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, OutFlag, RowsFlag, SeedFlag, SpaceFlag
from clipx.modalities.depth.command import PresetFlag

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.modalities.depth.baselines import Baselines
    from clipx.modalities.depth.estimator import Estimator
    from clipx.modalities.depth.files import Pair
    from clipx.modalities.depth.fit import Fit
    from clipx.modalities.depth.maps import DepthMap
    from clipx.space import JointSpace

SHOWN = {"abs_rel": "AbsRel", "rmse": "RMSE", "d1": "d1", "d2": "d2", "d3": "d3", "log10": "log10", "silog": "silog"}
SHOWN |= {"spearman": "Spearman"}
BLIND = "mean map of log depth"  # what rows are compared with, photo by photo
FEW = 10  # photos: intervals over fewer are warned of
CALIBRATION = 16  # training photos that a random tower's BatchNorm sees


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A folder with labels.csv: path,depth_path,depth_encoding,fold."),
    ],
    preset: PresetFlag = "default",
    words: Annotated[str | None, typer.Option("--words", help="As of clipx depth.")] = None,
    bins: Annotated[str | None, typer.Option("--bins", help="As of clipx depth.")] = None,
    unit: Annotated[
        Literal["m", "inverse", "affine"], typer.Option("--unit", help="As of clipx depth; but m needs --alignment.")
    ] = "m",
    prompts: Annotated[str | None, typer.Option("--prompts", help="As of clipx depth.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="As of clipx depth.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored photo.")] = False,
    fit: Annotated[
        list[Path] | None,
        typer.Option(
            "--fit", help="A fit by clipx train depth, or one that comes with the space, by its name; a row each."
        ),
    ] = None,
    protocol: Annotated[
        Literal["nyu", "kitti", "depthclip", "full"],
        typer.Option(
            "--protocol",
            help="Crop and cap: Eigen's and 10 m (480 x 640 only), Garg's and 80 m, DepthCLIP's own (480 x 640 only), "
            "or full: the whole photo, all truth above 1 mm.",
        ),
    ] = "nyu",
    alignment: Annotated[
        Literal["none", "median", "scale+shift"],
        typer.Option("--alignment", help="What is fitted to each truth first, of every row alike."),
    ] = "none",
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also shuffled words, a tower of random weights, and colour and position."),
    ] = False,
    train_fold: Annotated[str, typer.Option("--train-fold", help="The rows that the baselines know.")] = "train",
    test_fold: Annotated[str, typer.Option("--test-fold", help="The rows that are judged.")] = "test",
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    rows: RowsFlag = None,
    out: OutFlag = None,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Measure depth against the truth, beside three rows that never look at the photo.

    They are the training fold's: exp of the mean log depth, the mean of each
    pixel, and the same of log depth. Figures are of each photo, then their mean,
    with 95 % bootstrap intervals over the photos; --json also has the differences
    to the mean map of log depth, photo by photo. Rows of different protocols or
    alignments are not comparable, and each says which it is.

    Example: clipx eval depth nyu --space lite --fit runs/depth/fit.safetensors --controls
    """
    from clipx.cli._output import check_writable, emit, print_table, report, write_bytes
    from clipx.cli._work import open_space
    from clipx.datasets import listed
    from clipx.errors import InputError
    from clipx.modalities.depth import command, metrics
    from clipx.modalities.depth.baselines import Baselines
    from clipx.modalities.depth.estimator import Estimator
    from clipx.modalities.depth.files import read_depth, read_pairs, read_rgb
    from clipx.modalities.depth.maps import DepthMap
    from clipx.progress import note, progress

    check_writable(out)
    check_writable(rows)
    given = {"--words": words, "--bins": bins, "--prompts": prompts, "--temperature": temperature}
    plan = command.estimate_config(preset, given, unit, flip)
    metrics.require_alignment(plan.unit, alignment)
    train, test = (read_pairs(data, fold) for fold in (train_fold, test_fold))
    if both := sorted({pair.name for pair in train} & {pair.name for pair in test}):
        raise InputError(f"{both[0]} is of both folds", where=data, remedy="judge photos that nothing was fitted on")
    joint = open_space(space, device, dtype, seed)
    name = "depthclip" if preset == "depthclip" else "words, unfitted"
    see: dict[str, Estimator] = {name: Estimator(joint, plan)}
    fits = {path: command.with_fit(plan, path, joint, flip) for path in fit or ()}
    files = _named({path: fitted.fit for path, fitted in fits.items()})
    see |= {name: Estimator(joint, fits[path]) for name, path in files.items()}
    with progress("reading the training fold", len(train)) as advance:

        def told() -> Any:
            for pair in train:
                yield read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)
                advance(1)

        known = Baselines.from_pairs(told())
    if controls:
        see |= _controls(joint, see, train, seed)
    ways = _ways(known, see, controls)
    found: dict[str, list[dict[str, float]]] = {row: [] for row in ways}
    units = {}
    with progress("judging depth", len(test)) as advance:
        for pair in test:
            pixels = read_rgb(pair.rgb)
            truth = DepthMap(read_depth(pair.depth, pair.encoding), source=pair.name)
            for row, predict in ways.items():
                depth = predict(pixels)
                units[row] = depth.unit
                found[row].append(metrics.depth_metrics(depth, truth, protocol, alignment))
            advance(1)
    if rows is not None:
        write_bytes(rows, listed(_files(test=test, train=train)))
    results = [
        {"row": row, "protocol": protocol, "alignment": alignment, "unit": units[row], "n": len(test)}
        | {"fit": files[row].name if row in files else None}
        | {"figures": metrics.mean_and_interval(figures, seed), "paired": metrics.paired(figures, found[BLIND], seed)}
        for row, figures in found.items()
    ]
    record = report(
        "eval depth",
        results,
        dataset=data.resolve().name,
        data_sha256=_sha256(test),
        training_images=known.images,
        paired_with=BLIND,
        space=joint.name,
        space_id=joint.id,
        settings=command.described(plan, None),
        seed=seed,
    )

    def shown(result: dict[str, Any]) -> Sequence[str]:
        cells = []
        for figure in SHOWN:
            of = result["figures"][figure]
            ends = f" [{of['low']:.3f}, {of['high']:.3f}]" if figure in ("abs_rel", "rmse") else ""
            cells.append(f"{of['mean']:.3f}{ends}" if of["mean"] == of["mean"] else "")
        return (result["row"], str(result["n"]), *cells)

    if len(test) < FEW:
        few = "1 photo say nothing" if len(test) == 1 else f"{len(test)} photos say little"
        note(f"warning: intervals over {few}")
    title = f"{protocol} protocol, alignment {alignment}, metres, {len(test)} photos"
    emit(record, as_json, lambda: print_table(("row", "n", *SHOWN.values()), [shown(r) for r in results], title), out)


def _named(fits: Mapping[Path, Fit]) -> dict[str, Path]:
    """Row -> file: what kind of fit it is; where several are of a kind the file's stem too, and then a number.

    Nothing of the folder, so that records are the same on every machine.
    """
    names = {
        path: ("words, fitted" if fit.words else "linear head") + " on the mean map" * fit.settings["mean_map"]
        for path, fit in fits.items()
    }
    names = {path: f"{name} ({path.stem})" if alike > 1 else name for path, name, alike, _ in _counted(names)}
    names = {path: f"{name} {nth}" if alike > 1 else name for path, name, alike, nth in _counted(names)}
    return {name: path for path, name in names.items()}


def _counted(names: Mapping[Path, str]) -> list[tuple[Path, str, int, int]]:
    """Each file and its name, how many share it, and which of them it is, from 1."""
    same = {name: [path for path in names if names[path] == name] for name in names.values()}
    return [(path, name, len(same[name]), same[name].index(path) + 1) for path, name in names.items()]


def _ways(known: Baselines, see: dict[str, Estimator], controls: bool) -> dict[str, Callable[[Tensor], DepthMap]]:
    """Name -> photo (3, H, W) -> map."""
    blind = dict(known.rows())
    if controls:
        blind["control: ridge on colour and position"] = known.by_color_and_position
    ways: dict[str, Callable[[Tensor], DepthMap]] = {name: partial(_blind, predict) for name, predict in blind.items()}
    return ways | {name: partial(_estimated, one) for name, one in see.items()}


def _blind(predict: Callable[[Tensor], Tensor], pixels: Tensor) -> DepthMap:
    from clipx.modalities.depth.maps import DepthMap

    return DepthMap(predict(pixels))


def _estimated(see: Estimator, pixels: Tensor) -> DepthMap:
    """Without the responses, and where the truth is."""
    found = see(pixels[None])[0]
    return replace(found, depth=found.depth.cpu(), responses=None, words=())


def _controls(
    joint: JointSpace, see: Mapping[str, Estimator], train: Sequence[Pair], seed: int
) -> dict[str, Estimator]:
    """Name -> the same estimates without what the image tower learned, and without the words' order.

    Fits are made again, on as many photos of the training fold, drawn as clipx train depth draws them.
    """
    import torch

    from clipx.modalities.depth.controls import random_tower, refitted, shuffled_words
    from clipx.modalities.depth.estimator import Estimator
    from clipx.modalities.depth.files import drawn, read_depth, read_rgb
    from clipx.progress import progress

    def pairs(of: Fit) -> Iterator[tuple[Tensor, Tensor]]:
        kept = drawn(train, of.settings["photos"], of.config.seed)
        return ((read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)) for pair in kept)

    seen = [joint.preprocess.sample(read_rgb(pair.rgb)[None], joint.image_size) for pair in train[:CALIBRATION]]
    blank = random_tower(joint, torch.cat(seen).clamp(0, 1), seed)
    found = {}
    with progress("fitting controls", len(see)) as advance:
        for name, one in see.items():
            plan, fit = one.config, one.config.fit
            other = plan if fit is None else replace(plan, fit=refitted(fit, blank, pairs(fit)))
            found[f"control: random tower, {name}"] = Estimator(blank, other)
            if fit is not None and fit.words:
                other = replace(plan, fit=refitted(fit, joint, pairs(fit), shuffled=True, seed=seed))
                found[f"control: shuffled words, {name}"] = Estimator(joint, other)
            elif fit is None and plan.preset == "default":
                found[f"control: shuffled words, {name}"] = Estimator(joint, shuffled_words(plan, seed))
            advance(1)
    return found


def _files(**folds: Sequence[Pair]) -> Iterator[tuple[str, ...]]:
    """(use, name, scene, SHA-256, "") of each photo and each depth picture."""
    for use, pairs in folds.items():
        for pair in pairs:
            for path, beside in ((pair.rgb, pair.name), (pair.depth, f"{pair.name} depth")):
                yield use, beside, pair.label, hashlib.sha256(path.read_bytes()).hexdigest(), ""


def _sha256(pairs: Sequence[Pair]) -> str:
    """Of the sorted (name, encoding, photo, depth): the same rows give the same hash anywhere."""
    total = hashlib.sha256()
    for pair in sorted(pairs, key=lambda pair: pair.name):
        contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (pair.rgb, pair.depth)]
        total.update("\0".join((pair.name, pair.encoding, *contents, "")).encode())
    return total.hexdigest()
