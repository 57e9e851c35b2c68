"""clipx detect: photos -> the boxes of what words name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.errors import ClipxError
    from clipx.modalities.detect.boxes import Detections, Proposals
    from clipx.modalities.detect.config import DetectConfig
    from clipx.modalities.detect.head import RegionHead
    from clipx.modalities.detect.task import DetectTask
    from clipx.space import JointSpace

SUFFIXES = (".json", ".png")  # of the files of a photo
TOP = 20  # of clipx detect: what is drawn for people
CLEAR = {"threshold": 0.3, "relative": 0.8, "presence": 0.85}  # without --threshold, which else decides alone


@dataclass(frozen=True)
class DetectFlags:
    """How boxes are proposed, scored and selected; what is left out is as in ``DetectConfig``."""

    background: Annotated[
        str | None, typer.Option("--background", help="Words of what else there is, never an answer: a,b,c or @file.")
    ] = None
    proposals: Annotated[
        str | None,
        typer.Option("--proposals", help="selective (default), components, grid, or one that is installed."),
    ] = None
    limit: Annotated[int | None, typer.Option("--limit", help="Of proposals in a photo.", min=1)] = None
    regions: Annotated[
        Literal["dense", "crops", "both"] | None,
        typer.Option(
            "--regions", help="How a box is looked at: in one map of the photo (default), as crops, or as both."
        ),
    ] = None
    path: Annotated[str | None, typer.Option("--path", help="Of the dense map, as of clipx segment.")] = None
    crop_limit: Annotated[int | None, typer.Option("--crop-limit", help="Boxes that are cropped.", min=1)] = None
    temperature: Annotated[float | None, typer.Option("--temperature", help="Of the softmax over labels.")] = None
    margin: Annotated[
        float | None, typer.Option("--margin", help="Logit of the background: a higher one gives fewer boxes.")
    ] = None
    overlap: Annotated[
        float | None, typer.Option("--overlap", help="IoU above which the lower of two boxes of a label goes.")
    ] = None
    threshold: Annotated[float | None, typer.Option("--threshold", help="The lowest score, in [0, 1].")] = None
    relative: Annotated[
        float | None, typer.Option("--relative", help="The lowest share of the best score of a label, in [0, 1].")
    ] = None
    presence: Annotated[
        float | None,
        typer.Option("--presence", help="The lowest share of everyday nouns that fit the photo less than the label."),
    ] = None
    top: Annotated[int | None, typer.Option("--top", help="The most boxes in a photo.", min=1)] = None


@takes("space", "device", "dtype", "seed", "prompts", "as_json", "config")
def detect(
    files: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos of any size.")],
    labels: Annotated[str, typer.Option("--labels", help="What to look for: a,b,c or @file, one a line.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="For one photo a .png file, and a .json beside it; or a folder.")
    ] = Path("clipx-detect"),
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", help="Choose from the boxes of this file: COCO JSON, or CSV (path,left,top,...)."),
    ] = None,
    head: Annotated[
        Path | None, typer.Option("--head", help="A head by clipx train detect, in place of the dense map.")
    ] = None,
    crop: Annotated[
        Path | None, typer.Option("--crop", help="Also write each box that is found as a .png file to this folder.")
    ] = None,
    *,
    detection: DetectFlags,
    run: RunOptions,
) -> None:
    """Find what words name in photos: a box, a label and a score for each.

    Boxes come from selective search. The score of a box says how much more of a
    label it shows than what is around it, beside the other labels; with one label
    the surroundings alone decide. Without --threshold a box is shown that reaches
    0.3, and 0.8 times the best score of its label, where the label fits the photo
    better than 85 % of everyday nouns. Writes the photo with boxes, and COCO JSON.

    A photo that cannot be read is named at the end, and the exit status is then 2.

    Example: clipx detect street.jpg --labels car,bicycle,dog -o street-boxes.png
    """
    from clipx.api import parse_labels
    from clipx.cli._output import picture_stems, print_table, report
    from clipx.files import check_present, make_folder
    from clipx.modalities.detect.proposals.files import read_proposals
    from clipx.modalities.detect.task import DetectTask

    check_present(files)
    shown = {"top": TOP} | (CLEAR if detection.threshold is None else {})
    plan = detect_config(parse_labels(labels), detection, run, shown)
    given = None if boxes is None else read_proposals(boxes)
    stems = picture_stems(out, files, "-boxes", SUFFIXES)
    joint = run.open_space(backend="torch")
    plan = plan_of(plan, detection, joint, head)
    task = DetectTask(joint, plan, opened_head(head, joint))
    if out.suffix.lower() != ".png":
        make_folder(out)
    if crop is not None:
        make_folder(crop)
    settings = settings_of(plan) | {"head": None if head is None else str(head)}
    failures: dict[str, ClipxError] = {}
    results, stopped = _detect(task, files, stems, given, boxes, crop, settings, failures)
    for one in results:
        _note_nothing(one, plan)
    space = task.space
    record = report("detect", results, space=space.name, space_id=space.id, settings=settings)

    def table() -> None:
        found = [(r["source"], one) for r in results for one in r["detections"]]
        rows = [(name, one["label"], f"{one['score']:.3f}", *(f"{v:.0f}" for v in one["box"])) for name, one in found]
        print_table(("photo", "label", "score", "left", "top", "right", "bottom"), rows)

    run.conclude(record, failures, table, stopped=stopped)


def _detect(
    task: DetectTask,
    files: Sequence[Path],
    stems: Sequence[Path],
    given: Mapping[str, Proposals] | None,
    file: Path | None,
    crop: Path | None,
    settings: Mapping[str, Any],
    failures: dict[str, ClipxError],
) -> tuple[list[dict[str, Any]], bool]:
    """Detect and write photo after photo; see ``one_by_one``."""
    from clipx.cli._work import one_by_one
    from clipx.modalities.detect.detector import selected
    from clipx.modalities.detect.proposals.files import proposals_of

    def make(path: Path) -> tuple[Tensor, Detections]:
        photo = task.load(path)
        own = None if given is None or file is None else proposals_of(given, path, file)
        return photo, task.detector.scored(photo, own)

    def write(path: Path, stem: Path, made: tuple[Tensor, Detections]) -> dict[str, Any]:
        photo, every = made
        found = selected(every, task.config)
        written = task.save(found, stem, name=path.name, photo=photo, settings=settings)
        crops = [] if crop is None else _write_crops(crop, stem, photo, found)
        return _record(path, found, written, crops) | {"best": _best(every)}

    return one_by_one("detecting", files, stems, make, write, failures)


def _write_crops(folder: Path, stem: Path, photo: Any, found: Detections) -> list[Path]:
    """One file for each detection, numbered from the best."""
    from clipx.files import write_whole
    from clipx.modalities.detect.show import crop_png

    written = []
    for number, (box, name) in enumerate(zip(found.boxes, found.names, strict=True), 1):
        word = "".join(c if c.isalnum() else "-" for c in name)[:40]
        path = folder / f"{stem.name.removesuffix('-boxes')}-{number:02d}-{word}.png"
        write_whole(path, crop_png(photo, box))
        written.append(path)
    return written


def _record(path: Path, found: Detections, files: Sequence[Path], crops: Sequence[Path]) -> dict[str, Any]:
    rows = zip(found.names, found.scores.tolist(), found.boxes.tolist(), strict=True)
    detections = [{"label": label, "score": score, "box": box} for label, score, box in rows]
    about = {"source": str(path), "height": found.size[0], "width": found.size[1], "detections": detections}
    if found.presence is not None:
        about["presence"] = dict(zip(found.labels, found.presence.tolist(), strict=True))
    return about | {"files": [str(f) for f in files], "crops": [str(f) for f in crops]}


def _best(every: Detections) -> dict[str, Any] | None:
    """The label and the score of the best box, whether it reaches the threshold or not; None without boxes."""
    if not len(every):
        return None
    row = int(every.scores.argmax())
    return {"label": every.names[row], "score": float(every.scores[row])}


def _note_nothing(one: Mapping[str, Any], config: DetectConfig) -> None:
    """Say of a photo in which nothing was found how near the best box came."""
    from clipx.progress import note

    if one["detections"] or one["best"] is None:
        return
    label, score = one["best"]["label"], one["best"]["score"]
    lower = lambda value: f"{math.floor(value * 100) / 100:.2f}"  # noqa: E731
    why, best, flags = "nothing is found", f"{label} at {score:.3f}", []
    if score < config.threshold:
        why = f"nothing reaches --threshold {config.threshold:g}"
        flags.append(f"--threshold {lower(score)}")
    if (presence := one.get("presence", {}).get(label, 1.0)) < config.presence:
        best += f", with a presence of {presence:.2f} below {config.presence:g}"
        flags.append(f"--presence {lower(presence)}")
    note(f"{one['source']}: {why}; the best is {best} ({' '.join(flags)} shows it)")


# ----------------------------------------------------------------------------------------- flags, for clipx eval, too


def detect_config(
    labels: Sequence[str], flags: DetectFlags, run: RunOptions, defaults: Mapping[str, Any] | None = None
) -> DetectConfig:
    """The flags as a config. Raises InputError."""
    from clipx.api import parse_labels
    from clipx.cli._work import read_prompts
    from clipx.modalities.detect.config import DetectConfig

    given = {one.name: getattr(flags, one.name) for one in fields(flags)}
    changes: dict[str, Any] = dict(defaults or {}) | {name: v for name, v in given.items() if v is not None}
    if flags.background is not None:
        changes["background"] = parse_labels(flags.background)
    if run.prompts is not None:
        changes["prompts"] = read_prompts(run.prompts)
    return DetectConfig(labels=labels, seed=run.seed, **changes)


def plan_of(config: DetectConfig, flags: DetectFlags, space: JointSpace, head: Path | None = None) -> DetectConfig:
    """The config, without a presence that nobody asked for where it was not measured, or the space knows few nouns."""
    from clipx.index.vocabulary import null_words
    from clipx.modalities.detect.presence import FEWEST

    if flags.presence is not None or not config.presence:
        return config
    without = head is not None or config.regions != "dense" or len(null_words(space)) < FEWEST
    return replace(config, presence=0.0) if without else config


def opened_head(path: Path | None, space: JointSpace) -> RegionHead | None:
    """The head of a file, which must be of the space; None of None."""
    if path is None:
        return None
    from clipx.modalities.detect.head import load_head

    return load_head(path, space)


def settings_of(config: DetectConfig) -> dict[str, Any]:
    """The config as JSON's own types."""
    values = {one.name: getattr(config, one.name) for one in fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
