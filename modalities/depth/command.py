"""clipx depth: photos -> depth maps, in metres where the bins are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.errors import ClipxError
    from clipx.modalities.depth.estimator import EstimateConfig
    from clipx.modalities.depth.lift import Intrinsics
    from clipx.modalities.depth.maps import DepthMap
    from clipx.modalities.depth.task import DepthTask
    from clipx.space import JointSpace

SUFFIXES = (".png", "-color.png", ".npz", "-words.png")  # of the files of a map
UNFITTED = "none"  # in place of a fit's name
FOV_DEG = 60.0  # of many a camera's photo from side to side; the NYU Kinect's

PresetFlag = Annotated[
    Literal["default", "depthclip"],
    typer.Option("--preset", help="The joint space's own features, or DepthCLIP as released (RN50 only)."),
]


@dataclass(frozen=True)
class EstimateFlags:
    """What is near and far, and how a photo is encoded."""

    preset: PresetFlag = "default"
    words: Annotated[
        str | None, typer.Option("--words", help="What is near and far, in the order of --bins: a,b,c or @file.")
    ] = None
    bins: Annotated[
        str | None, typer.Option("--bins", help="The distance each word stands for, increasing: 1,2,3.")
    ] = None
    unit: Annotated[
        Literal["m", "inverse", "affine"],
        typer.Option("--unit", help="What the bins are in: metres, inverse depth, or depth of unknown scale."),
    ] = "m"
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="What is said around a word: a set's name or a template with {}.")
    ] = None
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of the softmax over words: small takes the best word alone.")
    ] = None
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored photo.")] = False
    window: Annotated[
        int | None, typer.Option("--window", help="Look through overlapping windows of this many pixels.", min=1)
    ] = None
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit",
            help="A fit by clipx train depth, in place of words and bins; or one that comes with the space, by its "
            f"name. Default: that, if no words, bins or preset are given. {UNFITTED}: words as they are.",
        ),
    ] = None


@dataclass(frozen=True)
class CloudFlags:
    """The point cloud."""

    cloud: Annotated[
        Path | None, typer.Option("--cloud", help="Also lift the photo to a coloured point cloud, a .ply file.")
    ] = None
    fov: Annotated[
        float | None, typer.Option("--fov", help=f"Of --cloud: degrees from side to side. Default: {FOV_DEG:g}.")
    ] = None
    intrinsics: Annotated[
        str | None, typer.Option("--intrinsics", help="Of --cloud: fx,fy,cx,cy in pixels of the photo.")
    ] = None


@takes("space", "device", "dtype", "seed", "as_json", "config")
def depth(
    files: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos of any size.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="For one photo a .png file, and others beside it; or a folder."),
    ] = Path("clipx-depth"),
    *,
    estimate: EstimateFlags,
    lift: CloudFlags,
    run: RunOptions,
) -> None:
    """Estimate how far everything in a photo is: by a fit on frozen features, or by words of near and far.

    Writes a 16-bit PNG in millimetres, the same in colours with a scale, an .npz
    with all numbers, and a picture of what each word responds to. lite comes with
    a fit on rooms that were made, not photographed. Without any fit words tell near
    from far at best: their metres are not measured on anything.

    A photo that cannot be read is named at the end, and the exit status is then 2.
    Ctrl-C ends the command once the map in work is written.

    Example: clipx depth room.jpg -o depth.png --cloud room.ply --fov 57
    """
    from clipx.cli._output import picture_stems, print_table, report
    from clipx.files import check_present, make_folder
    from clipx.modalities.depth.fit import shipped_fits
    from clipx.modalities.depth.task import DepthTask

    check_present(files)
    fitted = None if estimate.fit == Path(UNFITTED) else estimate.fit
    plan = estimate_config(
        estimate.preset, words_given(estimate), estimate.unit, estimate.flip, estimate.window, fitted
    )
    stems = picture_stems(out, files, "-depth", SUFFIXES)
    _check_cloud(lift, files, estimate.unit)
    joint = run.open_space(backend="torch")
    if estimate.fit is None and plan == estimate_config("default", {}, flip=estimate.flip):  # words were not given
        fitted = next(map(Path, shipped_fits(joint)), None)
    task = DepthTask(joint, with_fit(plan, fitted, joint, estimate.flip))
    if out.suffix.lower() != ".png":
        make_folder(out)
    _note_fit(task, fitted, estimate.fit is None)
    failures: dict[str, ClipxError] = {}
    results, stopped = _estimate(task, files, stems, lift, fitted, failures)
    record = report("depth", results, space=joint.name, space_id=joint.id, settings=config_record(task.config, fitted))
    numbers = ("min", "median", "max")
    rows = [
        (r["source"], r["files"][0], *(f"{r[k]:.2f}" if r[k] is not None else "" for k in numbers)) for r in results
    ]
    columns = ("photo", "depth", "nearest", "median", "farthest")

    def table() -> None:
        print_table(columns, rows, plan_unit(task.config))

    run.conclude(record, failures, table, stopped=stopped)


def _estimate(
    task: DepthTask,
    files: Sequence[Path],
    stems: Sequence[Path],
    lift: CloudFlags,
    fitted: Path | None,
    failures: dict[str, ClipxError],
) -> tuple[list[dict[str, Any]], bool]:
    """Estimate and write photo after photo; see ``one_by_one``."""
    from clipx.cli._work import one_by_one

    def make(path: Path) -> tuple[Tensor, DepthMap]:
        photo = task.load(path)
        return photo, task.make(photo)

    def write(path: Path, stem: Path, made: tuple[Tensor, DepthMap]) -> dict[str, Any]:
        return _write(task, path, stem, *made, lift, fitted)

    return one_by_one("estimating depth", files, stems, make, write, failures)


def _write(
    task: DepthTask, path: Path, stem: Path, photo: Tensor, found: DepthMap, lift: CloudFlags, fitted: Path | None
) -> dict[str, Any]:
    """Write the map of a photo, and its cloud if that is asked for; the record of both."""
    from clipx.files import write_whole
    from clipx.modalities.depth.lift import cloud_ply

    settings = config_record(task.config, fitted)
    files = task.save(found, stem, title=path.name, photo=photo, settings=settings)
    result = {"source": str(path), **_summary(found), "fitted": fitted is not None, "files": [str(f) for f in files]}
    if lift.cloud is not None:
        camera = _camera(lift, *photo.shape[1:])
        data, points = cloud_ply(found, photo, camera)
        write_whole(lift.cloud, data)
        result |= {"cloud": str(lift.cloud), "points": points, "intrinsics": asdict(camera)}
    return result


# ----------------------------------------------------------------------------------------- flags, for clipx eval, too


def estimate_config(
    preset: str,
    given: dict[str, Any],
    unit: str = "m",
    flip: bool = False,
    window: int | None = None,
    fit: Path | None = None,
) -> EstimateConfig:
    """The flags as a config; ``given`` holds those of words by name, None where left out. Raises InputError."""
    from clipx.api import parse_labels
    from clipx.cli._work import read_prompts
    from clipx.errors import InputError
    from clipx.modalities.depth.estimator import EstimateConfig

    own = [flag for flag, value in given.items() if value is not None]
    if fit is not None and (own or preset != "default" or window is not None or unit != "m"):
        raise InputError("a fit brings its own words, bins and unit", where="--fit", remedy="leave the others out")
    if preset == "depthclip":
        if own or unit != "m" or window is not None:
            what = own[0] if own else "--unit" if unit != "m" else "--window"
            raise InputError(f"the preset depthclip fixes it, got {what}", where="--preset", remedy="take default")
        return EstimateConfig("depthclip")
    changes: dict[str, Any] = {"unit": unit, "flip": flip, "window": window}
    if given.get("--words") is not None:
        changes["words"] = tuple(parse_labels(given["--words"]))
    if given.get("--bins") is not None:
        changes["bins"] = tuple(_numbers(given["--bins"], "--bins"))
    if unit == "inverse" and not {"words", "bins"} <= changes.keys():
        raise InputError("inverse depth has no words by default: the first stands for the farthest",
                         where="--unit", remedy="give --words and --bins")  # fmt: skip
    if given.get("--prompts") is not None:
        changes["prompts"] = read_prompts(given["--prompts"])
    if given.get("--temperature") is not None:
        changes["temperature"] = given["--temperature"]
    return EstimateConfig(**changes)


def words_given(flags: Any) -> dict[str, Any]:
    """The flags of words by name, None where left out."""
    return {f"--{name}": getattr(flags, name) for name in ("words", "bins", "prompts", "temperature")}


def with_fit(plan: EstimateConfig, fit: Path | None, space: JointSpace, flip: bool = False) -> EstimateConfig:
    """The config with the fit of a file, if any, which must be of the space."""
    if fit is None:
        return plan
    from clipx.modalities.depth.estimator import EstimateConfig
    from clipx.modalities.depth.fit import load_fit

    return EstimateConfig(fit=load_fit(fit, space), flip=flip)


def config_record(plan: EstimateConfig, fit: Path | None) -> dict[str, Any]:
    """The config as JSON's own types; of a fit its file and words."""
    values = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    if plan.fit is None:
        return values | {"words": list(plan.words), "bins": list(plan.bins), "fit": None}
    mine = {"preset": plan.preset, "flip": plan.flip, "unit": plan.fit.unit, "words": list(plan.fit.words)}
    return mine | {"fit": str(fit), "kind": plan.fit.kind}


