"""clipx sketch: photos, sentences and sounds -> drawings of few strokes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from clipx.cli._flags import Given
    from clipx.errors import ClipxError
    from clipx.modalities.sketch.draw import Drawing
    from clipx.modalities.sketch.objective import Meaning
    from clipx.modalities.sketch.target import Target
    from clipx.modalities.sketch.task import DrawTask, DrawTaskConfig
    from clipx.modality import Modality
    from clipx.space import JointSpace

LADDER = (4, 8, 16, 32, 64)  # of --strokes auto
PRESETS_OF_COMMAND = ("default", "fast", "clipdraw", "clipasso")
SEED_STEP = 1000  # CLIPasso's seeds are 0, 1000 and 2000


@dataclass(frozen=True)
class TextFlags:
    """What is drawn of words."""

    text: Annotated[list[str] | None, typer.Option("--text", help="Draw what a sentence says; may be repeated.")] = None
    avoid: Annotated[
        list[str] | None, typer.Option("--avoid", help="With --text: what the drawing is not to be; may be repeated.")
    ] = None


@dataclass(frozen=True)
class DrawFlags:
    """How to draw."""

    strokes: Annotated[
        str | None,
        typer.Option(
            "--strokes",
            help="How many; several counts make a ladder: 4,8,16,32; auto picks its knee. Default: the preset's, 16.",
            show_default=False,
        ),
    ] = None
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", help="With --strokes auto: the space that says what is enough. Default: an embedded one."
        ),
    ] = None
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Starts tried; the best drawing is kept. Default: 3; --fast: 1.", min=1, max=64),
    ] = None
    steps: Annotated[
        int | None, typer.Option("--steps", help="Optimiser steps at most. Default: the preset's.", min=1)
    ] = None
    preset: Annotated[
        str, typer.Option("--preset", help="default, fast, clipdraw (--text in colour) or clipasso: as in the paper.")
    ] = "default"
    fast: Annotated[bool, typer.Option("--fast", help="As --preset fast: one start, few steps.")] = False
    style: Annotated[
        str | None, typer.Option("--style", help="contour, one-line, hatching or brush: settings of their own.")
    ] = None
    width: Annotated[bool | None, typer.Option("--width/--no-width", help="Let strokes find their width.")] = None
    color: Annotated[bool | None, typer.Option("--color/--no-color", help="Let strokes find colour and opacity.")] = (
        None
    )
    width_px: Annotated[
        float | None,
        typer.Option(
            "--width-px", help="Full width of a stroke, at first, on a canvas of 224 pixels. Default: the style's, 3."
        ),
    ] = None
    segments: Annotated[
        int | None, typer.Option("--segments", help="Cubic segments of a stroke. Default: the style's, 1.", min=1)
    ] = None


@dataclass(frozen=True)
class PhotoFlags:
    """What of a photo is drawn."""

    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            help="What to draw: a cut-out, or white on black; auto finds it: rembg where installed, else the space.",
        ),
    ] = None
    layers: Annotated[
        int,
        typer.Option("--layers", help="2: background and object (see --mask) in layers of their own.", min=1, max=2),
    ] = 1
    fix_scale: Annotated[bool, typer.Option("--fix-scale", help="Leave a margin of white around the photo.")] = False
    about: Annotated[
        str | None,
        typer.Option(
            "--about",
            help="What in the photo to draw, such as 'the cat': strokes start there and are to mean it.",
        ),
    ] = None
    saliency_space: Annotated[
        str | None,
        typer.Option(
            "--saliency-space",
            help="Whose tower says where strokes start. Default: --space's if it can, else an embedded one's.",
        ),
    ] = None


@dataclass(frozen=True)
class WriteFlags:
    """How drawings are written."""

    order: Annotated[
        Literal["importance", "start", "travel"] | None,
        typer.Option(
            "--order",
            help="Of the strokes in the file: what matters first, as they began, or by pen travel. Default: importance "
            "for black drawings of up to 128 strokes, else start.",
            show_default=False,
        ),
    ] = None
    size_mm: Annotated[
        float | None, typer.Option("--size-mm", help="Width on paper, in millimetres. Default: in pixels.")
    ] = None
    hpgl: Annotated[
        str | None,
        typer.Option("--hpgl", help="Also HPGL for a pen plotter, such as hp7475a; with --size-mm (extra: plotter)."),
    ] = None
    gif: Annotated[bool, typer.Option("--gif", help="Also films: how it was found, and drawn stroke by stroke.")] = (
        False
    )
    animate: Annotated[
        bool, typer.Option("--animate", help="A browser draws the .svg stroke by stroke, in 4 seconds; no script.")
    ] = False
    mp4: Annotated[bool, typer.Option("--mp4", help="The films of --gif as MP4 (extra: video).")] = False


@takes("space", "device", "dtype", "seed", "as_json", "config")
def sketch(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PHOTO]...", help="Photos; or sounds, clouds and meshes, whose meaning is drawn."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="An .svg file for one drawing; a folder for several, pictures and losses."),
    ] = Path("clipx-sketch"),
    *,
    words: TextFlags,
    drawing: DrawFlags,
    photo: PhotoFlags,
    written: WriteFlags,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder --out.")] = False,
    run: RunOptions,
    **settings: Any,
) -> None:
    """Draw photos in a few Bezier strokes that the space's image tower takes for the photo.

    With --text, or for a file of another modality, what it means is drawn, from
    people's drawings of the nearest words. Ctrl-C
    keeps the best so far, and a checkpoint for --resume where --out is a folder.
    A file that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx sketch cat.jpg --strokes 8,16,32 -o drawings
    """
    from clipx.cli._output import report
    from clipx.cli._work import encoders
    from clipx.modalities.sketch.task import DrawTask

    meant = _check_inputs(files or [], words, photo, settings)
    attach = encoders(files or [], None if meant else "image", settings)
    plan = plan_of(drawing, photo, written.order, meant, run.seed)
    output = _Output(out, written, drawing.strokes == "auto")
    failures: dict[str, ClipxError] = {}
    sources = _sources(files or [], words.text or [])
    output.check(sources, plan, resume)
    if not meant:
        sources = _read(sources, photo, plan, failures, run)
    output.prepare(sources, resume)
    joint = run.open_space(backend="torch")
    looks = None if meant else _saliency_space(joint, photo, run)
    task = DrawTask(joint, plan, looks)
    if meant:
        sources = _meanings(sources, joint, words.avoid or [], attach, failures, run)
    elif photo.layers > 1 or (photo.mask == "auto" and not _has_rembg()):
        sources = _each(sources, failures, run, lambda source: _with_object(source, task, photo))
    judging = _judge(drawing.judge, joint, run) if output.auto else None
    results, stopped = output.draw(task, sources, judging, resume)
    ids = {"space": joint.name, "space_id": joint.id, "saliency_space_id": None if looks is None else looks.id}
    record = report("sketch", results, **ids, settings=asdict(plan.drawing), about=plan.about, layers=plan.layers)
    _print(record, output, sources, failures, stopped, run)


# -------------------------------------------------------------------------------------------------------------- input


@dataclass(frozen=True)
class _Source:
    """One thing to draw.

    Args:
        name: of its files.
        source: the path or the sentence.
        title: of the SVG.
        file: the path; None for a sentence.
        target: what ``draw`` takes, once it is known.
    """

    name: str
    source: str
    title: str
    file: Path | None = None
    target: Any = None


def _sources(files: Sequence[Path], texts: Sequence[str]) -> list[_Source]:
    from clipx.cli._output import distinct_names

    names = distinct_names(files or [Path(_slug(said)) for said in texts])
    if files:
        return [_Source(name, str(file), file.name, file) for name, file in zip(names, files, strict=True)]
    return [_Source(name, said, said) for name, said in zip(names, texts, strict=True)]


def _check_inputs(
    files: Sequence[Path],
    words: TextFlags,
    photo: PhotoFlags,
    settings: Mapping[str, Given],
) -> bool:
    """Whether meanings are drawn, not photos. Raises InputError for flags that do not go with what is drawn."""
    from clipx.errors import InputError
    from clipx.files import check_present

    texts = words.text or []
    if bool(files) == bool(texts):
        raise InputError("name photos, or give a sentence with --text, one of the two")
    check_present(files)
    photos = [_is_photo(path) for path in files]
    if any(photos) and not all(photos):
        raise InputError("photos and other files are drawn separately", remedy="call clipx sketch for each kind")
    meant = not any(photos)
    of_photos = {"--mask": photo.mask, "--fix-scale": photo.fix_scale, "--saliency-space": photo.saliency_space}
    of_photos |= {"--about": photo.about, "--layers": photo.layers > 1}
    if meant and (given := [flag for flag, value in of_photos.items() if value]):
        raise InputError(f"{given[0]} is for photos")
    if texts and (own := [given.flag for given in settings.values() if given.required]):
        raise InputError(f"{own[0]} goes with files, not with --text")
    if words.avoid and not texts:
        raise InputError("--avoid goes with --text")
    if photo.mask not in (None, "auto") and len(files) > 1:
        remedy = "call clipx sketch for each, or --mask auto"
        raise InputError("a mask is for one photo", where=photo.mask, remedy=remedy)
    return meant


def plan_of(flags: DrawFlags, photo: PhotoFlags, order: str | None, meant: bool, seed: int) -> DrawTaskConfig:
    """The settings of a preset, then those of a style, then those that were given. Raises InputError."""
    from clipx.errors import InputError
    from clipx.modalities.sketch.config import STYLES
    from clipx.modalities.sketch.task import DrawTaskConfig

    auto = flags.strokes == "auto"
    if flags.judge is not None and not auto:
        raise InputError("--judge goes with --strokes auto", remedy="add it, or leave out --judge")
    changes: dict[str, Any] = {
        "strokes": LADDER if auto else None if flags.strokes is None else stroke_counts(flags.strokes),
        "steps": flags.steps,
        "width_px": flags.width_px,
        "segments": flags.segments,
        "learn_width": flags.width,
        "learn_color": flags.color,
        "rank": None if order is None else order == "importance",
    }
    preset = _preset(flags, meant)
    plan = DrawTaskConfig.preset(
        "meaning" if meant and preset in ("default", "fast") else preset, **STYLES.get(flags.style or "", {})
    )
    if meant and preset == "fast":
        plan = replace(plan, seeds=plan.seeds[:1])
    starts = len(plan.seeds) if flags.seeds is None else flags.seeds
    given = {key: value for key, value in changes.items() if value is not None}
    seeds = tuple(seed + SEED_STEP * i for i in range(starts))
    return replace(plan, seeds=seeds, about=photo.about, layers=photo.layers, **given)


def _preset(flags: DrawFlags, meant: bool) -> str:
    """The preset's name. Raises InputError for a preset or a style that does not exist or does not fit."""
    from clipx.errors import InputError
    from clipx.modalities.sketch.config import STYLES

    preset, style = flags.preset, flags.style
    if flags.fast and preset not in ("default", "fast"):
        raise InputError(f"--fast and --preset {preset} are two presets", remedy="leave one out")
    preset = "fast" if flags.fast else preset
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
    return preset


