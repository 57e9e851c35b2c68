"""clipx sketch: photos, sentences and sounds -> drawings of few strokes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag

if TYPE_CHECKING:
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.draw import DrawConfig, Drawing
    from clipx.modalities.sketch.objective import Meaning
    from clipx.modalities.sketch.target import Target
    from clipx.modality import Modality
    from clipx.space import JointSpace

LADDER = (4, 8, 16, 32, 64)  # of --strokes auto
FILM_S = 4.0  # of an animated SVG
RUNS_AT_ONCE = 24  # drawings side by side, which bounds memory


def sketch(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO]...", help="Photos; or sounds, clouds and meshes, whose meaning is drawn."),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Draw what a sentence says, in colour.")] = None,
    avoid: Annotated[
        list[str] | None, typer.Option("--avoid", help="With --text: what the drawing is not to be; may be repeated.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An .svg file for one drawing; a folder for several, pictures and losses."),
    ] = Path("clipx-sketch"),
    strokes: Annotated[
        str | None,
        typer.Option(
            "--strokes",
            help="How many; several counts make a ladder: 4,8,16,32; auto picks its knee. Default: 16; --text: 64.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Starts tried; the best drawing is kept.", min=1, max=64)] = 3,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: the preset's.", min=1)
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="default, or clipasso: its constants and its pace.")
    ] = "default",
    width: Annotated[
        bool | None, typer.Option("--width/--no-width", help="Let strokes find their width. Default: with --text.")
    ] = None,
    color: Annotated[
        bool | None,
        typer.Option("--color/--no-color", help="Let strokes find colour and opacity. Default: with --text."),
    ] = None,
    width_px: Annotated[
        float, typer.Option("--width-px", help="Full width of a stroke, at first, on a canvas of 224 pixels.")
    ] = 3.0,
    mask: Annotated[
        str | None,
        typer.Option("--mask", help="What to draw: a cut-out, or white on black; auto lets rembg find it."),
    ] = None,
    fix_scale: Annotated[bool, typer.Option("--fix-scale", help="Leave a margin of white around the photo.")] = False,
    order: Annotated[
        Literal["importance", "start", "travel"] | None,
        typer.Option(
            "--order",
            help="Of the strokes in the file: what matters first, as they began, or by pen travel. Default: importance "
            "for black drawings of up to 128 strokes, else start.",
            show_default=False,
        ),
    ] = None,
    size_mm: Annotated[
        float | None, typer.Option("--size-mm", help="Width on paper, in millimetres. Default: in pixels.")
    ] = None,
    hpgl: Annotated[
        str | None,
        typer.Option("--hpgl", help="Also HPGL for a pen plotter, such as hp7475a; with --size-mm (extra: plotter)."),
    ] = None,
    gif: Annotated[
        bool, typer.Option("--gif", help="Also films: how it was found, and drawn stroke by stroke.")
    ] = False,
    animate: Annotated[
        bool, typer.Option("--animate", help="A browser draws the .svg stroke by stroke, in 4 seconds; no script.")
    ] = False,
    mp4: Annotated[bool, typer.Option("--mp4", help="The films of --gif as MP4 (extra: video).")] = False,
    space: SpaceFlag = None,
    about: Annotated[
        str | None,
        typer.Option("--about", help="What in the photo to draw, such as 'the cat': strokes start there."),
    ] = None,
    saliency_space: Annotated[
        str | None,
        typer.Option(
            "--saliency-space",
            help="Whose tower says where strokes start. Default: --space's if it can, else nano-vit's.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder --out.")] = False,
    device: DeviceFlag = "cpu",
    dtype: DtypeFlag = "float32",
    seed: SeedFlag = 0,
    as_json: JsonFlag = False,
    config: ConfigFlag = None,
    **settings: Any,
) -> None:
    """Draw photos in a few Bezier strokes that the space's image tower takes for the photo.

    With --text, or for a file of another sense, what it means is drawn. Ctrl-C
    keeps the best so far, and a checkpoint for --resume where --out is a folder.
    A file that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx sketch cat.jpg --strokes 8,16,32 -o drawings
    """
    from clipx.cli._output import check_writable, distinct_names, emit, print_table, report, write_bytes
    from clipx.cli._work import check_present, conclude, encoders, open_space
    from clipx.errors import InputError
    from clipx.modalities.sketch.draw import RANKED, DrawConfig, draw
    from clipx.modalities.sketch.initial import SEEDS
    from clipx.modalities.sketch.objective import Meaning
    from clipx.modalities.sketch.saliency import default_space
    from clipx.progress import progress
    from clipx.training import prepare_folder

    files = files or []
    if bool(files) == (text is not None):
        raise InputError("name photos, or give a sentence with --text, one of the two")
    check_present(files)
    photos = [_is_photo(path) for path in files]
    if any(photos) and not all(photos):
        raise InputError("photos and other files are drawn apart", remedy="call clipx sketch for each kind")
    meant = not any(photos)
    of_photos = {"--mask": mask, "--fix-scale": fix_scale, "--saliency-space": saliency_space, "--about": about}
    for flag, given in of_photos.items():
        if meant and given:
            raise InputError(f"{flag} is for photos")
    if text is not None:
        for given in settings.values():
            if given.required:
                raise InputError(f"{given.flag} goes with files, not with --text")
    attach = encoders(files, "image" if any(photos) else None, settings)
    if avoid and text is None:
        raise InputError("--avoid goes with --text")
    counts = LADDER if strokes == "auto" else stroke_counts(strokes or ("64" if meant else "16"))
    names = [_slug(text)] if text is not None else distinct_names(files)
    one_file = out.suffix.lower() == ".svg"
    _check_out(out, names, 1 if strokes == "auto" else len(counts), one_file, resume)
    if size_mm is not None and not 0 < size_mm < 1e6:
        raise InputError(f"--size-mm must be a positive number of millimetres, got {size_mm:g}")
    if hpgl is not None and (color or (color is None and meant)):
        raise InputError("--hpgl draws with one pen", remedy="--no-color")
    if mask is not None and len(files) > 1 and mask != "auto":
        raise InputError("a mask is for one photo", where=mask, remedy="call clipx sketch for each, or --mask auto")
    changes: dict[str, Any] = {
        "strokes": counts,
        "seeds": tuple(seed + SEEDS[1] * i for i in range(seeds)),
        "width_px": width_px,
        "learn_width": meant if width is None else width,
        "learn_color": meant if color is None else color,
    } | ({} if order is None else {"rank": order == "importance"})
    named = "meaning" if meant and preset == "default" else preset
    plan = DrawConfig.preset(named, **changes | ({} if steps is None else {"steps": steps}))
    if order in ("travel", "importance") and plan.learn_color:
        raise InputError("coloured strokes cover one another: another order is another picture", where="--order")
    if order == "importance" and max(counts) > RANKED:
        raise InputError(f"importance is measured for up to {RANKED} strokes", where="--order", remedy="leave it out")
    if mp4:
        from clipx.modalities.sketch.film import find_ffmpeg

        find_ffmpeg()  # now, not after the work
    formats = _Formats(size_mm, hpgl, gif, mp4, animate)
    found_in: dict[int, Target | Meaning] = {}
    failures: dict[str, ClipxError] = {}
    if not meant:
        found_in.update(_photos(files, mask, fix_scale, plan, failures))
        if not found_in:
            conclude(report("sketch", []), failures, as_json, lambda: None)
    if hpgl is not None:  # now, not after the work
        _check_fits(found_in.values(), size_mm, hpgl)
    check_writable(out if one_file else prepare_folder(out, resume=True) / "drawing.svg")
    if not resume and _checkpoints(out):
        raise InputError(
            "holds a drawing that was stopped", where=out, remedy="go on with --resume, or name another folder"
        )
    joint = open_space(space, device, dtype, seed)
    looks: JointSpace | None = None
    if text is not None:
        found_in = {0: Meaning.of_text(joint, text, avoid or [])}
    elif meant:
        found_in.update(_meanings(files, attach(joint), failures))
        if not found_in:
            conclude(report("sketch", []), failures, as_json, lambda: None)
    elif saliency_space is None:
        looks = default_space(joint, about)
    else:
        looks = open_space(saliency_space, device, dtype, seed)
    files = [files[i] for i in found_in] if files else []
    names, targets = [names[i] for i in found_in], list(found_in.values())
    at_once = max(1, RUNS_AT_ONCE // (len(counts) * seeds))
    parts = [range(i, min(i + at_once, len(targets))) for i in range(0, len(targets), at_once)]
    results: list[dict[str, Any]] = []
    stopped = False
    with progress("drawing", plan.steps * len(parts)) as advance:
        for number, part in enumerate(parts):
            kept = out if len(parts) == 1 else out / f"checkpoint-{number}"
            seen = 0

            def told(step: int, steps: int, loss: float) -> None:
                nonlocal seen  # a resumed drawing begins further on
                advance(step - seen, f"loss {loss:.4f}")
                seen = step

            found = draw(
                [targets[i] for i in part],
                joint,
                plan,
                saliency_space=looks,
                about=about,
                out=None if one_file else kept,
                resume=resume,
                progress=told,
            )
            if not found[0].stopped:
                advance(plan.steps - seen)  # what came to rest earlier is done, too
            for i in part:
                drawn = [drawing for drawing in found if part[drawing.target] == i]
                source = text if text is not None else str(files[i])
                title = text if text is not None else files[i].name
                results += _write_all(
                    drawn, names[i], source, title, out, one_file, strokes == "auto", order, formats
                )
            stopped = found[0].stopped
            if stopped:
                break
    if not stopped:  # done: nothing to go on with
        for path in _checkpoints(out):
            path.unlink()
            if path.parent != out:
                path.parent.rmdir()
    record = report(
        "sketch",
        results,
        space=joint.name,
        space_id=joint.id,
        saliency_space_id=None if looks is None else looks.id,
        settings=asdict(plan),
        about=about,
    )
    if not one_file:
        settings = {key: value for key, value in record.items() if key != "results"}
        write_bytes(
            out / f"{names[0] if len(names) == 1 else 'drawings'}-config.json",
            (json.dumps(settings, indent=1) + "\n").encode(),
        )
    rows = [
        (
            r["source"],
            r["svg"],
            f"{r['strokes']}{' (chosen)' * r.get('chosen', False)}",
            f"{r['loss']:.4f}",
            str(r["seed"]),
        )
        for r in results
    ]
    table = lambda: print_table(("of", "drawing", "strokes", "loss", "seed"), rows)  # noqa: E731
    if stopped:
        emit(record, as_json, table)
        raise KeyboardInterrupt
    conclude(record, failures, as_json, table)


# -------------------------------------------------------------------------------------------------------------- input


def _is_photo(path: Path) -> bool:
    from clipx.errors import InputError
    from clipx.registry import modality_of

    try:
        return modality_of(path) == "image"
    except InputError:  # a suffix that no modality reads: the content decides
        return True


def _photos(
    files: Sequence[Path], mask: str | None, fix_scale: bool, plan: DrawConfig, failures: dict[str, ClipxError]
) -> dict[int, Target]:
    """Position -> what is to be drawn, of the photos that can be read."""
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.target import load_target

    found: dict[int, Target] = {}
    for i, path in enumerate(files):
        try:
            found[i] = load_target(path, mask, fix_scale=fix_scale, keep_aspect=plan.keep_aspect)
        except ClipxError as error:
            failures[str(path)] = error
    return found


def _meanings(
    files: Sequence[Path], encoders: Sequence[tuple[Modality, list[int]]], failures: dict[str, ClipxError]
) -> dict[int, Meaning]:
    """Position -> what a file of any modality means in the space, of the files that can be read."""
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.objective import Meaning

    found: dict[int, Meaning] = {}
    for encoder, rows in encoders:
        for i in rows:
            try:
                found[i] = Meaning(encoder.encode([encoder.load(files[i])], [str(files[i])]))
            except ClipxError as error:
                failures[str(files[i])] = error
    return dict(sorted(found.items()))


def stroke_counts(text: str) -> tuple[int, ...]:
    """``4,8,16`` as numbers. Raises InputError."""
    from clipx.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--strokes takes numbers such as 16 or 4,8,16,32, got {text!r}") from error


def _check_fits(photos: Iterable[Target | Meaning], size_mm: float | None, plotter: str) -> None:
    """Raise InputError unless drawings of the photos, or a square one where there are none, fit the plotter's paper."""
    import torch

    from clipx.modalities.sketch.plotter import hpgl
    from clipx.modalities.sketch.svg import Strokes, to_svg
    from clipx.modalities.sketch.target import CANVAS, Target

    none = torch.zeros(0)
    for box in {photo.box for photo in photos if isinstance(photo, Target)} or {(0, 0, CANVAS, CANVAS)}:
        top, left, height, width = box
        empty = Strokes(torch.zeros(0, 4, 2), none, none, torch.zeros(0, 3), (left, top, width, height))
        hpgl(to_svg(empty, width_mm=size_mm), plotter)


