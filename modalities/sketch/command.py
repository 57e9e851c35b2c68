"""clipx sketch: photos, sentences and sounds -> drawings of few strokes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._flags import ConfigFlag, DeviceFlag, DtypeFlag, JsonFlag, SeedFlag, SpaceFlag

if TYPE_CHECKING:
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.config import DrawConfig
    from clipx.modalities.sketch.draw import Drawing
    from clipx.modalities.sketch.objective import Meaning
    from clipx.modalities.sketch.target import Target
    from clipx.modality import Modality
    from clipx.space import JointSpace

LADDER = (4, 8, 16, 32, 64)  # of --strokes auto
PRESETS_OF_COMMAND = ("default", "fast", "clipdraw", "clipasso")
SEED_STEP = 1000  # CLIPasso's seeds are 0, 1000 and 2000
FILM_S = 4.0  # of an animated SVG
RUNS_AT_ONCE = 24  # drawings side by side, which bounds memory


def sketch(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO]...", help="Photos; or sounds, clouds and meshes, whose meaning is drawn."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Draw what a sentence says; may be repeated.")
    ] = None,
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
            help="How many; several counts make a ladder: 4,8,16,32; auto picks its knee. Default: the preset's, 16.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Starts tried; the best drawing is kept. Default: 3; --fast: 1.", min=1, max=64),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: the preset's.", min=1)
    ] = None,
    preset: Annotated[
        str,
        typer.Option("--preset", help="default, fast, clipdraw (--text in colour) or clipasso: as in the paper."),
    ] = "default",
    fast: Annotated[bool, typer.Option("--fast", help="As --preset fast: one start, few steps.")] = False,
    style: Annotated[
        str | None, typer.Option("--style", help="contour, one-line, hatching or brush: settings of their own.")
    ] = None,
    width: Annotated[bool | None, typer.Option("--width/--no-width", help="Let strokes find their width.")] = None,
    color: Annotated[
        bool | None, typer.Option("--color/--no-color", help="Let strokes find colour and opacity.")
    ] = None,
    width_px: Annotated[
        float | None,
        typer.Option(
            "--width-px", help="Full width of a stroke, at first, on a canvas of 224 pixels. Default: the style's, 3."
        ),
    ] = None,
    segments: Annotated[
        int | None, typer.Option("--segments", help="Cubic segments of a stroke. Default: the style's, 1.", min=1)
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            help="What to draw: a cut-out, or white on black; auto finds it: rembg where installed, else the space.",
        ),
    ] = None,
    layers: Annotated[
        int,
        typer.Option("--layers", help="2: background and object (see --mask) in layers of their own.", min=1, max=2),
    ] = 1,
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
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", help="With --strokes auto: the space that says what is enough. Default: an embedded one."
        ),
    ] = None,
    about: Annotated[
        str | None,
        typer.Option("--about", help="What in the photo to draw, such as 'the cat': strokes start there."),
    ] = None,
    saliency_space: Annotated[
        str | None,
        typer.Option(
            "--saliency-space",
            help="Whose tower says where strokes start. Default: --space's if it can, else an embedded one's.",
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

    With --text, or for a file of another sense, what it means is drawn, from
    people's drawings of the nearest words. Ctrl-C
    keeps the best so far, and a checkpoint for --resume where --out is a folder.
    A file that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx sketch cat.jpg --strokes 8,16,32 -o drawings
    """
    from clipx.cli._output import check_writable, distinct_names, emit, print_table, report, write_bytes
    from clipx.cli._work import check_present, conclude, encoders, open_space
    from clipx.errors import InputError
    from clipx.modalities.sketch.objective import Meaning
    from clipx.modalities.sketch.saliency import default_space
    from clipx.modalities.sketch.start import RANKED
    from clipx.progress import note
    from clipx.training import prepare_folder

    files, texts = files or [], text or []
    if bool(files) == bool(texts):
        raise InputError("name photos, or give a sentence with --text, one of the two")
    check_present(files)
    photos = [_is_photo(path) for path in files]
    if any(photos) and not all(photos):
        raise InputError("photos and other files are drawn apart", remedy="call clipx sketch for each kind")
    meant = not any(photos)
    of_photos = {"--mask": mask, "--fix-scale": fix_scale, "--saliency-space": saliency_space, "--about": about}
    for flag, given in (of_photos | {"--layers": layers > 1}).items():
        if meant and given:
            raise InputError(f"{flag} is for photos")
    if texts:
        for given in settings.values():
            if given.required:
                raise InputError(f"{given.flag} goes with files, not with --text")
    attach = encoders(files, "image" if any(photos) else None, settings)
    if avoid and not texts:
        raise InputError("--avoid goes with --text")
    auto = strokes == "auto"
    if judge is not None and not auto:
        raise InputError("--judge goes with --strokes auto", remedy="add it, or leave out --judge")
    changes = {
        "strokes": LADDER if auto else None if strokes is None else stroke_counts(strokes),
        "steps": steps,
        "width_px": width_px,
        "segments": segments,
        "learn_width": width,
        "learn_color": color,
        "rank": None if order is None else order == "importance",
    }
    if fast and preset not in ("default", "fast"):
        raise InputError(f"--fast and --preset {preset} are two presets", remedy="leave one out")
    plan = _plan("fast" if fast else preset, style, meant, seeds, seed, changes)
    counts = plan.strokes
    names = distinct_names(files or [Path(_slug(said)) for said in texts])
    one_file = out.suffix.lower() == ".svg"
    _check_out(out, names, 1 if auto else len(counts), one_file, resume)
    if size_mm is not None and not 0 < size_mm < 1e6:
        raise InputError(f"--size-mm must be a positive number of millimetres, got {size_mm:g}")
    if hpgl is not None and plan.learn_color:
        raise InputError("--hpgl draws with one pen", remedy="--no-color")
    if mask is not None and len(files) > 1 and mask != "auto":
        raise InputError("a mask is for one photo", where=mask, remedy="call clipx sketch for each, or --mask auto")
    if order in ("travel", "importance") and plan.learn_color:
        raise InputError("coloured strokes cover one another: another order is another picture", where="--order")
    if order == "importance" and max(counts) > RANKED:
        raise InputError(f"importance is measured for up to {RANKED} strokes", where="--order", remedy="leave it out")
    if layers > 1 and min(counts) < layers:
        raise InputError(f"{layers} layers need at least {layers} strokes, got {min(counts)}", where="--strokes")
    if mp4:
        from clipx.modalities.sketch.film import find_ffmpeg

        find_ffmpeg()  # now, not after the work
    formats = _Formats(size_mm, hpgl, gif, mp4, animate)
    found_in: dict[int, Target | Meaning] = {}
    failures: dict[str, ClipxError] = {}
    if not meant:
        found_in.update(_photos(files, mask if layers == 1 else None, fix_scale, plan, failures))
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
    if texts:
        found_in.update((i, Meaning.of_text(joint, said, avoid or [])) for i, said in enumerate(texts))
    elif meant:
        found_in.update(_meanings(files, attach(joint), failures))
    else:
        looks = (
            default_space(joint, about) if saliency_space is None else open_space(saliency_space, device, dtype, seed)
        )
        if layers > 1 or (mask == "auto" and not _has_rembg()):
            _find_objects(found_in, files, looks, about, mask, fix_scale, failures)
    if not found_in:
        conclude(report("sketch", []), failures, as_json, lambda: None)
    judging = open_space(judge or _default_judge(joint.name), device, dtype, seed) if auto else None
    if judging is not None and judging.id == joint.id:
        raise InputError(f"{judging.name} also draws", where="--judge", remedy="name a space that does not")
    files = [files[i] for i in found_in] if files else []
    names, targets = [names[i] for i in found_in], list(found_in.values())
    results: list[dict[str, Any]] = []
    stopped = False
    kept_in = None if one_file else out
    for part, drawn, ended in _drawn(targets, joint, plan, looks, about, layers, kept_in, resume):
        stopped = ended
        for i in part:
            own = [drawing for drawing in drawn if part[drawing.target] == i]
            source = texts[i] if texts else str(files[i])
            title = texts[i] if texts else files[i].name
            chosen = None if judging is None else _enough(own, targets[i], texts[i] if texts else None, judging)
            if "from" in (said := own[0].strokes.about):
                other = bool(texts) and said["from"].casefold() not in title.casefold()
                nearest = ", the nearest word there is" if other else ""
                note(f"{title}: begun from a person's drawing of: {said['from']}{nearest}")
            results += _write_all(own, names[i], source, title, out, one_file, chosen, order, formats)
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
        layers=layers,
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


