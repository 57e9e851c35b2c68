"""clipx depth: photos -> depth maps, in metres where the bins are."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.modalities.depth.estimator import EstimateConfig
    from clipx.modalities.depth.lift import Intrinsics
    from clipx.modalities.depth.maps import DepthMap
    from clipx.space import JointSpace

SUFFIXES = (".png", "-color.png", ".npz", "-words.png")  # of what is written of a map
UNFITTED = "none"  # in place of a fit's name
FOV_DEG = 60.0  # of many a camera's photo from side to side; the NYU Kinect's

PresetFlag = Annotated[
    Literal["default", "depthclip"],
    typer.Option("--preset", help="The joint space's own features, or DepthCLIP as released (RN50 only)."),
]


def depth(
    files: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos of any size.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="For one photo a .png file, and others beside it; or a folder."),
    ] = Path("clipx-depth"),
    preset: PresetFlag = "default",
    words: Annotated[
        str | None, typer.Option("--words", help="What is near and far, in the order of --bins: a,b,c or @file.")
    ] = None,
    bins: Annotated[
        str | None, typer.Option("--bins", help="The distance each word stands for, increasing: 1,2,3.")
    ] = None,
    unit: Annotated[
        Literal["m", "inverse", "affine"],
        typer.Option("--unit", help="What the bins are in: metres, inverse depth, or depth of unknown scale."),
    ] = "m",
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="What is said around a word: a set's name or a template with {}.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of the softmax over words: small takes the best word alone.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored photo.")] = False,
    window: Annotated[
        int | None, typer.Option("--window", help="Look through overlapping windows of this many pixels.", min=1)
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(
            "--fit",
            help="A fit by clipx train depth, in place of words and bins; or one that comes with the space, by its "
            f"name. Default: that, if no words, bins or preset are given. {UNFITTED}: words as they are.",
        ),
    ] = None,
    cloud: Annotated[
        Path | None, typer.Option("--cloud", help="Also lift the photo to a coloured point cloud, a .ply file.")
    ] = None,
    fov: Annotated[
        float | None, typer.Option("--fov", help=f"Of --cloud: degrees from side to side. Default: {FOV_DEG:g}.")
    ] = None,
    intrinsics: Annotated[
        str | None, typer.Option("--intrinsics", help="Of --cloud: fx,fy,cx,cy in pixels of the photo.")
    ] = None,
    space: SpaceFlag = None,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Estimate how far everything in a photo is: by a fit on frozen features, or by words of near and far.

    Writes a 16-bit PNG in millimetres, the same in colours with a scale, an .npz
    with all numbers, and a picture of what each word responds to. lite comes with
    a fit on rooms that were made, not photographed. Without any fit words tell near
    from far at best: their metres are not measured on anything.

    A photo that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx depth room.jpg -o depth.png --cloud room.ply --fov 57
    """
    from clipx.cli._output import check_writable, distinct_names, print_table, report, write_bytes
    from clipx.cli._work import check_present, conclude, open_space
    from clipx.errors import ClipxError, InputError
    from clipx.modalities.depth.estimator import Estimator
    from clipx.modalities.depth.files import read_rgb
    from clipx.modalities.depth.fit import shipped_fits
    from clipx.modalities.depth.lift import cloud_ply
    from clipx.progress import note, progress
    from clipx.training import prepare_folder

    check_present(files)
    given = {"--words": words, "--bins": bins, "--prompts": prompts, "--temperature": temperature}
    fitted = None if fit == Path(UNFITTED) else fit
    plan = estimate_config(preset, given, unit, flip, window, fitted)
    one_file = out.suffix.lower() == ".png"
    names = [out.with_suffix("")] if one_file else [out / f"{name}-depth" for name in distinct_names(files)]
    _check_out(out, names, files, one_file)
    if cloud is None and (fov is not None or intrinsics is not None):
        raise InputError("--fov and --intrinsics go with --cloud")
    if cloud is not None:
        _check_cloud(cloud, files, unit, fov, intrinsics)
        check_writable(cloud)
    numbers = None if intrinsics is None else _numbers(intrinsics, "--intrinsics")
    if one_file:
        check_writable(out)
    joint = open_space(space, device, dtype, seed)
    if fit is None and plan == estimate_config("default", {}, flip=flip):  # nothing was said of words
        fitted = next(map(Path, shipped_fits(joint)), None)
    plan = with_fit(plan, fitted, joint, flip)
    see = Estimator(joint, plan)
    if not one_file:
        prepare_folder(out, resume=True)
    if fitted is None:
        note(f"unfitted: {'words tell' if unit != 'm' else 'the metres are a guess, words tell'} near from far at best")
    elif fit is None:
        note(f"fit: {fitted}, which comes with {joint.name} (--fit {UNFITTED}: words as they are)")
    results: list[dict[str, Any]] = []
    failures: dict[str, ClipxError] = {}
    with progress("estimating depth", len(files)) as advance:
        for path, name in zip(files, names, strict=True):
            try:
                pixels = read_rgb(path)
                found = see(pixels[None])[0]
            except ClipxError as error:
                failures[str(path)] = error
                advance(1)
                continue
            result = {"source": str(path), **_summary(found), "fitted": fitted is not None}
            result["files"] = [str(file) for file in _write(found, pixels, name, path.name, described(plan, fitted))]
            if cloud is not None:
                camera = _camera(fov, numbers, *pixels.shape[1:])
                data, points = cloud_ply(found, pixels, camera)
                write_bytes(cloud, data)
                result |= {"cloud": str(cloud), "points": points, "intrinsics": asdict(camera)}
            results.append(result)
            advance(1)
    record = report("depth", results, space=joint.name, space_id=joint.id, settings=described(plan, fitted))
    rows = [
        (r["source"], r["files"][0], *(f"{r[k]:.2f}" if r[k] is not None else "" for k in ("min", "median", "max")))
        for r in results
    ]
    columns = ("photo", "depth", "nearest", "median", "farthest")
    conclude(record, failures, as_json, lambda: print_table(columns, rows, plan_unit(plan)))


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