def _slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text).strip("-")[:40] or "text"


def _check_out(out: Path, names: Sequence[str], counts: int, one_file: bool, resume: bool) -> None:
    from clipx.errors import InputError

    if one_file and len(names) * counts > 1:
        raise InputError(f"{len(names) * counts} drawings do not fit into one file", where=out, remedy="name a folder")
    if one_file and resume:
        raise InputError("a file holds no checkpoint to go on from", where=out, remedy="name a folder with --out")
    if out.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".mp4", ".pdf", ".json"):
        raise InputError(f"suffix {out.suffix!r} is not .svg", where=out, remedy="name an .svg file or a folder")


def _checkpoints(out: Path) -> list[Path]:
    return [*out.glob("drawing.safetensors"), *out.glob("checkpoint-*/drawing.safetensors")]


# ------------------------------------------------------------------------------------------------------------- output


@dataclass(frozen=True)
class _Formats:
    """What is written of a drawing beside the plain SVG; see the options of those names."""

    size_mm: float | None
    hpgl: str | None
    gif: bool
    mp4: bool
    animate: bool


def _write_all(
    drawn: Sequence[Drawing],
    name: str,
    source: str,
    title: str,
    out: Path,
    one_file: bool,
    auto: bool,
    order: str | None,
    formats: _Formats,
) -> list[dict[str, Any]]:
    """Write the drawings of one target, fewest strokes first, and say what was written."""
    from clipx.cli._output import write_bytes
    from clipx.modalities.sketch import film
    from clipx.modalities.sketch.draw import knee
    from clipx.modalities.sketch.plotter import hpgl
    from clipx.modalities.sketch.svg import to_svg, travel_sorted

    chosen = knee({len(drawing.strokes): drawing.loss for drawing in drawn}) if auto else None
    results = []
    for drawing in drawn:
        count = len(drawing.strokes)
        if one_file and chosen not in (None, count):
            continue
        path = out if one_file else out / f"{name}-{count}.svg"
        strokes = replace(drawing.strokes, about=drawing.strokes.about | {"title": f"{title} in {count} strokes"})
        if order == "travel":
            strokes = strokes[travel_sorted(strokes.points)]
        write_bytes(
            path, to_svg(strokes, width_mm=formats.size_mm, seconds=FILM_S if formats.animate else None).encode()
        )
        written = [path]
        if formats.hpgl is not None:
            written.append(path.with_suffix(".hpgl"))
            write_bytes(written[-1], hpgl(to_svg(strokes, width_mm=formats.size_mm), formats.hpgl).encode())
        if not one_file:
            written.append(path.with_suffix(".png"))
            write_bytes(written[-1], film.png(strokes))
        for suffix, make in ((".gif", film.gif), (".mp4", film.mp4)):
            if (formats.gif, formats.mp4)[suffix == ".mp4"]:
                for kind, frames in (("", drawing.film), ("-strokes", film.stroke_by_stroke(strokes))):
                    written.append(path.with_name(f"{path.stem}{kind}{suffix}"))
                    write_bytes(written[-1], make(frames))
        results.append(
            {
                "source": source,
                "svg": str(path),
                "files": [str(file) for file in written],
                "strokes": count,
                "seed": drawing.seed,
                "loss": drawing.loss,
                "losses": drawing.losses,
                "importance": drawing.importance,
                "steps": len(drawing.history),
                **({} if chosen is None else {"chosen": count == chosen}),
            }
        )
    if not one_file:
        curves = {f"{len(drawing.strokes)} strokes": drawing.history for drawing in drawn}
        write_bytes(out / f"{name}-loss.png", film.loss_curve(curves, source))
    return results