def _plan(
    preset: str, style: str | None, meant: bool, seeds: int | None, seed: int, changes: dict[str, Any]
) -> DrawConfig:
    """The settings of a preset, then those of a style, then those that were given."""
    from clipx.errors import InputError
    from clipx.modalities.sketch.config import STYLES, DrawConfig

    if preset not in PRESETS_OF_COMMAND:
        raise InputError(f"no preset {preset!r}", where="--preset", remedy=f"one of {', '.join(PRESETS_OF_COMMAND)}")
    if style is not None and style not in STYLES:
        raise InputError(f"no style {style!r}", where="--style", remedy=f"one of {', '.join(STYLES)}")
    if style is not None and preset in ("clipasso", "clipdraw"):
        raise InputError(f"{preset} has a style of its own", where="--style", remedy="leave out --preset")
    if meant and STYLES.get(style or "", {}).get("start"):
        raise InputError(f"{style} needs a photo; words have none", where="--style", remedy="contour or brush")
    if not meant and preset == "clipdraw":
        raise InputError("clipdraw draws what has no photo", where="--preset", remedy="--preset clipasso")
    named = "meaning" if meant and preset in ("default", "fast") else preset
    plan = DrawConfig.preset(named, **STYLES.get(style or "", {}))
    if meant and preset == "fast":
        plan = replace(plan, seeds=plan.seeds[:1])
    given = {key: value for key, value in changes.items() if value is not None}
    starts = len(plan.seeds) if seeds is None else seeds
    return replace(plan, seeds=tuple(seed + SEED_STEP * i for i in range(starts)), **given)


