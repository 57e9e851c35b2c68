"""clipx segment: photos -> which of the labels each pixel shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.errors import ClipxError
    from clipx.modalities.segment.config import SegmentConfig
    from clipx.modalities.segment.maps import Segmentation
    from clipx.modalities.segment.task import SegmentTask

SUFFIXES = (".png", ".npz", "-overlay.png")  # of the files of a segmentation


@dataclass(frozen=True)
class SegmentFlags:
    """What decides a segmentation."""

    background: Annotated[
        str,
        typer.Option(
            "--background",
            help="What is none of the labels: auto (where no label comes above what unrelated words reach), words that "
            "compete with the labels (wall,floor; auto,wall,floor for both), or none, and every pixel gets a label.",
        ),
    ] = "auto"
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Pixels whose best label is less probable are background. Default: 0.4."),
    ] = None
    head: Annotated[
        str | None,
        typer.Option("--head", help="A head by clipx train segment, in place of --path.", show_default=False),
    ] = None
    path: Annotated[
        str,
        typer.Option(
            "--path",
            help="Of the dense features: value (maskclip), token, sclip, clearclip, naclip, sc-clip, as the space has "
            "them. auto: naclip, else value.",
        ),
    ] = "auto"
    side: Annotated[
        int | None,
        typer.Option(
            "--side", help="Pixels of the shorter side of what the tower sees. Default: 1.25 of its own.", min=1
        ),
    ] = None
    scales: Annotated[str | None, typer.Option("--scales", help="Average over the photo at these factors: 1,1.5.")] = (
        None
    )
    flip: Annotated[bool, typer.Option("--flip", help="Average with the mirrored photo.")] = False
    window: Annotated[
        int | None, typer.Option("--window", help="Look through overlapping windows of this many pixels.", min=1)
    ] = None
    stride: Annotated[int | None, typer.Option("--stride", help="Steps of the window. Default: half of it.", min=1)] = (
        None
    )
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Of the softmax over labels. Default: the space's own.")
    ] = None
    denoise: Annotated[
        float, typer.Option("--denoise", help="Leave out labels that are nowhere this probable (MaskCLIP).")
    ] = 0.5
    smooth_keys: Annotated[
        float, typer.Option("--smooth-keys", help="Let pixels less sure than this follow similar places (MaskCLIP).")
    ] = 0.0
    refine: Annotated[
        Literal["none", "pamr", "superpixels", "guided"],
        typer.Option("--refine", help="Move borders to edges of the photo."),
    ] = "pamr"
    islands: Annotated[
        float, typer.Option("--islands", help="Regions of a smaller share of the photo join what is around them.")
    ] = 0.002


@takes("prompts", "space", "device", "dtype", "seed", "as_json", "config")
def segment(
    files: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos of any size.")],
    labels: Annotated[
        str,
        typer.Option("--labels", help="What to find: cat,grass,sky or @file; sofa|couch is one label by two words."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="For one photo a .png file, and others beside it; or a folder.")
    ] = Path("clipx-segment"),
    cutout: Annotated[
        list[str] | None,
        typer.Option(
            "--cutout", help="Also write the photo with all but this label transparent; several may be given."
        ),
    ] = None,
    *,
    how: SegmentFlags,
    run: RunOptions,
) -> None:
    """Find which of the labels each pixel of a photo shows.

    Writes a mask (a palette PNG as in PASCAL VOC: 0 is background, k the k-th
    label), an overlay with a legend, and an .npz with the logits. --json has the
    share, box and confidence of each label. A cut-out is a mask for clipx sketch:
    it draws the object alone.

    A photo that cannot be read is named at the end, and the exit status is then 2.
    Ctrl-C ends the command once the photo in work is written.

    Example: clipx segment cat.jpg --labels cat,sofa,floor --cutout cat -o cat-mask.png
    """
    from clipx.api import parse_labels
    from clipx.cli._output import picture_stems, print_table, report
    from clipx.errors import InputError
    from clipx.files import check_present, make_folder
    from clipx.modalities.segment.task import SegmentTask

    check_present(files)
    plan = segment_config(tuple(parse_labels(labels)), how, run.prompts)
    cutouts = list(dict.fromkeys(cutout or ()))
    for label in cutouts:
        if label not in plan.names:
            raise InputError(f"{label!r} is not among the labels", where="--cutout", remedy=", ".join(plan.names))
    stems = picture_stems(out, files, "-mask", _suffixes(cutouts))
    task = SegmentTask(run.open_space(backend="torch"), plan)
    if out.suffix.lower() != ".png":
        make_folder(out)
    failures: dict[str, ClipxError] = {}
    results, stopped = _segment(task, files, stems, cutouts, failures)
    space = task.space
    record = report("segment", results, space=space.name, space_id=space.id, settings=task.segmenter.record())
    rows = [row for result in results for row in _shown(result)]

    def table() -> None:
        print_table(("photo", "label", "share", "confidence", "mask"), rows)

    run.conclude(record, failures, table, stopped=stopped)


def _shown(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The rows of a photo: the labels that it shows, the largest first."""
    found = sorted((one for one in result["labels"] if one["box"] is not None), key=lambda one: -one["share"])
    rows = [(one["label"], f"{one['share']:.1%}", f"{one['confidence']:.0%}") for one in found]
    return [(result["source"], *row, result["files"][0]) for row in rows or [("none of the labels", "", "")]]