def plan_unit(plan: EstimateConfig) -> str:
    """The unit of a map's numbers, for the title of a table."""
    unit = plan.unit if plan.fit is None else plan.fit.unit
    return {"m": "depth in metres", "inverse": "inverse depth", "affine": "depth without a unit"}[unit]


def _numbers(text: str, flag: str) -> list[float]:
    from clipx.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"expected numbers such as 1,2,3, got {text!r}", where=flag) from error


def _check_cloud(lift: CloudFlags, files: Sequence[Path], unit: str) -> None:
    from clipx.cli._output import check_writable
    from clipx.errors import InputError

    cloud = lift.cloud
    if cloud is None:
        if lift.fov is not None or lift.intrinsics is not None:
            raise InputError("--fov and --intrinsics go with --cloud")
        return
    if cloud.suffix.lower() != ".ply":
        raise InputError(f"suffix {cloud.suffix!r} is not .ply", where=cloud)
    if len(files) > 1:
        raise InputError("a cloud is of one photo", where=cloud, remedy="call clipx depth for each")
    if unit != "m":
        raise InputError(f"a cloud needs metres, the bins are {unit}", where="--cloud")
    if lift.fov is not None and lift.intrinsics is not None:
        raise InputError("give --fov or --intrinsics, one of the two")
    _camera(lift, 1, 1)  # now, not after the work
    check_writable(cloud)


