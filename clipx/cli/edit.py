"""clipx edit: a photo and words -> the photo, filtered until the words fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
LONGEST = {"WEBP": 16_383, "JPEG": 65_500}  # pixels a side, by their libraries
JPEG_QUALITY = 95
LOOKS = "looks"  # what a space provides that learnt words of light and colour


@takes("space", "device", "dtype", "seed", "as_json", "config")
def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of any size.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is to look like.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to write: .png, .jpg, .webp or .tif, as large as the photo.")
    ] = Path("clipx-edit.png"),
    loss: Annotated[
        Literal["clip", "directional"],
        typer.Option("--loss", help="clip: the photo against TEXT; directional: its change against TEXT - SOURCE."),
    ] = "directional",
    source: Annotated[str, typer.Option("--source", help="What the photo is, for the directional loss.")] = "a photo",
    steps: Annotated[int, typer.Option("--steps", help="Steps of the optimiser.", min=1)] = 300,
    strength: Annotated[
        float, typer.Option("--strength", help="How far the filter's sliders may go, in (0, 1].")
    ] = 0.7,
    *,
    run: RunOptions,
) -> None:
    """Filter a photo until a space sees the words in it (StyleCLIP's latent optimisation).

    Ten sliders are moved: exposure, temperature, tint, vignette, contrast, shadows,
    highlights, hue, saturation and grain; nothing is painted. They are found on a
    small copy, and the photo is filtered at its full size. --json has their values
    in [-1, 1] and the losses. Ctrl-C writes the best so far.

    The words must be words of looks that the space has learnt: see docs/edit.md for how
    well lite does, and for a space made for this.

    Example: clipx edit photo.jpg "warmer, like an old film" -o film.png
    """
    import torch

    from clipx.cli._output import check_writable, print_table, report
    from clipx.editing import PhotoFilter, optimise
    from clipx.errors import InputError
    from clipx.pictures import read_rgb
    from clipx.progress import note, task_progress
    from clipx.spaces.embedded import EmbeddedFiles, provided
    from clipx.task import Stopped

    if out.suffix.lower() not in FORMATS:
        raise InputError(f"suffix {out.suffix!r} is not one of {' '.join(FORMATS)}", where=out)
    check_writable(out)
    pixels = read_rgb(photo)
    _require_room(out, pixels)
    space = run.open_space(backend="torch")
    if space.folder is not None and LOOKS not in provided(EmbeddedFiles.read(space.folder).about):
        what = "learnt what things are called, not how photos look: the words may do nothing"
        note(f"{space.name} {what} (docs/edit.md)")
    full = PhotoFilter(torch.from_numpy(pixels), strength, run.seed)
    how: dict[str, Any] = {"loss": loss, "source": source, "steps": steps, "seed": run.seed}
    with task_progress("editing") as on_progress:
        try:
            found = optimise(full.fitted(space), text, space=space, on_progress=on_progress, **how)
        except Stopped as stopped:
            found = stopped.results[0]
    latent = found.latent.cpu()
    _write(out, _bytes(full.render(latent)))
    note(f"written to {out}")
    settings = full.settings(latent)
    figures = {
        "loss": found.loss, "loss_before": found.before,
        "similarity": found.similarity, "similarity_before": found.similarity_before,
    }  # fmt: skip
    result = {"source": str(photo), "text": text, "out": str(out), "parameters": settings, **figures}
    result |= {"latent": latent.tolist(), "steps": len(found.history) - 1}
    record = report("edit", [result], space=space.name, space_id=space.id, settings={**how, "strength": strength})

    def table() -> None:
        rows = [(name, f"{value:+.2f}") for name, value in settings.items()]
        print_table(("parameter", "value"), [*rows, *((name, f"{value:.4f}") for name, value in figures.items())])

    run.conclude(record, {}, table, stopped=found.stopped)


def _bytes(picture: Tensor) -> np.ndarray:
    """(1, 3, H, W) in [0, 1] -> (H, W, 3) bytes."""
    return (picture[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _require_room(out: Path, pixels: np.ndarray) -> None:
    """Raise InputError where the (3, H, W) photo is too long for the format of ``out``."""
    from clipx.errors import InputError

    form, longest = FORMATS[out.suffix.lower()], max(pixels.shape[1:])
    if longest > LONGEST.get(form, longest):
        what = f"a side of {longest:,} pixels, and {form} ends at {LONGEST[form]:,}"
        raise InputError(what, where=out, remedy="write a .png")


def _write(out: Path, pixels: np.ndarray) -> None:
    import io

    from PIL import Image

    from clipx.files import write_whole

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, FORMATS[out.suffix.lower()], quality=JPEG_QUALITY)
    write_whole(out, buffer.getvalue())