def _drawn(
    targets: Sequence[Target | Meaning],
    joint: JointSpace,
    plan: DrawConfig,
    looks: JointSpace | None,
    about: str | None,
    layers: int,
    out: Path | None,
    resume: bool,
) -> Iterator[tuple[range, list[Drawing], bool]]:
    """Numbers of some targets, their drawings, and whether Ctrl-C ended it; of a scene a layer at a time."""
    from clipx.modalities.sketch.draw import draw
    from clipx.modalities.sketch.scene import together, two_layers
    from clipx.progress import progress

    plans = [plan]
    if layers > 1:  # a third of the strokes for what is behind
        behind = tuple(max(1, count // 3) for count in plan.strokes)
        ahead = tuple(count - back for count, back in zip(plan.strokes, behind, strict=True))
        plans = [replace(plan, strokes=tuple(dict.fromkeys(counts))) for counts in (behind, ahead)]
    at_once = max(1, RUNS_AT_ONCE // (len(plan.strokes) * len(plan.seeds)))
    parts = [range(i, min(i + at_once, len(targets))) for i in range(0, len(targets), at_once)]
    with progress("drawing", plan.steps * len(parts) * layers) as advance:
        for number, part in enumerate(parts):
            shown: list[Sequence[Any]] = [[targets[i] for i in part]]
            if layers > 1:
                shown = list(zip(*(two_layers(target) for target in shown[0]), strict=True))
            by_layer: list[list[Drawing]] = []
            for layer, (some, own) in enumerate(zip(shown, plans, strict=True)):
                kept = out
                if out is not None and len(parts) * layers > 1:
                    kept = out / f"checkpoint-{number * layers + layer}"
                seen = 0

                def show(step: int, steps: int, loss: float) -> None:
                    nonlocal seen  # a resumed drawing begins further on
                    advance(step - seen, f"loss {loss:.4f}")
                    seen = step

                by_layer.append(
                    draw(some, joint, own, saliency_space=looks, about=about, out=kept, resume=resume, progress=show)
                )
                if by_layer[-1][0].stopped:
                    break
                advance(own.steps - seen)  # what came to rest earlier is done, too
            stopped = by_layer[-1][0].stopped
            if len(by_layer) < layers:  # half a scene is none; its checkpoints stay
                yield range(0), [], True
                return
            drawn = by_layer[0]
            if layers > 1:
                drawn = []
                for target in range(len(part)):
                    for counts in zip(plan.strokes, behind, ahead, strict=True):
                        pair = [
                            next(d for d in of if d.target == target and len(d.strokes) == count)
                            for of, count in zip(by_layer, counts[1:], strict=True)
                        ]
                        drawn.append(together(pair))
            yield part, drawn, stopped
            if stopped:
                break


def _enough(drawn: Sequence[Drawing], target: Target | Meaning, text: str | None, judge: JointSpace) -> int:
    """The stroke count at the knee of what another tower makes of the drawings, which had no part in them."""
    import torch

    from clipx.modalities.sketch.draw import knee
    from clipx.modalities.sketch.evaluate import photo_picture
    from clipx.modalities.sketch.film import pixels
    from clipx.modalities.sketch.target import Target

    if isinstance(target, Target):
        wanted = judge.encode_image(photo_picture(target)[None].to(judge.device))[0]
    elif text is not None and not judge.unknown(text):
        wanted = judge.encode_text([text])[0]
    else:  # it knows nothing of this: the loss must do
        return knee({len(drawing.strokes): drawing.loss for drawing in drawn})
    eyes = judge.domain("drawing") if "drawing" in judge.domains else judge
    seen = eyes.encode_image(torch.stack([pixels(drawing.strokes) for drawing in drawn]).to(judge.device))
    return knee({len(d.strokes): 1 - float(row @ wanted) for d, row in zip(drawn, seen, strict=True)})


def _default_judge(name: str) -> str:
    """An embedded space that judges drawings and does not draw them: best one trained on drawings of photos."""
    from clipx.errors import InputError
    from clipx.space import embedded_for

    for judge in [*embedded_for("drawings_of_photos"), *embedded_for("drawings")]:
        if judge != name:
            return judge
    raise InputError("no embedded space is there to judge drawings", where="--judge", remedy="name one")


# -------------------------------------------------------------------------------------------------------------- input


def _is_photo(path: Path) -> bool:
    from clipx.errors import InputError
    from clipx.registry import modality_of

    try:
        return modality_of(path) == "image"
    except InputError:  # a suffix that no modality reads: the content decides
        return True


def _has_rembg() -> bool:
    return find_spec("rembg") is not None


def _find_objects(
    targets: dict[int, Any],
    files: Sequence[Path],
    looks: JointSpace,
    about: str | None,
    mask: str | None,
    fix_scale: bool,
    failures: dict[str, ClipxError],
) -> None:
    """Say of each photo where its object is: by the mask's file, rembg or the space. Failing ones leave."""
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.scene import find_object
    from clipx.modalities.sketch.target import found_by_rembg, load_mask, on_canvas
    from clipx.pictures import eight_bits, open_picture

    towards = None if about is None else looks.embed_text([about]).vectors[0]
    for i, target in list(targets.items()):
        try:
            if mask not in (None, "auto"):
                shape = load_mask(mask)
            elif _has_rembg():
                shape = found_by_rembg(eight_bits(open_picture(files[i]), files[i]))
            else:
                targets[i] = replace(target, where=find_object(looks, target, towards))
                continue
            targets[i] = replace(target, where=on_canvas(shape, target, fix_scale=fix_scale))
        except ClipxError as error:
            failures[str(files[i])] = error
            del targets[i]


def _photos(
    files: Sequence[Path], mask: str | None, fix_scale: bool, plan: DrawConfig, failures: dict[str, ClipxError]
) -> dict[int, Target]:
    """Position -> what is to be drawn, of the photos that can be read."""
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.target import load_target

    found: dict[int, Target] = {}
    mask = None if mask == "auto" and not _has_rembg() else mask
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
    chosen: int | None,
    order: str | None,
    formats: _Formats,
) -> list[dict[str, Any]]:
    """Write the drawings of one target, and say what was written; of a ladder's one file the ``chosen`` one."""
    import torch

    from clipx.cli._output import write_bytes
    from clipx.modalities.sketch import film
    from clipx.modalities.sketch.plotter import hpgl
    from clipx.modalities.sketch.svg import to_svg, travel_sorted

    results = []
    for drawing in drawn:
        count = len(drawing.strokes)
        if one_file and chosen not in (None, count):
            continue
        path = out if one_file else out / f"{name}-{count}.svg"
        strokes = replace(
            drawing.strokes, about=drawing.strokes.about | {"title": f"{title} in {count} stroke{'s' * (count > 1)}"}
        )
        layers = strokes.about.get("layers")
        if order == "travel":
            starts, sorted_by_layer = 0, []
            for size in layers or [count]:
                sorted_by_layer.append(starts + travel_sorted(strokes.points[starts : starts + size]))
                starts += size
            strokes = strokes[torch.cat(sorted_by_layer)]
        seconds = FILM_S if formats.animate else None
        write_bytes(path, to_svg(strokes, width_mm=formats.size_mm, layers=layers, seconds=seconds).encode())
        written = [path]
        if formats.hpgl is not None:
            written.append(path.with_suffix(".hpgl"))
            even = replace(strokes, profile="even")  # a pen is of one width
            write_bytes(written[-1], hpgl(to_svg(even, width_mm=formats.size_mm, layers=layers), formats.hpgl).encode())
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
                **({"from": strokes.about["from"]} if "from" in strokes.about else {}),
                **({} if chosen is None else {"chosen": count == chosen}),
            }
        )
    if not one_file:
        curves = {f"{len(drawing.strokes)} strokes": drawing.history for drawing in drawn}
        write_bytes(out / f"{name}-loss.png", film.loss_curve(curves, source))
    return results
