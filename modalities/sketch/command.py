"""clipx sketch: photos -> drawings of few strokes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag

if TYPE_CHECKING:
    from clipx.modalities.sketch.svg import Strokes


def sketch(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photos: .png .jpg .jpeg .webp .bmp.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An .svg file for one drawing; a folder for several, pictures and losses."),
    ] = Path("clipx-sketch"),
    strokes: Annotated[
        str, typer.Option("--strokes", help="How many; several counts make a ladder: 4,8,16,32.")
    ] = "16",
    seeds: Annotated[int, typer.Option("--seeds", help="Starts tried; the best drawing is kept.", min=1, max=64)] = 3,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: the preset's.", min=1)
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="default, or clipasso: its constants and its pace.")
    ] = "default",
    width: Annotated[float, typer.Option("--width-px", help="Full width of a stroke on a canvas of 224 pixels.")] = 3.0,
    mask: Annotated[Path | None, typer.Option("--mask", help="What to draw: a cut-out, or white on black.")] = None,
    fix_scale: Annotated[bool, typer.Option("--fix-scale", help="Leave a margin of white around the photo.")] = False,
    size_mm: Annotated[
        float | None, typer.Option("--size-mm", help="Width on paper, in millimetres. Default: in pixels.")
    ] = None,
    space: SpaceFlag = None,
    saliency_space: Annotated[
        str | None, typer.Option("--saliency-space", help="Whose tower says where strokes start. Default: --space's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder --out.")] = False,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
) -> None:
    """Draw photos in a few Bezier strokes that the space's image tower takes for the photo.

    Ctrl-C keeps the best so far, and a checkpoint for --resume where --out is a
    folder.

    Example: clipx sketch cat.jpg --strokes 8,16,32 -o drawings
    """
    from clipx.cli._output import check_writable, emit, print_table, progress, report
    from clipx.cli._work import open_space
    from clipx.errors import InputError
    from clipx.modalities.sketch.draw import DrawConfig, draw
    from clipx.modalities.sketch.initial import SEEDS
    from clipx.modalities.sketch.svg import to_svg
    from clipx.modalities.sketch.target import load_target
    from clipx.training import prepare_folder

    counts = _counts(strokes)
    one_file = out.suffix.lower() == ".svg"
    if one_file and (len(photos) > 1 or len(counts) > 1):
        raise InputError(
            f"{len(photos) * len(counts)} drawings do not fit into one file", where=out, remedy="name a folder"
        )
    if one_file and resume:
        raise InputError("a file holds no checkpoint to go on from", where=out, remedy="name a folder with --out")
    if out.suffix and not one_file:
        raise InputError(f"suffix {out.suffix!r} is not .svg", where=out, remedy="name an .svg file or a folder")
    if size_mm is not None and not 0 < size_mm < 1e6:
        raise InputError(f"--size-mm must be a positive number of millimetres, got {size_mm:g}")
    if mask is not None and len(photos) > 1:
        raise InputError("a mask is for one photo", where=mask)
    changes = {"strokes": counts, "seeds": tuple(seed + SEEDS[1] * i for i in range(seeds)), "width_px": width}
    plan = DrawConfig.preset(preset, **changes | ({} if steps is None else {"steps": steps}))
    targets = [load_target(photo, mask, fix_scale=fix_scale, keep_aspect=plan.keep_aspect) for photo in photos]
    check_writable(out if one_file else prepare_folder(out, resume=True) / "drawing.svg")
    joint = open_space(space, device, dtype, seed)
    looks = joint if saliency_space is None else open_space(saliency_space, device, dtype, seed)
    with progress("drawing", plan.steps) as advance:
        found = draw(
            targets,
            joint,
            plan,
            saliency_space=looks,
            out=None if one_file else out,
            resume=resume,
            progress=lambda step, steps, loss: advance(1),
        )
    results: list[dict[str, Any]] = []
    for drawing in found:
        photo, count = photos[drawing.target], len(drawing.strokes)
        path = out if one_file else out / f"{photo.stem}-{count}.svg"
        _write(path, to_svg(drawing.strokes, width_mm=size_mm).encode())
        if not one_file:
            _write(path.with_suffix(".png"), _png(drawing.strokes))
        results.append(
            {
                "path": str(photo),
                "svg": str(path),
                "strokes": count,
                "seed": drawing.seed,
                "loss": drawing.loss,
                "losses": drawing.losses,
                "steps": len(drawing.history),
            }
        )
    rows = [(r["path"], r["svg"], str(r["strokes"]), f"{r['loss']:.4f}", str(r["seed"])) for r in results]
    emit(
        report("sketch", results, space=joint.name, space_id=joint.id, settings=plan.__dict__),
        as_json,
        lambda: print_table(("photo", "drawing", "strokes", "loss", "seed"), rows),
    )
    if found[0].stopped:
        raise KeyboardInterrupt


def _counts(text: str) -> tuple[int, ...]:
    from clipx.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--strokes takes numbers such as 16 or 4,8,16,32, got {text!r}") from error


def _png(strokes: Strokes) -> bytes:
    """What the SVG shows, as a PNG file of its own size."""
    import io

    from PIL import Image

    from clipx.modalities.sketch.raster import rasterize
    from clipx.modalities.sketch.target import CANVAS

    left, top, width, height = (round(value) for value in strokes.box)
    pixels = rasterize(strokes.points, CANVAS, width_px=strokes.width_px, alpha=strokes.alpha, color=strokes.color)
    shown = (pixels[:, top : top + height, left : left + width].clamp(0, 1) * 255).round().byte()
    data = io.BytesIO()
    Image.fromarray(shown.permute(1, 2, 0).numpy()).save(data, "PNG")
    return data.getvalue()


def _write(path: Path, data: bytes) -> None:
    from clipx.cli._output import write_whole

    write_whole(path, lambda file: file.write(data))