def segment_config(labels: tuple[str, ...], flags: SegmentFlags, prompts: str | None) -> SegmentConfig:
    """The flags as a config. Raises InputError."""
    from clipx.api import parse_labels
    from clipx.cli._work import read_prompts
    from clipx.modalities.segment.config import SegmentConfig

    values = asdict(flags)
    values["background"] = tuple(parse_labels(flags.background))
    values["scales"] = (1.0,) if flags.scales is None else _factors(flags.scales)
    if flags.threshold is None:
        del values["threshold"]
    return SegmentConfig(labels=labels, prompts=read_prompts(prompts), **values)


def _factors(text: str) -> tuple[float, ...]:
    from clipx.errors import InputError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"expected numbers such as 1,1.5, got {text!r}", where="--scales") from error


def _suffixes(cutouts: Sequence[str]) -> list[str]:
    """Of the files of a photo. Raises InputError where two would be one."""
    from clipx.errors import InputError
    from clipx.modalities.segment.task import file_name

    found = [*SUFFIXES, *(f"-{file_name(label)}.png" for label in cutouts)]
    if len(set(found)) < len(found):
        raise InputError("two cut-outs, or one and the overlay, have the same file name", where="--cutout")
    return found


def _segment(
    task: SegmentTask,
    files: Sequence[Path],
    stems: Sequence[Path],
    cutouts: Sequence[str],
    failures: dict[str, ClipxError],
) -> tuple[list[dict[str, Any]], bool]:
    """Segment and write photo after photo; see ``one_by_one``."""
    from clipx.cli._work import one_by_one
    from clipx.progress import note

    def make(path: Path) -> tuple[Tensor, Segmentation]:
        photo = task.load(path)
        return photo, task.make(photo)

    def write(path: Path, stem: Path, made: tuple[Tensor, Segmentation]) -> dict[str, Any]:
        photo, found = made
        written = task.save(found, stem, photo=photo, cutouts=cutouts, settings=task.segmenter.record())
        for empty in (one.label for one in found.regions() if one.box is None and one.label in cutouts):
            note(f"{path}: shows no {empty}; its cut-out is empty")
        return _record(path, photo, found, written)

    return one_by_one("segmenting", files, stems, make, write, failures)


def _record(path: Path, photo: Tensor, found: Segmentation, written: Sequence[Path]) -> dict[str, Any]:
    labels = [asdict(one) for one in found.regions()]
    return {
        "source": str(path),
        "height": photo.shape[-2],
        "width": photo.shape[-1],
        "background": float((found.mask == 0).mean()),
        "labels": labels,
        "files": [str(file) for file in written],
    }