def with_fit(plan: EstimateConfig, fit: Path | None, space: JointSpace, flip: bool = False) -> EstimateConfig:
    """The config with the fit of a file, if any, which must be of the space."""
    if fit is None:
        return plan
    from clipx.modalities.depth.estimator import EstimateConfig
    from clipx.modalities.depth.fit import load_fit

    return EstimateConfig(fit=load_fit(fit, space), flip=flip)


def described(plan: EstimateConfig, fit: Path | None) -> dict[str, Any]:
    """The config as JSON's own types; of a fit its file and words."""
    values = {name: getattr(plan, name) for name in plan.__dataclass_fields__}
    if plan.fit is None:
        return values | {"words": list(plan.words), "bins": list(plan.bins), "fit": None}
    mine = {"preset": plan.preset, "flip": plan.flip, "unit": plan.fit.unit, "words": list(plan.fit.words)}
    return mine | {"fit": str(fit), "kind": plan.fit.kind}


def plan_unit(plan: EstimateConfig) -> str:
    """What the numbers of a map are in, for the title of a table."""
    unit = plan.unit if plan.fit is None else plan.fit.unit
    return {"m": "depth in metres", "inverse": "inverse depth", "affine": "depth without a unit"}[unit]


def _numbers(text: str, flag: str) -> list[float]:
    from clipx.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"expected numbers such as 1,2,3, got {text!r}", where=flag) from error


def _check_out(out: Path, names: Sequence[Path], files: Sequence[Path], one_file: bool) -> None:
    from clipx.errors import InputError

    if one_file and len(files) > 1:
        raise InputError(f"{len(files)} maps do not fit into one file", where=out, remedy="name a folder")
    if not one_file and out.suffix.lower() in (".jpg", ".jpeg", ".npz", ".npy", ".exr", ".tif", ".tiff", ".webp"):
        raise InputError(f"suffix {out.suffix!r} is not .png", where=out, remedy="name a .png file or a folder")
    photos = {path.resolve() for path in files}
    for written in (name.with_name(name.name + suffix) for name in names for suffix in SUFFIXES):
        if written.resolve() in photos:
            raise InputError("is the photo itself", where=written, remedy="name another file or folder")


def _check_cloud(cloud: Path, files: Sequence[Path], unit: str, fov: float | None, intrinsics: str | None) -> None:
    from clipx.errors import InputError

    if cloud.suffix.lower() != ".ply":
        raise InputError(f"suffix {cloud.suffix!r} is not .ply", where=cloud)
    if len(files) > 1:
        raise InputError("a cloud is of one photo", where=cloud, remedy="call clipx depth for each")
    if unit != "m":
        raise InputError(f"a cloud needs metres, the bins are {unit}", where="--cloud")
    if fov is not None and intrinsics is not None:
        raise InputError("give --fov or --intrinsics, one of the two")
    _camera(fov, None if intrinsics is None else _numbers(intrinsics, "--intrinsics"), 1, 1)  # now, not after the work


def _camera(fov: float | None, numbers: Sequence[float] | None, height: int, width: int) -> Intrinsics:
    from clipx.errors import InputError
    from clipx.modalities.depth.lift import Intrinsics

    if numbers is None:
        return Intrinsics.from_fov(FOV_DEG if fov is None else fov, height, width)
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


def _write(found: DepthMap, pixels: Tensor, name: Path, title: str, settings: dict[str, Any]) -> list[Path]:
    """Write the files of one map, and say which."""
    from clipx.cli._output import write_bytes
    from clipx.modalities.depth import show
    from clipx.modalities.depth.files import depth_png

    written = []
    millimetres, colors, numbers, words = SUFFIXES

    def write(suffix: str, data: bytes) -> None:
        written.append(name.with_name(name.name + suffix))
        write_bytes(written[-1], data)

    if found.unit == "m":  # millimetres of anything else would be a lie
        write(millimetres, depth_png(found.depth))
    write(colors, show.scale_png(found, title))
    write(numbers, _npz(found, settings))
    if found.responses is not None:
        write(words, show.responses_png(found, pixels))
    return written


def _npz(found: DepthMap, settings: dict[str, Any]) -> bytes:
    import numpy as np

    arrays: dict[str, Any] = {"depth": found.depth.cpu().numpy(), "unit": found.unit, "settings": json.dumps(settings)}
    if found.responses is not None:
        arrays |= {"responses": found.responses.half().cpu().numpy(), "words": list(found.words)}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