def stroke_counts(text: str) -> tuple[int, ...]:
    """``4,8,16`` as numbers. Raises InputError."""
    from clipx.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--strokes takes numbers such as 16 or 4,8,16,32, got {text!r}") from error


def _read(
    sources: Sequence[_Source],
    photo: PhotoFlags,
    plan: DrawTaskConfig,
    failures: dict[str, ClipxError],
    run: RunOptions,
) -> list[_Source]:
    """Photos on their canvas, what a mask leaves out in white."""
    from clipx.modalities.sketch.target import load_target

    mask = photo.mask if photo.layers == 1 else None
    mask = None if mask == "auto" and not _has_rembg() else mask

    def target(source: _Source) -> Target:
        return load_target(source.source, mask, fix_scale=photo.fix_scale, keep_aspect=plan.keep_aspect)

    return _each(sources, failures, run, target)


def _meanings(
    sources: Sequence[_Source],
    joint: JointSpace,
    avoid: Sequence[str],
    attach: Callable[[JointSpace], list[tuple[Modality, list[int]]]],
    failures: dict[str, ClipxError],
    run: RunOptions,
) -> list[_Source]:
    """What sentences, or files of any modality, mean in the space."""
    from clipx.modalities.sketch.objective import Meaning

    if sources[0].file is None:
        return [replace(source, target=Meaning.of_text(joint, source.source, avoid)) for source in sources]
    modalities = {sources[i].source: modality for modality, rows in attach(joint) for i in rows}

    def meaning(source: _Source) -> Meaning:
        modality = modalities[source.source]
        return Meaning(modality.encode([modality.load(source.source)], [source.source]))

    return _each(sources, failures, run, meaning)


