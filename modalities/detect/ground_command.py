"""clipx ground: a photo and a sentence -> where its phrases are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    from torch import Tensor

    from clipx.modalities.detect.boxes import Grounding


@dataclass(frozen=True)
class RegionFlags:
    """Where phrases are looked for."""

    proposals: Annotated[
        str, typer.Option("--proposals", help="Where boxes come from: selective, components, grid.")
    ] = "selective"
    limit: Annotated[int, typer.Option("--limit", help="Proposals in the photo.", min=1)] = 500
    regions: Annotated[
        Literal["dense", "crops"],
        typer.Option("--regions", help="Look at boxes in one map of the photo, or crop each: slower."),
    ] = "dense"
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of the softmax over regions: small takes the best region alone.")
    ] = 1.0
    head: Annotated[
        Path | None, typer.Option("--head", help="A head by clipx train detect, in place of the dense map.")
    ] = None

    def settings(self) -> dict[str, Any]:
        """Those that are fields of ``GroundConfig``."""
        return {name: value for name, value in asdict(self).items() if name != "head"}


@dataclass(frozen=True)
class PhraseFlags:
    """What is looked for, and by what."""

    top: Annotated[int, typer.Option("--top", help="Boxes of each phrase.", min=1)] = 1
    chunker: Annotated[
        Literal["rules", "spacy"], typer.Option("--chunker", help="What finds phrases; spacy must be installed.")
    ] = "rules"
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="In place of the space: a detector of transformers (Grounding DINO, OWLv2), a folder or a name on the "
            "hub, which is then downloaded.",
        ),
    ] = None


@takes("space", "device", "dtype", "seed", "as_json", "config")
def ground(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of any size.")],
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="In English; its noun phrases are looked for.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A .png file, and .json beside it; or a folder for both.")
    ] = Path("clipx-ground"),
    crop: Annotated[
        Path | None, typer.Option("--crop", help="Also write each box as a picture to this folder.")
    ] = None,
    *,
    phrases: PhraseFlags,
    regions: RegionFlags,
    run: RunOptions,
) -> None:
    """Find the phrases of a sentence in a photo: a box for each.

    Writes the photo with numbered boxes and the sentence in their colours below it,
    and the boxes as JSON like COCO's. Scores of the joint space are a softmax over
    the regions of the photo: they say which region fits a phrase best, not whether
    any does. Scores of --model are the model's own.

    Example: clipx ground kitchen.jpg "a red cup on a table" -o found.png
    """
    import torch

    from clipx.cli._output import print_table, report
    from clipx.files import check_present, make_folder, write_whole
    from clipx.modalities.detect.ground_task import grounding_record, save_grounding
    from clipx.modalities.detect.show import crop_png
    from clipx.pictures import read_rgb

    check_present([photo])
    stem = _stem(out, photo)
    find, about = _finder(sentence, phrases, regions, run)
    pixels = torch.from_numpy(read_rgb(photo))
    found = find(pixels)
    if out.suffix.lower() != ".png":
        make_folder(out)
    files = save_grounding(found, stem, pixels, str(photo))
    if crop is not None:
        make_folder(crop)
        for i, box in enumerate(found.boxes):
            files.append(crop / f"{photo.stem}-{i + 1}-phrase-{found.phrase_index[i] + 1}.png")
            write_whole(files[-1], crop_png(pixels, box))
    record = grounding_record(found, str(photo))
    result = {"source": str(photo), **record, "files": [str(path) for path in files]}
    rows = [
        (found.phrases[k].text, f"{score:.3f}", ", ".join(f"{v:.0f}" for v in box))
        for k, score, box in zip(found.phrase_index, found.scores, found.boxes.tolist(), strict=True)
    ]
    columns = ("phrase", "score", "left, top, right, bottom")
    run.emit(report("ground", [result], **about), lambda: print_table(columns, rows, f"{photo} -> {stem}.png"))


def _finder(
    sentence: str, phrases: PhraseFlags, regions: RegionFlags, run: RunOptions
) -> tuple[Callable[[Tensor], Grounding], dict[str, Any]]:
    """What finds the phrases of the sentence, and what the record says of it."""
    from clipx.modalities.detect.phrases import noun_phrases

    noun_phrases(sentence, phrases.chunker)  # now, before a model is loaded
    how = {"top": phrases.top, "chunker": phrases.chunker}
    if phrases.model is not None:
        from clipx.errors import InputError
        from clipx.modalities.detect.hub import HubDetector

        if run.space is not None or regions != RegionFlags():
            raise InputError("takes no --space, --head or flags of regions", where="--model")
        detector = HubDetector(phrases.model, run.device)
        about: dict[str, Any] = {"model": phrases.model, "settings": how}
        return lambda photo: detector.ground(photo, sentence, top=phrases.top, chunker=phrases.chunker), about
    from clipx.modalities.detect.command import opened_head
    from clipx.modalities.detect.grounder import GroundConfig, Grounder

    plan = GroundConfig(sentence, **how, **regions.settings())  # type: ignore[arg-type]
    joint = run.open_space(backend="torch")
    grounder = Grounder(joint, plan, head=opened_head(regions.head, joint))
    settings = {**asdict(plan), "head": None if regions.head is None else str(regions.head)}
    return grounder, {"space": joint.name, "space_id": joint.id, "settings": settings}


def _stem(out: Path, photo: Path) -> Path:
    """The beginning of the files' names. Raises InputError where the photo would be overwritten."""
    from clipx.cli._output import check_writable
    from clipx.errors import InputError

    if out.suffix.lower() != ".png" and out.suffix:
        raise InputError(f"suffix {out.suffix!r} is not .png", where=out, remedy="name a .png file or a folder")
    stem = out.with_suffix("") if out.suffix else out / f"{photo.stem}-ground"
    for suffix in (".png", ".json"):
        if stem.with_name(stem.name + suffix).resolve() == photo.resolve():
            raise InputError("is the photo itself", where=photo, remedy="name another file or folder")
    if out.suffix:
        check_writable(out)
    return stem