def _camera(lift: CloudFlags, height: int, width: int) -> Intrinsics:
    from clipx.errors import InputError
    from clipx.modalities.depth.lift import Intrinsics

    if lift.intrinsics is None:
        return Intrinsics.from_fov(FOV_DEG if lift.fov is None else lift.fov, height, width)
    numbers = _numbers(lift.intrinsics, "--intrinsics")
    if len(numbers) != 4:
        raise InputError(f"expected fx,fy,cx,cy, got {len(numbers)} numbers", where="--intrinsics")
    return Intrinsics(*numbers)


# ------------------------------------------------------------------------------------------------------------- output


def _summary(found: DepthMap) -> dict[str, Any]:
    known = found.depth[found.known]
    ends = {"min": known.min(), "median": known.median(), "max": known.max()} if len(known) else {}
    return {
        "unit": found.unit,
        "height": found.depth.shape[0],
        "width": found.depth.shape[1],
        **dict.fromkeys(("min", "median", "max")),
        **{name: float(value) for name, value in ends.items()},
        "words": list(found.words),
    }


def _note_fit(task: DepthTask, fitted: Path | None, by_default: bool) -> None:
    """Note on stderr which fit is used, or that there is none, unless the user named one."""
    from clipx.progress import note

    if fitted is None:
        what = "words tell" if task.config.unit != "m" else "the metres are a guess, words tell"
        note(f"unfitted: {what} near from far at best")
    elif by_default:
        note(f"fit: {fitted}, which comes with {task.space.name} (--fit {UNFITTED}: words as they are)")