def _with_object(source: _Source, task: DrawTask, photo: PhotoFlags) -> Target:
    """A photo with the place of its object: by the mask's file, rembg or the space."""
    from clipx.modalities.sketch.scene import find_object
    from clipx.modalities.sketch.target import found_by_rembg, load_mask, on_canvas
    from clipx.pictures import eight_bits, open_picture

    looks: Any = task.saliency_space
    if photo.mask not in (None, "auto"):
        shape = load_mask(str(photo.mask))
    elif _has_rembg():
        shape = found_by_rembg(eight_bits(open_picture(source.source), source.source))
    else:
        toward = None if photo.about is None else looks.embed_text([photo.about]).vectors[0]
        return replace(source.target, where=find_object(looks, source.target, toward))
    return replace(source.target, where=on_canvas(shape, source.target, fix_scale=photo.fix_scale))


def _each(
    sources: Sequence[_Source],
    failures: dict[str, ClipxError],
    run: RunOptions,
    target: Callable[[_Source], Target | Meaning],
) -> list[_Source]:
    """The sources with their targets; a file without one goes to ``failures``. Ends the command where none is left."""
    from clipx.cli._output import report
    from clipx.errors import ClipxError

    kept = []
    for source in sources:
        try:
            kept.append(replace(source, target=target(source)))
        except ClipxError as error:
            failures[source.source] = error
    if not kept:
        run.conclude(report("sketch", []), failures, lambda: None)
    return kept


def _is_photo(path: Path) -> bool:
    from clipx.errors import InputError
    from clipx.registry import modality_of

    try:
        return modality_of(path) == "image"
    except InputError:  # a suffix that no modality reads: the content decides
        return True


def _has_rembg() -> bool:
    return find_spec("rembg") is not None


def _slug(text: str) -> str:
    return re.sub(r"[^\w]+", "-", text).strip("-")[:40] or "text"


def _saliency_space(joint: JointSpace, photo: PhotoFlags, run: RunOptions) -> JointSpace:
    from clipx.modalities.sketch.saliency import default_space

    if photo.saliency_space is None:
        return default_space(joint, photo.about)
    return run.open_space(photo.saliency_space, "torch")


def _judge(name: str | None, joint: JointSpace, run: RunOptions) -> JointSpace:
    from clipx.modalities.sketch.judging import default_judge, require_other_space

    return require_other_space(run.open_space(name or default_judge(joint.name), "torch"), joint)


# ------------------------------------------------------------------------------------------------------------- output


@dataclass(frozen=True)
class _Output:
    """Where drawings go: an .svg file or a folder.

    Args:
        out: see --out.
        flags: the formats.
        auto: of the drawings of a ladder one is chosen.
    """

    out: Path
    flags: WriteFlags
    auto: bool

    @property
    def one_file(self) -> bool:
        return self.out.suffix.lower() == ".svg"

    def check(self, sources: Sequence[_Source], plan: DrawTaskConfig, resume: bool) -> None:
        """Raise InputError for flags that do not fit one another."""
        from clipx.errors import InputError
        from clipx.modalities.sketch.start import RANKED

        out, flags, counts = self.out, self.flags, plan.strokes
        drawings = len(sources) * (1 if self.auto else len(counts))
        if self.one_file and drawings > 1:
            raise InputError(f"{drawings} drawings do not fit into one file", where=out, remedy="name a folder")
        if self.one_file and resume:
            raise InputError("a file holds no checkpoint to go on from", where=out, remedy="name a folder with --out")
        if out.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".mp4", ".pdf", ".json"):
            raise InputError(f"suffix {out.suffix!r} is not .svg", where=out, remedy="name an .svg file or a folder")
        if flags.size_mm is not None and not 0 < flags.size_mm < 1e6:
            raise InputError(f"--size-mm must be a positive number of millimetres, got {flags.size_mm:g}")
        if flags.hpgl is not None and plan.learn_color:
            raise InputError("--hpgl draws with one pen", remedy="--no-color")
        if flags.order in ("travel", "importance") and plan.learn_color:
            raise InputError("coloured strokes cover one another: another order is another picture", where="--order")
        if flags.order == "importance" and max(counts) > RANKED:
            what = f"importance is measured for up to {RANKED} strokes"
            raise InputError(what, where="--order", remedy="leave it out")
        if flags.mp4:
            from clipx.films import pyav
            from clipx.modalities.sketch.film import MP4_NEEDS

            pyav(*MP4_NEEDS)  # now, not after the work

    def prepare(self, sources: Sequence[_Source], resume: bool) -> None:
        """Make the folder. Raises InputError or FileError for what cannot be written after the work."""
        from clipx.cli._output import check_writable
        from clipx.files import make_folder
        from clipx.modalities.sketch.curves import CANVAS
        from clipx.modalities.sketch.plotter import require_fit
        from clipx.modalities.sketch.target import Target
        from clipx.task import require_no_checkpoint

        if self.flags.hpgl is not None:
            boxes = {one.target.box for one in sources if isinstance(one.target, Target)} or {(0, 0, CANVAS, CANVAS)}
            require_fit(boxes, self.flags.size_mm, self.flags.hpgl)
        check_writable(self.out if self.one_file else make_folder(self.out) / "drawing.svg")
        if not resume and not self.one_file:
            require_no_checkpoint(self.out)

    def draw(
        self, task: DrawTask, sources: Sequence[_Source], judge: JointSpace | None, resume: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Draw, and write what is done; the records of the drawings, and whether it was stopped."""
        from clipx.progress import note, task_progress
        from clipx.task import Stopped, checkpoint_files

        if resume and not checkpoint_files(self.out):
            note(f"{self.out} holds no run to resume: it begins from the start")
        records: dict[int, list[dict[str, Any]]] = {}

        def write(i: int, drawings: list[Drawing], done: bool) -> None:
            if done:
                records[i] = self.write(task, sources[i], drawings, judge)

        try:
            with task_progress("drawing") as on_progress:
                inputs = [source.target for source in sources]
                kept_in = None if self.one_file else self.out
                task.run(inputs, on_progress=on_progress, on_partial=write, checkpoint=kept_in, resume=resume)
        except Stopped as stopped:
            for i, drawings in stopped.results.items():
                if i not in records:
                    records[i] = self.write(task, sources[i], drawings, judge, done=False)
            if not self.one_file:
                begun = bool(checkpoint_files(self.out))  # not where starts were still sought
                note("the best so far is kept" + ("; go on with --resume" if begun else ""))
            return [record for own in records.values() for record in own], True
        return [record for own in records.values() for record in own], False

    def write(
        self, task: DrawTask, source: _Source, drawn: list[Drawing], judge: JointSpace | None, done: bool = True
    ) -> list[dict[str, Any]]:
        """Write the drawings of one source, of a ladder's one file the chosen one; unfinished ones are not chosen."""
        from clipx.modalities.sketch.judging import enough
        from clipx.modalities.sketch.task import write_drawing
        from clipx.progress import note

        if "from" in (about := drawn[0].strokes.about):
            other = source.file is None and about["from"].casefold() not in source.title.casefold()
            nearest = ", the nearest word there is" if other else ""
            note(f"{source.title}: begun from a person's drawing of: {about['from']}{nearest}")
        chosen = None
        if judge is not None and (done or self.one_file):
            chosen = enough(drawn, source.target, judge, source.source if source.file is None else None)
        formats = asdict(self.flags)
        if self.one_file:
            (only,) = [one for one in drawn if chosen in (None, len(one.strokes))]
            paths = write_drawing(only, self.out, source.title, **formats)
            return [_record(source, only, paths, chosen if done else None)]
        paths = task.save(drawn, self.out / source.name, title=source.title, **formats)
        records = []
        for one in drawn:
            stem = f"{source.name}-{len(one.strokes)}"
            own = [path for path in paths if path.stem in (stem, f"{stem}-strokes")]
            records.append(_record(source, one, own, chosen))
        return records


def _record(source: _Source, drawing: Drawing, files: Sequence[Path], chosen: int | None) -> dict[str, Any]:
    """What --json says of a drawing; of a ladder's also whether it is the ``chosen`` one."""
    about = drawing.strokes.about
    return {
        "source": source.source,
        "svg": str(files[0]),
        "files": [str(file) for file in files],
        "strokes": len(drawing.strokes),
        "seed": drawing.seed,
        "loss": drawing.loss,
        "losses": drawing.losses,
        "importance": drawing.importance,
        "steps": len(drawing.history),
        **({"from": about["from"]} if "from" in about else {}),
        **({} if chosen is None else {"chosen": len(drawing.strokes) == chosen}),
    }


def _print(
    record: dict[str, Any],
    output: _Output,
    sources: Sequence[_Source],
    failures: dict[str, ClipxError],
    stopped: bool,
    run: RunOptions,
) -> None:
    """Print the record or a table, and keep the settings beside the drawings."""
    from clipx.cli._output import print_table
    from clipx.files import write_whole

    if not output.one_file:
        settings = {key: value for key, value in record.items() if key != "results"}
        path = output.out / f"{sources[0].name if len(sources) == 1 else 'drawings'}-config.json"
        write_whole(path, json.dumps(settings, indent=1) + "\n")

    def table() -> None:
        rows = []
        for one in record["results"]:
            count = f"{one['strokes']}{' (chosen)' * one.get('chosen', False)}"
            rows.append((one["source"], one["svg"], count, f"{one['loss']:.4f}", str(one["seed"])))
        print_table(("of", "drawing", "strokes", "loss", "seed"), rows)

    run.conclude(record, failures, table, stopped=stopped)
